"""ShapesVOC: generator and data set."""

import hashlib
import json
import xml.etree.ElementTree as ET
import zlib

import numpy as np
import pytest
from mmengine import Config
from mmseg.registry import DATASETS
from numpy.random import RandomState
from PIL import Image

from afa_mmseg.datasets import ShapesVOCDataset, read_voc_xml
from afa_mmseg.datasets.shapes_drawing import SHAPES, draw_scene
from afa_mmseg.datasets.shapes_generator import SETTINGS_FILE, class_mask, make_shapes_voc

CLASSES = ShapesVOCDataset.METAINFO['classes']
SMALL = dict(num_train=12, num_val=4, size=64, seed=5)


@pytest.fixture(scope='module')
def shapes_root(tmp_path_factory):
    root = tmp_path_factory.mktemp('data') / 'ShapesVOC'
    assert make_shapes_voc(root, **SMALL)
    return root


def hashes(root):
    files = sorted(path for path in root.rglob('*') if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def scenes(count, size=64):
    return [draw_scene(RandomState([9, 0, i]), size) for i in range(count)]


def test_layout_is_that_of_voc(shapes_root):
    splits = {s: (shapes_root / f'ImageSets/Segmentation/{s}.txt').read_text().split() for s in ('train_aug', 'val')}
    assert [len(ids) for ids in splits.values()] == [12, 4]
    ids = {img_id for split in splits.values() for img_id in split}
    assert len(ids) == 16
    for folder, suffix in (('JPEGImages', '.jpg'), ('Annotations', '.xml'), ('SegmentationClassAug', '.png')):
        assert {path.name for path in (shapes_root / folder).iterdir()} == {i + suffix for i in ids}
    assert json.loads((shapes_root / SETTINGS_FILE).read_text()) == dict(version=2, **SMALL)


def test_masks_boxes_and_images_agree_with_the_xml(shapes_root):
    for xml in (shapes_root / 'Annotations').iterdir():
        mask = Image.open(shapes_root / 'SegmentationClassAug' / f'{xml.stem}.png')
        assert mask.mode == 'P'
        assert mask.getpalette()[:6] == [0, 0, 0, 44, 182, 190]
        assert Image.open(shapes_root / 'JPEGImages' / f'{xml.stem}.jpg').size == mask.size == (64, 64)
        mask = np.asarray(mask)
        names = read_voc_xml(xml)
        assert {CLASSES[i] for i in np.unique(mask) if 0 < i < 255} == set(names)
        assert 1 <= len(names) <= 3
        for item in ET.parse(xml).getroot().findall('object'):
            xmin, ymin, xmax, ymax = (int(item.findtext(f'bndbox/{k}')) for k in ('xmin', 'ymin', 'xmax', 'ymax'))
            box = mask[ymin - 1 : ymax, xmin - 1 : xmax] == CLASSES.index(item.findtext('name'))
            assert box.any()
            touches = min(xmin, ymin) == 1 or max(xmax, ymax) == 64
            assert item.findtext('truncated') == str(int(touches))


def test_objects_differ_in_number_class_and_size_within_bounds():
    assert tuple(SHAPES) == CLASSES[1:]
    drawn = scenes(60)
    counts = [len(scene.names) for scene in drawn]
    assert set(counts) == {1, 2, 3}
    assert {name for scene in drawn for name in scene.names} == set(CLASSES[1:])
    for scene in drawn:
        for k in range(1, len(scene.names) + 1):
            rows, cols = np.nonzero(scene.instances == k)
            assert len(rows) >= 0.03 * 64 * 64
            assert max(np.ptp(rows), np.ptp(cols)) + 1 <= 0.75 * 64 + 2


def test_outline_is_one_pixel_of_255():
    scene = scenes(1)[0]
    mask = class_mask(scene)
    void = mask == 255
    assert 0.01 < void.mean() < 0.2
    index = np.array([0] + [CLASSES.index(name) for name in scene.names])
    assert np.array_equal(mask[~void], index[scene.instances[~void]])
    # Void pixels sit directly above or left of another object, or of the background.
    rows, cols = np.nonzero(void)
    below = scene.instances[np.minimum(rows + 1, 63), cols]
    right = scene.instances[rows, np.minimum(cols + 1, 63)]
    here = scene.instances[rows, cols]
    assert ((below != here) | (right != here)).all()


def test_a_drawn_image_is_the_same_everywhere():
    scene = draw_scene(RandomState([0, 0, 5]), 64)
    assert scene.names == ['star', 'disc', 'triangle']
    assert zlib.crc32(scene.instances.tobytes()) == 3184765111
    expected = [[96, 150, 114], [178, 8, 70], [52, 61, 54], [87, 65, 111]]
    assert np.abs(scene.image[[0, 20, 40, 63], [5, 30, 25, 60]] - np.array(expected)).max() <= 1


def test_same_seed_same_files_and_other_seed_other_files(shapes_root, tmp_path):
    make_shapes_voc(tmp_path / 'again', **SMALL)
    assert hashes(tmp_path / 'again') == hashes(shapes_root)
    make_shapes_voc(tmp_path / 'other', **{**SMALL, 'seed': 6})
    changed, same = hashes(tmp_path / 'other'), hashes(shapes_root)
    assert changed['JPEGImages/train_000000.jpg'] != same['JPEGImages/train_000000.jpg']


def test_more_images_leave_the_first_ones_as_they_are(shapes_root, tmp_path):
    make_shapes_voc(tmp_path / 'more', **{**SMALL, 'num_train': 13, 'num_val': 5})
    more = hashes(tmp_path / 'more')
    images = {name: value for name, value in hashes(shapes_root).items() if name.endswith(('.jpg', '.png', '.xml'))}
    assert images.items() <= more.items()


def test_data_set_reads_what_the_generator_wrote(shapes_root, request):
    config = Config.fromfile(request.config.rootpath / 'configs/_base_/datasets/shapes_voc.py')
    train = DATASETS.build({**config.train_dataloader.dataset, 'data_root': str(shapes_root)})
    val = DATASETS.build({**config.val_dataloader.dataset, 'data_root': str(shapes_root)})
    assert (len(train), len(val)) == (12, 4)
    sample = train[0]
    assert sample['inputs'].shape == (3, 128, 128)
    assert 'gt_sem_seg' not in sample['data_samples']
    for i in range(4):
        data = val[i]['data_samples']
        present = [k - 1 for k in data.gt_sem_seg.data.unique().tolist() if 0 < k < 255]
        assert data.gt_label.nonzero().flatten().tolist() == present
    assert config.val_dataloader == config.test_dataloader


class Interrupted(Exception):
    pass


def test_an_interrupted_run_starts_afresh(shapes_root, tmp_path, monkeypatch):
    def stop(rng, size):
        if rng.uniform() < 0.2:
            raise Interrupted
        return draw_scene(rng, size)

    root = tmp_path / 'ShapesVOC'
    with monkeypatch.context() as patched:
        patched.setattr('afa_mmseg.datasets.shapes_generator.draw_scene', stop)
        with pytest.raises(Interrupted):
            make_shapes_voc(root, **{**SMALL, 'num_train': 40, 'seed': 1})
    assert not root.exists()
    assert make_shapes_voc(root, **SMALL)
    assert hashes(root) == hashes(shapes_root)
    assert not make_shapes_voc(root, **SMALL)


def test_foreign_folders_are_not_touched(tmp_path):
    (tmp_path / 'JPEGImages').mkdir()
    (tmp_path / 'JPEGImages' / 'holiday.jpg').write_text('mine')
    with pytest.raises(FileExistsError, match=rf'{tmp_path}.*not a ShapesVOC folder[\s\S]*choose a new or empty'):
        make_shapes_voc(tmp_path, **SMALL)
    assert [path.name for path in tmp_path.rglob('*')] == ['JPEGImages', 'holiday.jpg']


def test_other_settings_are_not_written_over(shapes_root):
    before = hashes(shapes_root)
    with pytest.raises(FileExistsError, match=r"other settings[\s\S]*'seed': 5[\s\S]*'seed': 8[\s\S]*Delete it"):
        make_shapes_voc(shapes_root, **{**SMALL, 'seed': 8})
    assert hashes(shapes_root) == before


@pytest.mark.parametrize(('field', 'value'), [('num_train', 0), ('num_val', -1), ('size', 8), ('seed', -1)])
def test_numbers_out_of_range(tmp_path, field, value):
    with pytest.raises(ValueError, match=rf'`{field}` of ShapesVOC is {value}; choose a whole number from'):
        make_shapes_voc(tmp_path / 'new', **{**SMALL, field: value})
    assert not (tmp_path / 'new').exists()
