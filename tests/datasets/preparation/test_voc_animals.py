"""VOC-Animals from a made-up VOC tree."""

import numpy as np
import pytest
from PIL import Image

from afa_mmseg.datasets import ImageLevelDataset
from afa_mmseg.datasets.preparation.voc_animals import CLASSES, make_voc_animals, read_ids, reindexed, scaled_size
from tests.datasets.files import write_xml

IDS = {'train': [f'2007_{i:06}' for i in range(8)], 'val': ['2008_000001']}


def write_image(folder, img_id, value):
    (folder / 'JPEGImages').mkdir(parents=True, exist_ok=True)
    (folder / 'SegmentationClassAug').mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (333, 500, 3), dtype=np.uint8)).save(folder / f'JPEGImages/{img_id}.jpg')
    mask = np.zeros((333, 500), np.uint8)
    mask[100:200, 100:300], mask[95:100, 100:300] = value, 255
    Image.fromarray(mask).save(folder / f'SegmentationClassAug/{img_id}.png')


@pytest.fixture
def voc(tmp_path):
    for img_id in [*IDS['train'], *IDS['val']]:
        write_image(tmp_path / 'VOC2012', img_id, value=8)
        write_xml(tmp_path / f'VOC2012/Annotations/{img_id}.xml', ['cat', 'person', 'cat'])
    return tmp_path / 'VOC2012'


def test_images_masks_labels_and_lists(voc, tmp_path):
    out = tmp_path / 'out'
    assert '8 in train.txt' in make_voc_animals(voc, out, IDS, num_workers=0)
    with Image.open(out / 'images/2007_000003.jpg') as image, Image.open(out / 'masks/2007_000003.png') as mask:
        assert image.size == mask.size == (352, 234)
        values = np.array(mask)
    assert set(np.unique(values)) == {0, 1, 255}
    assert (values == 1).mean() == pytest.approx(100 * 200 / (333 * 500), rel=0.02)
    assert (out / 'labels.csv').read_text().splitlines()[:2] == ['id,' + ','.join(CLASSES), '2007_000000,1,0,0,0,1,0']
    tune, fit = ((out / f'{name}.txt').read_text().split() for name in ('tune', 'fit'))
    assert tune == ['2007_000006']
    assert sorted(tune + fit) == IDS['train']
    dataset = ImageLevelDataset(
        data_root=str(out), label_file='labels.csv', ann_file='val.txt', data_prefix=dict(img_path='images')
    )
    assert dataset.metainfo['classes'] == ('background', *CLASSES)
    assert dataset[0]['gt_label'].tolist() == [1, 0, 0, 0, 1, 0]


def test_other_classes_and_missing_files_are_refused(voc, tmp_path):
    write_xml(voc / 'Annotations/2007_000002.xml', ['cat', 'sofa'])
    with pytest.raises(ValueError, match=r'2007_000002\.xml.*sofa'):
        make_voc_animals(voc, tmp_path / 'out', IDS, num_workers=0)
    with pytest.raises(ValueError, match=r'mask x .*\[20\]'):
        reindexed(np.array([[0, 8, 20]], np.uint8), 'x')
    (voc / 'SegmentationClassAug/2008_000001.png').unlink()
    with pytest.raises(FileNotFoundError, match='2008_000001'):
        make_voc_animals(voc, tmp_path / 'out', IDS, num_workers=0)


def test_the_lists_are_those_of_the_benchmark():
    train, val = read_ids('train'), read_ids('val')
    assert (len(train), len(val)) == (2651, 280)
    assert not set(train) & set(val)
    assert train == sorted(train)
    assert (train[0], val[-1][:2]) == ('2007_000392', '20')


def test_the_long_side_is_352():
    assert scaled_size(375, 500) == (264, 352)
    assert scaled_size(352, 100) == (352, 100)
