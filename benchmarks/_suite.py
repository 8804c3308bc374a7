"""Parts of a suite, each in a process with a time box of its own, and what they report as JSON and Markdown.

The parent imports everything once and never touches the GPU, so that forked parts start at once and each has a CUDA
context of its own: an illegal memory access or a crash ends one part. Figures are written when they are found, so that
a part that is cut off keeps those it has.
"""

import json
import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, NamedTuple, Optional

import torch


@dataclass(frozen=True)
class Options:
    """What the parts run on.

    Args:
        device: cuda or cpu.
        quick: Toy sizes, to see that everything runs.
        out: Folder of results; a part may write there.
        data: Folder of the VOC-Animals data set, or None.
        goldens: Folder of golden files too large for tests/data, or None.
        deadline: When the suite ends, on the clock of `time.monotonic`.
        start_method: How processes are started: fork, or spawn where importing has initialised CUDA.
    """

    device: torch.device
    quick: bool
    out: Path
    data: Optional[Path]
    goldens: Optional[Path]
    deadline: float
    start_method: str = 'fork'

    @property
    def on_gpu(self) -> bool:
        """Whether the device is a GPU."""
        return self.device.type == 'cuda'


class Part(NamedTuple):
    """A part of the suite: letter, title, function, and its seconds in a suite of nine minutes."""

    letter: str
    title: str
    run: Callable[[Options, 'Report'], None]
    seconds: float


class Report:
    """Results of one part, written to a file with every addition.

    Args:
        file: JSON file.
        content: What it begins with.
    """

    def __init__(self, file: Path, **content: Any) -> None:
        self.file = file
        self.content: dict[str, Any] = dict(content, status='started', facts={}, tables={})
        self._failed: list[str] = []

    def fact(self, name: str, value: Any) -> None:
        """Add a single figure or sentence."""
        self.content['facts'][name] = value
        self.write()

    def row(self, table: str, **cells: Any) -> None:
        """Add a row to a table."""
        self.content['tables'].setdefault(table, []).append(cells)
        self.write()

    def check(self, name: str, value: float, limit: float) -> None:
        """Add a figure that must not exceed its limit, else the part has failed."""
        ok = value <= limit  # false for NaN
        if not ok:
            self._failed.append(name)
        self.row('checks', check=name, value=value, limit=limit, ok=ok)

    def goal(self, name: str, value: float, limit: float) -> None:
        """Add a figure with the goal that it should reach; a missed goal is no failure."""
        self.row('goals', goal=name, value=value, at_most=limit, met=value <= limit)

    def finish(self) -> None:
        """Set the status of a part that came to its end."""
        failed = f'failed: {", ".join(self._failed)}' if self._failed else 'ok'
        self.content['status'] = failed
        self.write()

    def write(self) -> None:
        """Write the file, whole or not at all."""
        scratch = self.file.with_suffix('.tmp')
        scratch.write_text(json.dumps(self.content, indent=1, default=str))
        scratch.replace(self.file)


def run_part(part: Part, options: Options, box: float, fails: bool = False) -> dict[str, Any]:
    """Run a part in a process of its own, and end it with all that it started when its time is over."""
    file = options.out / f'part_{part.letter}.json'
    report = Report(file, part=part.letter, title=part.title, box_s=round(box, 1))
    report.write()
    start = time.monotonic()
    process = start_process(options, _work, part, options, report, fails)
    process.join(box)
    timed_out = process.is_alive()
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # also what it left behind
    process.join()
    content = json.loads(file.read_text())
    if content['status'] == 'started':
        content['status'] = 'out of time' if timed_out else f'error: ended with exit code {process.exitcode}'
    content['seconds'] = round(time.monotonic() - start, 1)
    file.write_text(json.dumps(content, indent=1))
    return content


def _work(part: Part, options: Options, report: Report, fails: bool) -> None:
    os.setpgid(0, 0)
    with (options.out / f'part_{part.letter}.log').open('w') as log:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(log.fileno(), stream.fileno())
    if options.quick:
        torch.set_num_threads(1)  # toy sizes have nothing to share
    try:
        if fails:
            raise RuntimeError('injected by --fail')
        part.run(options, report)
        report.finish()
    except Exception as error:
        traceback.print_exc()
        report.content['status'] = f'error: {type(error).__name__}: {str(error)[:500]}'
        report.content['traceback'] = traceback.format_exc()[-3000:]
        report.write()


def start_process(options: Options, function: Callable[..., None], *args: Any) -> Any:
    """Start a process; a part that does so must not have used the GPU itself."""
    process = multiprocessing.get_context(options.start_method).Process(target=function, args=args)
    process.start()
    return process


def to_markdown(document: Mapping[str, Any]) -> str:
    """Lay the results of all parts out as a page."""
    record = document['record']
    lines = ['# Results of the GPU suite', '', f'`{document["command"]}`', '']
    lines += [f'- {name}: {_cell(value)}' for name, value in record.items() if value is not None]
    for part in document['parts']:
        lines += ['', f'## {part["part"]}. {part["title"]}', '', f'{part["status"]}, {part.get("seconds", "?")} s', '']
        lines += [f'- {name}: {_cell(value)}' for name, value in part['facts'].items()]
        for name, rows in part['tables'].items():
            lines += ['', f'**{name}**', '', *table(rows)]
    return '\n'.join(lines) + '\n'


def table(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Lay rows out as a Markdown table; a row may lack cells."""
    rows = list(rows)
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [[_cell(row.get(name)) for name in names] for row in rows]
    return [f'| {" | ".join(line)} |' for line in ([n.replace('_', ' ') for n in names], ['---'] * len(names), *cells)]


def _cell(value: Any) -> str:
    if value is None:
        return '–'
    if isinstance(value, bool):
        return 'yes' if value else 'no'
    if isinstance(value, Mapping):
        return ' '.join(f'{name}={item}' for name, item in value.items()) or 'none'
    return f'{value:.4g}' if isinstance(value, float) else str(value)
