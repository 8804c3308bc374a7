"""PASCAL VOC 2012 with SBD: masks, split list, image-level labels, and a report on them."""

import json
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Callable, Optional, Union

import numpy as np

from ...utils import remove_leftovers, write_text
from ...utils.checks import first_few, require_dir, require_files
from ..images import read_ids
from ..label_files import LabelDict, check_classes, label_text
from ..voc import parse_xml, read_voc_xml
from .collect import run_collecting
from .voc_masks import (
    CLASSES,
    FOLDER,
    IMAGES,
    SBD_SOURCE,
    VOC_MASKS,
    find_sbd,
    find_zip,
    load_mask,
    mask_ids,
    write_mask,
)

ANNOTATIONS, LISTS = 'Annotations', 'ImageSets/Segmentation'
LABELS, REPORT = 'cls_labels.json', 'cls_labels_report.json'
#: Images of VOC 2012 with SBD: `train_aug` is the union of SBD and VOC's `train`, without VOC's `val`.
NUM_IMAGES = dict(train_aug=10582, val=1449)
LABEL_SOURCES = ('xml', 'masks')
VOC_SOURCE = 'VOC 2012 (VOCtrainval_11-May-2012.tar), http://host.robots.ox.ac.uk/pascal/VOC/voc2012/'
ANEW = 'Delete or move it, and run the same command again to write it anew.'

Report = Callable[[str], Any]


def prepare_voc(
    folder: Union[str, Path],
    sbd: Union[str, Path, None] = None,
    aug_zip: Union[str, Path, None] = None,
    labels_from: str = 'xml',
    num_workers: Optional[int] = None,
    report: Report = print,
) -> bool:
    """Complete a VOC 2012 folder: `SegmentationClassAug`, `train_aug.txt`, `cls_labels.json` and a report on it.

    Existing masks and lists are kept, so that the same call resumes an interrupted one. Returns whether anything was
    written.

    Args:
        folder: VOCdevkit, or VOCdevkit/VOC2012.
        sbd: SBD's folder benchmark_RELEASE.
        aug_zip: Zip of `SegmentationClassAug`, instead of SBD.
        labels_from: Source of the label file: `xml` or `masks`.
        num_workers: See `run_parallel`.
        report: Called with each line of the report.

    Raises:
        FileNotFoundError: Downloads are missing or incomplete.
        ModuleNotFoundError: SBD is named and scipy is not installed.
        ValueError: Files are broken or do not belong together, or another list or label file exists.
    """
    if labels_from not in LABEL_SOURCES:
        raise ValueError(f'labels_from is {labels_from!r}; choose one of {", ".join(LABEL_SOURCES)}')
    if sbd is not None and aug_zip is not None:
        raise ValueError('SBD and a zip of masks are named; choose one of them')
    root = _find_root(folder, needs_own=sbd is not None)
    source, in_source = (None, set()) if sbd is None else find_sbd(sbd)
    if aug_zip is not None:
        source, in_source = find_zip(aug_zip)
    return _complete(root, source, in_source, labels_from, num_workers, report)


def read_image_labels(root: Path, img_id: str) -> tuple[list[str], list[str]]:
    """Read the classes in the XML file and the mask of an image, after checking that they belong to it."""
    xml_path, mask_path = root / ANNOTATIONS / f'{img_id}.xml', root / FOLDER / f'{img_id}.png'
    names = read_voc_xml(xml_path)
    check_classes(names, CLASSES[1:], f'annotation file {xml_path}')
    filename = (parse_xml(xml_path).findtext('filename') or '').strip()
    if filename not in (img_id, f'{img_id}.jpg'):
        raise ValueError(f'annotation file {xml_path}: is of {filename!r}, not of {img_id}.jpg; fetch it again')
    shown = np.unique(load_mask(root, img_id, mask_path, str(mask_path)))
    return [name for name in CLASSES[1:] if name in names], [CLASSES[i] for i in shown if 0 < i < len(CLASSES)]


def make_report(xml: LabelDict, mask: LabelDict, labels_from: str) -> dict[str, Any]:
    """Count the images of each class by XML and by mask, and list those where the two differ."""
    sides = dict(xml=xml, mask=mask)
    counts = {side: Counter(name for names in labels.values() for name in names) for side, labels in sides.items()}
    return dict(
        labels_from=labels_from,
        num_images=len(xml),
        num_without_class=sum(not names for names in sides['xml' if labels_from == 'xml' else 'mask'].values()),
        classes={name: {side: counts[side][name] for side in sides} for name in CLASSES[1:]},
        differences={i: {side: labels[i] for side, labels in sides.items()} for i in xml if xml[i] != mask[i]},
    )


def _complete(
    root: Path,
    source: Optional[Path],
    in_source: set[str],
    labels_from: str,
    num_workers: Optional[int],
    report: Report,
) -> bool:
    """Write masks, list and labels; return whether anything was written."""
    for made in (root, root / FOLDER, root / LISTS):
        remove_leftovers(made)
    train, val = _list_images(root, source, in_source)
    ids = sorted({*train, *val})
    _require_all(root, ids, in_source)
    listed = _write_train_list(root, train)
    todo = sorted(set(ids) - mask_ids(root / FOLDER))
    run_collecting(partial(write_mask, root, source), todo, 'Masks', num_workers)
    labelled = _write_labels(root, ids, labels_from, num_workers, report)
    report(f'{root}: {len(train)} ids in train_aug.txt; {len(ids)} masks in {FOLDER}, {len(todo)} of them new')
    for split, number in dict(train_aug=len(train), val=len(val)).items():
        if number != NUM_IMAGES[split]:
            report(
                f'warning: {split} has {number} ids, VOC 2012 with SBD has {NUM_IMAGES[split]}: a subset, or a '
                'download that is incomplete'
            )
    return bool(listed or todo or labelled)


def _find_root(folder: Union[str, Path], *, needs_own: bool) -> Path:
    """Return the folder VOC2012, in VOCdevkit or not; raise a `FileNotFoundError` that lists all that it lacks."""
    require_dir(str(folder), 'VOC 2012', f'Get {VOC_SOURCE}, unpack it, and name its VOCdevkit folder.')
    inner = Path(folder, 'VOC2012')
    root = inner if inner.is_dir() else Path(folder)
    own = [VOC_MASKS, f'{LISTS}/train.txt'] if needs_own else []
    missing = [name for name in (IMAGES, ANNOTATIONS, f'{LISTS}/val.txt', *own) if not (root / name).exists()]
    if missing:
        raise FileNotFoundError(
            f'{root} lacks {", ".join(missing)}, which {VOC_SOURCE} contains.\n'
            '  Unpack it so that VOCdevkit/VOC2012/JPEGImages exists, then run the same command again.\n'
            '  To convert a label file of another project, see tools/dataset_converters/convert_labels.py.'
        )
    return root


def _list_images(root: Path, source: Optional[Path], in_source: set[str]) -> tuple[list[str], list[str]]:
    """Return the ids of train_aug and val."""
    train_list, val = root / LISTS / 'train_aug.txt', set(read_ids(root / LISTS / 'val.txt'))
    if source is not None:
        own = read_ids(root / LISTS / 'train.txt') if source.is_dir() else []  # a zip holds VOC's own masks, too
        train = {*in_source, *own} - val
    else:
        masks = mask_ids(root / FOLDER)
        if not masks:
            raise FileNotFoundError(f'{root / FOLDER} is missing, and no source is named.\n  {_masks_remedy(root)}')
        train = set(read_ids(train_list)) if train_list.is_file() else masks - val
    both = sorted(train & val)
    if both:
        raise ValueError(
            f'{train_list}: holds {len(both)} ids of val.txt: {first_few(both)}.\n'
            '  Validation images must not be trained on: take them out, or delete the list to write it anew.'
        )
    if not train:
        raise ValueError(f'{root}: only images of val have masks, none to train on; {_masks_remedy(root)}')
    return sorted(train), sorted(val)


def _masks_remedy(root: Path) -> str:
    command = f'python tools/dataset_converters/prepare_voc.py {root}'
    return (
        f'Download {SBD_SOURCE}, unpack it (tar xzf benchmark.tgz -C data), then:\n'
        f'    {command} --sbd data/benchmark_RELEASE\n'
        f'  or, with the masks as a zip that others made of it:\n    {command} --aug-zip {FOLDER}.zip'
    )


def _require_all(root: Path, ids: Sequence[str], in_source: set[str]) -> None:
    """Raise a `FileNotFoundError` unless each id has an image, an XML file, and a mask in the folder or a source."""
    remedy = f'It is part of {VOC_SOURCE}; or take the ids out of the list.'
    require_files(str(root / IMAGES), ids, '.jpg', 'images', remedy)
    require_files(str(root / ANNOTATIONS), ids, '.xml', 'annotations', remedy)
    missing = sorted(set(ids).difference(mask_ids(root / FOLDER), mask_ids(root / VOC_MASKS), in_source))
    if missing:
        raise FileNotFoundError(
            f'{len(missing)} of {len(ids)} ids of train_aug and val have no mask in {FOLDER}, {VOC_MASKS} or what is '
            f'named as their source: {first_few(missing)}\n  {_masks_remedy(root)}\n'
            '  If you have done so, the download is incomplete: fetch it again.'
        )


def _write_train_list(root: Path, ids: Sequence[str]) -> bool:
    """Write `train_aug.txt` unless it exists with the same ids; raise a `ValueError` if it has others."""
    path = root / LISTS / 'train_aug.txt'
    if not path.is_file():
        return write_text(path, ''.join(f'{i}\n' for i in ids))
    others = sorted(set(read_ids(path)) ^ set(ids))
    if others:
        raise ValueError(f'{path}: differs from its source: {first_few(others)} are in one of them only.\n  {ANEW}')
    return False


def _write_labels(root: Path, ids: Sequence[str], labels_from: str, num_workers: Optional[int], report: Report) -> bool:
    """Write labels and report; return whether a file changed."""
    pairs = run_collecting(partial(read_image_labels, root), ids, 'Labels of XML and masks', num_workers)
    xml, mask = (dict(zip(ids, names)) for names in zip(*pairs))
    text, path = label_text(xml if labels_from == 'xml' else mask), root / LABELS
    if path.is_file() and path.read_bytes() != text.encode():
        raise ValueError(f'{path}: differs from the labels of {labels_from}.\n  {ANEW}')
    found = make_report(xml, mask, labels_from)
    changed = [write_text(path, text), write_text(root / REPORT, json.dumps(found, indent=1) + '\n')]
    if any(changed):
        report(
            f'{LABELS}: {len(ids)} images of train_aug and val, from {labels_from}; {found["num_without_class"]} '
            f'without a class; XML and mask differ for {len(found["differences"])} images, see {REPORT}'
        )
    return any(changed)
