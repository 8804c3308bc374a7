"""Take every CPU figure of docs/performance.md again, on a quiet machine; a run that was stopped continues.

    python benchmarks/cpu_figures.py --out results

Runs the scripts below one after the other, keeps their JSON files in OUT, and replaces the tables between the marks
`<!-- figures: NAME -->` and `<!-- end -->` of the page.
"""

import argparse
import json
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from _environment import ROOT
from _suite import table

PAGE = ROOT / 'docs/performance.md'
#: Name of the figures: the command that takes them.
COMMANDS = dict(
    step='train_step.py --plain --repeats 3 --warmup 1',
    half='train_step.py --crops 512 --dtype bfloat16 --repeats 2 --warmup 1',
    toco='train_step.py --config configs/toco/toco_deit-b_voc.py --crops 448 --repeats 3 --warmup 1',
    checkpointing='train_step.py --crops 512 --with-cp --repeats 2 --warmup 1',
    par='par.py --repeats 7',
    walk='random_walk.py --repeats 7',
    prediction='inference.py --onnx --repeats 9',
    processes='scaling.py --crop 320 --repeats 3 --warmup 1',
    loading='loading.py --workers 1 2 --data VOC --repeats 3 --warmup 1',
    energy='dense_energy.py --repeats 3 --warmup 1 --no-memory',
    lattice='permutohedral.py --repeats 5 --no-memory',
    crf='crf.py --repeats 5 --no-memory',
)


def cases_of(document: Mapping[str, Any]) -> list[str]:
    """Lay the timed cases out as a table, and what else is known as a list."""
    rows = []
    for row in document['results']:
        memory = row['memory'] or {}
        rows.append(
            {
                '': row['group'],
                'case': row['name'],
                'time': _seconds(row['median']),
                'ratio': '1' if row['name'] == row['baseline'] else _number(row.get('ratio')),
                'memory of the call, MiB': memory.get('extra_mib'),
                'of the process, MiB': memory.get('total_mib'),
            }
        )
    if all(row['of the process, MiB'] is None for row in rows):
        rows = [{name: cell for name, cell in row.items() if 'MiB' not in name} for row in rows]
    if all(row['ratio'] == '–' for row in rows):
        rows = [{name: cell for name, cell in row.items() if name != 'ratio'} for row in rows]
    facts = [f'- {name}: {_number(value)}' for name, value in document['facts'].items() if ': ' not in name]
    command = re.sub(r' --json \S+', '', document['command'])
    return [f'`{command}`', '', *table(rows), *([''] if facts else []), *facts]


def parts_of(document: Mapping[str, Any]) -> list[str]:
    """Lay the parts of a training step out as a table, a column for each crop."""
    parts: dict[str, dict[str, str]] = {}
    for name, text in document['facts'].items():
        crop, _, part = name.partition(': ')
        if part:
            parts.setdefault(part, {'part of a step': part})[crop] = text
    return table(parts.values())


def hours_of(step: Mapping[str, Any], half: Mapping[str, Any]) -> list[str]:
    """Multiply the step at crop 512 by the 20 000 iterations of the published run."""
    rows = []
    for name, document, case in (
        ('float32', step, 'step'),
        ('bfloat16', half, 'step'),
        ('the published arithmetic, written plainly', step, 'plain'),
    ):
        seconds = next(r['median'] for r in document['results'] if (r['group'], r['name']) == ('crop 512', case))
        rows.append({'': name, '20 000 steps of 2 images': f'{20_000 * seconds / 3600:.0f} hours'})
    return table(rows)


def machine_of(documents: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Describe the machine, once for all."""
    records = [document['record'] for document in documents.values()]
    first, load = records[0], max(record['load_average'] or 0 for record in records)
    return [
        f'{first["cores"]} cores of {first["device"]}, {first["system"]}, Python {first["python"]}, torch '
        f'{first["torch"]}, {first["threads"]} threads, commit {str(first["commit"])[:10]}, {first["date"][:10]}; '
        f'highest load before a script began: {load}.'
    ]


def _seconds(value: float) -> str:
    return f'{value:.3g} s' if value >= 0.1 else f'{1000 * value:.3g} ms'


def _number(value: Any) -> str:
    return '–' if value is None else f'{value:.3g}' if isinstance(value, float) else str(value)


def run(name: str, out: Path) -> dict[str, Any]:
    """Run one script, unless its results are there."""
    file = out / f'{name}.json'
    if not file.exists():
        start = time.monotonic()
        command = [sys.executable, str(ROOT / 'benchmarks') + '/' + COMMANDS[name].split()[0]]
        subprocess.run([*command, *shlex.split(COMMANDS[name])[1:], '--json', str(file)], check=True)
        print(f'{name}: {time.monotonic() - start:.0f} s', file=sys.stderr, flush=True)
    return json.loads(file.read_text())


def fill_in(page: str, figures: Mapping[str, list[str]]) -> str:
    """Replace what stands between the marks of each set of figures.

    Raises:
        KeyError: The page has no marks of that name.
    """
    for name, lines in figures.items():
        pattern = re.compile(rf'(<!-- figures: {name} -->\n).*?(<!-- end -->)', re.DOTALL)
        if not pattern.search(page):
            raise KeyError(f'the page has no <!-- figures: {name} --> ... <!-- end -->')
        text = '\n'.join(['', *lines, '', ''])
        page = pattern.sub(lambda match, text=text: match[1] + text + match[2], page)
    return page


def main() -> None:
    """Run everything and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, required=True, metavar='FOLDER', help='of the JSON files')
    out = parser.parse_args().out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    documents = {name: run(name, out) for name in COMMANDS}
    figures: dict[str, list[str]] = {name: cases_of(document) for name, document in documents.items()}
    figures.update(
        machine=machine_of(documents),
        parts=parts_of(documents['step']),
        toco_parts=parts_of(documents['toco']),
        hours=hours_of(documents['step'], documents['half']),
    )
    PAGE.write_text(fill_in(PAGE.read_text(), figures))


if __name__ == '__main__':
    main()
