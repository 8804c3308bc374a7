"""Results of an inspection: tables, findings, a JSON file, and a histogram of the classes."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, Optional, Union

from matplotlib.figure import Figure
from prettytable import PrettyTable

from ...utils import atomic_path, write_text
from .sources import ERROR, Facts, Inspection, Split

REPORT, FIGURES, HISTOGRAM = 'report.txt', 'report.json', 'classes.png'
#: Items of a finding that are printed; the report lists all.
SHOWN = 5
#: Sets of labels in the JSON file.
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
        of_split = [data['labels_per_image'].get(count, 0) for data in splits]
        rows.append([f'images of {_count(count, "class", "es")}', *of_split])
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


def write_report(inspection: Inspection, folder: Union[str, Path]) -> None:
    """Write `report.txt`, `report.json` and `classes.png`, a histogram."""
    folder = Path(folder)
    figures: dict[str, Any] = dict(
        splits={split.name: _figures(split, inspection.facts) for split in inspection.splits}, errors=[], warnings=[]
    )
    for level, title, items, remedy in inspection.findings:
        found = dict(title=title, items=list(items), remedy=remedy)
        figures['errors' if level == ERROR else 'warnings'].append(found)
    write_text(folder / REPORT, f'{format_tables(inspection)}\n{format_findings(inspection, shown=None)}\n')
    write_text(folder / FIGURES, json.dumps(figures, ensure_ascii=False, indent=1) + '\n')
    if inspection.splits:
        _draw_histogram({split.name: split.count_classes() for split in inspection.splits}, folder / HISTOGRAM)


def _draw_histogram(counts: dict[str, dict[str, int]], path: Path) -> None:
    """Draw how many images show each class, by split, as PNG."""
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


def _figures(split: Split, facts: dict[str, Facts]) -> dict[str, Any]:
    sizes = [facts[path].size for path in split.paths.values() if not facts[path].error]
    label_sets = Counter(', '.join(sorted(names)) for names in split.labels.values())
    heights, widths = ([min(x), round(median(x)), max(x)] for x in zip(*sizes)) if sizes else ([], [])
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
        labels_per_image=dict(sorted(Counter(map(len, split.labels.values())).items())),
        label_sets=dict(label_sets.most_common(NUM_LABEL_SETS)),
    )


def _table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    table = PrettyTable(header)
    table.add_rows(rows)
    table.align = 'r'
    table.align[header[0]] = 'l'
    return table.get_string()


def _count(number: int, noun: str, ending: str = 's') -> str:
    return f'{number} {noun}{ending * (number != 1)}'
