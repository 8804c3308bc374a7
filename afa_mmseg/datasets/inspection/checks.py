"""Checks of images, masks and labels, with remedies."""

import posixpath
from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple, Optional

from ...utils import run_parallel
from .files import Facts, Job, read_facts
from .sources import ERROR, WARNING, Finding, Source, Split, gather

IGNORE_INDEX = 255


class Inspection(NamedTuple):
    """Inspected splits, properties of their images by path, and findings, errors first."""

    splits: list[Split]
    facts: dict[str, Facts]
    findings: list[Finding]

    @property
    def num_errors(self) -> int:
        """Number of findings that are errors."""
        return sum(finding.level == ERROR for finding in self.findings)


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


def count_classes(split: Split) -> dict[str, int]:
    """Count the images that show each foreground class."""
    counts = Counter(name for names in split.labels.values() for name in set(names))
    return {name: counts[name] for name in split.classes[1:]}


def _read_files(splits: Sequence[Split], num_workers: Optional[int]) -> dict[str, Facts]:
    """Read each image once, with its mask from the split that has one."""
    jobs: dict[str, Job] = {}
    for split in splits:
        for img_id, path in split.paths.items():
            if path not in jobs or img_id in split.masks:
                jobs[path] = Job(path, split.masks.get(img_id), split.exif_orientation)
    backend_args = next((split.backend_args for split in splits if split.backend_args), None)
    read = partial(read_facts, backend_args=backend_args)
    return dict(zip(jobs, run_parallel(read, list(jobs.values()), 'images', num_workers)))


def _check_images(split: Split, facts: dict[str, Facts]) -> list[Finding]:
    name = split.name
    names = Counter(posixpath.basename(img_id) for img_id in split.paths)
    return [
        Finding(
            ERROR,
            f'{name}: images that cannot be read',
            [f'{i}: {facts[path].error}' for i, path in split.paths.items() if facts[path].error],
            'fetch or save them again, or take their ids out',
        ),
        Finding(
            WARNING,
            f'{name}: images with an EXIF orientation',
            [i for i, path in split.paths.items() if facts[path].is_turned],
            'check that their masks have the orientation in which training reads them',
        ),
        Finding(
            WARNING,
            f'{name}: images of the same name in different folders',
            [img_id for img_id in split.paths if names[posixpath.basename(img_id)] > 1],
            'rename them: predictions are written under the name alone, and one replaces the other',
        ),
    ]


def _check_masks(split: Split, facts: dict[str, Facts]) -> list[Finding]:
    unreadable, sizes, values, labels = [], [], [], []
    for img_id in split.masks:
        fact = facts[split.paths[img_id]]
        if fact.mask_error:
            unreadable.append(f'{img_id}: {fact.mask_error}')
        if fact.mask_size is None or fact.error:
            continue
        if fact.mask_size != fact.size:
            mask, image = (f'{width} x {height}' for height, width in (fact.mask_size, fact.size))
            sizes.append(f'{img_id}: mask {mask}, image {image}{", with EXIF orientation" * fact.is_turned}')
        wrong = [value for value in fact.mask_values if value >= split.num_values and value != IGNORE_INDEX]
        if wrong:
            values.append(f'{img_id}: {", ".join(map(str, wrong))}')
        elif split.num_values == len(split.classes) and img_id in split.labels:
            labels += _compare_with_labels(split, img_id, fact)
    name, allowed = split.name, f'classes are 0 to {split.num_values - 1}, and {IGNORE_INDEX} is ignored'
    return [
        Finding(ERROR, f'{name}: masks that cannot be read', unreadable, 'save them again, as PNG of class indices'),
        Finding(ERROR, f'{name}: masks of another size than their image', sizes, 'draw them on the image as it is'),
        Finding(ERROR, f'{name}: mask values that are no class', values, allowed),
        Finding(
            WARNING,
            f'{name}: labels and mask name different classes',
            labels,
            'one of them is wrong, or the mask leaves it out',
        ),
    ]


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
    findings = []
    if len({split.classes for split in splits}) > 1:
        names = [f'{split.name}: {", ".join(split.classes)}' for split in splits]
        remedy = 'use one label file for all splits, or set `metainfo=dict(classes=[...])`'
        findings.append(Finding(ERROR, 'splits name different classes', names, remedy))
    for number, split in enumerate(splits):
        if split.labels:
            findings += _check_counts(split, training=number == 0)
    return findings


def _check_counts(split: Split, *, training: bool) -> list[Finding]:
    name, counts, num_images = split.name, count_classes(split), len(split.labels)
    absent = [cls for cls, count in counts.items() if not count]
    if not training:
        return [Finding(WARNING, f'{name}: classes without an image', absent, 'nothing is measured for them')]
    images_of: dict[frozenset[str], list[str]] = defaultdict(list)
    for cls in split.classes[1:]:
        images_of[frozenset(i for i, names in split.labels.items() if cls in names)].append(cls)
    return [
        Finding(WARNING, f'{name}: classes without an image', absent, 'add images, or take the classes out'),
        Finding(
            WARNING,
            f'{name}: classes in every image',
            [cls for cls, count in counts.items() if count == num_images],
            'add images without them: training requires both',
        ),
        Finding(
            WARNING,
            f'{name}: classes that always occur together',
            [', '.join(names) for ids, names in images_of.items() if len(names) > 1 and 0 < len(ids) < num_images],
            'labels cannot separate them: add images of one alone, or make them one class',
        ),
    ]


def _compare_with_labels(split: Split, img_id: str, fact: Facts) -> list[str]:
    drawn = {split.classes[value] for value in fact.mask_values if value not in (0, IGNORE_INDEX)}
    named = set(split.labels[img_id])
    parts = [
        f'{what} {", ".join(name for name in split.classes if name in names)}'
        for what, names in (('mask alone', drawn - named), ('labels alone', named - drawn))
        if names
    ]
    return [f'{img_id}: {"; ".join(parts)}'] if parts else []
