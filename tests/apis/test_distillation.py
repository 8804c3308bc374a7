"""A made-up teacher distilled into a tiny Mix Transformer from made-up images."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.testing import assert_close

from afa_mmseg.apis.distillation import (
    Crops,
    Recipe,
    Teacher,
    build_teacher,
    distill,
    knn_accuracy,
    list_images,
    pooled_features,
    principal_components,
    read_tags,
    training,
)
from afa_mmseg.apis.distillation.crops import Batch, crop, load_square
from afa_mmseg.apis.distillation.optimizers import Optimizers
from afa_mmseg.apis.distillation.recipe import rate
from afa_mmseg.apis.distillation.student import build_student
from afa_mmseg.models import AttnMixVisionTransformer, AttnVisionTransformer

ARCH = dict(embed_dims=8, num_layers=(1, 1, 1, 2))
VIT = dict(embed_dims=16, num_layers=3, num_heads=2)
NO_TAGS = torch.empty(12, 0)
COLOURS = [(230, 30, 30), (30, 200, 30), (40, 40, 240)]


def make_teacher():
    """A classifier that averages a map and applies one linear layer."""
    torch.manual_seed(1)
    layers = [nn.Conv2d(3, 12, 16, stride=16), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 5)]
    return Teacher(nn.Sequential(*layers), (0.5,) * 3, (0.5,) * 3, 'made-up')


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(training, 'LOG_INTERVAL', 5)
    monkeypatch.setattr(training, 'TEACHER_SIZE', 96)


@pytest.fixture
def images(tmp_path):
    """Files of 12 images: one of three colours each, with noise."""
    rng = np.random.default_rng(0)
    for i in range(12):
        pixels = np.clip(np.array(COLOURS[i % 3]) + rng.normal(0, 25, (70, 90, 3)), 0, 255).astype(np.uint8)
        (tmp_path / 'images').mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / f'images/{i:02}.png')
    return list_images([tmp_path / 'images'])[0]


@pytest.fixture
def components(images):
    return principal_components(make_teacher(), images, size=64, kept=6)


def run(images, out, arch=ARCH, lr=5e-3, weights=None, **options):
    lines = []
    recipe = Recipe(steps=30, batch_size=8, crop_size=64, final_crop_size=80, lr=lr, weights=weights)
    result = distill(arch, [images], make_teacher(), out, recipe, num_workers=0, log=lines.append, **options)
    return torch.load(result, weights_only=True), [json.loads(line) for line in (out / 'log.jsonl').open()], lines


def test_the_loss_falls_and_the_result_is_a_backbone(images, tmp_path):
    result, log, lines = run(images, tmp_path / 'out', meta=dict(teacher='made-up'))
    assert log[-1]['loss'] < 0.6 * log[0]['loss']
    assert 'step 30/30' in lines[-1]
    assert 'time left 0:00:00' in lines[-1]
    assert result['meta']['teacher'] == 'made-up'
    assert result['meta']['recipe']['steps'] == result['meta']['step'] == 30
    backbone = AttnMixVisionTransformer(
        ARCH, init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'out/backbone.pth'))
    )
    backbone.init_weights()
    assert_close(backbone.state_dict(), result['state_dict'], rtol=0, atol=0)


def test_a_plain_transformer_learns_with_its_class_token_and_position(images, tmp_path):
    result, log, _ = run(images, tmp_path / 'out', VIT)
    assert log[-1]['loss'] < 0.6 * log[0]['loss']
    backbone = AttnVisionTransformer(
        VIT, init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'out/backbone.pth'))
    )
    start = backbone.state_dict()
    assert not torch.equal(start['cls_token'], result['state_dict']['cls_token'])
    backbone.init_weights()
    assert_close(backbone.state_dict(), result['state_dict'], rtol=0, atol=0)
    assert result['state_dict']['pos_embed'].std() > 0.02  # of the initialisation


def test_mlps_begin_as_narrow_as_other_linear_layers(components):
    student = build_student('b0', components, Recipe())
    mlps = [block.ffn.layers for _, blocks, _ in student.backbone.layers for block in blocks]
    widths = [float(layers[i].weight.detach().std()) for layers in mlps for i in (0, 4)]
    assert widths == pytest.approx([0.02] * 16, rel=0.05)
    assert all(layers[1].weight.std() > 0.2 for layers in mlps)  # depthwise convolutions keep their own


def test_a_student_that_collapses_is_not_trained_to_the_end(images, tmp_path):
    _, log, _ = run(images, tmp_path / 'good')
    assert 0.3 < log[-1]['contrast'] < 1.5
    with pytest.raises(ValueError, match=r'the output no longer depends on the crop.* Lower lr=3'):
        run(images, tmp_path / 'bad', lr=3)


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(steps=0), 'steps=0: use 1 or more'),
        (dict(batch_size=1), 'batch_size=1: .* use 2 or more'),
        (dict(crop_size=100), 'crop_size=100: .* multiple'),
        (dict(final_crop_size=16), 'final_crop_size=16: .* 32 or more'),
    ],
)
def test_a_recipe_that_cannot_work_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Recipe(**settings)


def test_a_run_starts_from_the_weights_of_another(images, tmp_path):
    first, _, _ = run(images, tmp_path / 'first')
    weights = str(tmp_path / 'first/backbone.pth')
    begun, _, _ = run(images, tmp_path / 'second', lr=1e-9, weights=weights)
    for name, value in begun['state_dict'].items():
        assert_close(value, first['state_dict'][name], rtol=1e-4, atol=1e-6, msg=name)
    assert begun['meta']['started_from']['recipe'] == first['meta']['recipe']
    with pytest.raises(ValueError, match='first/backbone.pth does not fit the backbone'):
        run(images, tmp_path / 'third', arch=VIT, weights=weights)


def test_linear_layers_are_updated_as_matrices_and_all_else_by_adamw(components):
    student = build_student(ARCH, components, Recipe())
    optimizers = Optimizers(student, weight_decay=0.05)
    student.losses(torch.rand(2, 3, 64, 64), torch.rand(2, 6, 4, 4), NO_TAGS[:2], Recipe())['loss'].backward()
    named = dict(student.named_parameters())
    mlp, depthwise = (named[f'backbone.layers.0.1.0.ffn.layers.{i}.weight'] for i in (0, 1))
    assert mlp.shape[2:] == (1, 1)
    expected = nn.Parameter(mlp.detach().flatten(1).clone())
    expected.grad = mlp.grad.flatten(1).clone()
    torch.optim.Muon([expected], lr=1e-2, weight_decay=0.05, adjust_lr_fn='match_rms_adamw').step()
    unchanged = {name: p.detach().clone() for name, p in named.items()}
    optimizers.step(1e-2)
    assert_close(mlp.detach().flatten(1), expected.detach(), rtol=0, atol=0)
    assert_close((depthwise - unchanged['backbone.layers.0.1.0.ffn.layers.1.weight']).abs().max().item(), 1e-2 / 3,
                 rtol=0.3, atol=0)  # fmt: skip
    assert [name for name, p in named.items() if torch.equal(p, unchanged[name])] == []
    assert all(p.grad is None for p in named.values())


def test_an_old_pytorch_is_named_before_the_teacher_runs(monkeypatch):
    monkeypatch.delattr(torch.optim, 'Muon')
    with pytest.raises(ModuleNotFoundError, match=r'lacks: install 2\.9'):
        Recipe()


def test_tags_of_some_images_are_learnt(images, tmp_path):
    labels = tmp_path / 'labels.csv'
    labels.write_text('id,red,green\n' + ''.join(f'{i:02}.png,{int(i % 3 == 0)},{int(i % 3 == 1)}\n' for i in range(9)))
    tags = read_tags(labels, images)
    assert_close(tags[:3], torch.tensor([[1.0, 0], [0, 1], [0, 0]]))
    assert tags[9:].isnan().all()
    _, log, _ = run(images, tmp_path / 'out', tags=tags)
    assert log[-1]['tags'] < 0.5 * log[0]['tags']
    labels.write_text('id,label\n90,red\n')
    with pytest.raises(ValueError, match='labels.csv: none of the 12 images'):
        read_tags(labels, images)
    labels.write_text('id,label\n07.jpg,red\n07.png,green\n')
    with pytest.raises(ValueError, match="'07.png' occurs twice"):
        read_tags(labels, images)
    labels.write_text('id,label\n07,red\n')
    with pytest.raises(ValueError, match="'07': ids of several images"):
        read_tags(labels, [*images, images[0].parent / 'cats/07.jpg'])


def test_ids_with_folders_tell_images_apart(tmp_path):
    labels = tmp_path / 'labels.csv'
    labels.write_text('id,label\ncats/1.jpg,cat\ndogs\\1,dog\n2,dog\n')
    tags = read_tags(labels, [tmp_path / name for name in ('cats/1.jpg', 'dogs/1.jpg', 'all/2.jpg', 'all/3.jpg')])
    assert_close(tags[:3], torch.tensor([[1.0, 0], [0, 1], [0, 1]]))
    assert tags[3].isnan().all()


def test_other_tags_are_other_settings(images, tmp_path):
    tags = torch.eye(2).repeat(6, 1)
    run(images, tmp_path / 'out', stop_at=5, tags=tags)
    with pytest.raises(ValueError, match="'tags'"):
        run(images, tmp_path / 'out', tags=1 - tags)


def test_folders_are_drawn_from_equally_often(images):
    crops = Crops([images[:2], images[2:]], torch.arange(12.0)[:, None], steps=1, batch_size=400)
    drawn = crops[0].tags.flatten()
    assert 160 < (drawn < 2).sum() < 240
    assert set(drawn.tolist()) == set(range(12))


def test_an_image_of_several_folders_counts_for_the_last(images):
    folder = images[0].parent
    (folder / 'cats').mkdir()
    for image in images[3:5]:
        image.rename(folder / 'cats' / image.name)
    assert [len(paths) for paths in list_images([folder, folder / 'cats'])] == [10, 2]
    assert [len(paths) for paths in list_images([folder, folder / 'cats'], ['cats/03'])] == [10, 1]


def test_a_resumed_run_equals_an_uninterrupted_one(images, tmp_path, monkeypatch):
    whole, *_ = run(images, tmp_path / 'whole')
    run(images, tmp_path / 'parts', stop_at=12)
    monkeypatch.setattr(training, 'principal_components', None)  # they are those of the state
    with (tmp_path / 'parts/log.jsonl').open('a') as file:
        file.write('{"step": 15, "lo')  # as a killed program or a full disk leaves it
    parts, log, _ = run(images, tmp_path / 'parts')
    assert parts['meta']['step'] == 30
    assert_close(parts['state_dict'], whole['state_dict'], rtol=0, atol=0)
    assert [line['step'] for line in log] == [5, 10, 15, 20, 25, 30]


def test_a_state_of_other_settings_is_refused(images, tmp_path):
    run(images, tmp_path / 'out', stop_at=5)
    with pytest.raises(ValueError, match='lr'):
        run(images, tmp_path / 'out', lr=4e-3)
    teacher = make_teacher()
    nn.init.normal_(teacher.linear.weight)
    recipe = Recipe(steps=30, batch_size=8, crop_size=64, final_crop_size=80, lr=5e-3)
    with pytest.raises(ValueError, match="digest'.*Name another folder"):
        distill(ARCH, [images], teacher, tmp_path / 'out', recipe)
    images[0].rename(images[0].with_name('other.png'))
    with pytest.raises(ValueError, match="images'.*Name another folder"):
        run(list_images([images[0].parent])[0], tmp_path / 'out')
    images[0].with_name('other.png').rename(images[0])
    with pytest.raises(ValueError, match="arch'.*Name another folder"):
        run(images, tmp_path / 'out', arch=dict(ARCH, num_layers=(1, 1, 1, 3)))
    with pytest.raises(ValueError, match="weights'.*Name another folder"):
        run(images, tmp_path / 'out', weights=str(tmp_path / 'out/backbone.pth'))


def test_all_components_restore_the_teachers_logits(images):
    teacher = make_teacher()
    components = principal_components(teacher, images, size=64)
    pixels = load_square(images[0], 64)[None] / 255
    mean = components.of(teacher(pixels)).mean(dim=(2, 3))
    expected = teacher.classifier((pixels - 0.5) / 0.5)
    assert_close(mean @ components.weight.T + components.bias, expected, rtol=1e-3, atol=1e-3)


def test_a_teacher_without_features_is_refused(images):
    teacher = make_teacher()
    nn.init.zeros_(teacher.classifier[0].weight)
    with pytest.raises(ValueError, match='made-up: its features are the same everywhere'):
        principal_components(teacher, images, size=64)


def test_components_are_white_and_sorted(images):
    teacher = make_teacher()
    components = principal_components(teacher, images, size=64, kept=4)
    cells = torch.cat([components.of(teacher(load_square(path, 64)[None] / 255)) for path in images])
    cells = cells.transpose(0, 1).flatten(1)
    assert len(cells) == 4
    assert_close(cells @ cells.T / cells.shape[1], torch.eye(4), rtol=0, atol=1e-3)
    assert (components.spread.diff() < 0).all()


def test_student_and_teacher_see_the_same_crops(images, tmp_path):
    teacher, seen = make_teacher(), []
    recipe = Recipe(steps=9, batch_size=4, crop_size=48, final_crop_size=48)
    crops = Crops([images], torch.arange(12.0)[:, None] / 12, steps=9, batch_size=4)
    run = training._Run(ARCH, teacher, crops, training._Files(tmp_path, recipe, {}, {}))
    teacher.classifier.register_forward_pre_hook(lambda module, args: seen.append(args[0] * 0.5 + 0.5))
    run.student.backbone.register_forward_pre_hook(
        lambda module, args: seen.append(args[0] * run.student.std + run.student.mean)
    )
    losses, tags = run.student.losses, []
    run.student.losses = lambda *args: tags.append(args[2]) or losses(*args)
    run.train_step(crops[0], 0)
    assert (crops[0].shares < 1).any()
    assert_close(tags, [crops[0].cut(96)[1]])
    assert [x.shape[-1] for x in seen] == [96, 48]
    assert_close(nn.functional.avg_pool2d(seen[0], 16), nn.functional.avg_pool2d(seen[1], 8), rtol=0, atol=0.02)


def test_crops_lie_where_their_boxes_are():
    ramp = torch.arange(10.0).repeat(10, 1)[None, None]  # grows to the right
    boxes = torch.tensor([[0, 0, 1, 1], [0.5, 0, 1, 1], [1, 0, 0.5, 1]])
    across = crop(ramp.expand(3, -1, -1, -1), boxes, 5)[:, 0]
    assert_close(across[:, 0], torch.tensor([[0.5, 2.5, 4.5, 6.5, 8.5], [5, 6, 7, 8, 9], [9, 8, 7, 6, 5]]))
    assert_close(across, across[:, :1].expand(-1, 5, -1))
    down = crop(ramp.transpose(2, 3), torch.tensor([[0, 0.2, 1, 0.6]]), 4)[0, 0]
    assert_close(down[:, 0], torch.arange(2.0, 6.0))


def test_crops_change_colour_and_are_mixed_as_their_tags_are():
    images = torch.tensor([10, 20, 40], dtype=torch.uint8).view(3, 1, 1, 1).expand(-1, 3, 32, 32)
    tags = torch.tensor([[1.0], [0.0], [torch.nan]])
    colours = torch.tensor([[0.5, 1, 1], [2, 1, 1], [1, 1, 1]])
    boxes = torch.tensor([0, 0, 1, 1.0]).expand(3, -1)
    crops, mixed = Batch(images, tags, boxes, colours, torch.tensor([1.0, 0.75, 1.0])).cut(32)
    assert_close(crops[:, 0, 0, 0] * 255, torch.tensor([5.0, 0.75 * 40 + 0.25 * 5, 40.0]))
    assert_close(mixed[:2, 0], torch.tensor([1.0, 0.25]))
    assert mixed[2].isnan()
    _, unknown = Batch(images, tags, boxes, colours, torch.tensor([0.5, 1, 1])).cut(32)
    assert unknown[:, 0].isnan().tolist() == [True, False, True]  # of two images, one with unknown classes


def test_half_of_the_crops_are_mixed(images):
    shares = Crops([images], NO_TAGS, steps=1, batch_size=400)[0].shares
    assert 0.4 < (shares < 1).float().mean() < 0.6
    assert 0.4 < shares[shares < 1].mean() < 0.6
    assert shares.min() >= 0


def test_a_step_always_has_the_same_crops(images):
    crops = [Crops([images], NO_TAGS, steps=20, batch_size=8) for _ in range(2)]
    assert_close(crops[0][7], crops[1][7], rtol=0, atol=0)
    assert not torch.equal(crops[0][7].boxes, crops[0][8].boxes)


def test_boxes_have_the_asked_area_and_shape(images):
    boxes = Crops([images], NO_TAGS, steps=1, batch_size=400, area=(0.2, 0.5))[0].boxes
    across, down = (boxes[:, 2] - boxes[:, 0]).abs(), boxes[:, 3] - boxes[:, 1]
    area, ratio = across * down, across / down * (90 / 70)
    assert ((area > 0.19) & (area < 0.51)).all()
    assert ((ratio > 0.74) & (ratio < 1.34)).all()
    assert ((boxes >= 0) & (boxes <= 1 + 1e-6)).all()
    assert 0.4 < (boxes[:, 2] < boxes[:, 0]).float().mean() < 0.6


def test_half_precision_learns(images, tmp_path):
    recipe = Recipe(steps=30, batch_size=8, crop_size=64, final_crop_size=80, lr=5e-3, amp=True)
    distill(ARCH, [images], make_teacher(), tmp_path, recipe, num_workers=0, log=lambda line: None)
    log = [json.loads(line) for line in (tmp_path / 'log.jsonl').open()]
    assert log[-1]['loss'] < 0.6 * log[0]['loss']


def test_excluded_images_are_left_out(images):
    kept = list_images([images[0].parent], exclude=['00', '07'])[0]
    assert {path.stem for path in images} - {path.stem for path in kept} == {'00', '07'}
    (images[0].parent / 'cats').mkdir()
    images[3].rename(images[0].parent / 'cats/Zoë 3.png')
    for img_id in ('cats/Zoë 3', 'Zoë 3.png', 'Zoe\u0308 3'):  # below the folder, with suffix, decomposed
        kept = list_images([images[0].parent], [img_id])[0]
        assert [path.stem for path in list_images([images[0].parent])[0] if path not in kept] == ['Zoë 3']
    with pytest.raises(ValueError, match='all 12 images .* excluded'):
        list_images([images[0].parent], exclude=[path.stem for path in list_images([images[0].parent])[0]])


def test_a_teacher_that_ends_differently_is_refused():
    with pytest.raises(ValueError, match='vit'):
        Teacher(
            nn.Sequential(nn.Conv2d(3, 4, 16, stride=16), nn.Flatten(), nn.Linear(256, 5)),
            (0.5,) * 3,
            (0.5,) * 3,
            'vit',
        )
    with pytest.raises(ValueError, match='elsewhere/resnet'):
        build_teacher('elsewhere/resnet')


@pytest.mark.parametrize('name', ['torchvision/mobilenet_v2', 'timm/tf_efficientnet_lite0', 'timm/resnet10t'])
def test_classifiers_of_libraries_are_teachers(name, tmp_path):
    library, _, model = name.partition('/')
    module = pytest.importorskip('timm' if library == 'timm' else 'torchvision.models')
    classifier = module.create_model(model) if library == 'timm' else module.get_model(model)
    torch.save(classifier.state_dict(), tmp_path / 'weights.pth')
    teacher = build_teacher(name, str(tmp_path / 'weights.pth'))
    assert teacher(torch.rand(1, 3, 96, 64)).shape == (1, teacher.num_channels, 3, 2)


def test_classifiers_of_mmpretrain_are_teachers_where_it_can_be_imported(tmp_path):
    try:
        import mmpretrain.models  # noqa: F401
    except (ImportError, TypeError):  # beside transformers 5, or without any
        with pytest.raises(ModuleNotFoundError, match='transformers<5'):
            build_teacher('mmpretrain/resnet18_8xb32_in1k', 'none.pth')
        return
    classifier = mmpretrain.get_model('resnet18_8xb32_in1k', pretrained=False)
    torch.save(classifier.state_dict(), tmp_path / 'weights.pth')
    teacher = build_teacher('mmpretrain/resnet18_8xb32_in1k', str(tmp_path / 'weights.pth'))
    image = torch.rand(1, 3, 96, 64)
    expected = classifier.eval().extract_feat((image - teacher.mean) / teacher.std, stage='backbone')[-1]
    assert_close(teacher(image), expected, rtol=1e-4, atol=1e-4)
    assert_close(teacher.mean.flatten() * 255, torch.tensor([123.675, 116.28, 103.53]), rtol=0, atol=1e-3)


def test_the_learning_rate_rises_and_falls():
    recipe = Recipe(steps=100, warmup=0.1)
    assert rate(0, recipe) == pytest.approx(0.1)
    assert rate(9, recipe) == rate(10, recipe) == 1
    assert rate(55, recipe) == pytest.approx(0.5)
    assert rate(100, recipe) == pytest.approx(0)


def test_neighbours_of_colours_are_found(images):
    features = pooled_features(lambda x: x, images, size=32)
    kind = torch.arange(12) % 3
    assert knn_accuracy(features[:9], kind[:9], features[9:], kind[9:], k=3) == 1
    assert knn_accuracy(features[:9], kind[:9], features[9:], (kind[9:] + 1) % 3, k=3) == 0


def test_an_image_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / 'cut.jpg').write_bytes(b'\xff\xd8 no more')
    with pytest.raises(ValueError, match=r'cut\.jpg'):
        load_square(tmp_path / 'cut.jpg', 8)


def test_an_unknown_teacher_is_named():
    pytest.importorskip('timm')
    with pytest.raises(ValueError, match='timm/efficientnet_lite9'):
        build_teacher('timm/efficientnet_lite9', 'none.pth')
