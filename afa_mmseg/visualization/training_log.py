"""Reader for the logs that mmengine writes while training."""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Optional, Union

PathLike = Union[str, Path]
#: Iterations and values of one quantity.
Curve = tuple[list[int], list[float]]

SCALARS = 'vis_data/scalars.json'
#: The metric of the best checkpoint, as in `CheckpointHook(save_best='mIoU')`.
BEST_BY = 'mIoU'
#: Largest difference between the mean of a table and the logged mIoU: both are rounded to two digits.
ROUNDING = 0.011
#: A row of mmseg's table of classes: name, IoU, accuracy.
ROW = re.compile(r'\| +(.*?) +\| +([\d.]+|nan) +\| +(?:[\d.]+|nan) +\|')


class Run(NamedTuple):
    """The curves of a run.

    Args:
        name: Its label in plots.
        curves: Each quantity by its name in the log.
        best: Iteration and mIoU of the best validation; None without validation.
        class_iou: IoU of each class in that validation, in percent; empty without a text log.
    """

    name: str
    curves: dict[str, Curve]
    best: Optional[tuple[int, float]]
    class_iou: dict[str, float]

    @property
    def losses(self) -> list[str]:
        """Names of the losses, their sum first."""
        names = [name for name in self.curves if name.rsplit('.', 1)[-1].startswith('loss')]
        return sorted(names, key=lambda name: name != 'loss')


def read_runs(paths: Sequence[PathLike]) -> list[Run]:
    """Read the logs of several runs (see `read_run`), each named by the end of its path that is unique."""
    unique = list(dict.fromkeys(map(Path, paths)))
    return [read_run(path, name) for path, name in zip(unique, short_names(unique))]


def read_run(path: PathLike, name: str) -> Run:
    """Read the log of a run.

    The parts of a resumed run are joined; where they overlap the later one counts.

    Args:
        path: Work directory, or one of its folders named by a time, or a log file (`scalars.json`).
        name: Label in plots.

    Raises:
        FileNotFoundError: There is no log.
        ValueError: A log is empty, is not mmengine's, or holds no training.
    """
    curves: dict[str, Curve] = {}
    files = find_logs(path)
    for records in map(read_log, files):
        if any('lr' in record for record in records):  # others only validated
            curves = _join(_cut(curves, int(records[0]['step'])), records)
    if not curves:
        raise ValueError(f'{path}: this log holds neither losses nor a learning rate')
    if not curves.get(BEST_BY, ([], []))[0]:
        return Run(name, curves, None, {})
    best = max(zip(*curves[BEST_BY]), key=lambda point: point[1])
    return Run(name, curves, best, _class_iou(files, best[1]))


def find_logs(path: PathLike) -> list[Path]:
    """List the log files of a work directory by start time, or return `path` if it is a file.

    Raises:
        FileNotFoundError: There is none.
    """
    path = Path(path)
    if path.is_file():
        return [path]
    candidates = [*sorted(path.glob(f'*/{SCALARS}')), path / SCALARS, path / 'scalars.json']
    found = [file for file in candidates if file.is_file()]
    if not found:
        raise FileNotFoundError(
            f'no training log in {path}: expected {path}/DATE_TIME/{SCALARS}, which mmengine writes with '
            'LocalVisBackend in vis_backends.\n  Name a work directory or a log file.'
        )
    return found


def read_log(file: Path) -> list[dict[str, float]]:
    """Read one log as records of numbers; a truncated last line is skipped.

    Raises:
        ValueError: The file is empty, or a line is not mmengine's JSON.
    """
    lines = [line for line in file.read_text(encoding='utf-8', errors='replace').splitlines() if line.strip()]
    if not lines:
        raise ValueError(f'{file} is empty: nothing is logged yet')
    records: list[dict[str, float]] = []
    for number, line in enumerate(lines, 1):
        try:
            fields = json.loads(line)
            records.append({'step': int(fields['step']), **_numbers(fields)})
        except (ValueError, KeyError, TypeError) as error:
            if number == len(lines) > 1:
                break
            raise ValueError(
                f"{file} is not a JSON log of mmengine's: line {number} is {line[:60]!r}\n"
                f'  Name a work directory, or the file {SCALARS} in one of its folders.'
            ) from error
    return records


def _numbers(fields: dict) -> dict[str, float]:
    return {key: float(value) for key, value in fields.items() if isinstance(value, (int, float)) and key != 'step'}


def _cut(curves: dict[str, Curve], end: int) -> dict[str, Curve]:
    """Drop the points from an iteration on."""
    counts = {key: sum(step < end for step in steps) for key, (steps, _) in curves.items()}
    return {key: (steps[: counts[key]], values[: counts[key]]) for key, (steps, values) in curves.items()}


def _join(curves: dict[str, Curve], records: Sequence[dict[str, float]]) -> dict[str, Curve]:
    for record in records:
        for key in record.keys() - {'step', 'iter', 'time', 'data_time'}:
            steps, values = curves.setdefault(key, ([], []))
            steps.append(int(record['step']))
            values.append(record[key])
    return dict(sorted(curves.items()))


def _class_iou(files: Sequence[Path], mean: float) -> dict[str, float]:
    """Find the table of classes with a given mean in the text logs; there is one for each validated metric."""
    folders = [file.parent.parent if file.parent.name == 'vis_data' else file.parent for file in files]
    for log in (log for folder in folders for log in sorted(folder.glob('*.log'))):
        for table in _tables(log):
            known = [value for value in table.values() if value == value]
            if known and abs(sum(known) / len(known) - mean) < ROUNDING:
                return table
    return {}


def _tables(log: Path) -> Iterator[dict[str, float]]:
    table: dict[str, float] = {}
    for line in log.read_text(encoding='utf-8', errors='replace').splitlines():
        row = ROW.fullmatch(line)
        if row:
            table[row[1]] = float(row[2])
        elif not line.startswith(('|', '+')):
            if table:
                yield table
            table = {}


def short_names(paths: Sequence[Path]) -> list[str]:
    """Name runs by the ends of their paths, as short as is unique.

    Example:
        >>> short_names([Path('a/run'), Path('b/run'), Path('b/other/20260101_120000/vis_data/scalars.json')])
        ['a/run', 'b/run', 'other']
    """
    parts = [_work_dir(path.absolute()).parts for path in paths]

    def name(own: tuple[str, ...]) -> str:
        unique = (n for n in range(1, len(own)) if sum(other[-n:] == own[-n:] for other in parts) == 1)
        return '/'.join(own[-next(unique, len(own)) :])

    return list(map(name, parts))


def _work_dir(path: Path) -> Path:
    if path.suffix == '.json':
        path = path.parent
    if path.name == 'vis_data':
        path = path.parent
    return path.parent if re.fullmatch(r'\d{8}_\d{6}', path.name) else path
