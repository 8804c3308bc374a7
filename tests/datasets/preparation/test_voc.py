"""VOC 2012 with SBD: what is written, and where XML and masks disagree."""

import shutil

import numpy as np
import pytest
from mmseg.registry import DATASETS

from afa_mmseg.datasets.preparation.voc import prepare_voc
from afa_mmseg.datasets.preparation.voc_labels import explain_mask_only, explain_xml_only, read_objects
from afa_mmseg.utils import read_mask
from tests.datasets.preparation.voc_files import (
    CLASSES,
    HEIGHT,
    LABELS,
    PICTURES,
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
)


def prepare(root, **kwargs):
    return prepare_voc(root, **{'num_workers': 0, **kwargs})


# What is written


def test_masks_are_those_of_voc_and_of_sbd_for_the_rest(prepared):
    folder = prepared / 'SegmentationClassAug'
    assert sorted(path.stem for path in folder.iterdir()) == sorted(PICTURES)
    for img_id, objects in PICTURES.items():
        own = prepared / 'SegmentationClass' / f'{img_id}.png'
        if own.exists():  # SBD has 2009_000004 too
            assert (folder / own.name).read_bytes() == own.read_bytes()
        else:
            assert np.array_equal(read_mask(folder / own.name), draw_mask(objects, outline=False))


def test_train_aug_is_sbd_and_voc_train_without_val(prepared):
    text = (prepared / 'ImageSets/Segmentation/train_aug.txt').read_text()
    assert text == ''.join(f'{i}\n' for i in TRAIN_AUG)
    assert set(TRAIN_AUG) | set(VOC_VAL) == set(PICTURES)


@pytest.mark.parametrize('labels_from', ['xml', 'masks'])
def test_labels_in_the_order_of_the_classes_from_either_source(downloads, sbd, labels_from):
    result = prepare(downloads, sbd=sbd, labels_from=labels_from)
    assert labels_of(downloads) == LABELS
    assert list(labels_of(downloads)) == sorted(LABELS)
    assert report_of(downloads)['differences'] == {}
    assert f'5 pictures of train_aug and val, from {labels_from}; 1 without a class' in str(result)


def test_the_folder_above_will_do_and_workers_change_nothing(downloads, sbd, tmp_path):
    shutil.copytree(downloads, tmp_path / 'other')
    prepare_voc(downloads.parent, sbd=sbd / 'dataset', num_workers=2)
    prepare(tmp_path / 'other', sbd=sbd)
    for name in ('cls_labels.json', 'ImageSets/Segmentation/train_aug.txt', 'SegmentationClassAug/2008_000003.png'):
        assert (downloads / name).read_bytes() == (tmp_path / 'other' / name).read_bytes()


def test_the_label_file_gives_the_data_set_the_labels_of_the_xml(prepared):
    settings = dict(
        type='VOCImageLevelDataset', data_root=str(prepared), ann_file='ImageSets/Segmentation/train_aug.txt'
    )
    from_xml = DATASETS.build(settings)
    shutil.rmtree(prepared / 'Annotations')
    from_file = DATASETS.build({**settings, 'label_file': 'cls_labels.json'})
    for index, img_id in enumerate(TRAIN_AUG):
        label = from_file.get_data_info(index)['gt_label']
        assert np.array_equal(label, from_xml.get_data_info(index)['gt_label'])
        assert [CLASSES[1 + i] for i in np.flatnonzero(label)] == LABELS[img_id]


def test_numbers_that_differ_from_the_full_data_set_are_told(downloads, sbd):
    warnings = ' '.join(prepare(downloads, sbd=sbd).warnings)
    assert 'train_aug has 3 ids, VOC 2012 with SBD has 10582' in warnings
    assert 'val has 2 ids, VOC 2012 with SBD has 1449' in warnings


# Again, and after an interruption


@pytest.mark.parametrize('again', [{}, {'sbd': True}])
def test_a_second_run_does_nothing(prepared, sbd, again):
    before = state(prepared)
    result = prepare(prepared, sbd=sbd if again else None)
    assert state(prepared) == before
    assert (result.list_written, result.masks_written, result.labels_written) == (False, {}, False)
    assert 'nothing to do, 5 masks' in str(result)


def test_what_is_missing_is_made_again_and_the_rest_kept(prepared, sbd):
    before = state(prepared)
    for name in ('2007_000001', '2008_000002'):
        (prepared / f'SegmentationClassAug/{name}.png').unlink()
    (prepared / 'SegmentationClassAug/.tmp-999999999-2008_000002.png').write_bytes(b'half')
    result = prepare(prepared, sbd=sbd)
    assert result.masks_written == {'SegmentationClass': 1, 'SBD': 1}
    assert 'SegmentationClassAug: 1 from SegmentationClass, 1 from SBD, 3 were there' in str(result)
    after = state(prepared)
    assert {path: data for path, (data, _) in after.items() if 'report' not in path.name} == {
        path: data for path, (data, _) in before.items() if 'report' not in path.name
    }


def test_labels_follow_the_files_they_are_made_from(prepared):
    edit(prepared / 'Annotations/2008_000002.xml', 'person', 'horse')
    result = prepare(prepared)
    assert result.labels_written
    assert labels_of(prepared)['2008_000002'] == ['horse']
    assert prepare(prepared, labels_from='masks').labels_written
    assert labels_of(prepared)['2008_000002'] == ['person']


def test_a_list_of_somebody_else_is_kept_if_it_holds_the_same_ids(prepared, sbd):
    split = prepared / 'ImageSets/Segmentation/train_aug.txt'
    write_list(split, TRAIN_AUG[::-1])
    assert not prepare(prepared, sbd=sbd).list_written
    assert split.read_text().split() == TRAIN_AUG[::-1]


def test_without_a_list_it_is_made_from_the_masks(prepared):
    split = prepared / 'ImageSets/Segmentation/train_aug.txt'
    split.unlink()
    assert prepare(prepared).list_written
    assert split.read_text().split() == TRAIN_AUG


# Where XML and masks disagree


def test_differences_are_reported_with_reason_and_numbers(prepared):
    root = prepared
    edit(root / 'Annotations/2008_000003.xml', 'aeroplane', 'bird')  # the XML calls it otherwise
    edit(root / 'Annotations/2007_000001.xml', '<name>dog</name>', '<name>cat</name>')
    write_png(root / 'SegmentationClassAug/2009_000004.png', draw_mask([]))  # nothing where the sofa is
    result = prepare(root)
    assert labels_of(root)['2008_000003'] == ['bird', 'tvmonitor']
    report = report_of(root)
    aeroplane = '96 pixels, 100 % in the box of an object called bird'
    assert report['differences'] == {
        '2007_000001': {
            'mask_from': 'VOC',
            'xml_only': {},
            'mask_only': {
                # 26 x 29 pixels less the outline
                'dog': {'reason': 'other_name', 'detail': '648 pixels, 100 % in the box of an object called cat'}
            },
        },
        '2008_000003': {
            'mask_from': 'SBD',
            'xml_only': {'bird': {'reason': 'covered', 'detail': '1 object, 96 pixels: aeroplane 100 %'}},
            'mask_only': {'aeroplane': {'reason': 'other_name', 'detail': aeroplane}},
        },
        '2009_000004': {
            'mask_from': 'changed',
            'xml_only': {'sofa': {'reason': 'unlabelled', 'detail': '1 object, 966 pixels: background 100 %'}},
            'mask_only': {},
        },
    }
    assert report['classes']['dog'] == {'xml': 0, 'mask': 1, 'xml_only': 0, 'mask_only': 1}
    assert report['classes']['tvmonitor'] == {'xml': 1, 'mask': 1, 'xml_only': 0, 'mask_only': 0}
    assert report['reasons'] == {'void': 0, 'covered': 1, 'unlabelled': 1, 'other_name': 2, 'no_object': 0}
    assert report['masks_from'] == {'VOC': 2, 'SBD': 2, 'changed': 1}
    text = str(result)
    assert '3 of 5 pictures show other classes by XML than by mask' in text
    assert f'2008_000003 (mask: SBD): aeroplane in the mask only, other_name: {aeroplane}' in text
    assert [line.split() for line in text.splitlines() if line.startswith('all classes')] == [
        ['all', 'classes', '5', '5', '2', '2']
    ]


def box(left, top, right, bottom):
    return slice(top - 1, bottom), slice(left - 1, right)


def test_reasons_of_a_class_without_pixels_by_hand():
    mask = np.zeros((10, 10), np.uint8)
    mask[0:2, 0:4] = 255
    mask[2:3, 0:4] = 15
    whole = (slice(None), slice(None))
    assert explain_xml_only(mask, [box(1, 1, 4, 4)]).reason == 'void'
    assert (
        explain_xml_only(mask, [box(1, 1, 4, 4)]).detail
        == '1 object, 16 pixels: person 25 %, void 50 %, background 25 %'
    )
    assert explain_xml_only(mask, [box(1, 3, 4, 3), box(1, 3, 2, 4)]).reason == 'covered'
    assert explain_xml_only(mask, [box(1, 3, 4, 3), box(1, 3, 2, 4)]).detail.startswith(
        '2 objects, 6 pixels: person 67 %'
    )
    assert explain_xml_only(mask, [box(6, 6, 9, 9)]).reason == 'unlabelled'
    assert explain_xml_only(mask, [whole]).reason == 'void'
    assert explain_xml_only(mask, [box(1, 2, 4, 3)]).reason == 'void'  # as much of the one as of the other
    assert explain_xml_only(mask, [box(21, 21, 30, 30)]).detail == '1 object, 0 pixels: outside the picture'


def test_reasons_of_a_class_without_object_by_hand():
    mask = np.zeros((10, 10), np.uint8)
    mask[0:4, 0:5] = CLASSES.index('diningtable')
    mask[4:10, 0:5] = CLASSES.index('person')
    assert explain_mask_only(mask, 'diningtable', []).reason == 'no_object'
    assert explain_mask_only(mask, 'diningtable', [('sofa', box(1, 1, 5, 3))]).reason == 'other_name'
    assert '20 pixels, 75 % in the box of' in explain_mask_only(mask, 'diningtable', [('sofa', box(1, 1, 5, 3))]).detail
    assert (
        explain_mask_only(mask, 'diningtable', [('sofa', box(1, 1, 5, 2))]).reason == 'no_object'
    )  # half of them only
    # The table stands in the box of a person who is seen there: the XML does not call it otherwise, it has none.
    assert explain_mask_only(mask, 'diningtable', [('person', box(1, 1, 5, 10))]).reason == 'no_object'


def test_boxes_are_1_based_and_inclusive_and_may_be_fractions_or_lacking(tmp_path):
    write_annotation(tmp_path / 'a.xml', [('cat', (2.5, 1, 3.2, 7)), ('dog', (-3, 1, 99, 2))])
    edit(tmp_path / 'a.xml', '</annotation>', '<object><name>cow</name></object></annotation>')
    assert read_objects(tmp_path / 'a.xml', 'a', (WIDTH, HEIGHT)) == [
        ('cat', (slice(0, 7), slice(1, 4))),
        ('dog', (slice(0, 2), slice(0, 99))),
        ('cow', (slice(None), slice(None))),
    ]


def test_masks_that_replace_those_of_voc_are_told_with_the_remedy(prepared):
    changed = prepared / 'SegmentationClassAug/2009_000004.png'
    write_png(changed, draw_mask(PICTURES['2009_000004'], outline=False))
    # The same pixels in another file are no change.
    same = prepared / 'SegmentationClassAug/2007_000001.png'
    write_png(same, draw_mask(PICTURES['2007_000001']))
    same.write_bytes(same.read_bytes() + b' ')
    warning = [text for text in prepare(prepared).warnings if 'differ from' in text]
    assert "1 masks of SegmentationClassAug differ from VOC's own" in warning[0]
    assert "'2009_000004'" in warning[0]
    changed.unlink()  # the remedy
    assert not [text for text in prepare(prepared).warnings if 'differ from' in text]
    write_png(prepared / 'SegmentationClass/2009_000005.png', draw_mask(PICTURES['2009_000004']))
    assert "'2009_000005'" in next(text for text in prepare(prepared).warnings if 'differ from' in text)
