"""A training step in one process and in several that share its batch, and the cores of this machine.

Images are dealt out to the processes as the samplers do it. One process has all threads, several have equal parts
of them, as `tools/dist_train.sh` has it. On GPUs each process has one of its own. Memory is that of the first process.
"""

import argparse
import logging
import tempfile
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Optional

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from _bench import Bench, Case, make_parser, parse_args
from mmengine.logging import MMLogger
from mmengine.model import MMDistributedDataParallel
from train_step import CONFIG, DTYPES, Step

#: Case of `compare` that the others are measured against.
ALONE = '1 process'


class SharedStep(Step):
    """The step of one process of several, which averages gradients with the others.

    Args:
        args: Command line; `batch` is that of all processes together.
        rank: Which process this is.
    """

    def __init__(self, args: argparse.Namespace, rank: int) -> None:
        device = torch.device('cuda', rank) if args.device.type == 'cuda' else args.device
        super().__init__(args.config, device, args.batch, args.crop, args.dtype)
        self.batch = {name: values[rank :: args.processes] for name, values in self.batch.items()}
        device_ids = [rank] if device.type == 'cuda' else None
        self.parallel = MMDistributedDataParallel(self.model, device_ids=device_ids, broadcast_buffers=False)

    def run(self) -> dict:
        """Run one step together with the other processes; return its losses on this process's images."""
        with self.optimizer.optim_context(self.parallel):
            losses = self.parallel(**self.batch, mode='loss')
        loss, log = self.model.parse_losses(losses)
        self.optimizer.update_params(loss)
        return log


class Crew:
    """Processes that run a `SharedStep` whenever this one does, until the end of a `with` block.

    Args:
        args: Command line; `processes` counts this one too.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.threads = torch.get_num_threads()
        self.pipes: list[Connection] = []

    def __enter__(self) -> 'Crew':
        self.folder = tempfile.TemporaryDirectory()
        context = mp.get_context('spawn')
        for rank in range(1, self.args.processes):
            ours, theirs = context.Pipe()
            context.Process(target=_work, args=(self.args, rank, self.folder.name, theirs), daemon=True).start()
            self.pipes.append(ours)
        self.step = _join(self.args, 0, self.folder.name)
        return self

    def __exit__(self, *error: object) -> None:
        for pipe in self.pipes:
            pipe.send(False)
        dist.destroy_process_group()
        self.folder.cleanup()

    def run(self, _: Optional[object] = None) -> None:
        """Run one step in all processes."""
        for pipe in self.pipes:
            pipe.send(True)
        self.step.run()
        for pipe in self.pipes:
            pipe.recv()

    def share_threads(self) -> None:
        """Leave the other processes their part of the threads."""
        torch.set_num_threads(_share(self.threads, self.args.processes))

    def take_threads(self) -> None:
        """Have all threads in this process."""
        torch.set_num_threads(self.threads)


def _share(threads: int, processes: int) -> int:
    return max(1, threads // processes)


def _join(args: argparse.Namespace, rank: int, folder: str) -> SharedStep:
    """Join the group of processes and build the step."""
    MMLogger.get_current_instance().setLevel(logging.WARNING)  # the optimiser logs each parameter
    backend = 'nccl' if args.device.type == 'cuda' else 'gloo'
    store = (Path(folder) / 'store').resolve().as_uri()
    dist.init_process_group(backend, init_method=store, rank=rank, world_size=args.processes)
    return SharedStep(args, rank)


def _work(args: argparse.Namespace, rank: int, folder: str, pipe: Connection) -> None:
    """Run steps on request."""
    torch.set_num_threads(_share(args.threads or torch.get_num_threads(), args.processes))
    step = _join(args, rank, folder)
    while pipe.recv():
        step.run()
        if args.device.type == 'cuda':
            torch.cuda.synchronize()
        pipe.send(True)
    dist.destroy_process_group()


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__, repeats=7)
    parser.add_argument('--config', default=CONFIG, help='of the segmentor')
    parser.add_argument('--processes', type=int, default=2)
    parser.add_argument('--batch', type=int, default=4, help='of all processes together (default: %(default)s)')
    parser.add_argument('--crop', type=int, default=320)
    parser.add_argument('--dtype', choices=DTYPES, default='float32', help='what products are computed in')
    args = parse_args(parser)
    if args.processes < 2 or args.batch % args.processes:
        parser.error(f'--processes {args.processes} must be at least 2 and divide --batch {args.batch}')
    if args.device.type == 'cuda' and torch.cuda.device_count() < args.processes:
        parser.error(f'--processes {args.processes} needs as many GPUs, torch finds {torch.cuda.device_count()}')
    return args


def main() -> None:
    """Time the step of one process beside that of several."""
    args = parse()
    group = f'crop {args.crop}, batch {args.batch}'
    bench = Bench(f'Training step of {args.config} in 1 and {args.processes} processes', args)
    with Crew(args) as crew:
        alone, together = (
            Step(args.config, args.device, args.batch, args.crop, args.dtype),
            f'{args.processes} processes',
        )
        cases: dict[str, Any] = {
            ALONE: Case(lambda _: alone.run(), prepare=crew.take_threads),
            together: Case(crew.run, prepare=crew.share_threads),
        }
        bench.compare(group, cases, baseline=ALONE)
    if not bench.is_child:
        for row in bench.results:
            bench.fact(row['name'], f'{args.batch / row["median"]:.3g} images/s')
        bench.fact('gain', f'{1 / bench.ratio(group, together):.2f} times')
        bench.fact(f'threads of each of {args.processes}', _share(crew.threads, args.processes))
    bench.finish()


if __name__ == '__main__':
    main()
