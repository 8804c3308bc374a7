"""Every shipped config is built, trains one step and predicts once, on inputs of its own kind but small."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS
from mmengine.structures import PixelData
from mmseg.registry import DATASETS, METRICS, MODELS, TRANSFORMS

from tests.datasets.files import write_template
from tests.reference_network import at_iteration, make_sample

CONFIGS = Path(__file__).parents[1] / 'configs'
SHIPPED = sorted(path for name in ('afa', 'toco') for path in (CONFIGS / name).glob('*.py'))
VOC = CONFIGS / 'afa/afa_mit-b1_voc.py'
TOCO = CONFIGS / 'toco/toco_deit-b_voc.py'
ABLATIONS = [(p, base) for base in (VOC, TOCO) for p in SHIPPED if p.stem.startswith(f'{base.stem}_')]
SIZE = dict(ori_shape=(64, 64), img_shape=(64, 64))


def load(path):
    """Load a config for a network without pretrained weights."""
    config = Config.fromfile(path)
    config.model.backbone.init_cfg = None
    if 'stem' in config.model.backbone:
        config.model.backbone.stem.init_cfg = None
    return config


def shrink(config):
    """Make the network of a config cheap: two blocks a stage, or narrow ones, and the image of one crop small."""
    backbone, head = config.model.backbone, config.model.decode_head
    if backbone.type in ('AttnVisionTransformer', 'HybridVisionTransformer'):
        backbone.arch = dict(embed_dims=24, num_layers=12, num_heads=6)
        head.in_channels = [24] * len(head.in_channels)
    elif backbone.type != 'AttentionBackbone':
        backbone.num_layers = (1, 1, 1, 2)
    if config.model.type == 'ToCo':
        config.model.train_cfg.local_size = 32
    config.model.data_preprocessor.size = (64, 64)
    return config


def make_batch(num_classes):
    count = num_classes - 1
    samples = [make_sample([i % count, (i + 2) % count], count, img_box=(0, 64, 8 * i, 64), **SIZE) for i in range(2)]
    for sample in samples:
        sample.gt_sem_seg = PixelData(data=torch.randint(0, num_classes, (1, 64, 64)))
        for view in ('view2', 'view3'):
            sample.set_data({view: torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8)})
    return dict(inputs=[*torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)], data_samples=samples)


def test_configs_are_found():
    assert len(SHIPPED) >= 23
    assert VOC in SHIPPED


@pytest.mark.parametrize('path', SHIPPED, ids=lambda path: path.stem)
def test_config_trains_and_predicts(path):
    config = shrink(load(path))
    model = revert_sync_batchnorm(MODELS.build(config.model))
    ends = [value for key, value in config.model.get('train_cfg', {}).items() if key.endswith('_until')]
    last_phase = 1 + max((end for end in ends if end is not None), default=0)
    at_iteration(last_phase)
    wrapper = build_optim_wrapper(model, config.optim_wrapper)
    before = {name: p.clone() for name, p in model.named_parameters()}
    batch = make_batch(config.model.decode_head.num_classes)
    log = model.train().train_step(batch, wrapper)
    assert all(value.isfinite().all() for value in log.values())
    assert any(not torch.equal(p, before[name]) for name, p in model.named_parameters())
    (first, _) = model.eval().test_step(batch)
    assert first.pred_sem_seg.data.shape == (1, 64, 64)
    assert first.pred_sem_seg.data.max() < config.model.decode_head.num_classes


@pytest.mark.parametrize('path', SHIPPED, ids=lambda path: path.stem)
def test_config_builds_everything_else(path):
    config = load(path)
    parameter = torch.nn.Parameter(torch.zeros(1))
    for scheduler in config.param_scheduler:
        PARAM_SCHEDULERS.build({**scheduler, 'optimizer': torch.optim.SGD([parameter], lr=1.0)})
    for evaluator in (config.val_evaluator, config.test_evaluator):
        for metric in evaluator if isinstance(evaluator, list) else [evaluator]:
            METRICS.build(metric)
    for loader in (config.train_dataloader, config.val_dataloader, config.test_dataloader):
        dataset = DATASETS.get(loader.dataset.type)
        assert dataset is not None
        if loader is not config.train_dataloader:  # one rule for EXIF orientations: docs/data.md
            color_type = loader.dataset.pipeline[0].get('color_type', 'color')
            assert (color_type == 'color') == getattr(dataset, 'exif_orientation', False)
        for transform in loader.dataset.pipeline:
            TRANSFORMS.build(transform)
    assert config.train_cfg.max_iters == config.param_scheduler[0].max_iters


@pytest.mark.parametrize(('path', 'base'), ABLATIONS, ids=lambda path: path.stem)
def test_an_ablation_differs_from_the_published_model_in_one_place(path, base):
    changed = set(flatten(load(path).model).items()) ^ set(flatten(load(base).model).items())
    places = {'.'.join(key.split('.')[:2]) if '.loss_' in key or '.crf' in key else key for key, _ in changed}
    if path.stem.endswith('_aligned'):  # in its data, and nowhere else
        assert not places
        return
    if len(places) > 1:  # all settings of one module
        places = {key.rsplit('.', 1)[0] for key in places}
    assert len(places) == 1, changed


def flatten(config, prefix=''):
    flat = {}
    for key, value in config.items():
        if isinstance(value, dict):
            flat.update(flatten(value, f'{prefix}{key}.'))
        else:
            flat[f'{prefix}{key}'] = str(value)
    return flat


@pytest.mark.parametrize('name', ['voc', 'coco'])
def test_the_regularised_loss_has_its_published_weight(name):
    changed = flatten(load(CONFIGS / f'afa/afa_mit-b1_{name}_reg.py').model)
    base = flatten(load(CONFIGS / f'afa/afa_mit-b1_{name}.py').model)
    energy = {'decode_head.loss_energy.type': 'DenseEnergyLoss', 'decode_head.loss_energy.loss_weight': '0.01'}
    assert {key: value for key, value in changed.items() if base.get(key) != value} == energy


@pytest.mark.parametrize('masks', [False, True])
def test_the_template_for_own_images_follows_its_first_lines(tmp_path, masks):
    lines = dict(data_root='mine', label_file='mine.csv', num_classes=9, max_iters=400, long_side=256)
    write_template(tmp_path / 'mine.py', **lines, mask_dir='drawn' if masks else '')
    config = Config.fromfile(tmp_path / 'mine.py')
    assert config.model.decode_head.num_classes == 9
    assert config.model.train_cfg == dict(cls_only_until=40, cam_label_until=120)
    assert config.param_scheduler[0].warmup_iters == 30
    assert config.train_cfg == dict(type='UpdateTrainLoop', max_iters=400, val_interval=40)
    for loader, split in (('train', 'train.txt'), ('val', 'val.txt'), ('test', 'val.txt')):
        dataset = config[f'{loader}_dataloader'].dataset
        assert (dataset.data_root, dataset.label_file, dataset.ann_file) == ('mine', 'mine.csv', split)
        assert dataset.data_prefix.seg_map_path == ('drawn' if masks else '')
        steps = [step.type for step in dataset.pipeline]
        assert ('LoadMask' in steps) == (masks and loader != 'train')
        assert dataset.pipeline[1].scale == (256, 256)
    assert config.train_dataloader.dataset.pipeline[-2].crop_size == config.model.data_preprocessor.size == (256, 256)
    assert len(config.val_evaluator) == (4 if masks else 1)
    assert config.test_evaluator.format_only == (not masks)
    assert config.default_hooks.checkpoint.save_best == ('mIoU' if masks else 'cls/f1')


def test_the_template_as_it_is_has_the_published_schedule():
    config, published = load(CONFIGS / 'afa/afa_mit-b1_custom.py'), load(VOC)
    assert config.param_scheduler == published.param_scheduler
    assert config.train_cfg == published.train_cfg
    changed = set(flatten(config.model).items()) ^ set(flatten(published.model).items())
    assert {key for key, _ in changed} == {'decode_head.num_classes'}
