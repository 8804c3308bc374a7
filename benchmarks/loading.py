"""Loading of images beside the training step that it feeds: worker processes, and each transform by itself.

The images are JPEGs of VOC's and COCO's size, made on the spot and written to a temporary folder; the pipelines are
those of the configs. The step is that of the config, too: network, pseudo-labels, losses and backward, no optimiser.
"""

import math
import tempfile
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, NamedTuple

import cv2
import torch
from _bench import Bench, Case, make_parser, parse_args
from _images import build_loader, write_images
from _inputs import ROOT, build_segmentor, make_batch
from dense_energy import training_step
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.registry import init_default_scope
from mmengine.runner import set_random_seed


class Source(NamedTuple):
    """A config, and the size of the images that stand in for its data set's."""

    config: str
    height: int
    width: int


SOURCES = dict(
    VOC=Source('configs/afa/afa_mit-b1_voc.py', 375, 500),
    COCO=Source('configs/afa/afa_mit-b1_coco.py', 480, 640),
)
#: Cases of `compare`.
WHOLE, STEP = 'whole pipeline', 'training step'


@contextmanager
def worker_threads() -> Iterator[None]:
    """Compute as a worker process does: on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)  # as `env_cfg` of the configs has it
    yield
    torch.set_num_threads(threads)


def transform_cases(dataset: BaseDataset, count: int) -> dict[str, Case]:
    """Make a case of the whole pipeline, and one of each of its steps, on results of the steps before."""
    steps = dataset.pipeline.transforms

    def apply(steps: list[Callable], samples: list[Any]) -> list[Any]:
        for step in steps:
            samples = [step(sample) for sample in samples]
        return samples

    def before(step: int) -> list[Any]:
        set_random_seed(0)  # the same scales and crops in every round
        return apply(steps[:step], [dataset.get_data_info(i) for i in range(count)])

    cases = {WHOLE: Case(lambda samples: apply(steps, samples), lambda: before(0))}
    for i, step in enumerate(steps):
        cases[type(step).__name__] = Case(lambda samples, i=i: apply(steps[i : i + 1], samples), lambda i=i: before(i))
    return cases


def worker_case(config: Config, folder: Path, count: int, workers: int) -> Case:
    """Make a case of `count` images from worker processes, which have just delivered the first batch of each."""

    def start() -> Iterator[Any]:
        batches = iter(build_loader(config, folder, workers))
        for _ in range(workers):
            next(batches)
        return batches

    def fetch(batches: Iterator[Any]) -> Iterator[Any]:
        for _ in range(count // config.train_dataloader.batch_size):
            next(batches)
        return batches  # to end the processes is not part of the call

    return Case(fetch, start)


def named(workers: int) -> str:
    """Name the case of so many worker processes."""
    return '1 worker process' if workers == 1 else f'{workers} worker processes'


def measure_loading(bench: Bench, name: str, source: Source, args: Namespace) -> dict[int, float]:
    """Time the loading of a data set's images; return how many a second so many worker processes load."""
    config = Config.fromfile(ROOT / source.config)
    group = f'{name}, {args.images} JPEGs of {source.height}x{source.width}'
    with tempfile.TemporaryDirectory() as folder, worker_threads():
        size = write_images(config, Path(folder), args.images, source.height, source.width)
        dataset = build_loader(config, Path(folder)).dataset
        cases = {named(n): worker_case(config, Path(folder), args.images, n) for n in args.workers}
        bench.compare(group, {**transform_cases(dataset, args.images), **cases}, baseline=WHOLE)
    bench.fact(f'{name}, size of a JPEG', f'{size / 1000:.0f} kB')
    return {n: rate(bench, group, named(n), args.images) for n in args.workers}


def measure_step(bench: Bench, name: str, source: Source, args: Namespace) -> float:
    """Time a training step of a config; return its images per second."""
    model = build_segmentor(source.config, args.device)
    batch = make_batch(model, args.batch, args.crop)
    group = f'{name}, crop {args.crop}, batch {args.batch}'
    bench.compare(group, {STEP: Case(lambda _: training_step(model, batch), prepare=model.zero_grad)})
    return rate(bench, group, STEP, args.batch)


def rate(bench: Bench, group: str, name: str, count: int) -> float:
    """Return the images per second of a timed case of `count` images."""
    seconds = [row['median'] for row in bench.results if (row['group'], row['name']) == (group, name)]
    return count / seconds[0] if seconds else math.nan  # a process that measures memory times nothing


def main() -> None:
    """Time loading and training steps, and compare them."""
    parser = make_parser(__doc__, repeats=7)
    parser.set_defaults(memory=False)
    parser.add_argument('--data', nargs='+', choices=list(SOURCES), default=list(SOURCES), help='data sets')
    parser.add_argument('--workers', type=int, nargs='+', default=[1, 2], help='worker processes (default: 1 and 2)')
    parser.add_argument('--images', type=int, default=64, help='images a round (default: %(default)s)')
    parser.add_argument('--batch', type=int, default=2, help='of the training step (default: %(default)s)')
    parser.add_argument('--crop', type=int, default=512, help='of the training step (default: %(default)s)')
    args = parse_args(parser)
    if args.images < args.batch:
        parser.error(f'--images must be at least --batch, got {args.images} and {args.batch}')
    if min(args.workers) < 1:
        parser.error(f'--workers must be positive, got {min(args.workers)}')
    init_default_scope('mmseg')
    bench = Bench('Loading beside a training step', args)
    for name in args.data:
        given = measure_loading(bench, name, SOURCES[name], args)
        taken = measure_step(bench, name, SOURCES[name], args)
        bench.fact(f'{name}, a training step takes', f'{taken:.2f} images/s')
        for workers, images in given.items():
            text = f'{images:.0f} images/s, {images / taken:.3g} times that; enough for steps of'
            bench.fact(f'{name}, {named(workers)}', f'{text} {1000 * args.batch / images:.0f} ms or longer')
    bench.finish()


if __name__ == '__main__':
    main()
