"""Results of an inspection as text: tables and findings."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, Optional, Union

from prettytable import PrettyTable

from ...utils import write_text
from .sources import Facts, Inspection, Split

REPORT = 'report.txt'
#: Items of a finding that are printed; the report lists all.
SHOWN = 5
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
    """Write `report.txt`, the tables and all findings."""
    text = f'{format_tables(inspection)}\n{format_findings(inspection, shown=None)}\n'
    write_text(Path(folder) / REPORT, text)


def _figures(split: Split, facts: dict[str, Facts]) -> dict[str, Any]:
    sizes = [facts[path].size for path in split.paths.values() if not facts[path].error]
    heights, widths = ([min(x), round(median(x)), max(x)] for x in zip(*sizes)) if sizes else ([], [])
    return dict(
        images=len(split.paths),
        unreadable=len(split.paths) - len(sizes),
        labelled=len(split.labels),
        masks=len(split.masks),
        unlisted=split.unlisted,
        heights=heights,
        widths=widths,
        class_counts=split.count_classes(),
        labels_per_image=dict(sorted(Counter(map(len, split.labels.values())).items())),
    )


def _table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    table = PrettyTable(header)
    table.add_rows(rows)
    table.align = 'r'
    table.align[header[0]] = 'l'
    return table.get_string()


def _count(number: int, noun: str, ending: str = 's') -> str:
    return f'{number} {noun}{ending * (number != 1)}'
