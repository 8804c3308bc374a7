"""Results of an inspection: tables, findings, a JSON file and a histogram of the classes."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, Optional, Union

from matplotlib.figure import Figure
from prettytable import PrettyTable

from ...utils import atomic_path, remove_leftovers, write_text
from .checks import Inspection, count_classes
from .files import Facts
from .sources import ERROR, Split

REPORT, FIGURES, HISTOGRAM = 'report.txt', 'report.json', 'classes.png'
#: Items of a finding that are printed; the report lists all.
SHOWN = 5
#: Sets of labels in the report.
NUM_LABEL_SETS = 20


def format_tables(inspection: Inspection) -> str:
    """Format the splits, and the images of each class, as text tables."""
    if not inspection.splits:
        return 'no split could be read'
    figures = {split.name: _figures(split, inspection.facts) for split in inspection.splits}
    rows = [
        ['images', *(data['images'] for data in figures.values())],
        *(
            [title, *(data[key] for data in figures.values())]
            for title, key in (
                ('unreadable', 'unreadable'),
                ('with labels', 'labelled'),
                ('with a mask to check', 'masks'),
                ('left out of the list', 'unlisted'),
            )
            if any(data[key] for data in figures.values())
        ),
        *(
            [f'{key}: min, median, max', *(', '.join(map(str, data[key])) for data in figures.values())]
            for key in ('widths', 'heights')
        ),
    ]
    for count in sorted({int(count) for data in figures.values() for count in data['labels_per_image']}):
        counts = [data['labels_per_image'].get(str(count), 0) for data in figures.values()]
        rows.append([f'images of {_count(count, "class", "classes")}', *counts])
    names = dict.fromkeys(name for data in figures.values() for name in data['class_counts'])
    classes = [
        [name, index, *(data['class_counts'].get(name, '-') for data in figures.values())]
        for index, name in enumerate(names, 1)
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
    figures = json.dumps(to_dict(inspection), ensure_ascii=False, indent=1) + '\n'
    changed = [write_text(folder / REPORT, text), write_text(folder / FIGURES, figures)]
    if inspection.splits and (any(changed) or not (folder / HISTOGRAM).is_file()):
        draw_histogram({split.name: count_classes(split) for split in inspection.splits}, folder / HISTOGRAM)
        changed.append(True)
    return any(changed)


def to_dict(inspection: Inspection) -> dict[str, Any]:
    """Return all figures and findings, for other programs."""
    found: dict[str, list] = {'errors': [], 'warnings': []}
    for finding in inspection.findings:
        item = dict(title=finding.title, items=list(finding.items), remedy=finding.remedy)
        found['errors' if finding.level == ERROR else 'warnings'].append(item)
    return dict(splits={split.name: _figures(split, inspection.facts) for split in inspection.splits}, **found)


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


def _figures(split: Split, facts: dict[str, Facts]) -> dict[str, Any]:
    sizes = [facts[path].size for path in split.paths.values() if not facts[path].error]
    per_image = Counter(len(set(names)) for names in split.labels.values())
    sets = Counter(', '.join(sorted(set(names))) for names in split.labels.values())
    return dict(
        classes=list(split.classes),
        images=len(split.paths),
        unreadable=len(split.paths) - len(sizes),
        labelled=len(split.labels),
        masks=len(split.masks),
        unlisted=len(split.unlisted),
        heights=_range([height for height, _ in sizes]),
        widths=_range([width for _, width in sizes]),
        class_counts=count_classes(split),
        labels_per_image={str(count): per_image[count] for count in sorted(per_image)},
        label_sets=dict(sets.most_common(NUM_LABEL_SETS)),
    )


def _range(values: Sequence[int]) -> list[int]:
    return [min(values), round(median(values)), max(values)] if values else []


def _table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    table = PrettyTable(header)
    table.add_rows(rows)
    table.align = 'r'
    table.align[header[0]] = 'l'
    return table.get_string()


def _count(number: int, singular: str, plural: str = '') -> str:
    return f'{number} {singular if number == 1 else plural or singular + "s"}'
