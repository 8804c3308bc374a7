"""PASCAL VOC 2012 with SBD: masks, split list, image-level labels, and a report on them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Optional, Union

from ...utils import write_text
from ...utils.checks import first_few
from ..label_files import label_text
from .collect import run_collecting
from .sbd import open_sbd
from .voc_labels import PictureLabels, compare_labels
from .voc_masks import MaskSource, check_sources, get_masks, make_masks, mask_ids, voc_source
from .voc_report import format_report, hash_bytes, hash_inputs, load_report, make_report
from .voc_tree import VOCTree, read_ids, write_train_list
from .voc_zip import open_zip

#: Pictures of VOC 2012 with SBD: `train_aug` is the union of SBD and VOC's `train`, without VOC's `val`.
NUM_PICTURES = dict(train_aug=10582, val=1449)
LABEL_SOURCES = ('xml', 'masks')


@dataclass
class PreparedVOC:
    """What was found and done.

    Args:
        root: The VOC2012 folder.
        num_pictures: Ids of each split.
        list_written: Whether `train_aug.txt` was written.
        masks_written: Masks written, by where they come from.
        labels_written: Whether the labels were compared and written; otherwise they were up to date.
        report: Content of `cls_labels_report.json`.
        warnings: What the user should know.
    """

    root: Path
    num_pictures: dict[str, int]
    list_written: bool = False
    masks_written: dict[str, int] = field(default_factory=dict)
    labels_written: bool = False
    report: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        num_masks, num_new = sum(self.num_pictures.values()), sum(self.masks_written.values())
        if not (self.list_written or num_new or self.labels_written):
            lines = [f'{self.root}: nothing to do, {num_masks} masks, train_aug.txt and cls_labels.json are up to date']
        else:
            origin = [f'{count} from {name}' for name, count in self.masks_written.items()]
            lines = [
                *([format_report(self.report), ''] if self.labels_written else []),
                str(self.root),
                f'  ImageSets/Segmentation/train_aug.txt: {self.num_pictures["train_aug"]} ids'
                f'{", written" if self.list_written else ", kept as it is"}',
                f'  SegmentationClassAug: {", ".join([*origin, f"{num_masks - num_new} were there"])}',
                f'  cls_labels.json: {self.report["num_pictures"]} pictures of train_aug and val, '
                f'from {self.report["labels_from"]}; {self.report["num_without_class"]} without a class',
                '  cls_labels_report.json: where XML and masks disagree',
            ]
        return '\n'.join([*lines, *(f'warning: {warning}' for warning in self.warnings)])


def prepare_voc(
    folder: Union[str, Path],
    sbd: Union[str, Path, None] = None,
    aug_zip: Union[str, Path, None] = None,
    labels_from: str = 'xml',
    num_workers: Optional[int] = None,
) -> PreparedVOC:
    """Complete a VOC 2012 folder: `SegmentationClassAug`, `train_aug.txt`, `cls_labels.json` and a report on it.

    What is there is kept, so that the same call goes on where an interrupted one stopped.

    Args:
        folder: VOCdevkit, or VOCdevkit/VOC2012.
        sbd: SBD's folder benchmark_RELEASE.
        aug_zip: Zip of `SegmentationClassAug`, instead of SBD.
        labels_from: What the label file is made from: `xml` or `masks`.
        num_workers: Processes; 0: none but this one; default: one for each CPU.

    Raises:
        FileNotFoundError: Downloads are missing or incomplete.
        ModuleNotFoundError: SBD was given and scipy is not installed.
        ValueError: Files are broken or do not belong together, or a list or label file of somebody else is there.
    """
    if labels_from not in LABEL_SOURCES:
        raise ValueError(f'labels_from is {labels_from!r}; choose one of {", ".join(LABEL_SOURCES)}')
    if sbd is not None and aug_zip is not None:
        raise ValueError('SBD and a zip of masks were given; choose one of them')
    tree = VOCTree.find(folder)
    tree.remove_leftovers()
    train, val, source, warnings = _list_pictures(tree, sbd, aug_zip)
    if not train:
        raise ValueError(
            f'{tree.root}: there are masks of the pictures of val only, none to train on; {get_masks(tree)}'
        )
    ids = sorted({*train, *val})
    sources = [voc_source(tree), *([source] if source else [])]
    tree.require_pictures(ids)
    check_sources(tree, ids, sources)
    prepared = PreparedVOC(tree.root, dict(train_aug=len(train), val=len(val)), warnings=warnings)
    prepared.list_written = write_train_list(
        tree.split('train_aug'), train, f'{source.name} without val' if source else tree.aug_masks.name
    )
    prepared.masks_written = make_masks(tree, ids, sources, num_workers)
    prepared.labels_written = _make_labels(tree, ids, labels_from, num_workers)
    prepared.report = load_report(tree.report) or {}
    prepared.warnings += _warn_of_numbers(prepared.num_pictures) + _warn_of_masks(prepared.report)
    return prepared


def _list_pictures(
    tree: VOCTree, sbd: Union[str, Path, None], aug_zip: Union[str, Path, None]
) -> tuple[list[str], list[str], Optional[MaskSource], list[str]]:
    """Give the ids of train_aug and val, where masks come from besides VOC, and warnings."""
    val_list, train_list = tree.split('val'), tree.split('train_aug')
    needed = [tree.images, tree.annotations, val_list]
    if sbd is not None:
        needed += [tree.voc_masks, tree.split('train')]
    tree.require(*needed)
    val = read_ids(val_list)
    if sbd is not None:
        source, others = open_sbd(tree, sbd)
        train = {*source.ids, *read_ids(tree.split('train'))} - {*val}
        return sorted(train), val, source, _warn_of_others(sbd, others)
    if aug_zip is not None:
        source, others = open_zip(tree, aug_zip)
        return sorted(source.ids - {*val}), val, source, _warn_of_others(aug_zip, others)
    masks = mask_ids(tree.aug_masks)
    if not masks:
        raise FileNotFoundError(
            f'{tree.aug_masks} is missing, and nothing was named to make it from.\n  {get_masks(tree)}'
        )
    train = {*read_ids(train_list)} if train_list.is_file() else {*masks} - {*val}
    in_both = sorted(train & {*val})
    if in_both:
        raise ValueError(
            f'{train_list}: holds {len(in_both)} ids of val.txt: {first_few(in_both)}.\n'
            '  Pictures to validate on must not be trained on: take them out, or delete the list to have it made anew.'
        )
    return sorted(train), val, None, []


def _make_labels(tree: VOCTree, ids: Sequence[str], labels_from: str, num_workers: Optional[int]) -> bool:
    """Write labels and report unless they are up to date; tell whether there was work."""
    inputs, old = hash_inputs(tree, ids, labels_from), load_report(tree.report) or {}
    present = hash_bytes(tree.labels.read_bytes()) if tree.labels.is_file() else None
    if present is not None and (inputs, present) == (old.get('inputs_sha256'), old.get('labels_sha256')):
        return False
    pictures = run_collecting(partial(compare_labels, tree), ids, 'Labels of XML and masks', num_workers)
    text = _format_labels(pictures, labels_from)
    made = hash_bytes(text.encode())
    if present not in (None, made, old.get('labels_sha256')):
        raise ValueError(
            f'{tree.labels}: was not written by this program, or was changed since, and differs from the labels of '
            f'{labels_from}.\n  Delete or move it, then run the same command again.'
        )
    # Labels first: a report speaks of labels that are there.
    write_text(tree.labels, text)
    report = {**make_report(pictures, labels_from), 'inputs_sha256': inputs, 'labels_sha256': made}
    write_text(tree.report, json.dumps(report, indent=1) + '\n')
    return True


def _format_labels(pictures: Sequence[PictureLabels], labels_from: str) -> str:
    """Write the label file, one picture a line."""
    labels = {p.img_id: p.xml if labels_from == 'xml' else p.mask for p in pictures}
    return label_text(labels)


def _warn_of_others(path: Union[str, Path], others: Sequence[str]) -> list[str]:
    return [f'{path}: files of no listed picture or no mask, left out: {first_few(others)}'] if others else []


def _warn_of_numbers(num_pictures: dict[str, int]) -> list[str]:
    return [
        f'{split} has {num_pictures[split]} ids, VOC 2012 with SBD has {expected}: '
        'a subset, or a download that is incomplete'
        for split, expected in NUM_PICTURES.items()
        if num_pictures[split] != expected
    ]


def _warn_of_masks(report: dict[str, Any]) -> list[str]:
    changed = report['changed_masks']
    if not changed:
        return []
    return [
        f"{len(changed)} masks of SegmentationClassAug differ from VOC's own in SegmentationClass: "
        f"{first_few(changed)}; mIoU on them is not that of VOC's masks.\n"
        "  Delete them from SegmentationClassAug and run the same command again: VOC's own are then taken"
    ]
