"""Checks of images, masks and labels, with remedies."""

import hashlib
import io
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from typing import Optional

import numpy as np
from mmengine import fileio
from PIL import Image

from ...utils import IGNORE_INDEX, read_mask, run_parallel
from ..images import decode_image, load_whole, no_warnings
from ..label_files import rare_classes
from ..transforms.loading import AS_SHOWN, AS_STORED, ORIENTATION_TAG, turn_upright
from .sources import ERROR, WARNING, Facts, Finding, Inspection, Source, Split, gather

#: Path of an image, path of its mask, and whether both are turned by their EXIF orientation.
Job = tuple[str, Optional[str], bool]


def inspect_sources(sources: Sequence[Source], num_workers: Optional[int] = None) -> Inspection:
    """Decode every image and every mask of these splits, and check them with their labels.

    Args:
        sources: Training first.
        num_workers: See `run_parallel`.
    """
    gathered = [gather(source) for source in sources]
    splits = [split for split, _ in gathered if split is not None]
    findings = [finding for _, found in gathered for finding in found]
    facts = _read_files(splits, num_workers)
    for split in splits:
        findings += [*_check_images(split, facts), *_check_masks(split, facts)]
    findings += [*_check_duplicates(splits, facts), *_check_classes(splits)]
    unique = [finding for i, finding in enumerate(findings) if finding.items and finding not in findings[:i]]
    return Inspection(splits, facts, sorted(unique, key=lambda finding: finding.level != ERROR))


# Files


def read_facts(job: Job, backend_args: Optional[dict] = None) -> Facts:
    """Decode an image and its mask as a whole."""
    path, mask_path, exif_orientation = job
    try:
        facts = _read_image(fileio.get(path, backend_args=backend_args), path, exif_orientation)
    except Exception as reason:  # decoders and backends raise anything
        facts = Facts(error=_text(reason))
    if mask_path is None:
        return facts
    try:
        data = fileio.get(mask_path, backend_args=backend_args)
        mask = read_mask(io.BytesIO(data), mask_path)
        mask = turn_upright(mask, data) if exif_orientation else mask
    except (ValueError, OSError) as reason:
        return facts._replace(mask_error=_text(reason))
    return facts._replace(mask_size=mask.shape[:2], mask_values=tuple(np.unique(mask).tolist()))


def _text(reason: Exception) -> str:
    return str(reason).strip() or type(reason).__name__


def _read_image(data: bytes, path: str, exif_orientation: bool) -> Facts:
    pixels = decode_image(data, path, AS_SHOWN if exif_orientation else AS_STORED)  # as LoadImage does
    file = io.BytesIO(data)
    with no_warnings(), Image.open(file) as image:
        load_whole(image, file)  # OpenCV accepts truncated files
        turned = image.format != 'TIFF' and image.getexif().get(ORIENTATION_TAG, 1) in range(2, 9)
    digest = hashlib.blake2b(repr(pixels.shape).encode() + pixels.tobytes(), digest_size=16).hexdigest()
    return Facts(size=pixels.shape[:2], is_turned=exif_orientation and turned, digest=digest)


def _read_files(splits: Sequence[Split], num_workers: Optional[int]) -> dict[str, Facts]:
    """Read each image once, with its mask from the split that has one."""
    jobs: dict[str, Job] = {}
    for split in splits:
        for img_id, path in split.paths.items():
            if path not in jobs or img_id in split.masks:
                jobs[path] = (path, split.masks.get(img_id), split.dataset.exif_orientation)
    backend_args = next((split.dataset.backend_args for split in splits if split.dataset.backend_args), None)
    read = partial(read_facts, backend_args=backend_args)
    return dict(zip(jobs, run_parallel(read, list(jobs.values()), 'images', num_workers)))


# Checks


def _check_images(split: Split, facts: dict[str, Facts]) -> list[Finding]:
    unreadable = [f'{i}: {facts[path].error}' for i, path in split.paths.items() if facts[path].error]
    turned = [i for i, path in split.paths.items() if facts[path].is_turned]
    remedy = 'check that their masks have the orientation in which training reads them'
    return [
        Finding(ERROR, f'{split.name}: images that cannot be read', unreadable, 'fetch them again'),
        Finding(WARNING, f'{split.name}: images with an EXIF orientation', turned, remedy),
    ]


def _check_masks(split: Split, facts: dict[str, Facts]) -> list[Finding]:
    unreadable, sizes, values, labels = [], [], [], []
    num_values = len(split.dataset.label_classes) + 1
    for img_id in split.masks:
        fact = facts[split.paths[img_id]]
        if fact.mask_error:
            unreadable.append(f'{img_id}: {fact.mask_error}')
        if fact.mask_size is None or fact.error:
            continue
        if fact.mask_size != fact.size:
            mask, image = (f'{width} x {height}' for height, width in (fact.mask_size, fact.size))
            sizes.append(f'{img_id}: mask {mask}, image {image}{", with EXIF orientation" * fact.is_turned}')
        wrong = [value for value in fact.mask_values if value >= num_values and value != IGNORE_INDEX]
        if wrong:
            values.append(f'{img_id}: {", ".join(map(str, wrong))}')
        elif num_values == len(split.classes) and img_id in split.labels:
            labels += _compare_with_labels(split, img_id, fact)
    name, allowed = split.name, f'classes are 0 to {num_values - 1}, and {IGNORE_INDEX} is ignored'
    differ = 'one of them is wrong, or the mask leaves it out'
    return [
        Finding(ERROR, f'{name}: masks that cannot be read', unreadable, 'save them again, as PNG of class indices'),
        Finding(ERROR, f'{name}: masks of another size than their image', sizes, 'draw them on the image as it is'),
        Finding(ERROR, f'{name}: mask values that are no class', values, allowed),
        Finding(WARNING, f'{name}: labels and mask name different classes', labels, differ),
    ]


def _compare_with_labels(split: Split, img_id: str, fact: Facts) -> list[str]:
    drawn = {split.classes[value] for value in fact.mask_values if value not in (0, IGNORE_INDEX)}
    named = set(split.labels[img_id])
    sides = (('mask alone', drawn - named), ('labels alone', named - drawn))
    parts = [f'{what} {", ".join(name for name in split.classes if name in names)}' for what, names in sides if names]
    return [f'{img_id}: {"; ".join(parts)}'] if parts else []


def _check_duplicates(splits: Sequence[Split], facts: dict[str, Facts]) -> list[Finding]:
    groups: dict[str, list[tuple[Split, str]]] = defaultdict(list)
    for split in splits:
        for img_id, path in split.paths.items():
            if not facts[path].error:
                groups[facts[path].digest].append((split, img_id))
    shared, differing, repeated = [], [], []
    for group in groups.values():
        if len(group) == 1:
            continue
        text = ', '.join(f'{img_id} ({split.name})' for split, img_id in group)
        labels = {tuple(sorted(split.labels[i])) for split, i in group if i in split.labels}
        if len(labels) > 1:
            differing.append(f'{text}: {" or ".join(", ".join(names) or "nothing" for names in sorted(labels))}')
        if len({split.name for split, _ in group}) > 1:
            shared.append(text)
        elif len(labels) <= 1:
            repeated.append(text)
    return [
        Finding(ERROR, 'the same image in two splits', shared, 'validation requires images that training has not seen'),
        Finding(ERROR, 'the same image with different labels', differing, 'keep it once, with the right ones'),
        Finding(WARNING, 'the same image twice', repeated, 'keep it once, or it counts twice'),
    ]


def _check_classes(splits: Sequence[Split]) -> list[Finding]:
    """Find classes that cannot be learned from these labels, or not be measured."""
    names = [f'{split.name}: {", ".join(split.classes)}' for split in splits]
    differ = names if len({split.classes for split in splits}) > 1 else []
    remedy = 'use one label file for all splits, or set `metainfo=dict(classes=[...])`'
    findings = [Finding(ERROR, 'splits name different classes', differ, remedy)]
    for split in filter(lambda split: split.labels, splits):
        absent = [cls for cls, count in split.count_classes().items() if not count]
        remedy = 'add images, or take the classes out: they are neither learned nor measured'
        findings.append(Finding(WARNING, f'{split.name}: classes without an image', absent, remedy))
    for split in splits[:1]:
        findings += _check_learnable(split)
    return findings


def _check_learnable(split: Split) -> list[Finding]:
    """Find classes of the training split that are rare, or that labels cannot tell from others or the background."""
    images_of: dict[frozenset[str], list[str]] = defaultdict(list)
    for cls in split.classes[1:]:
        images_of[frozenset(i for i, names in split.labels.items() if cls in names)].append(cls)
    everywhere = images_of.pop(frozenset(split.labels), []) if split.labels else []
    together = [', '.join(names) for ids, names in images_of.items() if len(names) > 1 and ids]
    rare = rare_classes(split.labels, split.classes[1:])
    counts = split.count_classes()
    few = [f'{cls}: {counts[cls]} {hint}'.rstrip() for cls, hint in rare.items() if hint or counts[cls] == 1]
    name, remedy = split.name, 'labels cannot separate them: add images of one alone, or make them one class'
    return [
        Finding(WARNING, f'{name}: classes that few images show', few, 'correct the names, or add images'),
        Finding(WARNING, f'{name}: classes in every image', everywhere, 'add images without them'),
        Finding(WARNING, f'{name}: classes that always occur together', together, remedy),
    ]
