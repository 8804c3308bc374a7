"""VOC 2012 with SBD: what is written, and where XML and masks differ."""

import shutil

import numpy as np
import pytest
from mmseg.registry import DATASETS

from afa_mmseg.datasets.preparation.voc import prepare_voc
from afa_mmseg.utils import read_mask
from tests import refusal
from tests.datasets.preparation.voc_files import (
    CLASSES,
    HEIGHT,
    IMAGES,
    LABELS,
    TRAIN_AUG,
    VOC_VAL,
    WIDTH,
    draw_mask,
    edit,
    labels_of,
    report_of,
    state,
    write_annotation,
    write_list,
    write_png,
    write_zip,
)

TRAIN_LIST = 'ImageSets/Segmentation/train_aug.txt'


def prepare(root, **kwargs):
    """Return whether anything was written, and the report."""
    lines = []
    return prepare_voc(root, **{'num_workers': 0, 'report': lines.append, **kwargs}), '\n'.join(lines)


def refused(root, *words, kind=ValueError, **kwargs):
    refusal.refused(prepare, root, words=words, errors=kind, **kwargs)


# What is written


def test_masks_are_those_of_voc_and_of_sbd_for_the_rest(prepared):
    folder = prepared / 'SegmentationClassAug'
    assert sorted(path.stem for path in folder.iterdir()) == sorted(IMAGES)
    for img_id, objects in IMAGES.items():
        own = prepared / 'SegmentationClass' / f'{img_id}.png'
        if own.exists():  # SBD has 2009_000004 too
            assert (folder / own.name).read_bytes() == own.read_bytes()
        else:
            assert np.array_equal(read_mask(folder / own.name), draw_mask(objects, outline=False))


def test_train_aug_is_sbd_and_voc_train_without_val(prepared):
    assert (prepared / TRAIN_LIST).read_text() == ''.join(f'{i}\n' for i in TRAIN_AUG)
    assert set(TRAIN_AUG) | set(VOC_VAL) == set(IMAGES)


@pytest.mark.parametrize('labels_from', ['xml', 'masks'])
def test_labels_in_the_order_of_the_classes_from_either_source(downloads, sbd, labels_from):
    written, text = prepare(downloads, sbd=sbd, labels_from=labels_from)
    assert written
    assert labels_of(downloads) == LABELS
    assert list(labels_of(downloads)) == sorted(LABELS)
    assert report_of(downloads)['differences'] == {}
    assert report_of(downloads)['num_without_class'] == 1
    assert 'train_aug has 3 ids, VOC 2012 with SBD has 10582' in text
    assert 'val has 2 ids, VOC 2012 with SBD has 1449' in text


def test_the_label_file_has_the_labels_of_the_xml(prepared):
    settings = dict(type='VOCImageLevelDataset', data_root=str(prepared), ann_file=TRAIN_LIST)
    from_xml = DATASETS.build(settings)
    shutil.rmtree(prepared / 'Annotations')
    from_file = DATASETS.build({**settings, 'label_file': 'cls_labels.json'})
    for index, img_id in enumerate(TRAIN_AUG):
        label = from_file.get_data_info(index)['gt_label']
        assert np.array_equal(label, from_xml.get_data_info(index)['gt_label'])
        assert [CLASSES[1 + i] for i in np.flatnonzero(label)] == LABELS[img_id]


# Again, and after an interruption


@pytest.mark.parametrize('with_sbd', [False, True])
def test_a_second_run_does_nothing(prepared, sbd, with_sbd):
    before = state(prepared)
    written, text = prepare(prepared, sbd=sbd if with_sbd else None)
    assert state(prepared) == before
    assert not written
    assert '5 masks in SegmentationClassAug, 0 of them new' in text


def test_what_is_missing_is_written_again_and_the_rest_kept(prepared, sbd):
    before = state(prepared)
    for name in ('2007_000001', '2008_000002'):
        (prepared / f'SegmentationClassAug/{name}.png').unlink()
    (prepared / 'cls_labels_report.json').write_text('{')
    (prepared / 'SegmentationClassAug/.tmp-999999999-2008_000002.png').write_bytes(b'half')
    assert '5 masks in SegmentationClassAug, 2 of them new' in prepare(prepared, sbd=sbd)[1]
    assert {path: data for path, (data, _) in state(prepared).items()} == {
        path: data for path, (data, _) in before.items()
    }


def test_other_labels_are_not_overwritten(prepared):
    edit(prepared / 'Annotations/2008_000002.xml', 'person', 'horse')
    before = state(prepared)
    refused(prepared, 'cls_labels.json', 'Delete')
    assert state(prepared) == before
    (prepared / 'cls_labels.json').unlink()
    assert prepare(prepared)[0]
    assert labels_of(prepared)['2008_000002'] == ['horse']


def test_another_list_is_kept_if_it_holds_the_same_ids(prepared, sbd):
    write_list(prepared / TRAIN_LIST, TRAIN_AUG[::-1])
    assert not prepare(prepared, sbd=sbd)[0]
    assert (prepared / TRAIN_LIST).read_text().split() == TRAIN_AUG[::-1]
    write_list(prepared / TRAIN_LIST, ['2007_000001', '2007_000009', '2008_000002'])
    refused(prepared, TRAIN_LIST, "'2007_000009', '2008_000003'", 'Delete', sbd=sbd)
    (prepared / TRAIN_LIST).unlink()
    assert prepare(prepared)[0]  # from the masks
    assert (prepared / TRAIN_LIST).read_text().split() == TRAIN_AUG


# Where XML and masks differ


def test_differences_are_reported(prepared):
    edit(prepared / 'Annotations/2008_000003.xml', 'aeroplane', 'bird')
    write_png(prepared / 'SegmentationClassAug/2009_000004.png', draw_mask([]))
    (prepared / 'cls_labels.json').unlink()
    _, text = prepare(prepared)
    report = report_of(prepared)
    assert report['differences'] == {
        '2008_000003': {'xml': ['bird', 'tvmonitor'], 'mask': ['aeroplane', 'tvmonitor']},
        '2009_000004': {'xml': ['sofa'], 'mask': []},
    }
    assert report['classes']['bird'] == {'xml': 1, 'mask': 0}
    assert report['classes']['tvmonitor'] == {'xml': 1, 'mask': 1}
    assert 'XML and mask differ for 2 images' in text


# Wrong inputs


def test_all_that_is_missing_is_named_with_its_source(downloads, sbd):
    shutil.rmtree(downloads / 'Annotations')
    (downloads / 'ImageSets/Segmentation/train.txt').unlink()
    words = ['Annotations, ImageSets/Segmentation/train.txt', 'http://host.robots.ox.ac.uk', 'convert_labels.py']
    refused(downloads, *words, kind=FileNotFoundError, sbd=sbd)


def cut(name, length):
    def apply(root):
        (root / name).write_bytes((root / name).read_bytes()[:length])

    return apply


def mask(pixels):
    return lambda root: write_png(root / 'SegmentationClassAug/2008_000003.png', pixels.astype(np.uint8))


def copied(source, target):
    return lambda root: shutil.copyfile(root / source, root / target)


def removed(name):
    return lambda root: (root / name).unlink()


def listed(name, *ids):
    return lambda root: write_list(root / f'ImageSets/Segmentation/{name}.txt', ids)


XML, MASK, JPEG = 'Annotations/2008_000003.xml', 'SegmentationClassAug/2008_000003.png', 'JPEGImages/2008_000003.jpg'


@pytest.mark.parametrize(
    ('spoil', 'words'),
    [
        (removed(MASK), ['1 of 5 ids', "'2008_000003'", '--sbd data/benchmark_RELEASE']),
        (mask(np.zeros((HEIGHT, WIDTH + 1))), [MASK, '57 x 40', '56 x 40']),
        (copied('Annotations/2008_000002.xml', XML), [XML, "'2008_000002.jpg'"]),
        (lambda root: edit(root / XML, 'aeroplane', 'airplane'), [XML, "'airplane'", "'aeroplane'"]),
        (removed(JPEG), ['images', "'2008_000003'", '.jpg', 'VOCtrainval']),
        (listed('train_aug', *TRAIN_AUG, '2009_000004'), ['train_aug.txt', "'2009_000004'", 'val.txt']),
    ],
)
def test_what_is_wrong_is_named_with_value_and_remedy(prepared, spoil, words):
    spoil(prepared)
    before = state(prepared)
    refused(prepared, *words, kind=(ValueError, FileNotFoundError))
    assert state(prepared) == before


def test_many_broken_files_are_reported_at_once(prepared):
    for img_id in IMAGES:
        write_png(prepared / f'SegmentationClassAug/{img_id}.png', np.full((HEIGHT, WIDTH), 99, np.uint8))
    write_list(prepared / TRAIN_LIST, [*TRAIN_AUG, '2007_000001b'])
    for folder, suffix in (('JPEGImages', '.jpg'), ('SegmentationClassAug', '.png')):
        shutil.copyfile(prepared / f'{folder}/2007_000001{suffix}', prepared / f'{folder}/2007_000001b{suffix}')
    write_annotation(prepared / 'Annotations/2007_000001b.xml', [])
    refused(prepared, '6 of 6', '2009_000004.png', '99', 'and 1 more')


def test_wrong_options(downloads, sbd, tmp_path):
    refused(downloads, 'choose one of them', sbd=sbd, aug_zip=write_zip(tmp_path / 'a.zip'))
    refused(downloads, "'mask'", 'xml, masks', labels_from='mask')
    refused(tmp_path / 'nowhere', 'nowhere', 'VOCtrainval', kind=FileNotFoundError)
    refused(downloads, 'SegmentationClassAug is missing', '--sbd data/benchmark_RELEASE', kind=FileNotFoundError)
