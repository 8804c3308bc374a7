"""What the benchmarks share: calls timed in turn, their peak memory, a table and a JSON file.

Two calls are compared within one process, round by round: every round runs each of them once, in an order that
rotates, so that a machine whose speed drifts is slow for all of them. The ratio to the baseline is taken in
each round; what is shown is its median.

    args = parse_args(make_parser(__doc__))
    bench = Bench('what is measured', args)
    bench.compare('a size', {'ours': lambda: f(x), 'plain': lambda: g(x)}, baseline='plain')
    bench.fact('largest difference', 1e-7)
    bench.finish()

`Case(run, prepare)` has `prepare` called before each run, outside the timing, and its result passed to `run`:
`Case(lambda loss: loss.backward(), prepare=forward)` times a backward pass alone.
"""

import argparse
import gc
import json
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Callable, NamedTuple, Optional, Union

import torch
from _environment import command_line, describe, keep_memory
from _memory import peak_in_child, peak_of_process, peak_on_gpu


class Case(NamedTuple):
    """A call to time.

    Args:
        run: The call; gets the result of `prepare`, if there is one.
        prepare: Called before each run, not timed.
    """

    run: Callable[..., object]
    prepare: Optional[Callable[[], object]] = None

    def ready(self) -> Callable[[], object]:
        """Prepare a run, and return it."""
        if self.prepare is None:
            return self.run
        inputs = self.prepare()
        return lambda: self.run(inputs)


class Spread(NamedTuple):
    """Median and interquartile range."""

    median: float
    iqr: float

    @classmethod
    def of(cls, numbers: Sequence[float]) -> 'Spread':
        """Summarise numbers; a single one has no spread."""
        if len(numbers) < 2:
            return cls(numbers[0], 0.0)
        first, median, third = statistics.quantiles(numbers, n=4, method='inclusive')
        return cls(median, third - first)


def make_parser(description: Optional[str], *, repeats: int = 10, warmup: int = 2) -> argparse.ArgumentParser:
    """Make a parser with the arguments that all benchmarks have."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--device', default='cpu', help='cpu or cuda (default: cpu)')
    parser.add_argument('--threads', type=int, help="torch's threads (default: its own choice)")
    parser.add_argument('--repeats', type=int, default=repeats, help=f'timed runs (default: {repeats})')
    parser.add_argument('--warmup', type=int, default=warmup, help=f'runs before these (default: {warmup})')
    parser.add_argument('--memory', action=argparse.BooleanOptionalAction, default=True, help='measure peak memory')
    parser.add_argument('--json', type=Path, metavar='FILE', help='write the record and all timings here')
    parser.add_argument('--memory-of', help=argparse.SUPPRESS)  # a child process that measures one call
    return parser


def add_compile(parser: argparse.ArgumentParser, what: str) -> None:
    """Add the argument that has something run through `torch.compile`."""
    text = f'{what} through torch.compile (inductor); the other backends only trace'
    parser.add_argument('--compile', nargs='?', const='inductor', choices=('inductor', 'aot_eager', 'eager'), help=text)


def parse_args(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Parse the command line, restart with the allocator's settings if need be, and set the threads."""
    args = parser.parse_args()
    if args.repeats < 1 or args.warmup < 0:
        parser.error(f'--repeats must be positive and --warmup not negative, got {args.repeats} and {args.warmup}')
    if args.threads is not None and args.threads < 1:
        parser.error(f'--threads must be positive, got {args.threads}')
    args.device = _find_device(parser, args.device)
    keep_memory()
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    return args


def _find_device(parser: argparse.ArgumentParser, name: str) -> torch.device:
    """Look a device up, and end with a message if there is none of this name."""
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ('cpu', 'cuda'):
        parser.error(f"--device must be cpu or cuda, got '{name}'")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device.type == 'cuda' and (device.index or 0) >= count:
        parser.error(f'--device {name}: torch finds {f"GPUs 0 to {count - 1} only" if count else "no GPU"}')
    return device


def time_in_turn(
    cases: Mapping[str, Case], device: torch.device, *, warmup: int, repeats: int
) -> dict[str, list[float]]:
    """Time each case `repeats` times, all of them in every round, in seconds."""
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    names = list(cases)
    for i in range(-warmup, repeats):
        gc.collect()
        first = i % len(names)
        for name in names[first:] + names[:first]:
            elapsed = _time_once(cases[name].ready(), device)
            if i >= 0:
                seconds[name].append(elapsed)
    return seconds


def _time_once(run: Callable[[], object], device: torch.device) -> float:
    _synchronize(device)
    start = time.perf_counter()
    result = run()
    _synchronize(device)
    elapsed = time.perf_counter() - start
    del result  # to free it is not part of the call
    return elapsed


def _synchronize(device: torch.device) -> None:
    if device.type == 'cuda':
        torch.cuda.synchronize(device)


class Bench:
    """Collects the comparisons of one script, prints them and writes them.

    Args:
        title: What is measured.
        args: From `parse_args`.
    """

    def __init__(self, title: str, args: argparse.Namespace) -> None:
        self.title = title
        self.args = args
        self.results: list[dict[str, Any]] = []
        self.facts: dict[str, Any] = {}
        self.record = describe(args.device)

    def compare(
        self, group: str, cases: Mapping[str, Union[Case, Callable[[], object]]], baseline: Optional[str] = None
    ) -> None:
        """Time cases in turn, and measure their peak memory one by one.

        Raises:
            KeyError: `baseline` is none of the cases.
        """
        ready = {name: case if isinstance(case, Case) else Case(case) for name, case in cases.items()}
        if baseline is not None and baseline not in ready:
            raise KeyError(f"baseline '{baseline}' of '{group}' is none of {', '.join(ready)}")
        if self.args.memory_of is not None:
            self._answer_parent(group, ready)
            return
        print(f'{self.title}: {group} ...', file=sys.stderr)
        seconds = time_in_turn(ready, self.args.device, warmup=self.args.warmup, repeats=self.args.repeats)
        for name, case in ready.items():
            row = dict(group=group, name=name, baseline=baseline, seconds=seconds[name])
            row['median'], row['iqr'] = Spread.of(seconds[name])
            if baseline is not None:
                ratios = [a / b for a, b in zip(seconds[name], seconds[baseline])]
                row['ratio'], row['ratio_iqr'] = Spread.of(ratios)
            row['memory'] = self._peak(f'{group}/{name}', case) if self.args.memory else None
            self.results.append(row)

    def ratio(self, group: str, name: str) -> float:
        """Return the median ratio of a timed case to the baseline of its group."""
        return next(row['ratio'] for row in self.results if (row['group'], row['name']) == (group, name))

    @property
    def is_child(self) -> bool:
        """Whether this process only measures the memory of one call: facts need not be found out."""
        return self.args.memory_of is not None

    def fact(self, name: str, value: Any) -> None:
        """Add what is worth knowing beside the times."""
        self.facts[name] = value

    def time_compilation(self, group: str, run: Callable[[], object]) -> None:
        """Time the first call of what `torch.compile` has made; a child process compiles for itself."""
        if not self.is_child:
            print(f'{self.title}: {group}, compiling ...', file=sys.stderr)
            self.fact(f'first call, which compiles, {group}, in seconds', _time_once(run, self.args.device))

    def finish(self) -> None:
        """Print everything, and write the JSON file if one is wanted.

        Raises:
            KeyError: this process was to measure the memory of a call that there is not.
        """
        if self.is_child:
            raise KeyError(f"--memory-of '{self.args.memory_of}' is no case of this benchmark")
        print(self._text())
        if self.args.json is not None:
            self.args.json.parent.mkdir(parents=True, exist_ok=True)
            self.args.json.write_text(json.dumps(self._document(), indent=2, default=str) + '\n')

    def _answer_parent(self, group: str, cases: Mapping[str, Case]) -> None:
        """Measure the memory of the wanted case and end this process, if the case is one of these."""
        for name, case in cases.items():
            if self.args.memory_of == f'{group}/{name}':
                case.ready()()  # what libraries set up once does not count
                print(json.dumps(peak_of_process(case.ready())))
                raise SystemExit

    def _peak(self, key: str, case: Case) -> Optional[dict[str, float]]:
        if self.args.device.type == 'cuda':
            return peak_on_gpu(case.ready(), self.args.device)
        return peak_in_child(key)

    def _document(self) -> dict[str, Any]:
        settings = {name: value for name, value in vars(self.args).items() if name not in ('json', 'memory_of')}
        return dict(
            title=self.title,
            command=command_line(),
            record=self.record,
            settings=settings,
            results=self.results,
            facts=self.facts,
        )

    def _text(self) -> str:
        document = self._document()
        lines = [self.title, document['command'], '']
        lines += [f'{name}: {_plain(value)}' for name, value in self.record.items() if value is not None]
        lines += [f'runs: {self.args.repeats} timed after {self.args.warmup} of warm-up, in turn', '']
        lines += _table([_HEADER, *map(_cells, self.results)])
        lines += ['', *(f'{name}: {_plain(value)}' for name, value in self.facts.items())] if self.facts else []
        return '\n'.join(lines)


_HEADER = ['', 'case', 'median s', 'IQR s', 'ratio', 'IQR', 'extra MiB', 'total MiB']


def _cells(row: Mapping[str, Any]) -> list[str]:
    memory = row['memory'] or {}
    name = f'{row["name"]} (= 1)' if row['name'] == row['baseline'] else row['name']
    numbers = [row['median'], row['iqr'], row.get('ratio'), row.get('ratio_iqr')]
    sizes = [memory.get('extra_mib'), memory.get('total_mib')]
    return [row['group'], name, *(_number(x, '.4g') for x in numbers), *(_number(x, '.0f') for x in sizes)]


def _number(value: Optional[float], spec: str) -> str:
    return '-' if value is None else format(value, spec)


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Align cells: the first two columns to the left, numbers to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        '  '.join(cell.ljust(w) if i < 2 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths))).rstrip()
        for row in rows
    ]


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ' '.join(f'{name}={item}' for name, item in value.items()) or 'none'
    return f'{value:.4g}' if isinstance(value, float) else str(value)
