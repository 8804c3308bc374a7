import json
import sys
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmseg.registry import DATASETS
from PIL import Image
from pycocotools import mask as mask_api
from pycocotools.coco import COCO

from afa_mmseg.datasets.preparation.coco import prepare_coco
from tests.datasets.preparation.coco_files import CLASSES, annotation, box, image, img_id, runs, write_coco
from tests.refusal import refused

CONFIG = Path(__file__).parents[3] / 'configs/_base_/datasets/coco_image_level.py'


@pytest.fixture
def lines():
    """Lines of the converter's report."""
    return []


@pytest.fixture
def prepare(tmp_path, lines):
    """Prepare the split val of `tmp_path` in this process."""
    return lambda **options: prepare_coco(
        tmp_path, **{'splits': ['val'], 'num_workers': 0, 'report': lines.append, **options}
    )


def read(root, number, split='val'):
    return np.array(Image.open(root / f'SegmentationClass/{split}2014/{img_id(number, split)}.png'))


def read_labels(root, split='val'):
    return json.loads((root / f'labels_{split}2014.json').read_text())


def read_list(root, split='val'):
    return (root / f'ImageSets/{split}2014.txt').read_text().split()


# Masks


def random_annotations(rng, img, height, width, first):
    """Stars of one or two parts, some beyond the border, that overlap; then a crowd, also as compressed runs."""
    annotations = []
    for number in range(first, first + 12):
        parts = []
        for _ in range(rng.integers(1, 3)):
            radius = rng.uniform(2, 0.4 * height, 9)
            angle = np.sort(rng.uniform(0, 2 * np.pi, 9))
            x, y = rng.uniform(0, width) + radius * np.cos(angle), rng.uniform(0, height) + radius * np.sin(angle)
            parts.append(np.stack([x, y], axis=1).round(2).flatten().tolist())
        annotations.append(annotation(number, img, CLASSES[rng.integers(1, 81)], parts))
    crowd = runs((rng.uniform(size=(height, width)) < 0.6).astype(np.uint8))
    small = (rng.uniform(size=(height, width)) < 0.05).astype(np.uint8)
    packed = mask_api.encode(np.asfortranarray(small))
    annotations.append(annotation(first + 12, img, CLASSES[rng.integers(1, 81)], crowd, iscrowd=1))
    packed = dict(size=packed['size'], counts=packed['counts'].decode())
    return [*annotations, annotation(first + 13, img, CLASSES[rng.integers(1, 81)], packed)]


def expected_mask(coco, img, crowd_rule):
    """Ask each pixel who covers it: objects before crowds, then fewer pixels, then the higher id."""
    ids = coco.getAnnIds(imgIds=img)
    regions = [(coco.loadAnns(i)[0], coco.annToMask(coco.loadAnns(i)[0])) for i in ids]
    if crowd_rule == 'skip':
        regions = [(item, mask) for item, mask in regions if not item['iscrowd']]
    regions.sort(key=lambda pair: (pair[0]['iscrowd'], pair[1].sum(), -pair[0]['id']))
    covered = np.stack([mask for _, mask in regions]).astype(bool)
    rank_of_category = {number: rank for rank, number in enumerate(sorted(coco.cats), 1)}
    values = np.array(
        [
            255 if item['iscrowd'] and crowd_rule == 'ignore' else rank_of_category[item['category_id']]
            for item, _ in regions
        ]
    )
    return np.where(covered.any(axis=0), values[covered.argmax(axis=0)], 0)


@pytest.mark.parametrize('crowd', ['class', 'ignore', 'skip'])
def test_masks_agree_with_pycocotools_pixel_for_pixel(tmp_path, prepare, crowd):
    rng = np.random.default_rng(0)
    images = [image(number, 60 + number, 90 - number) for number in range(10)]
    annotations = [
        item
        for number in range(10)
        for item in random_annotations(rng, number, 60 + number, 90 - number, first=100 * number + 1)
    ]
    path = write_coco(tmp_path, images, annotations)
    prepare(crowd=crowd)
    coco = COCO(str(path))
    for number in range(10):
        mask = read(tmp_path, number)
        assert mask.tolist() == expected_mask(coco, number, crowd).tolist()
        assert len(np.unique(mask)) > 8  # overlapping objects do not hide all others


def test_overlap_and_crowd_by_hand(tmp_path, prepare):
    annotations = [
        annotation(7, 1, 'dog', [box(1, 0, 3, 1)]),
        annotation(3, 1, 'person', [box(0, 0, 4, 2)]),
        annotation(8, 1, 'cat', [box(0, 1, 2, 2)]),  # as large as the dog's, but apart
        annotation(9, 1, 'cup', [box(2, 0, 4, 1)]),  # as large as the dog's: the higher id is seen
        annotation(2, 1, 'car', runs(np.array([[1, 1, 1, 1, 1, 0], [0] * 6, [0, 0, 0, 0, 1, 0]])), iscrowd=1),
    ]
    write_coco(tmp_path, [image(1, 3, 6)], annotations)
    prepare()
    person, car, cat, dog, cup = (CLASSES.index(name) for name in ('person', 'car', 'cat', 'dog', 'cup'))
    assert read(tmp_path, 1).tolist() == [
        [person, dog, cup, cup, car, 0],
        [cat, cat, person, person, 0, 0],
        [0, 0, 0, 0, car, 0],
    ]


def test_outlines_that_draw_nothing_count_for_the_label(tmp_path, prepare):
    annotations = [
        annotation(1, 1, 'dog', [box(0, 0, 4, 4), [5, 5, 9, 9]]),
        annotation(2, 1, 'cup', [[1, 1, 9, 1]]),
        annotation(3, 1, 'car', [box(-9, 2, -1, 8)]),
        annotation(4, 1, 'cat', []),
    ]
    write_coco(tmp_path, [image(1)], annotations)
    prepare()
    assert np.bincount(read(tmp_path, 1).flatten()).tolist() == [12 * 16 - 16, *[0] * 16, 16]
    assert read_labels(tmp_path) == {img_id(1): ['car', 'cat', 'dog', 'cup']}


# Labels and lists


def crowded_split(root, split='val'):
    """Images with an object and a crowd, a crowd only, and nothing."""
    crowd = runs(np.ones((12, 16), np.uint8))
    annotations = [
        annotation(1, 3, 'toothbrush', [box(0, 0, 8, 8)]),
        annotation(2, 3, 'toothbrush', [box(8, 0, 9, 8)]),
        annotation(3, 3, 'person', crowd, iscrowd=1),
        annotation(4, 2, 'person', crowd, iscrowd=1),
    ]
    write_coco(root, [image(number, split=split) for number in (3, 1, 2)], annotations, split)


@pytest.mark.parametrize(
    ('crowd', 'second', 'third', 'pixels'),
    [
        ('class', ['person'], ['person', 'toothbrush'], {1, 80}),
        ('ignore', ['person'], ['person', 'toothbrush'], {255, 80}),
        ('skip', [], ['toothbrush'], {0, 80}),
    ],
)
def test_crowd_rules(tmp_path, prepare, crowd, second, third, pixels):
    crowded_split(tmp_path)
    prepare(crowd=crowd)
    assert read_labels(tmp_path) == {img_id(1): [], img_id(2): second, img_id(3): third}
    assert set(np.unique(read(tmp_path, 3))) == pixels
    assert read_list(tmp_path) == [img_id(2), img_id(3)][-bool(second) - 1 :]


@pytest.mark.parametrize(('options', 'listed'), [({}, [2, 3]), (dict(unannotated='keep'), [1, 2, 3])])
def test_lists_hold_the_images_with_an_annotation_unless_all_are_wanted(tmp_path, prepare, options, listed):
    split = 'train'
    # The rule that leaves 82 081 of 82 783 and 40 137 of 40 504 on the official files. A crowd is an annotation, too.
    crowded_split(tmp_path, split)
    prepare(splits=[split], **options)
    assert read_list(tmp_path, split) == [img_id(number, split) for number in listed]
    assert read(tmp_path, 1, split).max() == 0
    assert read_labels(tmp_path, split)[img_id(1, split)] == []


def test_the_config_reads_what_was_written(tmp_path, prepare):
    for split in ('train', 'val'):
        crowded_split(tmp_path, split)
    prepare(splits=['train', 'val'])
    config = Config.fromfile(CONFIG)
    train, val = (
        DATASETS.build({**config[name].dataset, 'data_root': str(tmp_path)})
        for name in ('train_dataloader', 'val_dataloader')
    )
    assert [np.flatnonzero(train[i]['data_samples'].gt_label).tolist() for i in range(len(train))] == [[0], [0, 79]]
    assert [sorted(val[i]['data_samples'].gt_sem_seg.data.unique().tolist()) for i in range(2)] == [[1], [1, 80]]


def test_training_on_a_folder_that_is_not_prepared_names_the_converter(tmp_path):
    crowded_split(tmp_path, 'train')
    dataset = {**Config.fromfile(CONFIG).train_dataloader.dataset, 'data_root': str(tmp_path)}
    with pytest.raises(FileNotFoundError, match=r'(?s)train2014.txt.*Create it: python .*prepare_coco.py'):
        DATASETS.build(dataset)
    with pytest.raises(FileNotFoundError, match=r'(?s)no such folder: nowhere.*cocodataset.org.*prepare_coco.py'):
        DATASETS.build({**dataset, 'data_root': 'nowhere'})


# Images


def write_colours(root, number, mode):
    """An image of one colour, dark for grey modes and reddish for others, in the format that carries the mode."""
    colour = {'L': 60, 'CMYK': (0, 200, 180, 20), 'RGBA': (200, 60, 70, 99)}[mode]
    img = Image.new(mode, (16, 12), colour)
    name = f'{img_id(number)}.jpg'
    img.save(root / 'val2014' / name, format='JPEG' if mode in ('L', 'CMYK') else 'PNG')


@pytest.mark.parametrize('mode', ['L', 'CMYK', 'RGBA'])
def test_grey_and_four_channel_images_load_as_three_channels(tmp_path, prepare, mode):
    write_coco(tmp_path, [image(1)], [annotation(1, 1, 'dog', [box(0, 0, 8, 8)])])
    write_colours(tmp_path, 1, mode)
    prepare()
    config = Config.fromfile(CONFIG)
    dataset = DATASETS.build({**config.val_dataloader.dataset, 'data_root': str(tmp_path)})
    pixels = dataset[0]['inputs']
    assert pixels.shape == (3, 12, 16)
    blue, green, red = pixels.float().mean(dim=(1, 2)).tolist()
    if mode in ('CMYK', 'RGBA'):
        assert red > 150
        assert max(blue, green) < 110
    else:
        assert [blue, green, red] == pytest.approx([60, 60, 60], abs=1)


def test_unusable_images_are_all_named_and_the_rest_is_drawn(tmp_path, prepare):
    write_coco(tmp_path, [image(number, 96, 128) for number in range(5)], [annotation(1, 4, 'dog', [box(0, 0, 8, 8)])])
    folder = tmp_path / 'val2014'
    whole = (folder / f'{img_id(0)}.jpg').read_bytes()
    (folder / f'{img_id(0)}.jpg').write_bytes(whole[: len(whole) * 2 // 3])
    (folder / f'{img_id(1)}.jpg').write_text('<html>Not found</html>')
    (folder / f'{img_id(2)}.jpg').write_bytes(b'')
    Image.new('RGB', (128, 95)).save(folder / f'{img_id(3)}.jpg')
    names = [f'{img_id(number)}.jpg: not a whole image' for number in range(3)]
    refused(
        prepare, words=['4 of 5', *names, f'{img_id(3)}.jpg: has 128 x 95', 'http://images.cocodataset.org/val2014']
    )
    written = sorted(path.name for path in tmp_path.rglob('*') if path.parent != folder and path.is_file())
    assert written == [f'{img_id(4)}.png', 'instances_val2014.json', 'rules.json']

    for number in range(4):
        (folder / f'{img_id(number)}.jpg').write_bytes(whole)
    assert prepare()
    assert read_list(tmp_path) == [img_id(4)]


# Again, and with other settings


def snapshot(root):
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in root.rglob('*') if path.is_file()}


def test_a_second_run_does_nothing_and_reports_so(tmp_path, prepare, lines):
    crowded_split(tmp_path)
    assert prepare() is True
    before = snapshot(tmp_path)
    lines.clear()
    assert prepare() is False
    assert snapshot(tmp_path) == before
    listed = '2 images in ImageSets/val2014.txt, 1 without annotation left out'
    assert lines == [f'val2014: 3 masks, 0 of them new; {listed}']


def test_what_is_missing_is_made_again(tmp_path, prepare, lines):
    crowded_split(tmp_path)
    prepare()
    before = {path: content for path, (_, content) in snapshot(tmp_path).items()}
    masks = tmp_path / 'SegmentationClass/val2014'
    (masks / f'{img_id(2)}.png').rename(masks / f'.tmp-999999999-{img_id(2)}.png')  # as a killed program leaves it
    (tmp_path / 'labels_val2014.json').write_text('{}')
    (tmp_path / 'ImageSets/val2014.txt').unlink()
    assert prepare() is True
    assert {path: content for path, (_, content) in snapshot(tmp_path).items()} == before
    assert 'val2014: 3 masks, 1 of them new' in lines[-1]


def test_masks_that_were_made_by_other_rules_are_not_mixed(tmp_path, prepare):
    crowded_split(tmp_path)
    prepare()
    before = snapshot(tmp_path)
    with pytest.raises(FileExistsError, match=r'(?s)made by other rules.*"class".*this run:.*"ignore".*Move or delete'):
        prepare(crowd='ignore')
    annotations = tmp_path / 'annotations/instances_val2014.json'
    content = annotations.read_text()
    annotations.write_text(content + '\n')
    with pytest.raises(FileExistsError, match='made by other rules'):
        prepare()
    annotations.write_text(content)
    assert {path: content for path, (_, content) in snapshot(tmp_path).items()} == {
        path: content for path, (_, content) in before.items()
    }
    (tmp_path / 'SegmentationClass/val2014/rules.json').unlink()
    with pytest.raises(FileExistsError, match=r'rules.json there: none'):
        prepare()


# Wrong annotation files


@pytest.mark.parametrize(
    ('change', 'word'),
    [
        (lambda data: data.pop('categories'), 'categories'),
        (lambda data: data.update(images=[]), '0 images'),
        (lambda data: data['categories'].pop(16), "'horse' in place of 'dog'"),
        (lambda data: data['images'][0].update(file_name='../x.jpg'), "'../x.jpg'"),
        (lambda data: data['annotations'][0].update(image_id=77), '1 annotations'),
        (lambda data: data['annotations'][0].update(category_id=12), '12'),
    ],
)
def test_wrong_annotations_are_named(tmp_path, prepare, change, word):
    path = write_coco(tmp_path, [image(1)], [annotation(5, 1, 'dog', [box(0, 0, 8, 8)])])
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    refused(prepare, words=['instances_val2014.json', word])
    path.write_text('{"images": [')
    refused(prepare, words=['instances_val2014.json'])
    assert not (tmp_path / 'SegmentationClass').exists()


@pytest.mark.parametrize(
    'outline',
    [
        [[1, 2, 3, 'x', 4, 5]],
        runs(np.ones((13, 16), np.uint8)),
        dict(size=[12, 16], counts=[9, 200]),
        dict(size=[12, 16]),
    ],
)
def test_wrong_outlines_are_named_with_image_and_annotation(tmp_path, prepare, outline):
    write_coco(tmp_path, [image(1)], [annotation(5, 1, 'dog', outline)])
    with pytest.raises(ValueError, match='COCO_val2014_000000000001.jpg, annotation 5: `segmentation`'):
        prepare()
    assert not (tmp_path / 'ImageSets').exists()


# Wrong folders and options


def test_what_is_not_there_is_named_with_where_to_get_it(tmp_path, prepare):
    with pytest.raises(
        FileNotFoundError, match=r'(?s)images of val2014: no such folder: .*val2014.*Get val2014.zip from'
    ):
        prepare()
    (tmp_path / 'val2014').mkdir()
    with pytest.raises(FileNotFoundError, match=r'(?s)annotations of val2014: .*annotations_trainval2014.zip'):
        prepare()
    write_coco(tmp_path, [image(1), image(2)], [])
    (tmp_path / f'val2014/{img_id(2)}.jpg').unlink()
    with pytest.raises(FileNotFoundError, match=f"images of val2014: 1 of 2 ids have no .jpg file.*'{img_id(2)}'"):
        prepare()
    with pytest.raises(FileNotFoundError, match=r'COCO_ROOT: no such folder: .*nowhere'):
        prepare_coco(tmp_path / 'nowhere')


def test_without_pycocotools_the_remedy_is_named(prepare, monkeypatch):
    for name in ('pycocotools', 'pycocotools.mask', 'pycocotools.coco'):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ModuleNotFoundError, match=r'pycocotools.*pip install "afa-mmseg\[converters\]"'):
        prepare()
