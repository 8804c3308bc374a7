"""Parts g to i of the GPU suite: several processes, a killed run, and learning."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Optional

import torch
import torch.distributed as dist
from _environment import ROOT
from _suite import Options, Report, start_process
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.model import MMDistributedDataParallel
from train_step import Step

from afa_mmseg.datasets.shapes_generator import make_shapes_voc
from afa_mmseg.engine import build_runner, find_checkpoint, prepare_runtime

TINY = ROOT / 'configs/afa/afa_mit-tiny_shapes.py'
#: What differs by chance or by the number of processes is left out: dropout, batch statistics, and Adam, which makes
#: whole steps of the rounding of gradients that are zero.
EXACT = {
    'optim_wrapper.optimizer': dict(type='SGD', lr=0.02, _delete_=True),
    'model.decode_head.dropout_ratio': 0.0,
    'model.decode_head.norm_cfg': dict(type='GN', num_groups=4),
    'model.decode_head.loss_affinity.group_size': 2,
    'model.decode_head.loss_decode.group_size': 2,
}
RANKS = 2
LOSSES = ('loss_cls', 'loss_affinity', 'loss_seg')


# g


def two_processes(options: Options, report: Report) -> None:
    """Train on the same batch in one process and in two that share the device; compare the losses."""
    iterations = 4 if options.quick else 20
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        alone = start_process(options, train_in_group, options.device, folder, iterations, 0, 1, None)
        alone.join()
        for backend in ('nccl', 'gloo') if options.on_gpu else ('gloo',):
            arguments = [(options.device, folder, iterations, rank, RANKS, backend) for rank in range(RANKS)]
            processes = [start_process(options, train_in_group, *one) for one in arguments]
            ended = wait_for_all(processes, 30 if backend == 'nccl' else 300)
            report.fact(f'{RANKS} processes with {backend}', 'ran' if ended else 'refused')
            if ended:
                break
        together = [json.loads((folder / f'losses_{rank}_of_{RANKS}.json').read_text()) for rank in range(RANKS)]
        one = json.loads((folder / 'losses_0_of_1.json').read_text())
    for loss in LOSSES:
        mean = [sum(step[loss] for step in steps) / RANKS for steps in zip(*together)]
        largest = max(abs(a - step[loss]) for a, step in zip(mean, one))
        report.check(f'{loss}: largest difference in {iterations} iterations', largest, 1e-3)


def wait_for_all(processes: list[Any], seconds: float) -> bool:
    """Wait for processes; end those that are left when one fails or the time is over. Whether all were good."""
    end = time.monotonic() + seconds
    while any(process.is_alive() for process in processes) and time.monotonic() < end:
        if any(process.exitcode not in (None, 0) for process in processes):
            break
        time.sleep(0.1)
    good = all(process.exitcode == 0 for process in processes)
    for process in processes:
        process.kill()
        process.join()
    return good


def train_in_group(
    device: torch.device, folder: Path, iterations: int, rank: int, world: int, backend: Optional[str]
) -> None:
    """Train as one of `world` processes, each of which has its share of the same four images."""
    if backend is not None:
        store = (folder / f'store_{backend}').resolve().as_uri()
        dist.init_process_group(backend, init_method=store, rank=rank, world_size=world)
    step = Step(str(TINY), device, 4, 64, settings=EXACT)
    step.batch = {name: values[rank::world] for name, values in step.batch.items()}
    if backend is not None:
        # Modules are not called under this name by `run`: the parallel model calls the segmentor inside.
        segmentor = step.model
        parallel = MMDistributedDataParallel(
            segmentor, device_ids=[0] if device.type == 'cuda' else None, broadcast_buffers=False
        )
        parallel.parse_losses = segmentor.parse_losses
        step.model = parallel
    losses = []
    for _ in range(iterations):
        log = step.run()
        losses.append({name: float(log[name]) for name in LOSSES})
    (folder / f'losses_{rank}_of_{world}.json').write_text(json.dumps(losses))
    if backend is not None:
        dist.destroy_process_group()


# h


def killed_and_resumed(options: Options, report: Report) -> None:
    """Kill a run by SIGKILL, resume it, and compare the iterations that both have computed.

    The first of them has the same weights and crops; on a GPU the others differ by the order of sums.
    """
    iterations, interval = (8, 3) if options.quick else (60, 20)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_shapes_voc(folder / 'data', num_train=40, num_val=2, size=64)
        config, run = write_config(folder, iterations, interval), folder / 'run'
        killed = start(config, run, options)
        wait_until(lambda: len(losses_of(run)) > interval + 1, killed, run)
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        before, saved = losses_of(run), int(Path(find_checkpoint(run) or 'iter_0').stem.rpartition('_')[2])
        require_success(start(config, run, options, '--resume'), run)
        after = losses_of(run)
    twice = [i for i in before if i > saved]
    report.fact('killed after iteration', max(before))
    report.fact('resumed after iteration', saved)
    if saved < interval or not twice or len(after) != iterations:
        raise RuntimeError(f'{len(after)} of {iterations} iterations are logged, {len(twice)} of them twice')
    report.check('loss of the first iteration after the resume', abs(before[saved + 1] - after[saved + 1]), 1e-4)
    report.fact(f'largest difference of {len(twice)} iterations', max(abs(before[i] - after[i]) for i in twice))


def write_config(folder: Path, iterations: int, interval: int) -> Path:
    """Write the config of a short run that logs and saves often."""
    cfg = tiny_config(folder / 'data', iterations)
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    cfg.test_cfg = cfg.test_dataloader = cfg.test_evaluator = None
    cfg.merge_from_dict(
        {
            'randomness.seed': 0,
            'train_dataloader.batch_size': 2,
            'train_dataloader.dataset.pipeline.3.crop_size': (64, 64),
            'model.data_preprocessor.size': (64, 64),
            'default_hooks.logger.interval': 1,
            'default_hooks.checkpoint.interval': interval,
            'default_hooks.checkpoint.save_best': None,
        }
    )
    cfg.dump(folder / 'config.py')
    return folder / 'config.py'


def tiny_config(data: Path, iterations: int) -> Config:
    """Load the quickstart's config, with its phases squeezed into other iterations and without drawing."""
    cfg = Config.fromfile(TINY)
    factor = iterations / cfg.train_cfg.max_iters
    for name in ('cls_only_until', 'cam_label_until'):
        cfg.model.train_cfg[name] = int(cfg.model.train_cfg[name] * factor)
    cfg.param_scheduler[0].warmup_iters = max(1, int(cfg.param_scheduler[0].warmup_iters * factor))
    cfg.param_scheduler[0].max_iters = cfg.train_cfg.max_iters = iterations
    for part in ('train', 'val', 'test'):
        cfg[f'{part}_dataloader'].dataset.data_root = str(data)
    without_drawing(cfg)
    return cfg


def without_drawing(cfg: Config) -> None:
    """Leave out hooks and backends that draw."""
    cfg.custom_hooks = [hook for hook in cfg.get('custom_hooks') or [] if 'Visualization' not in str(hook['type'])]
    cfg.visualizer.vis_backends = [dict(type='LocalVisBackend')]


def start(config: Path, work_dir: Path, options: Options, *arguments: str) -> subprocess.Popen:
    """Start `tools/train.py` as a user does."""
    command = [sys.executable, ROOT / 'tools/train.py', config, '--work-dir', work_dir, *arguments]
    hidden = {} if options.on_gpu else {'CUDA_VISIBLE_DEVICES': '-1'}
    environment = {**os.environ, 'PYTHONPATH': os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')]), **hidden}
    work_dir.mkdir(exist_ok=True)
    with (work_dir / 'console.txt').open('a') as console:
        return subprocess.Popen([*map(str, command)], env=environment, stdout=console, stderr=subprocess.STDOUT)


def require_success(process: subprocess.Popen, work_dir: Path) -> None:
    """Wait for a run and raise what it printed if it failed."""
    if process.wait() != 0:
        raise RuntimeError(f'exit code {process.returncode}: {(work_dir / "console.txt").read_text()[-1500:]}')


def wait_until(happens: Any, process: subprocess.Popen, work_dir: Path) -> bool:
    """Wait for something to happen while a run continues."""
    while not happens():
        if process.poll() is not None:
            require_success(process, work_dir)
            return bool(happens())
        time.sleep(0.02)
    return True


def losses_of(work_dir: Path) -> dict[int, float]:
    """Read the loss of each iteration from the logs of a run and of those that resumed it; the last one counts."""
    losses = {}
    for file in sorted(work_dir.glob('*/vis_data/scalars.json')):
        for line in file.read_text().splitlines():
            if line.endswith('}'):  # not one that is being written
                scalars = json.loads(line)
                if 'loss' in scalars:
                    losses[scalars['step']] = scalars['loss']
    return losses


# i


class Curve(Hook):
    """Report the mIoU of each validation, and stop the run shortly before the suite ends.

    Args:
        report: Of the part.
        name: Of the run.
        deadline: On the clock of `time.monotonic`.
    """

    priority = 'VERY_LOW'

    def __init__(self, report: Report, name: str, deadline: float) -> None:
        self.report, self.name, self.deadline = report, name, deadline
        self.start = time.monotonic()

    def after_val_epoch(self, runner: Any, metrics: Optional[dict] = None) -> None:
        wanted = {key: float(value) for key, value in (metrics or {}).items() if 'mIoU' in key}
        minutes = (time.monotonic() - self.start) / 60
        self.report.row(self.name, iteration=runner.iter, minutes=minutes, **wanted)

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Optional[dict] = None
    ) -> None:
        if time.monotonic() > self.deadline:
            self.report.fact(f'{self.name}: stopped for time after iteration', runner.iter + 1)
            runner.train_loop.stop_training = True


def learning(options: Options, report: Report) -> None:
    """Train the configs of VOC-Animals, where its data is at hand, and of the quickstart; mIoU by minutes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.data is not None:
            configs = sorted((ROOT / 'configs/afa').glob('afa_*voc-animals.py'))
            report.fact('configs for --data', ', '.join(path.stem for path in configs) or 'none in configs/afa')
            for path in configs:
                try:
                    train(options, report, animals_config(options, path), folder, path.stem)
                except FileNotFoundError as error:  # pretrained weights
                    report.fact(path.stem, str(error))
        count = 12 if options.quick else 500
        make_shapes_voc(folder / 'shapes', num_train=count, num_val=max(4, count // 5))
        cfg = tiny_config(folder / 'shapes', 6 if options.quick else Config.fromfile(TINY).train_cfg.max_iters)
        train(options, report, cfg, folder, TINY.stem)


def animals_config(options: Options, path: Path) -> Config:
    """Load a config of VOC-Animals with the data at hand."""
    cfg = Config.fromfile(path)
    for part in ('train', 'val', 'test'):
        cfg[f'{part}_dataloader'].dataset.data_root = str(options.data)
    without_drawing(cfg)
    if options.quick:
        cfg.train_cfg.max_iters = 6
    return cfg


def train(options: Options, report: Report, cfg: Config, folder: Path, name: str) -> None:
    """Train, validating six times."""
    cfg.train_cfg.val_interval = max(1, cfg.train_cfg.max_iters // (1 if options.quick else 6))
    cfg.test_cfg = cfg.test_dataloader = cfg.test_evaluator = None
    cfg.default_hooks.checkpoint.interval = cfg.train_cfg.max_iters + 1
    cfg.default_hooks.checkpoint.save_best = None
    cfg.work_dir, cfg.experiment_name = str(folder / name), name
    if not options.on_gpu:
        for part in ('train', 'val'):
            cfg[f'{part}_dataloader'].update(num_workers=0, persistent_workers=False)
            cfg[f'{part}_dataloader'].pop('prefetch_factor', None)
    prepare_runtime(cfg, 'none')
    runner = build_runner(cfg)
    runner.register_hook(Curve(report, name, options.deadline - 15))
    runner.train()
