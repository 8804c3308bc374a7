"""Results of an inspection: tables, findings, a JSON file, a histogram of the classes, and split lists."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, Optional, Union

from matplotlib.figure import Figure
from prettytable import PrettyTable

from ...utils import atomic_path, remove_leftovers, write_text
from .sources import ERROR, Facts, Inspection, Split

REPORT, FIGURES, HISTOGRAM = 'report.txt', 'report.json', 'classes.png'
#: Items of a finding that are printed; the report lists all.
SHOWN = 5
#: Sets of labels in the report.
NUM_LABEL_SETS = 20
#: Rows of the table of splits: what is not 0 everywhere.
ROWS = dict(
    images='images',
    unreadable='unreadable',
    labelled='with labels',
    masks='with a mask to check',
    unlisted='left out of the list',
    widths='widths: min, median, max',
    heights='heights: min, median, max',
)


def format_tables(inspection: Inspection) -> str:
    """Format the splits, and the images of each class, as text tables."""
    if not inspection.splits:
        return 'no split could be read'
    figures = {split.name: _figures(split, inspection.facts) for split in inspection.splits}
    splits = list(figures.values())
    rows = [
        [title, *(str(data[key]).strip('[]') for data in splits)]
        for key, title in ROWS.items()
        if any(data[key] for data in splits)
    ]
    for count in sorted({count for data in splits for count in data['labels_per_image']}):
        rows.append(
            [f'images of {_count(count, "class", "es")}', *(data['labels_per_image'][count] for data in splits)]
        )
    names = dict.fromkeys(name for data in splits for name in data['class_counts'])
    classes = [
        [name, index, *(data['class_counts'].get(name, '-') for data in splits)] for index, name in enumerate(names, 1)
    ]
    num_classes = f'num_classes = {len(inspection.splits[0].classes)}, the background included'
    return '\n'.join([_table(['', *figures], rows), _table(['class', 'index', *figures], classes), num_classes])


def format_findings(inspection: Inspection, shown: Optional[int] = SHOWN) -> str:
    """Format the findings, `shown` items of each or all."""
    lines = [line for finding in inspection.findings for line in finding.lines(shown)]
    errors = inspection.num_errors
    return '\n'.join([*lines, f'{_count(errors, "error")}, {_count(len(inspection.findings) - errors, "warning")}'])


def write_report(inspection: Inspection, folder: Union[str, Path]) -> bool:
    """Write `report.txt`, `report.json` and `classes.png`, a histogram; return whether anything changed."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)
    text = f'{format_tables(inspection)}\n{format_findings(inspection, shown=None)}\n'
    figures: dict[str, Any] = dict(
        splits={split.name: _figures(split, inspection.facts) for split in inspection.splits}, errors=[], warnings=[]
    )
    for level, title, items, remedy in inspection.findings:
        found = dict(title=title, items=list(items), remedy=remedy)
        figures['errors' if level == ERROR else 'warnings'].append(found)
    data = json.dumps(figures, ensure_ascii=False, indent=1) + '\n'
    changed = [write_text(folder / REPORT, text), write_text(folder / FIGURES, data)]
    if inspection.splits and (any(changed) or not (folder / HISTOGRAM).is_file()):
        draw_histogram({split.name: split.count_classes() for split in inspection.splits}, folder / HISTOGRAM)
        changed.append(True)
    return any(changed)


def draw_histogram(counts: dict[str, dict[str, int]], path: Union[str, Path]) -> None:
    """Draw how many images show each class, by split, as PNG.

    Args:
        counts: Images of each class, by split.
        path: Of the PNG.
    """
    names = list(dict.fromkeys(name for split in counts.values() for name in split))
    figure = Figure(figsize=(7, 1 + 0.2 * len(names)), dpi=100, layout='constrained')
    axes = figure.add_subplot()
    thickness = 0.8 / len(counts)
    for number, (split, of_class) in enumerate(counts.items()):
        rows = [index + (number + 0.5) * thickness - 0.4 for index in range(len(names))]
        bars = axes.barh(rows, [of_class.get(name, 0) for name in names], thickness, label=split)
        axes.bar_label(bars, padding=3, fontsize=6)
    axes.set_yticks(range(len(names)), names, parse_math=False, fontsize=8)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.margins(x=0.1)
    axes.set_xlabel('images')
    axes.spines[['top', 'right']].set_visible(False)
    if len(counts) > 1:
        figure.legend(loc='outside upper right', ncols=len(counts), frameon=False)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format='png')


def write_split_lists(
    inspection: Inspection, folder: Union[str, Path], val_share: float, seed: int = 0
) -> tuple[list[str], list[str], bool]:
    """Write `train.txt` and `val.txt`; the same images and seed give the same lists, whatever the ids.

    Images are ordered by a hash of seed and pixels, so copies of an image go to the same list, and most
    images keep their list when others are added.

    Args:
        inspection: Of one split.
        folder: Where to write.
        val_share: Part of the images for validation, between 0 and 1; at least one image, and not all.
        seed: Any number.

    Returns:
        Ids for training, ids for validation, and whether anything was written.

    Raises:
        ValueError: `val_share` is out of range, there are errors or too few images, or other lists exist.
    """
    if not 0 < val_share < 1:
        raise ValueError(f'share of images for validation: {val_share} is not between 0 and 1; 0.1 is usual')
    if inspection.num_errors or len(inspection.splits) != 1:
        raise ValueError('no split lists written: correct the errors first')
    digests = {i: inspection.facts[path].digest for i, path in inspection.splits[0].paths.items()}
    keys = {i: hashlib.blake2b(f'{seed}:{digest}'.encode()).hexdigest() for i, digest in digests.items()}
    ordered = sorted(keys, key=lambda i: (keys[i], i))
    end = min(max(round(val_share * len(ordered)), 1), len(ordered) - 1)
    while 0 < end < len(ordered) and keys[ordered[end]] == keys[ordered[end - 1]]:
        end += 1
    train, val = sorted(ordered[end:]), sorted(ordered[:end])
    if not train or not val:
        raise ValueError(f'no split lists written: too few different images: {len(set(digests.values()))}')
    lists = {
        Path(folder, name): ''.join(f'{i}\n' for i in ids) for name, ids in (('train.txt', train), ('val.txt', val))
    }
    for file, text in lists.items():
        if file.exists() and file.read_text(encoding='utf-8') != text:
            raise ValueError(f'{file} exists and differs; delete it, or keep the split as it is')
    written = [write_text(file, text) for file, text in lists.items()]
    return train, val, any(written)


def _figures(split: Split, facts: dict[str, Facts]) -> dict[str, Any]:
    sizes = [facts[path].size for path in split.paths.values() if not facts[path].error]
    heights, widths = ([min(x), round(median(x)), max(x)] for x in zip(*sizes)) if sizes else ([], [])
    per_image = Counter(map(len, split.labels.values()))
    return dict(
        classes=list(split.classes),
        images=len(split.paths),
        unreadable=len(split.paths) - len(sizes),
        labelled=len(split.labels),
        masks=len(split.masks),
        unlisted=split.unlisted,
        heights=heights,
        widths=widths,
        class_counts=split.count_classes(),
        labels_per_image=Counter({count: per_image[count] for count in sorted(per_image)}),
        label_sets=dict(
            Counter(', '.join(sorted(names)) for names in split.labels.values()).most_common(NUM_LABEL_SETS)
        ),
    )


def _table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    table = PrettyTable(header)
    table.add_rows(rows)
    table.align = 'r'
    table.align[header[0]] = 'l'
    return table.get_string()


def _count(number: int, noun: str, ending: str = 's') -> str:
    return f'{number} {noun}{ending * (number != 1)}'
