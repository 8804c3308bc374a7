"""What can be wrong with pictures, masks and labels, and what to do about it."""

import posixpath
from collections import Counter, defaultdict
from collections.abc import Sequence

from .findings import Finding, error, warning
from .pictures import PictureFacts
from .sources import Split

#: Facts about pictures, by path.
Facts = dict[str, PictureFacts]
IGNORE_INDEX = 255
#: Longer side by shorter side from which on a picture is worth a look.
EXTREME_ASPECT = 4.0
#: A random crop should show at least this part of a picture, or labels often name what it does not show.
MIN_CROP_SHARE = 0.25
#: Memory in bytes for the scores of a picture, as 32-bit numbers at its own size, from which on to warn.
LARGE_SCORES = 10**9


def check_pictures(split: Split, facts: Facts) -> list[Finding]:
    """Find pictures that cannot be read, are stored turned, or have a size that the network copes badly with."""
    turned, small, narrow, large, cropped = [], [], [], [], []
    for img_id, path in split.paths.items():
        fact = facts[path]
        if fact.error:
            continue
        if fact.orientation != 1 and img_id not in split.masks:
            turned.append(f'{img_id}: orientation {fact.orientation}')
        height, width = split.input_size(fact.size)
        size = f'{img_id}: {fact.size[1]} x {fact.size[0]}'
        if min(height, width) < split.min_side:
            small.append(f'{size}, {width} x {height} for the network')
        elif max(height, width) > EXTREME_ASPECT * min(height, width):
            narrow.append(size)
        if 4 * len(split.classes) * fact.size[0] * fact.size[1] > LARGE_SCORES:
            large.append(size)
        if split.crop and split.crop[0] * split.crop[1] < MIN_CROP_SHARE * height * width:
            cropped.append(size)
    name = split.name
    names = Counter(posixpath.basename(img_id) for img_id in split.paths)
    return [
        error(
            f'{name}: pictures that cannot be read',
            [f'{i}: {facts[path].error}' for i, path in split.paths.items() if facts[path].error],
            'fetch or save them again, or take their ids out',
        ),
        error(f'{name}: pictures that are too small', small, f'each side needs {split.min_side} pixels'),
        warning(
            f'{name}: pictures that EXIF says to turn',
            turned,
            'training and prediction turn them upright; masks and other programs must do so too',
        ),
        warning(
            f'{name}: pictures of the same name in different folders',
            [img_id for img_id in split.paths if names[posixpath.basename(img_id)] > 1],
            'rename them: predictions are written under the name alone, and one replaces the other',
        ),
        warning(f'{name}: sides differ more than {EXTREME_ASPECT:.0f} times', narrow, 'cut them into several pictures'),
        warning(
            f'{name}: scores of a picture take more than {LARGE_SCORES / 1e9:.0f} GB in validation',
            large,
            'make the pictures smaller: predictions have the size of the file',
        ),
        warning(
            f'{name}: pictures of which a crop shows less than {MIN_CROP_SHARE:.0%}',
            cropped,
            'put a Resize before the crop: labels hold for the picture, and a crop may not show what they name',
        ),
    ]


def check_masks(split: Split, facts: Facts) -> list[Finding]:
    """Find masks that do not belong to their picture, or hold what is no class."""
    unreadable, sizes, turned, unclear, values, others = [], [], [], [], [], []
    for img_id in split.masks:
        fact = facts[split.paths[img_id]]
        if fact.mask_error:
            unreadable.append(f'{img_id}: {fact.mask_error}')
        if fact.mask_size is None or fact.error:
            continue
        mask, picture = (f'{width} x {height}' for height, width in (fact.mask_size, fact.size))
        if fact.mask_size == fact.size:
            if fact.orientation != 1 and fact.size == fact.stored:
                unclear.append(f'{img_id}: orientation {fact.orientation}')
        elif fact.mask_size == fact.stored:
            turned.append(f'{img_id}: orientation {fact.orientation}, mask {mask}, picture {picture}')
        else:
            sizes.append(f'{img_id}: mask {mask}, picture {picture}')
        wrong = [value for value in fact.mask_values if value >= split.num_values and value != IGNORE_INDEX]
        if wrong:
            values.append(f'{img_id}: {", ".join(map(str, wrong))}')
        elif split.num_values == len(split.classes) and img_id in split.labels:
            others += _compare_with_labels(split, img_id, fact)
    name = split.name
    return [
        error(f'{name}: masks that cannot be read', unreadable, 'save them again, as PNG of class indices'),
        error(f'{name}: masks of another size than their picture', sizes, 'draw them on the picture as it is'),
        error(
            f'{name}: masks of pictures that EXIF says to turn, drawn before turning',
            turned,
            'turn the masks as EXIF says, or store pictures upright and draw again',
        ),
        error(
            f'{name}: mask values that are no class',
            values,
            f'classes are 0 to {split.num_values - 1}, and {IGNORE_INDEX} is ignored',
        ),
        warning(
            f'{name}: masks of pictures that EXIF says to turn, drawn before or after turning',
            unclear,
            'look at them: a mask is turned by its own EXIF orientation alone',
        ),
        warning(
            f'{name}: labels and mask name different classes', others, 'one of them is wrong, or the mask leaves it out'
        ),
    ]


def check_duplicates(splits: Sequence[Split], facts: Facts) -> list[Finding]:
    """Find pictures that are there twice, under one name or several, and those with two opinions of their labels."""
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
        error('the same picture in two splits', shared, 'validation needs pictures that training has not seen'),
        error('the same picture with different labels', differing, 'keep it once, with the right ones'),
        warning('the same picture twice', repeated, 'keep it once, or it counts twice'),
    ]


def check_labels(splits: Sequence[Split]) -> list[Finding]:
    """Find classes that cannot be learned from these labels, or not be measured."""
    findings = [
        error(
            'splits name different classes',
            [f'{split.name}: {", ".join(split.classes)}' for split in splits],
            'use one label file for all splits, or give `metainfo=dict(classes=[...])`',
        )
    ]
    if len({split.classes for split in splits}) < 2:
        findings = []
    for number, split in enumerate(splits):
        if split.labels:
            findings += _check_counts(split, training=number == 0)
    return findings


def count_classes(split: Split) -> dict[str, int]:
    """Count the pictures that show each foreground class."""
    counts = Counter(name for names in split.labels.values() for name in set(names))
    return {name: counts[name] for name in split.classes[1:]}


def _check_counts(split: Split, *, training: bool) -> list[Finding]:
    counts, pictures = count_classes(split), len(split.labels)
    absent = [name for name, count in counts.items() if not count]
    if not training:
        return [warning(f'{split.name}: classes without a picture', absent, 'nothing is measured for them')]
    shown: dict[frozenset[str], list[str]] = defaultdict(list)
    for name in split.classes[1:]:
        shown[frozenset(i for i, names in split.labels.items() if name in names)].append(name)
    return [
        warning(f'{split.name}: classes without a picture', absent, 'add pictures, or take the classes out'),
        warning(
            f'{split.name}: classes in every picture',
            [name for name, count in counts.items() if count == pictures],
            'add pictures without them: it takes both to learn where they are',
        ),
        warning(
            f'{split.name}: classes that are always together',
            [', '.join(names) for ids, names in shown.items() if len(names) > 1 and 0 < len(ids) < pictures],
            'labels cannot tell them apart: add pictures of one alone, or make them one class',
        ),
    ]


def _compare_with_labels(split: Split, img_id: str, fact: PictureFacts) -> list[str]:
    drawn = {split.classes[value] for value in fact.mask_values if value not in (0, IGNORE_INDEX)}
    named = set(split.labels[img_id])
    parts = [
        f'{what} {", ".join(name for name in split.classes if name in names)}'
        for what, names in (('mask alone', drawn - named), ('labels alone', named - drawn))
        if names
    ]
    return [f'{img_id}: {"; ".join(parts)}'] if parts else []
