"""What mmengine logged of a training, read back."""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Optional, Union

PathLike = Union[str, Path]
#: Steps and values of one quantity.
Curve = tuple[list[int], list[float]]

SCALARS = 'vis_data/scalars.json'
#: The figure that says which checkpoint is the best, as in `CheckpointHook(save_best='mIoU')`.
BEST_BY = 'mIoU'
#: By how much the mean of a table may differ from what was logged: both are rounded to two digits.
ROUNDING = 0.011
#: A row of mmseg's table of classes: name, IoU, accuracy.
ROW = re.compile(r'\| +(.*?) +\| +([\d.]+|nan) +\| +(?:[\d.]+|nan) +\|')
VALIDATED = re.compile(r'(?:Iter|Epoch)\(val\) .*\bmIoU: ')


class Record(NamedTuple):
    """A line of a log.

    Args:
        step: Iteration.
        values: Numbers by name.
        file: Where the line stands.
        validation: Which validation of that file it reports, counted from 0; None if it reports training.
    """

    step: int
    values: dict[str, float]
    file: Path
    validation: Optional[int]


class Run(NamedTuple):
    """The curves of a training.

    Args:
        name: How plots call it.
        curves: Each quantity by its name in the log.
        best: Step and mIoU of the best validation; None if there was none.
        class_iou: IoU of each class in that validation, in percent; empty where the text log does not say.
    """

    name: str
    curves: dict[str, Curve]
    best: Optional[tuple[int, float]]
    class_iou: dict[str, float]

    @property
    def losses(self) -> list[str]:
        """Names of the losses, that of their sum first."""
        names = [name for name in self.curves if name.rsplit('.', 1)[-1].startswith('loss')]
        return sorted(names, key=lambda name: name != 'loss')


def read_runs(paths: Sequence[PathLike]) -> list[Run]:
    """Read the logs of several trainings (see `read_run`), named by as much of their paths as tells them apart."""
    unique = list(dict.fromkeys(map(Path, paths)))
    return [read_run(path, name) for path, name in zip(unique, short_names(unique))]


def read_run(path: PathLike, name: str) -> Run:
    """Read what mmengine logged of a training.

    Parts of a training that was resumed are joined; what a later part did again replaces what the earlier one did.

    Args:
        path: Work directory, or one of the folders in it that are named by a time, or a log file (`scalars.json`).
        name: How plots call it.

    Raises:
        FileNotFoundError: There is no log.
        ValueError: A log is empty, is none, or is not that of a training.
    """
    records: list[Record] = []
    for file in find_logs(path):
        part = read_log(file)
        if any(record.validation is None for record in part):  # others only validated
            records = [record for record in records if record.step < part[0].step] + part
    if not records:
        raise ValueError(f'{path}: no training in this log: neither losses nor a learning rate')
    curves: dict[str, Curve] = {}
    for record in records:
        for key, value in record.values.items():
            steps, values = curves.setdefault(key, ([], []))
            steps.append(record.step)
            values.append(value)
    validations = [record for record in records if record.validation is not None and BEST_BY in record.values]
    if not validations:
        return Run(name, curves, None, {})
    best = max(validations, key=lambda record: record.values[BEST_BY])
    return Run(name, curves, (best.step, best.values[BEST_BY]), class_iou(best))


def find_logs(path: PathLike) -> list[Path]:
    """List the log files of a work directory in the order in which they were begun, or the one that `path` is.

    Raises:
        FileNotFoundError: There is none.
    """
    path = Path(path)
    if path.is_file():
        return [path]
    found = sorted(path.glob(f'*/{SCALARS}')) or [
        file for file in (path / SCALARS, path / 'scalars.json') if file.is_file()
    ]
    if not found:
        raise FileNotFoundError(
            f'no training log in {path}: looked for {path}/DATE_TIME/{SCALARS}, which mmengine writes where '
            'LocalVisBackend is among vis_backends.\n  Give a work directory or a log file.'
        )
    return found


def read_log(file: Path) -> list[Record]:
    """Read one log; the last line may be incomplete, as it is where a training was killed.

    Raises:
        ValueError: The file is empty, or a line of it is no JSON of mmengine's.
    """
    lines = [line for line in file.read_text(encoding='utf-8', errors='replace').splitlines() if line.strip()]
    if not lines:
        raise ValueError(f'{file} is empty: nothing is logged yet')
    records: list[Record] = []
    for number, line in enumerate(lines, 1):
        try:
            fields = json.loads(line)
            step = int(fields.pop('step'))
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            if number == len(lines) > 1:
                break
            raise ValueError(
                f'{file} is no JSON log of mmengine: line {number} is {line[:60]!r}\n'
                f'  Give a work directory, or the file {SCALARS} in one of its folders.'
            ) from error
        values = {key: float(value) for key, value in fields.items() if isinstance(value, (int, float))}
        records.append(_record(step, values, file, records))
    return records


def _record(step: int, values: dict[str, float], file: Path, before: Sequence[Record]) -> Record:
    if 'lr' in values:
        return Record(step, values, file, None)
    # Where epochs count, validation says the epoch: it follows the iteration that was logged last.
    latest = max((record.step for record in before), default=0)
    figures = {key: value for key, value in values.items() if key not in ('time', 'data_time')}
    return Record(max(step, latest), figures, file, sum(record.validation is not None for record in before))


def class_iou(record: Record) -> dict[str, float]:
    """Look up the IoU of each class in a validation: in the table of the text log beside the JSON log.

    There is a table for each metric; that of segmentation is the one whose mean is the mIoU of the JSON log.
    """
    folder = record.file.parent.parent if record.file.parent.name == 'vis_data' else record.file.parent
    for log in sorted(folder.glob('*.log')):
        validations = list(_tables(log))
        number = record.validation or 0
        for table in validations[number] if number < len(validations) else ():
            known = [value for value in table.values() if value == value]
            if known and abs(sum(known) / len(known) - record.values[BEST_BY]) < ROUNDING:
                return table
    return {}


def _tables(log: Path) -> Iterator[list[dict[str, float]]]:
    """Give the tables of each validation in a text log."""
    tables: list[dict[str, float]] = []
    for line in log.read_text(encoding='utf-8', errors='replace').splitlines():
        row = ROW.fullmatch(line)
        if row:
            tables[-1][row[1]] = float(row[2])
        elif line.startswith('|'):  # heads of columns
            tables.append({})
        elif VALIDATED.search(line):
            yield tables
            tables = []


def short_names(paths: Sequence[Path]) -> list[str]:
    """Name runs by the ends of their paths, as short as tells them apart.

    Example:
        >>> short_names([Path('a/run'), Path('b/run'), Path('b/other/20260101_120000/vis_data/scalars.json')])
        ['a/run', 'b/run', 'other']
    """
    folders = [_work_dir(path.absolute()) for path in paths]
    parts = [folder.parts for folder in folders]

    def name(own: tuple[str, ...]) -> str:
        lengths = range(1, len(own) + 1)
        unique = (n for n in lengths if sum(other[-n:] == own[-n:] for other in parts) == 1)
        return '/'.join(own[-next(unique, len(own)) :])

    return list(map(name, parts))


def _work_dir(path: Path) -> Path:
    """Strip the names that all runs have off a path."""
    if path.suffix == '.json':
        path = path.parent
    if path.name == 'vis_data':
        path = path.parent
    return path.parent if re.fullmatch(r'\d{8}_\d{6}', path.name) else path
