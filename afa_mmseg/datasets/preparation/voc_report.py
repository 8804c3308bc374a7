"""The report on VOC's image-level labels: as JSON for programs, as a table for people."""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional

from .voc_labels import CLASSES, REASONS, Difference, PictureLabels
from .voc_tree import VOCTree

#: Goes up with every change of what is written, so that old files are not taken for new ones.
VERSION = 1
#: Differences that the table shows.
NUM_SHOWN = 5


def make_report(pictures: Sequence[PictureLabels], labels_from: str) -> dict[str, Any]:
    """Count classes and differences.

    Args:
        pictures: Labels of all pictures.
        labels_from: What the label file is made from, `xml` or `masks`.
    """
    return dict(
        version=VERSION,
        labels_from=labels_from,
        num_pictures=len(pictures),
        num_without_class=sum(not getattr(picture, 'xml' if labels_from == 'xml' else 'mask') for picture in pictures),
        masks_from=dict(Counter(picture.source for picture in pictures)),
        changed_masks=[picture.img_id for picture in pictures if picture.source == 'changed'],
        classes={name: _count_class(pictures, name) for name in CLASSES[1:]},
        reasons={
            key: sum(d.reason == key for p in pictures for d in (*p.xml_only.values(), *p.mask_only.values()))
            for key in REASONS
        },
        differences={
            p.img_id: dict(mask_from=p.source, xml_only=_as_dict(p.xml_only), mask_only=_as_dict(p.mask_only))
            for p in pictures
            if p.xml_only or p.mask_only
        },
    )


def format_report(report: dict[str, Any]) -> str:
    """Write the report as text: a table of classes, reasons, and the first differences."""
    lines = [f'{"pictures that show":<20}{"XML":>8}{"masks":>8}{"XML only":>10}{"masks only":>12}']
    rows = {**report['classes'], 'all classes': _total(report['classes'].values())}
    for name, row in rows.items():
        lines.append(f'{name:<20}{row["xml"]:>8}{row["mask"]:>8}{row["xml_only"]:>10}{row["mask_only"]:>12}')
    differ, total = len(report['differences']), report['num_pictures']
    lines.append(f'{differ} of {total} pictures show other classes by XML than by mask')
    lines += [f'  {count:>6}  {key}: {REASONS[key]}' for key, count in report['reasons'].items() if count]
    shown = list(report['differences'].items())[:NUM_SHOWN]
    lines += [f'  {text}' for img_id, entry in shown for text in _format_difference(img_id, entry)]
    if len(report['differences']) > NUM_SHOWN:
        lines.append(f'  ... and {len(report["differences"]) - NUM_SHOWN} more pictures')
    return '\n'.join(lines)


def load_report(path: Path) -> Optional[dict[str, Any]]:
    """Read a report; `None` if there is none, or none of this version."""
    try:
        report = json.loads(path.read_text(encoding='utf-8'))
    except (FileNotFoundError, ValueError):
        return None
    return report if isinstance(report, dict) and report.get('version') == VERSION else None


def hash_bytes(data: bytes) -> str:
    """SHA-256 of a file's content, to recognise it."""
    return hashlib.sha256(data).hexdigest()


def hash_inputs(tree: VOCTree, ids: Sequence[str], labels_from: str) -> str:
    """Hash what labels and report depend on: the ids, and size and time of their files; no file is opened."""
    files = [
        [_stamp(folder / f'{i}{suffix}') for i in ids]
        for folder, suffix in (
            (tree.images, '.jpg'),
            (tree.annotations, '.xml'),
            (tree.aug_masks, '.png'),
            (tree.voc_masks, '.png'),
        )
    ]
    return hash_bytes(json.dumps([labels_from, tree.voc_masks.is_dir(), list(ids), files]).encode())


def _stamp(path: Path) -> Optional[tuple[int, int]]:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return status.st_size, status.st_mtime_ns


def _count_class(pictures: Sequence[PictureLabels], name: str) -> dict[str, int]:
    fields = ('xml', 'mask', 'xml_only', 'mask_only')
    return {field: sum(name in getattr(picture, field) for picture in pictures) for field in fields}


def _as_dict(differences: dict[str, Difference]) -> dict[str, dict[str, str]]:
    return {name: dict(reason=d.reason, detail=d.detail) for name, d in differences.items()}


def _total(rows: Any) -> Counter:
    total: Counter = Counter()
    for row in rows:
        total.update(row)
    return total


def _format_difference(img_id: str, entry: dict[str, Any]) -> list[str]:
    return [
        f'{img_id} (mask: {entry["mask_from"]}): {name} in the {where} only, {d["reason"]}: {d["detail"]}'
        for field, where in (('xml_only', 'XML'), ('mask_only', 'mask'))
        for name, d in entry[field].items()
    ]
