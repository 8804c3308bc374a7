"""Does a long run grow? Memory, files and processes of a run, iteration by iteration.

    python benchmarks/soak.py --iterations 3000 --json soak.json

Trains configs/afa/afa_mit-tiny_shapes.py on images made for it, validates every `--val-interval` iterations, and
measures every `--interval` iterations: memory of the process that trains and, together, of those that load images,
open files and threads. Memory is what is mapped from no file (`Anonymous`), whole in each process that shares it: the
parts of shared pages would change when one process copies them, and those of libraries with whatever else the machine
runs. The first part of the run, in which memory is set up, is left out of the slopes. "flat" means that the growth
over the whole measured part is less than twice its standard error, or less than `ALLOWANCE`.
"""

import argparse
import json
import math
import multiprocessing
import os
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Optional

from _environment import ROOT, command_line, describe, keep_memory

sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from mmengine.config import Config  # noqa: E402
from mmengine.hooks import Hook  # noqa: E402

from afa_mmseg.datasets.shapes_generator import make_shapes_voc  # noqa: E402
from afa_mmseg.engine import build_runner, prepare_runtime, run_training  # noqa: E402

CONFIG = ROOT / 'configs/afa/afa_mit-tiny_shapes.py'
PAGE = os.sysconf('SC_PAGE_SIZE')
MIB = 2**20
#: Part of the run that is left out of the slopes.
SETTLING = 0.25
#: Growth in MiB that is nothing: an allocator's own.
ALLOWANCE = 2.0
#: What is measured, and its unit.
QUANTITIES = dict(trainer_mib='MiB', workers_mib='MiB', files='files', threads='threads', processes='processes')


class SoakHook(Hook):
    """Measure this process and its children now and then.

    Args:
        interval: Iterations between two measurements.
    """

    priority = 'LOWEST'

    def __init__(self, interval: int) -> None:
        self.interval = interval
        self.rows: list[dict[str, float]] = []
        self.validations: list[dict[str, float]] = []
        self._before: dict[str, float] = {}

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Optional[dict] = None
    ) -> None:
        if self.every_n_train_iters(runner, self.interval):
            self.rows.append(dict(iteration=runner.iter + 1, **measure()))

    def before_val(self, runner: Any) -> None:
        self._before = measure()

    def after_val(self, runner: Any) -> None:
        after = measure()
        change = {f'{name}_change': after[name] - self._before[name] for name in QUANTITIES}
        self.validations.append(dict(iteration=runner.iter, **after, **change))


def measure() -> dict[str, float]:
    """Measure this process and those that it started."""
    workers = [process.pid for process in multiprocessing.active_children()]
    return dict(
        trainer_mib=_resident(os.getpid()),
        workers_mib=sum(map(_resident, filter(None, workers))),
        files=len(os.listdir('/proc/self/fd')),
        threads=threading.active_count(),
        processes=len(workers),
    )


def _resident(pid: int) -> float:
    """Memory of a process in MiB: what it has from no file; all of it where the system has no such figure."""
    try:
        fields = dict(line.split(':', 1) for line in Path(f'/proc/{pid}/smaps_rollup').read_text().splitlines()[1:])
        return int(fields['Anonymous'].split()[0]) / 1024
    except (OSError, KeyError):
        return int(Path(f'/proc/{pid}/statm').read_text().split()[1]) * PAGE / MIB


def slope_of(xs: list[float], ys: list[float]) -> tuple[float, float]:
    """Fit a line; its slope and the standard error of that.

    Neighbours resemble each other, so that residuals hold less information than their number suggests: the error is
    widened by their lag-1 correlation.
    """
    mean_x, mean_y = statistics.fmean(xs), statistics.fmean(ys)
    spread = sum((x - mean_x) ** 2 for x in xs)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys)) / spread
    rest = [y - mean_y - slope * (x - mean_x) for x, y in zip(xs, ys)]
    total = sum(r * r for r in rest)
    if total == 0 or len(xs) < 4:
        return slope, 0.0
    correlation = max(0.0, sum(a * b for a, b in zip(rest, rest[1:])) / total)
    widening = math.sqrt((1 + correlation) / max(1 - correlation, 1e-3))
    return slope, math.sqrt(total / (len(xs) - 2) / spread) * widening


def judge(rows: list[dict[str, float]], iterations: int) -> dict[str, dict[str, Any]]:
    """Compute how much each quantity grows over the measured part of the run, and whether that is noise."""
    settled = [row for row in rows if row['iteration'] > SETTLING * iterations]
    xs = [row['iteration'] for row in settled]
    result = {}
    for name in QUANTITIES:
        ys = [row[name] for row in settled]
        slope, error = slope_of(xs, ys)
        length = xs[-1] - xs[0]
        growth, noise = slope * length, 2 * error * length
        flat = growth <= max(noise, ALLOWANCE if name.endswith('mib') else 0.0)
        result[name] = dict(first=ys[0], last=ys[-1], per_1000=1000 * slope, error_per_1000=1000 * error, flat=flat)
    return result


def train(args: argparse.Namespace, root: Path, hook: SoakHook) -> int:
    """Train; return the exit code."""
    make_shapes_voc(str(root / 'data'), num_train=200, num_val=20)
    cfg = Config.fromfile(CONFIG)
    phases = dict(cls_only_until=args.iterations // 10, cam_label_until=args.iterations // 5)
    loader = dict(num_workers=args.workers, persistent_workers=args.workers > 0)
    cfg.merge_from_dict(
        {
            **{f'{part}_dataloader.dataset.data_root': str(root / 'data') for part in ('train', 'val')},
            **{f'{part}_dataloader.{key}': value for part in ('train', 'val') for key, value in loader.items()},
            **{f'model.train_cfg.{key}': value for key, value in phases.items()},
            'train_cfg.max_iters': args.iterations,
            'train_cfg.val_interval': args.val_interval,
            'param_scheduler.0.max_iters': args.iterations,
            'param_scheduler.0.warmup_iters': min(cfg.param_scheduler[0].warmup_iters, args.iterations // 10),
            'default_hooks.checkpoint.interval': args.val_interval,
            'custom_hooks.0.interval': args.val_interval,
        }
    )
    cfg.work_dir, cfg.log_level = str(root / 'run'), 'WARNING'
    prepare_runtime(cfg, 'none')
    runner = build_runner(cfg)
    runner.register_hook(hook)
    return run_training(runner)


def report(document: dict[str, Any]) -> str:
    """Lay the results out as a table."""
    lines = [f'{"":12} {"first":>9} {"last":>9} {"per 1000 iterations":>22}  ']
    for name, row in document['growth'].items():
        change = f'{row["per_1000"]:+.2f} ± {row["error_per_1000"]:.2f}'
        lines.append(
            f'{name:12} {row["first"]:9.1f} {row["last"]:9.1f} {change:>22}  {"flat" if row["flat"] else "GROWS"}'
        )
    lines.append('after each validation:')
    lines += [
        f'{row["iteration"]:6.0f}: '
        + ', '.join(f'{name} {row[name]:.0f} ({row[name + "_change"]:+.0f})' for name in QUANTITIES)
        for row in document['validations']
    ]
    return '\n'.join(lines)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--iterations', type=int, default=3000, help='length of the training (default: 3000)')
    parser.add_argument('--interval', type=int, default=10, help='iterations between measurements (default: 10)')
    parser.add_argument('--val-interval', type=int, help='iterations between validations (default: a tenth of all)')
    parser.add_argument('--workers', type=int, default=2, help='processes that load images (default: 2)')
    parser.add_argument('--json', type=Path, metavar='FILE', help='write everything that was measured here')
    args = parser.parse_args()
    args.val_interval = args.val_interval or max(args.iterations // 10, 1)
    if args.interval < 1 or args.iterations < 20 * args.interval:
        parser.error(
            '--interval must be positive, and --iterations at least 20 times that, '
            f'got {args.interval} and {args.iterations}'
        )
    return args


def main() -> int:
    args = parse_args()
    keep_memory()
    hook, start = SoakHook(args.interval), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        code = train(args, Path(folder), hook)
    if code != 0:
        return code
    document = dict(
        title='memory, files and processes of a long training',
        command=command_line(),
        record=describe(torch.device('cpu')),
        seconds=round(time.perf_counter() - start),
        growth=judge(hook.rows, args.iterations),
        validations=hook.validations,
        rows=hook.rows,
    )
    print(report(document))
    if args.json is not None:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(document, indent=1) + '\n')
    return 0 if all(row['flat'] for row in document['growth'].values()) else 1


if __name__ == '__main__':
    sys.exit(main())
