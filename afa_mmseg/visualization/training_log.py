"""Reader for the logs that mmengine writes while training."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Optional, Union

#: Iterations and values of one quantity.
Curve = tuple[list[int], list[float]]

SCALARS = 'vis_data/scalars.json'
#: The metric of the best checkpoint, as in `CheckpointHook(save_best='mIoU')`.
BEST_BY = 'mIoU'


class Run(NamedTuple):
    """The curves of a run: its label in plots, and each quantity by its name in the log."""

    name: str
    curves: dict[str, Curve]

    @property
    def best(self) -> Optional[tuple[int, float]]:
        """Iteration and mIoU of the best validation; None without validation."""
        points = list(zip(*self.curves.get(BEST_BY, ([], []))))
        return max(points, key=lambda point: point[1]) if points else None

    @property
    def losses(self) -> list[str]:
        """Names of the losses, their sum first."""
        names = [name for name in self.curves if name.rsplit('.', 1)[-1].startswith('loss')]
        return sorted(names, key=lambda name: name != 'loss')


def read_runs(paths: Sequence[Union[str, Path]]) -> list[Run]:
    """Read the logs of several runs, each named by its work directory, or by its path where names are not unique.

    The parts of a resumed run are joined; where they overlap the later one counts.

    Args:
        paths: Work directories, folders in them named by a time, or log files (`scalars.json`).

    Raises:
        FileNotFoundError: There is no log.
        ValueError: A log is empty, is not mmengine's, or holds no training.
    """
    unique = list(dict.fromkeys(map(Path, paths)))
    names = [_name(path.absolute()) for path in unique]
    labels = [name if names.count(name) == 1 else str(path) for name, path in zip(names, unique)]
    return [Run(label, _read_curves(path)) for label, path in zip(labels, unique)]


def _read_curves(path: Path) -> dict[str, Curve]:
    curves: dict[str, Curve] = {}
    for records in _read_parts(path):
        if not any('lr' in record for record in records):  # validation alone
            continue
        start = records[0]['step']
        for key, (steps, values) in curves.items():
            kept = sum(step < start for step in steps)
            curves[key] = steps[:kept], values[:kept]
        for record in records:
            for key in record.keys() - {'step', 'iter', 'time', 'data_time'}:
                steps, values = curves.setdefault(key, ([], []))
                steps.append(int(record['step']))
                values.append(record[key])
    curves = {key: curve for key, curve in curves.items() if curve[0]}
    if not curves:
        raise ValueError(f'{path}: this log holds neither losses nor a learning rate')
    return dict(sorted(curves.items()))


def _read_parts(path: Path) -> list[list[dict[str, float]]]:
    """Read the parts of a run; one that was killed before its first whole record is skipped."""
    files = _find_logs(path)
    parts, errors = [], []
    for file in files:
        try:
            parts.append(_read_log(file))
        except ValueError as error:
            errors.append(error)
    if not parts:
        raise errors[0]
    return parts


def _find_logs(path: Path) -> list[Path]:
    candidates = [path, *sorted(path.glob(f'*/{SCALARS}')), path / SCALARS, path / 'scalars.json']
    found = [file for file in candidates if file.is_file()]
    if not found:
        raise FileNotFoundError(
            f'no training log in {path}: expected {path}/DATE_TIME/{SCALARS}, which mmengine writes with '
            'LocalVisBackend in vis_backends.\n  Name a work directory or a log file.'
        )
    return found


def _read_log(file: Path) -> list[dict[str, float]]:
    """Read one log as records of numbers; a truncated last line is skipped."""
    lines = [line for line in file.read_text(encoding='utf-8', errors='replace').splitlines() if line.strip()]
    records: list[dict[str, float]] = []
    for number, line in enumerate(lines, 1):
        try:
            fields = json.loads(line)
            numbers = {key: float(value) for key, value in fields.items() if isinstance(value, (int, float))}
            records.append({**numbers, 'step': int(fields['step'])})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            if number < len(lines) or not records:
                raise ValueError(f"{file} is not a JSON log of mmengine's: line {number} is {line[:60]!r}") from error
    if not records:
        raise ValueError(f'{file} is empty: nothing is logged yet')
    return records


def _name(path: Path) -> str:
    """Return the name of the work directory that a path is of or in, or that of a log by itself."""
    if path.suffix == '.json':
        path = path.parent if re.fullmatch(r'scalars|\d{8}_\d{6}', path.stem) else path.with_suffix('')
    while re.fullmatch(r'vis_data|\d{8}_\d{6}', path.name):
        path = path.parent
    return path.name
