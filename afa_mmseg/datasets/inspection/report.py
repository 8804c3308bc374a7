"""What was found, as tables to read and files to keep."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, Union

from prettytable import PrettyTable

from ...utils import remove_leftovers, write_text
from .findings import ERROR
from .histogram import draw_histogram
from .inspect import Inspection
from .rules import Facts, count_classes
from .sources import Split

REPORT, FIGURES, HISTOGRAM = 'report.md', 'report.json', 'classes.png'
#: How many sets of labels the report lists.
NUM_LABEL_SETS = 20


def format_tables(inspection: Inspection) -> str:
    """Write the splits, and the pictures of each class, as tables of text."""
    texts = []
    for table in _tables(inspection):
        text = PrettyTable(table[0])
        text.add_rows(table[1:])
        text.align = 'r'
        text.align[table[0][0]] = 'l'
        texts.append(text.get_string())
    return '\n'.join([*texts, _describe_classes(inspection)])


def format_findings(inspection: Inspection) -> str:
    """Write what was found, a few items of each."""
    lines = [line for finding in inspection.findings for line in finding.lines()]
    errors = inspection.num_errors
    return '\n'.join([*lines, f'{_count(errors, "error")}, {_count(len(inspection.findings) - errors, "warning")}'])


def write_report(inspection: Inspection, folder: Union[str, Path]) -> bool:
    """Write `report.md`, `report.json` and `classes.png`, a histogram; tell whether anything changed."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)
    changed = write_text(folder / FIGURES, json.dumps(to_dict(inspection), ensure_ascii=False, indent=1) + '\n')
    changed |= write_text(folder / REPORT, _markdown(inspection))
    if inspection.splits:
        counts = {split.name: count_classes(split) for split in inspection.splits}
        changed |= draw_histogram(counts, folder / HISTOGRAM)
    return changed


def to_dict(inspection: Inspection) -> dict[str, Any]:
    """Give all figures and findings, for other programs."""
    found: dict[str, list] = {'errors': [], 'warnings': []}
    for finding in inspection.findings:
        item = dict(title=finding.title, items=list(finding.items), remedy=finding.remedy)
        found['errors' if finding.level == ERROR else 'warnings'].append(item)
    return dict(splits={split.name: _figures(split, inspection.facts) for split in inspection.splits}, **found)


def _figures(split: Split, facts: Facts) -> dict[str, Any]:
    sizes = sorted(facts[path].size for path in split.paths.values() if not facts[path].error)
    per_picture = Counter(len(set(names)) for names in split.labels.values())
    sets = Counter(', '.join(sorted(set(names))) for names in split.labels.values())
    return dict(
        classes=list(split.classes),
        pictures=len(split.paths),
        unreadable=len(split.paths) - len(sizes),
        labelled=len(split.labels),
        masks=len(split.masks),
        unlisted=len(split.unlisted),
        heights=_range([height for height, _ in sizes]),
        widths=_range([width for _, width in sizes]),
        class_counts=count_classes(split),
        labels_per_picture={str(count): per_picture[count] for count in sorted(per_picture)},
        label_sets=dict(sets.most_common(NUM_LABEL_SETS)),
    )


def _range(values: Sequence[int]) -> list[int]:
    """Give smallest, middle and largest value."""
    return [min(values), round(median(values)), max(values)] if values else []


def _tables(inspection: Inspection) -> list[list[list[Any]]]:
    """Make two tables; the first row of each names its columns."""
    figures = {split.name: _figures(split, inspection.facts) for split in inspection.splits}
    titles = {
        'pictures': 'pictures',
        'unreadable': 'unreadable',
        'labelled': 'with labels',
        'masks': 'with a mask to check',
        'unlisted': 'left out of the list',
    }
    splits: list[list[Any]] = [['', *figures]]
    rows = [[title, *(data[key] for data in figures.values())] for key, title in titles.items()]
    splits += [row for row in rows if row[0] == 'pictures' or any(row[1:])]
    for key in ('widths', 'heights'):
        splits.append([f'{key}: least, middle, most', *(', '.join(map(str, d[key])) for d in figures.values())])
    for count in sorted({int(count) for data in figures.values() for count in data['labels_per_picture']}):
        counts = [data['labels_per_picture'].get(str(count), 0) for data in figures.values()]
        splits.append([f'pictures of {_count(count, "class", "classes")}', *counts])
    names = list(dict.fromkeys(name for data in figures.values() for name in data['class_counts']))
    classes: list[list[Any]] = [['class', 'index', *figures]]
    for index, name in enumerate(names, 1):
        classes.append([name, index, *(data['class_counts'].get(name, '-') for data in figures.values())])
    return [splits, classes] if figures else []


def _describe_classes(inspection: Inspection) -> str:
    if not inspection.splits:
        return 'no split could be read'
    return f'num_classes = {len(inspection.splits[0].classes)}, the background included'


def _markdown(inspection: Inspection) -> str:
    parts = ['# Data set check', *map(_markdown_table, _tables(inspection)), _describe_classes(inspection) + '.']
    if inspection.splits:
        parts.append(f'![Pictures of each class]({HISTOGRAM})')
    for split in inspection.splits:
        sets = _figures(split, inspection.facts)['label_sets']
        rows = [[f'most frequent labels, {split.name}', 'pictures'], *([k or 'none', n] for k, n in sets.items())]
        parts.append(_markdown_table(rows))
    for finding in inspection.findings:
        title = f'## {finding.level}: {finding.title} ({len(finding.items)})'
        items = '\n'.join(f'- {_escape(item)}' for item in finding.items)
        parts.append('\n\n'.join(filter(None, [_escape(title), finding.remedy and f'{finding.remedy}.', items])))
    if not inspection.findings:
        parts.append('No errors, no warnings.')
    return '\n\n'.join(parts) + '\n'


def _markdown_table(rows: Sequence[Sequence[Any]]) -> str:
    lines = [[_escape(str(cell)) for cell in row] for row in rows]
    lines.insert(1, ['---', *['---:' for _ in rows[0][1:]]])
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def _escape(text: str) -> str:
    return ' '.join(text.split()).replace('|', '\\|').replace('<', '&lt;').replace('*', '\\*').replace('_', '\\_')


def _count(number: int, singular: str, plural: str = '') -> str:
    return f'{number} {singular if number == 1 else plural or singular + "s"}'
