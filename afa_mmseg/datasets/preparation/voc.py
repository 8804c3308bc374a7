"""PASCAL VOC 2012 with SBD: masks, split list, image-level labels, and a report on them."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Optional, Union

import numpy as np

from ...utils import write_text
from ...utils.checks import first_few
from ..label_files import check_classes, label_text, parse_xml, read_voc_xml
from ..voc import VOCImageLevelDataset
from .collect import run_collecting
from .sbd import sbd_source
from .voc_masks import (
    MaskSource,
    check_sources,
    describe_sources,
    load_mask,
    make_masks,
    mask_ids,
    voc_source,
    zip_source,
)
from .voc_tree import VOCTree, read_ids, write_train_list

CLASSES = VOCImageLevelDataset.METAINFO['classes']
#: Images of VOC 2012 with SBD: `train_aug` is the union of SBD and VOC's `train`, without VOC's `val`.
NUM_IMAGES = dict(train_aug=10582, val=1449)
LABEL_SOURCES = ('xml', 'masks')
#: Images with differing labels that are printed.
NUM_SHOWN = 5


class ImageLabels(NamedTuple):
    """Classes of an image, in VOC's order.

    Args:
        img_id: Image id.
        xml: Classes of the objects in its XML file.
        mask: Classes of the pixels of its mask.
        is_changed: Whether the mask differs from VOC's own in `SegmentationClass`.
    """

    img_id: str
    xml: list[str]
    mask: list[str]
    is_changed: bool


@dataclass
class PreparedVOC:
    """What was written.

    Args:
        root: The VOC2012 folder.
        num_images: Ids of each split.
        list_written: Whether `train_aug.txt` was written.
        masks_written: Masks written, by source.
        labels_written: Whether labels or report were written.
        report: Content of `cls_labels_report.json`.
        warnings: Warnings.
    """

    root: Path
    num_images: dict[str, int]
    list_written: bool = False
    masks_written: dict[str, int] = field(default_factory=dict)
    labels_written: bool = False
    report: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        num_masks, num_new = sum(self.num_images.values()), sum(self.masks_written.values())
        if not (self.list_written or num_new or self.labels_written):
            lines = [f'{self.root}: nothing to do, {num_masks} masks, train_aug.txt and cls_labels.json are up to date']
        else:
            written = [f'{count} from {name}' for name, count in self.masks_written.items()]
            lines = [
                format_report(self.report),
                f'{self.root}\n  ImageSets/Segmentation/train_aug.txt: {self.num_images["train_aug"]} ids',
                f'  SegmentationClassAug: {", ".join([*written, f"{num_masks - num_new} existed"])}',
                f'  cls_labels.json: {num_masks} images of train_aug and val, from {self.report["labels_from"]}; '
                f'{self.report["num_without_class"]} without a class',
                '  cls_labels_report.json: where XML and masks differ',
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

    Existing masks and lists are kept, so that the same call resumes an interrupted one.

    Args:
        folder: VOCdevkit, or VOCdevkit/VOC2012.
        sbd: SBD's folder benchmark_RELEASE.
        aug_zip: Zip of `SegmentationClassAug`, instead of SBD.
        labels_from: Source of the label file: `xml` or `masks`.
        num_workers: Processes; 0: only this one; default: one for each CPU.

    Raises:
        FileNotFoundError: Downloads are missing or incomplete.
        ModuleNotFoundError: SBD is named and scipy is not installed.
        ValueError: Files are broken or do not belong together, or another list or label file exists.
    """
    if labels_from not in LABEL_SOURCES:
        raise ValueError(f'labels_from is {labels_from!r}; choose one of {", ".join(LABEL_SOURCES)}')
    if sbd is not None and aug_zip is not None:
        raise ValueError('SBD and a zip of masks are named; choose one of them')
    tree = VOCTree.find(folder)
    tree.remove_leftovers()
    train, val, source = _list_images(tree, sbd, aug_zip)
    if not train:
        raise ValueError(f'{tree.root}: only images of val have masks, none to train on; {describe_sources(tree)}')
    ids = sorted({*train, *val})
    sources = [voc_source(tree), *([source] if source else [])]
    tree.require_images(ids)
    check_sources(tree, ids, sources)
    prepared = PreparedVOC(tree.root, dict(train_aug=len(train), val=len(val)))
    prepared.list_written = write_train_list(
        tree.split('train_aug'), train, f'{source.name} without val' if source else tree.aug_masks.name
    )
    prepared.masks_written = make_masks(tree, ids, sources, num_workers)
    prepared.report, prepared.labels_written = _make_labels(tree, ids, labels_from, num_workers)
    prepared.warnings = _find_warnings(prepared)
    return prepared


def read_image_labels(tree: VOCTree, img_id: str) -> ImageLabels:
    """Read the classes of an image from its XML file and its mask, after checking that they belong to it.

    Raises:
        ValueError: XML, mask or image are broken or do not belong together.
    """
    xml_path, mask_path = tree.annotations / f'{img_id}.xml', tree.aug_masks / f'{img_id}.png'
    names = read_voc_xml(xml_path)
    check_classes(names, CLASSES[1:], f'annotation file {xml_path}')
    filename = (parse_xml(xml_path).findtext('filename') or '').strip()
    if filename not in (img_id, f'{img_id}.jpg'):
        raise ValueError(f'annotation file {xml_path}: is of {filename!r}, not of {img_id}.jpg; fetch it again')
    mask = load_mask(mask_path, str(mask_path), tree.image_size(img_id))
    own = tree.voc_masks / mask_path.name
    is_changed = (
        own.is_file()
        and own.read_bytes() != mask_path.read_bytes()
        and not np.array_equal(load_mask(own, str(own), mask.shape), mask)
    )
    shown = np.bincount(mask.ravel(), minlength=len(CLASSES))
    return ImageLabels(
        img_id,
        xml=[name for name in CLASSES[1:] if name in names],
        mask=[name for name, count in zip(CLASSES[1:], shown[1:]) if count],
        is_changed=is_changed,
    )


def make_report(images: Sequence[ImageLabels], labels_from: str) -> dict[str, Any]:
    """Count classes by XML and by mask, and list the images where the two differ."""
    only = {image.img_id: (_without(image.xml, image.mask), _without(image.mask, image.xml)) for image in images}
    return dict(
        labels_from=labels_from,
        num_images=len(images),
        num_without_class=sum(not (image.xml if labels_from == 'xml' else image.mask) for image in images),
        changed_masks=[image.img_id for image in images if image.is_changed],
        classes={
            name: dict(
                xml=sum(name in image.xml for image in images),
                mask=sum(name in image.mask for image in images),
                xml_only=sum(name in pair[0] for pair in only.values()),
                mask_only=sum(name in pair[1] for pair in only.values()),
            )
            for name in CLASSES[1:]
        },
        differences={i: dict(xml_only=pair[0], mask_only=pair[1]) for i, pair in only.items() if any(pair)},
    )


def format_report(report: dict[str, Any]) -> str:
    """Format the report as text: a table of classes, and the first differences."""
    lines = [f'{"images that show":<20}{"XML":>8}{"masks":>8}{"XML only":>10}{"masks only":>12}']
    for name, row in report['classes'].items():
        lines.append(f'{name:<20}{row["xml"]:>8}{row["mask"]:>8}{row["xml_only"]:>10}{row["mask_only"]:>12}')
    differences = report['differences']
    lines.append(f'{len(differences)} of {report["num_images"]} images have other classes in the XML than in the mask')
    for img_id, entry in list(differences.items())[:NUM_SHOWN]:
        parts = [f'{", ".join(names)} in {key.replace("_", " ")}' for key, names in entry.items() if names]
        lines.append(f'  {img_id}: {"; ".join(parts)}')
    return '\n'.join([*lines, *(['  ...'] if len(differences) > NUM_SHOWN else [])])


def _list_images(
    tree: VOCTree, sbd: Union[str, Path, None], aug_zip: Union[str, Path, None]
) -> tuple[list[str], list[str], Optional[MaskSource]]:
    """Return the ids of train_aug and val, and the source of masks besides VOC."""
    val_list, train_list = tree.split('val'), tree.split('train_aug')
    tree.require(tree.images, tree.annotations, val_list, *([tree.voc_masks, tree.split('train')] if sbd else []))
    val = read_ids(val_list)
    if sbd is not None:
        source = sbd_source(tree, sbd)
        return sorted({*source.ids, *read_ids(tree.split('train'))} - {*val}), val, source
    if aug_zip is not None:
        source = zip_source(tree, aug_zip)
        return sorted(source.ids - {*val}), val, source
    masks = mask_ids(tree.aug_masks)
    if not masks:
        raise FileNotFoundError(f'{tree.aug_masks} is missing, and no source is named.\n  {describe_sources(tree)}')
    train = {*read_ids(train_list)} if train_list.is_file() else {*masks} - {*val}
    in_both = sorted(train & {*val})
    if in_both:
        raise ValueError(
            f'{train_list}: holds {len(in_both)} ids of val.txt: {first_few(in_both)}.\n'
            '  Validation images must not be trained on: take them out, or delete the list to write it anew.'
        )
    return sorted(train), val, None


def _make_labels(
    tree: VOCTree, ids: Sequence[str], labels_from: str, num_workers: Optional[int]
) -> tuple[dict[str, Any], bool]:
    """Write labels and report; return the report, and whether a file changed."""
    images = run_collecting(partial(read_image_labels, tree), ids, 'Labels of XML and masks', num_workers)
    text = label_text({image.img_id: image.xml if labels_from == 'xml' else image.mask for image in images})
    if tree.labels.is_file() and tree.labels.read_bytes() != text.encode():
        raise ValueError(
            f'{tree.labels}: differs from the labels of {labels_from}.\n'
            '  Delete or move it, and run the same command again to write it anew.'
        )
    report = make_report(images, labels_from)
    changed = [write_text(tree.labels, text), write_text(tree.report, json.dumps(report, indent=1) + '\n')]
    return report, any(changed)


def _without(names: Iterable[str], others: Sequence[str]) -> list[str]:
    return [name for name in names if name not in others]


def _find_warnings(prepared: PreparedVOC) -> list[str]:
    warnings = [
        f'{split} has {prepared.num_images[split]} ids, VOC 2012 with SBD has {expected}: '
        'a subset, or a download that is incomplete'
        for split, expected in NUM_IMAGES.items()
        if prepared.num_images[split] != expected
    ]
    changed = prepared.report['changed_masks']
    if changed:
        warnings.append(
            f"{len(changed)} masks of SegmentationClassAug differ from VOC's own in SegmentationClass: "
            f"{first_few(changed)}; mIoU on them is not that of VOC's masks.\n"
            "  Delete them from SegmentationClassAug and run the same command again to copy VOC's own"
        )
    return warnings
