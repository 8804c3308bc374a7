"""PASCAL VOC 2012 with SBD: masks, split list, image-level labels, and a report on them."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Callable, NamedTuple, Optional, Union

import numpy as np

from ...utils import remove_leftovers, write_text
from ...utils.checks import first_few, require_files
from ..images import read_ids
from ..label_files import check_classes, label_text, parse_xml, read_voc_xml
from .collect import run_collecting
from .voc_masks import (
    CLASSES,
    FOLDER,
    VOC_SOURCE,
    MaskSource,
    VOCTree,
    describe_sources,
    make_masks,
    mask_ids,
    sbd_source,
    voc_source,
    zip_source,
)

#: Images of VOC 2012 with SBD: `train_aug` is the union of SBD and VOC's `train`, without VOC's `val`.
NUM_IMAGES = dict(train_aug=10582, val=1449)
LABEL_SOURCES = ('xml', 'masks')
#: Images with differing labels that are printed.
NUM_SHOWN = 5

Report = Callable[[str], Any]


class ImageLabels(NamedTuple):
    """Classes in the XML file and the mask of an image, and whether the mask differs from VOC's own."""

    xml: list[str]
    mask: list[str]
    is_changed: bool


def prepare_voc(
    folder: Union[str, Path],
    sbd: Union[str, Path, None] = None,
    aug_zip: Union[str, Path, None] = None,
    labels_from: str = 'xml',
    num_workers: Optional[int] = None,
    report: Report = print,
) -> bool:
    """Complete a VOC 2012 folder: `SegmentationClassAug`, `train_aug.txt`, `cls_labels.json` and a report on it.

    Existing masks and lists are kept, so that the same call resumes an interrupted one.

    Args:
        folder: VOCdevkit, or VOCdevkit/VOC2012.
        sbd: SBD's folder benchmark_RELEASE.
        aug_zip: Zip of `SegmentationClassAug`, instead of SBD.
        labels_from: Source of the label file: `xml` or `masks`.
        num_workers: See `run_parallel`.
        report: Called with each line of the report.

    Returns:
        Whether anything was written.

    Raises:
        FileNotFoundError: Downloads are missing or incomplete.
        ModuleNotFoundError: SBD is named and scipy is not installed.
        ValueError: Files are broken or do not belong together, or another list or label file exists.
    """
    if labels_from not in LABEL_SOURCES:
        raise ValueError(f'labels_from is {labels_from!r}; choose one of {", ".join(LABEL_SOURCES)}')
    if sbd is not None and aug_zip is not None:
        raise ValueError('SBD and a zip of masks are named; choose one of them')
    tree = VOCTree(folder)
    for made in (tree.root, tree.aug_masks, tree.lists):
        remove_leftovers(made)
    train, val, source = _list_images(tree, sbd, aug_zip)
    ids = sorted({*train, *val})
    sources = [voc_source(tree), *([source] if source else [])]
    _require_all(tree, ids, sources)
    listed = _write_train_list(tree, train, f'{source.name} without val' if source else FOLDER)
    made_masks = make_masks(tree, ids, sources, num_workers)
    found, labelled = _write_labels(tree, ids, labels_from, num_workers)
    if listed or made_masks or labelled:
        written = [f'{count} from {name}' for name, count in made_masks.items()]
        report(format_report(found))
        report(f'{tree.root}\n  ImageSets/Segmentation/train_aug.txt: {len(train)} ids')
        report(f'  {FOLDER}: {", ".join([*written, f"{len(ids) - sum(made_masks.values())} existed"])}')
        report(
            f'  cls_labels.json: {len(ids)} images of train_aug and val, from {labels_from}; '
            f'{found["num_without_class"]} without a class'
        )
        report('  cls_labels_report.json: where XML and masks differ')
    else:
        report(f'{tree.root}: nothing to do, {len(ids)} masks, train_aug.txt and cls_labels.json are up to date')
    _report_warnings(dict(train_aug=len(train), val=len(val)), found['changed_masks'], report)
    return bool(listed or made_masks or labelled)


def read_image_labels(tree: VOCTree, img_id: str) -> ImageLabels:
    """Read the classes of an image from its XML file and its mask, after checking that they belong to it."""
    xml_path, mask_path = tree.annotations / f'{img_id}.xml', tree.aug_masks / f'{img_id}.png'
    names = read_voc_xml(xml_path)
    check_classes(names, CLASSES[1:], f'annotation file {xml_path}')
    filename = (parse_xml(xml_path).findtext('filename') or '').strip()
    if filename not in (img_id, f'{img_id}.jpg'):
        raise ValueError(f'annotation file {xml_path}: is of {filename!r}, not of {img_id}.jpg; fetch it again')
    mask = tree.load_mask(img_id, mask_path, str(mask_path))
    own = tree.voc_masks / mask_path.name
    is_changed = (
        own.is_file()
        and own.read_bytes() != mask_path.read_bytes()
        and not np.array_equal(tree.load_mask(img_id, own, str(own)), mask)
    )
    shown = np.bincount(mask.ravel(), minlength=len(CLASSES))
    in_mask = [name for name, count in zip(CLASSES[1:], shown[1:]) if count]
    return ImageLabels([name for name in CLASSES[1:] if name in names], in_mask, is_changed)


def make_report(images: dict[str, ImageLabels], labels_from: str) -> dict[str, Any]:
    """Count classes by XML and by mask, and list the images where the two differ."""
    only = {
        img_id: dict(
            xml_only=[name for name in image.xml if name not in image.mask],
            mask_only=[name for name in image.mask if name not in image.xml],
        )
        for img_id, image in images.items()
    }
    kinds = dict(xml=[image.xml for image in images.values()], mask=[image.mask for image in images.values()])
    kinds.update({kind: [pair[kind] for pair in only.values()] for kind in ('xml_only', 'mask_only')})
    return dict(
        labels_from=labels_from,
        num_images=len(images),
        num_without_class=sum(not names for names in kinds['xml' if labels_from == 'xml' else 'mask']),
        changed_masks=[img_id for img_id, image in images.items() if image.is_changed],
        classes={
            name: {kind: sum(name in names for names in lists) for kind, lists in kinds.items()} for name in CLASSES[1:]
        },
        differences={i: pair for i, pair in only.items() if any(pair.values())},
    )


def format_report(found: dict[str, Any]) -> str:
    """Format the report as text: a table of classes, and the first differences."""
    lines = [f'{"images that show":<20}{"XML":>8}{"masks":>8}{"XML only":>10}{"masks only":>12}']
    for name, row in found['classes'].items():
        lines.append(f'{name:<20}{row["xml"]:>8}{row["mask"]:>8}{row["xml_only"]:>10}{row["mask_only"]:>12}')
    differences = found['differences']
    lines.append(f'{len(differences)} of {found["num_images"]} images have other classes in the XML than in the mask')
    for img_id, entry in list(differences.items())[:NUM_SHOWN]:
        parts = [f'{", ".join(names)} in {key.replace("_", " ")}' for key, names in entry.items() if names]
        lines.append(f'  {img_id}: {"; ".join(parts)}')
    return '\n'.join([*lines, *(['  ...'] if len(differences) > NUM_SHOWN else [])])


def _list_images(
    tree: VOCTree, sbd: Union[str, Path, None], aug_zip: Union[str, Path, None]
) -> tuple[list[str], list[str], Optional[MaskSource]]:
    """Return the ids of train_aug and val, and the source of masks besides VOC."""
    val_list, own_list, train_list = (tree.lists / f'{name}.txt' for name in ('val', 'train', 'train_aug'))
    tree.require(tree.images, tree.annotations, val_list, *([tree.voc_masks, own_list] if sbd else []))
    val, source = read_ids(val_list), None
    if sbd is not None:
        source = sbd_source(tree, sbd)
        train = {*source.ids, *read_ids(own_list)} - {*val}
    elif aug_zip is not None:
        source = zip_source(tree, aug_zip)
        train = {*source.ids} - {*val}
    else:
        masks = mask_ids(tree.aug_masks)
        if not masks:
            raise FileNotFoundError(f'{tree.aug_masks} is missing, and no source is named.\n  {describe_sources(tree)}')
        train = {*read_ids(train_list)} if train_list.is_file() else {*masks} - {*val}
    both = sorted(train & {*val})
    if both:
        raise ValueError(
            f'{train_list}: holds {len(both)} ids of val.txt: {first_few(both)}.\n'
            '  Validation images must not be trained on: take them out, or delete the list to write it anew.'
        )
    if not train:
        raise ValueError(f'{tree.root}: only images of val have masks, none to train on; {describe_sources(tree)}')
    return sorted(train), val, source


def _require_all(tree: VOCTree, ids: Sequence[str], sources: Sequence[MaskSource]) -> None:
    """Raise a `FileNotFoundError` unless each id has an image, an XML file, and a mask in the folder or a source."""
    remedy = f'It is part of {VOC_SOURCE}; or take the ids out of the list.'
    require_files(str(tree.images), ids, '.jpg', 'images', remedy)
    require_files(str(tree.annotations), ids, '.xml', 'annotations', remedy)
    missing = sorted(set(ids).difference(mask_ids(tree.aug_masks), *(source.ids for source in sources)))
    if missing:
        names = ', '.join([FOLDER, *(source.name for source in sources)])
        raise FileNotFoundError(
            f'{len(missing)} of {len(ids)} ids of train_aug and val have no mask in {names}: {first_few(missing)}\n'
            f'  {describe_sources(tree)}\n  If you have done so, the download is incomplete: fetch it again.'
        )


def _write_train_list(tree: VOCTree, ids: Sequence[str], source: str) -> bool:
    """Write `train_aug.txt` unless it exists with the same ids; raise a `ValueError` if it has others."""
    path = tree.lists / 'train_aug.txt'
    if not path.is_file():
        return write_text(path, ''.join(f'{i}\n' for i in ids))
    others = sorted(set(read_ids(path)) ^ set(ids))
    if others:
        raise ValueError(
            f'{path}: differs from {source}: {first_few(others)} are in one of them only.\n'
            '  Delete or move the list, and run the same command again to write it anew.'
        )
    return False


def _write_labels(
    tree: VOCTree, ids: Sequence[str], labels_from: str, num_workers: Optional[int]
) -> tuple[dict[str, Any], bool]:
    """Write labels and report; return the report, and whether a file changed."""
    read = run_collecting(partial(read_image_labels, tree), ids, 'Labels of XML and masks', num_workers)
    images: dict[str, ImageLabels] = dict(zip(ids, read))
    text = label_text({i: image.xml if labels_from == 'xml' else image.mask for i, image in images.items()})
    if tree.labels.is_file() and tree.labels.read_bytes() != text.encode():
        raise ValueError(
            f'{tree.labels}: differs from the labels of {labels_from}.\n'
            '  Delete or move it, and run the same command again to write it anew.'
        )
    found = make_report(images, labels_from)
    changed = [write_text(tree.labels, text), write_text(tree.report, json.dumps(found, indent=1) + '\n')]
    return found, any(changed)


def _report_warnings(num_images: dict[str, int], changed: Sequence[str], report: Report) -> None:
    for split, expected in NUM_IMAGES.items():
        if num_images[split] != expected:
            report(
                f'warning: {split} has {num_images[split]} ids, VOC 2012 with SBD has {expected}: '
                'a subset, or a download that is incomplete'
            )
    if changed:
        report(
            f"warning: {len(changed)} masks of {FOLDER} differ from VOC's own in SegmentationClass: "
            f"{first_few(changed)}; mIoU on them is not that of VOC's masks.\n"
            f"  Delete them from {FOLDER} and run the same command again to copy VOC's own"
        )
