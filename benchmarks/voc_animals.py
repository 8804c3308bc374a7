"""Train and evaluate the runs of VOC-Animals that docs/results/README.md shows; an interrupted run is resumed.

    python benchmarks/voc_animals.py --data data/voc_animals --work-dir work_dirs/voc_animals --out docs/results
    python benchmarks/voc_animals.py ... --only afa_efficientnet-lite2_voc-animals --seeds 0
    python benchmarks/voc_animals.py --list

Each run is tools/train.py and tools/test.py as a user starts them. Its settings, versions, hours and figures are kept
in OUT/RUN_seed-N.json, its thinned log in OUT/logs; the table of all replaces what is between the marks of
OUT/README.md.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Optional

import cpu_figures
import torch
from _environment import ROOT, describe
from _suite import table
from mmengine.config import Config

#: Figures of a run, and their titles in the table.
FIGURES = {
    'cls/f1': "classifier's F1",
    'cam/mIoU': 'CAM',
    'aux_cam/mIoU': 'auxiliary CAM',
    'propagated_cam/mIoU': 'propagated CAM',
    'refined_cam/mIoU': 'refined pseudo-label',
    'mIoU': 'segmentation',
    'tta/mIoU': '+ multi-scale',
    'crf/mIoU': '+ CRF',
}
#: Tests beside the validation that ends a run.
TESTS = {'tta/mIoU': ['--tta'], 'crf/mIoU': ['--tta', '--cfg-options', 'model.test_cfg.crf.num_iters=10']}
LITE2, MIT_B0 = 'afa_efficientnet-lite2_voc-animals', 'afa_mit-b0_voc-animals'
#: What is filled in where OUT has no page yet.
EMPTY_PAGE = '<!-- figures: table -->\n<!-- end -->\n'
LOSSES = ('loss', 'loss_cls', 'loss_affinity', 'loss_seg', 'loss_aux', 'loss_ptc', 'loss_ctc')
#: Values of a log line that are kept, every `EVERY` iterations.
LOGGED = ('lr', *LOSSES, 'ignored_share', 'foreground_share', 'positive_pairs', 'negative_pairs')
EVERY = 100


class Run(NamedTuple):
    """A row of the table.

    Args:
        config: Name of the config, in configs/afa or configs/toco.
        seeds: How many.
        settings: Changes of the config.
        after: Name of the run whose pseudo-labels it learns from.
        tests: Whether it is also tested at several scales and with a CRF.
    """

    config: str
    seeds: int = 2
    settings: Mapping[str, Any] = {}
    after: Optional[str] = None
    tests: bool = False


#: An iteration of the runs that compare two methods.
TWO_IMAGES = {'train_dataloader.batch_size': 2}
#: Rows of the table, in its order.
RUNS = {
    LITE2: Run(LITE2, seeds=3, tests=True),
    'full_efficientnet-lite2_voc-animals': Run('full_efficientnet-lite2_voc-animals', seeds=3),
    MIT_B0: Run(MIT_B0, seeds=3, tests=True),
    'full_mit-b0_voc-animals': Run('full_mit-b0_voc-animals', seeds=3),
    **{
        f'{LITE2}_{name}': Run(f'{LITE2}_{name}')
        for name in ('no-affinity', 'no-par', 'pamr', 'crf-refiner', 'single-scale-cam', 'avg-pool', 'reg', 'radius-4')
    },
    f'{LITE2}_affinity-0.3': Run(LITE2, 3, {'model.decode_head.loss_affinity.loss_weight': 0.3}, tests=True),
    f'{MIT_B0}_second-stage': Run('full_mit-b0_voc-animals', seeds=1, after=MIT_B0),
    f'{MIT_B0}_from-scratch': Run(MIT_B0, seeds=1, settings={'model.backbone.init_cfg': None}),
    'afa_deit-s_voc-animals': Run('afa_deit-s_voc-animals', seeds=1, tests=True),
    'toco_deit-s_voc-animals': Run('toco_deit-s_voc-animals', seeds=1, tests=True),
    'afa_hybrid-s_voc-animals': Run('afa_hybrid-s_voc-animals', seeds=1, settings=TWO_IMAGES),
    'toco_hybrid-s_voc-animals': Run('toco_hybrid-s_voc-animals', seeds=1, settings=TWO_IMAGES),
}


class Job(NamedTuple):
    """One run with its tests."""

    name: str
    run: Run
    seed: int
    args: argparse.Namespace

    @property
    def work_dir(self) -> Path:
        return self.args.work_dir / f'{self.name}_seed-{self.seed}'

    @property
    def file(self) -> Path:
        return self.args.out / f'{self.name}_seed-{self.seed}.json'

    @property
    def log_file(self) -> Path:
        return self.args.out / 'logs' / self.file.name

    @property
    def config(self) -> Path:
        return next((ROOT / 'configs').glob(f'*/{self.run.config}.py'))


def parse_args(argv: Optional[Sequence[str]] = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data', type=Path, default=ROOT / 'data/voc_animals', help='folder of the data set')
    parser.add_argument('--work-dir', type=Path, default=ROOT / 'work_dirs/voc_animals', help='logs and checkpoints')
    parser.add_argument('--out', type=Path, default=ROOT / 'docs/results', help='JSON files and page')
    parser.add_argument('--only', nargs='+', choices=sorted(RUNS), metavar='RUN', help='these runs (--list names all)')
    parser.add_argument('--seeds', type=int, nargs='+', help='these seeds (default: as many as the run has, from 0)')
    parser.add_argument('--parallel', type=int, default=1, help='runs at the same time, on one large GPU')
    parser.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help='for every run; noted')
    parser.add_argument('--list', action='store_true', help='name the runs and what has been measured, and stop')
    return parser.parse_args(argv)


def list_jobs(args: argparse.Namespace) -> list[Job]:
    """Return the jobs in the order of the table, all first seeds first."""
    names = [name for name in RUNS if args.only is None or name in args.only]
    jobs = [Job(name, RUNS[name], seed, args) for name in names for seed in args.seeds or range(RUNS[name].seeds)]
    return sorted(jobs, key=lambda job: job.seed)


def settings_of(job: Job) -> list[str]:
    """Return the settings of a job as options of the command line."""
    data = [f'{part}_dataloader.dataset.data_root={job.args.data.resolve()}' for part in ('train', 'val', 'test')]
    own = [f'{key}={value}' for key, value in job.run.settings.items()]
    labels = []
    if job.run.after is not None:
        folder = (job.args.work_dir / f'{job.run.after}_seed-{job.seed}' / 'pseudo_labels').resolve()
        labels = [f'train_dataloader.dataset.data_prefix.seg_map_path={folder}']
    return [*data, *own, *labels, *job.args.cfg_options]


def start(job: Job, tool: str, *arguments: Any) -> None:
    """Run a tool, with what it prints in the job's folder.

    Raises:
        RuntimeError: It failed.
    """
    job.work_dir.mkdir(parents=True, exist_ok=True)
    console = job.work_dir / 'console.txt'
    environment = {**os.environ, 'PYTHONPATH': os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')])}
    with console.open('a') as output:
        command = [sys.executable, ROOT / 'tools' / tool, *arguments]
        code = subprocess.run([*map(str, command)], env=environment, stdout=output, stderr=output).returncode
    if code != 0:
        raise RuntimeError(f'{job.name}, seed {job.seed}: {tool} ended with exit code {code}: see {console}')


def train(job: Job) -> list[dict[str, Any]]:
    """Train, or resume; return the log."""
    start(job, 'train.py', job.config, '--work-dir', job.work_dir, '--seed', job.seed, '--resume',
          '--cfg-options', *settings_of(job))  # fmt: skip
    records: dict[tuple[int, bool], dict[str, Any]] = {}
    for file in sorted(job.work_dir.glob('2*/vis_data/scalars.json')):
        for line in file.read_text().splitlines():
            record = json.loads(line)
            records[int(record['step']), 'loss' in record] = record
    return [records[key] for key in sorted(records)]


def checkpoint_of(job: Job) -> Path:
    """Return the last checkpoint of a job.

    Raises:
        FileNotFoundError: It has not been trained in this folder.
    """
    file = job.work_dir / 'last_checkpoint'
    if not file.is_file():
        raise FileNotFoundError(f'no checkpoint in {job.work_dir}: train {job.name} with --seeds {job.seed} first')
    return Path(job.work_dir / Path(file.read_text().strip()).name)


def test(job: Job, name: str) -> float:
    """Test the last checkpoint and return the mIoU."""
    first, *options = TESTS[name]
    folder = job.work_dir / name.split('/')[0]
    options = [option for option in options if option != '--cfg-options']
    start(job, 'test.py', job.config, checkpoint_of(job), first, '--work-dir', folder,
          '--cfg-options', *settings_of(job), *options)  # fmt: skip
    return json.loads(max(folder.glob('2*/2*.json')).read_text())['mIoU']


def work(job: Job) -> None:
    """Train, test and write the results of a job; what its file holds already is left out."""
    result = json.loads(job.file.read_text()) if job.file.exists() else trained(job)
    for name in TESTS if job.run.tests else ():
        if name not in result['figures']:
            result['figures'][name] = round(test(job, name), 2)
            job.file.write_text(json.dumps(result) + '\n')
    print(f'{job.name}, seed {job.seed}: {result["figures"]}, {result["hours"]} h', flush=True)


def trained(job: Job) -> dict[str, Any]:
    """Train and write the results."""
    if job.run.after is not None:
        export_labels(Job(job.run.after, RUNS[job.run.after], job.seed, job.args))
    with timed(job.work_dir / 'seconds') as seconds:
        log = train(job)
    found = [item for record in log if 'loss' not in record for item in record.items()]
    cfg = Config.fromfile(job.work_dir / job.config.name)  # with all options, as the run wrote it
    result = dict(
        run=job.name,
        config=str(job.config.relative_to(ROOT)),
        settings=[*[f'{key}={value}' for key, value in job.run.settings.items()], *job.args.cfg_options],
        seed=job.seed,
        iterations=max(entry['step'] for entry in log),
        batch_size=cfg.train_dataloader.batch_size,
        hours=round(sum(seconds) / 3600, 3),
        figures={key: round(value, 2) for key, value in found if key in FIGURES},
        record=describe(torch.device('cuda' if torch.cuda.is_available() else 'cpu')),
    )
    job.log_file.parent.mkdir(parents=True, exist_ok=True)
    job.log_file.write_text(''.join(json.dumps(record) + '\n' for record in thin(log)))
    job.file.write_text(json.dumps(result) + '\n')
    return result


@contextmanager
def timed(file: Path) -> Iterator[list[float]]:
    """Yield the seconds of all parts of an interrupted run, the last of them measured in the `with` block."""
    seconds = [float(line) for line in file.read_text().split()] if file.is_file() else []
    begin = time.monotonic()
    try:
        yield seconds
    finally:
        seconds.append(time.monotonic() - begin)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(''.join(f'{part:.1f}\n' for part in seconds))


def export_labels(job: Job) -> None:
    """Write the pseudo-labels of a trained run, for a second stage."""
    start(job, 'export_pseudo_labels.py', job.config, checkpoint_of(job), '--out', job.work_dir / 'pseudo_labels',
          '--cfg-options', *settings_of(job))  # fmt: skip


def thin(log: Iterable[Mapping[str, Any]]) -> Iterable[dict[str, Any]]:
    """Keep validations, and some values of some training iterations, rounded."""
    for record in log:
        if 'loss' not in record:
            yield {key: value for key, value in record.items() if key in FIGURES or key == 'step'}
        elif record['step'] % EVERY == 0:
            yield {'step': record['step'], **{key: float(f'{record[key]:.4g}') for key in LOGGED if key in record}}


def fill_in(page: Path) -> None:
    """Replace the table of the page by one of all results beside it."""
    results: dict[str, list[dict[str, Any]]] = {}
    for file in sorted(page.parent.glob('*_seed-*.json')):
        result = json.loads(file.read_text())
        results.setdefault(result['run'], []).append(result)
    rows = [row(name, results[name]) for name in RUNS if name in results]
    full = {name.split('_', 1)[1]: mean for name, mean in means(results).items() if name.startswith('full_')}
    for cells in rows:
        method, _, rest = cells['run'].partition('_')
        if method != 'full' and rest in full:
            cells['weak / full'] = f'{means(results)[cells["run"]] / full[rest]:.2f}'
    if not rows:
        return
    text = page.read_text(encoding='utf-8') if page.is_file() else EMPTY_PAGE
    page.write_text(cpu_figures.fill_in(text, dict(table=table(rows))), encoding='utf-8')


def means(results: Mapping[str, list[dict[str, Any]]]) -> dict[str, float]:
    """Return the mean mIoU of each run over its seeds."""
    return {name: statistics.fmean(one['figures']['mIoU'] for one in seeds) for name, seeds in results.items()}


def row(name: str, seeds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Lay out the mean and standard deviation of each figure over the seeds of a run."""
    cells: dict[str, Any] = {'run': name, 'seeds': len(seeds)}
    for key, title in FIGURES.items():
        values = [one['figures'][key] for one in seeds if key in one['figures']]
        if values:
            spread = f' ± {statistics.stdev(values):.1f}' if len(values) > 1 else ''
            cells[title] = f'{statistics.fmean(values):.1f}{spread}'
    return {**cells, 'hours': hours(seeds)}


def hours(seeds: Iterable[Mapping[str, Any]]) -> str:
    """Lay out the mean hours of a run on each kind of device."""
    found: dict[str, list[float]] = {}
    for one in seeds:
        found.setdefault('GPU' if one['record']['cuda'] else 'CPU', []).append(one['hours'])
    return ', '.join(f'{statistics.fmean(values):.2f} ({device})' for device, values in found.items())


def main() -> None:
    """Run the command."""
    args = parse_args()
    jobs = list_jobs(args)
    if args.list:
        print(*(f'{job.name} seed {job.seed}{"  measured" if job.file.exists() else ""}' for job in jobs), sep='\n')
        return
    stages = [[job for job in jobs if job.run.after is None], [job for job in jobs if job.run.after is not None]]
    failures = []
    for stage in stages:
        with ThreadPoolExecutor(args.parallel) as pool:
            for future in [pool.submit(work, job) for job in stage]:
                if error := future.exception():
                    failures.append(str(error))
    fill_in(args.out / 'README.md')
    if failures:
        sys.exit('\n'.join(failures))


if __name__ == '__main__':
    main()
