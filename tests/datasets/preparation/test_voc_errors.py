"""What is said about wrong inputs of VOC 2012 with SBD: the file, the value and the remedy."""

import shutil

import numpy as np
import pytest

from afa_mmseg.datasets.preparation.voc import prepare_voc
from tests.datasets.preparation.voc_files import (
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
    write_mat,
    write_png,
    write_zip,
)


def prepare(root, **kwargs):
    return prepare_voc(root, **{'num_workers': 0, **kwargs})


def test_all_that_is_missing_is_named_with_its_source(downloads, sbd):
    shutil.rmtree(downloads / 'Annotations')
    (downloads / 'ImageSets/Segmentation/train.txt').unlink()
    with pytest.raises(FileNotFoundError) as error:
        prepare(downloads, sbd=sbd)
    words = ['lacks Annotations, ImageSets/Segmentation/train.txt', 'VOCtrainval', 'http://host.robots.ox.ac.uk']
    assert [word for word in words if word not in str(error.value)] == []


def test_without_masks_the_command_to_make_them_is_told(downloads):
    with pytest.raises(FileNotFoundError) as error:
        prepare(downloads)
    words = [
        f'{downloads / "SegmentationClassAug"} is missing',
        'http://home.bharathh.info/pubs/codes/SBD/download.html',
        f'prepare_voc.py {downloads} --sbd benchmark_RELEASE',
        '--aug-zip SegmentationClassAug.zip',
    ]
    assert [word for word in words if word not in str(error.value)] == []


def remove_mask(root):
    (root / 'SegmentationClassAug/2008_000003.png').unlink()


def cut_mask(root):
    path = root / 'SegmentationClassAug/2008_000003.png'
    path.write_bytes(path.read_bytes()[:-40])


def colour_mask(root):
    shutil.copyfile(root / 'JPEGImages/2008_000003.jpg', root / 'SegmentationClassAug/2008_000003.png')


def enlarge_mask(root):
    write_png(root / 'SegmentationClassAug/2008_000003.png', np.zeros((HEIGHT, WIDTH + 1), np.uint8))


def fill_mask(root):
    write_png(root / 'SegmentationClassAug/2008_000003.png', np.full((HEIGHT, WIDTH), 21, np.uint8))


def swap_xml(root):
    shutil.copyfile(root / 'Annotations/2008_000002.xml', root / 'Annotations/2008_000003.xml')


def resize_xml(root):
    write_annotation(root / 'Annotations/2008_000003.xml', [], width=500, height=375)


def strip_xml(root):
    edit(root / 'Annotations/2008_000003.xml', f'<width>{WIDTH}</width>', '')


def cut_xml(root):
    path = root / 'Annotations/2008_000003.xml'
    path.write_text(path.read_text()[:100])


def rename_class(root):
    edit(root / 'Annotations/2008_000003.xml', 'aeroplane', 'airplane')


def break_picture(root):
    (root / 'JPEGImages/2008_000003.jpg').write_bytes(b'')


def remove_picture(root):
    (root / 'JPEGImages/2008_000003.jpg').unlink()


def remove_xml(root):
    (root / 'Annotations/2008_000003.xml').unlink()


def repeat_id(root):
    write_list(root / 'ImageSets/Segmentation/val.txt', ['2009_000004', '2009_000005', '2009_000004'])


def lead_out(root):
    write_list(root / 'ImageSets/Segmentation/train_aug.txt', ['/JPEGImages/2007_000001.jpg'])


def empty_list(root):
    (root / 'ImageSets/Segmentation/val.txt').write_text('\n')


def other_encoding(root):
    (root / 'ImageSets/Segmentation/val.txt').write_bytes('2009_000004'.encode('utf-16'))


def train_on_val(root):
    write_list(root / 'ImageSets/Segmentation/train_aug.txt', [*TRAIN_AUG, '2009_000004'])


@pytest.mark.parametrize(
    ('spoil', 'words'),
    [
        (remove_mask, ['1 of 5 ids', "'2008_000003'", '--sbd benchmark_RELEASE']),
        (cut_mask, ['SegmentationClassAug/2008_000003.png', 'cannot be read', 'fetch or make it again']),
        (colour_mask, ['SegmentationClassAug/2008_000003.png', 'mode RGB', 'class indices']),
        (enlarge_mask, ['2008_000003.png', '57 x 40 pixels', 'its picture 56 x 40', 'make it again']),
        (fill_mask, ['2008_000003.png', 'the values 21;', '0 to 20', '255', 'make it again']),
        (swap_xml, ['Annotations/2008_000003.xml', "'2008_000002.jpg'", 'another picture', 'fetch it again']),
        (resize_xml, ['Annotations/2008_000003.xml', '<size> is 500 x 375', '56 x 40', 'fetch']),
        (strip_xml, ['Annotations/2008_000003.xml', '<size/width> is None', 'fetch']),
        (cut_xml, ['Annotations/2008_000003.xml', 'not valid XML', 'fetch']),
        (rename_class, ['Annotations/2008_000003.xml', "'airplane'", "did you mean 'aeroplane'"]),
        (break_picture, ['JPEGImages/2008_000003.jpg', 'cannot be read', 'fetch']),
        (remove_picture, ['pictures', "'2008_000003'", '.jpg', 'VOCtrainval']),
        (remove_xml, ['annotations', "'2008_000003'", '.xml', 'VOCtrainval']),
        (repeat_id, ['val.txt', "'2009_000004'", 'twice']),
        (lead_out, ['train_aug.txt', "'/JPEGImages/2007_000001.jpg'", 'one id a line']),
        (empty_list, ['val.txt', 'no ids', 'fetch']),
        (other_encoding, ['val.txt', 'UTF-8', 'one id a line']),
        (train_on_val, ['train_aug.txt', "'2009_000004'", 'val.txt', 'take them out']),
    ],
)
def test_what_is_wrong_is_named_with_value_and_remedy(prepared, spoil, words):
    spoil(prepared)
    before = state(prepared)
    with pytest.raises((ValueError, FileNotFoundError)) as error:
        prepare(prepared)
    assert [word for word in words if word not in str(error.value)] == []
    assert state(prepared) == before


def test_many_broken_files_are_told_at_once(prepared):
    for img_id in PICTURES:
        write_png(prepared / f'SegmentationClassAug/{img_id}.png', np.full((HEIGHT, WIDTH), 99, np.uint8))
    ids = [*PICTURES, '2007_000001b']
    write_list(prepared / 'ImageSets/Segmentation/train_aug.txt', [i for i in ids if i not in VOC_VAL])
    shutil.copyfile(prepared / 'JPEGImages/2007_000001.jpg', prepared / 'JPEGImages/2007_000001b.jpg')
    shutil.copyfile(
        prepared / 'SegmentationClassAug/2007_000001.png', prepared / 'SegmentationClassAug/2007_000001b.png'
    )
    write_annotation(prepared / 'Annotations/2007_000001b.xml', [])
    with pytest.raises(ValueError) as error:
        prepare(prepared)
    assert '6 of 6 pictures have a file that cannot be used' in str(error.value)
    assert str(error.value).count('the values 99;') == 5
    assert '... and 1 more' in str(error.value)


def test_a_list_with_other_ids_is_an_error_that_says_how_they_differ(downloads, sbd):
    split = downloads / 'ImageSets/Segmentation/train_aug.txt'
    other = ['2007_000001', '2007_000009', '2008_000002']
    write_list(split, other)
    with pytest.raises(ValueError) as error:
        prepare(downloads, sbd=sbd)
    words = ['holds 3 ids', "1 only in the list ('2007_000009')", '1 only in SBD', "('2008_000003')", 'move']
    assert [word for word in words if word not in str(error.value)] == []
    assert split.read_text().split() == other


def test_a_label_file_of_somebody_else_is_not_overwritten(prepared):
    for text in ('{"2007_000001": ["cat"]}', '\udcff'):
        (prepared / 'cls_labels.json').write_bytes(text.encode('utf-8', 'surrogateescape'))
        before = state(prepared)
        with pytest.raises(ValueError, match=r'(?s)cls_labels.json: was not written by this program.*move it'):
            prepare(prepared)
        assert state(prepared) == before
    (prepared / 'cls_labels.json').unlink()
    assert prepare(prepared).labels_written
    assert labels_of(prepared) == LABELS


def test_a_lost_report_is_made_again(prepared):
    before = report_of(prepared)
    for text in (None, '{', '[]', '{"version": 0}'):
        (prepared / 'cls_labels_report.json').unlink()
        if text is not None:
            (prepared / 'cls_labels_report.json').write_text(text)
        assert prepare(prepared).labels_written
        assert report_of(prepared) == before


def test_masks_of_val_only_are_an_error(downloads):
    for img_id in VOC_VAL:
        write_png(downloads / f'SegmentationClassAug/{img_id}.png', draw_mask([]))
    with pytest.raises(ValueError, match='none to train on'):
        prepare(downloads)


def test_options_that_cannot_be_are_errors(downloads, sbd, tmp_path):
    with pytest.raises(ValueError, match='choose one of them'):
        prepare(downloads, sbd=sbd, aug_zip=write_zip(tmp_path / 'a.zip'))
    with pytest.raises(ValueError, match=r"labels_from is 'mask'; choose one of xml, masks"):
        prepare(downloads, labels_from='mask')
    with pytest.raises(FileNotFoundError, match=r'(?s)no such folder: .*nowhere.*VOCtrainval'):
        prepare(tmp_path / 'nowhere')


def test_a_broken_mask_of_voc_is_not_taken_over(downloads, sbd):
    write_png(downloads / 'SegmentationClass/2007_000001.png', np.full((HEIGHT, WIDTH), 21, np.uint8))
    write_mat(sbd / 'dataset/cls/2008_000002.mat', np.full((HEIGHT, WIDTH), 30, np.uint8))
    with pytest.raises(ValueError, match=r'SegmentationClass/2007_000001.png: holds the values 21;'):
        prepare(downloads, sbd=sbd)
    assert sorted(path.stem for path in (downloads / 'SegmentationClassAug').iterdir()) == sorted(VOC_VAL)
