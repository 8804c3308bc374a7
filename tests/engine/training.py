"""Short runs by mmengine's Runner, in this process or in several, and a journal of each iteration."""

import json
import os
import socket
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.dist import get_rank
from mmengine.hooks import Hook

from afa_mmseg.engine import build_runner, prepare_runtime, shut_down
from afa_mmseg.engine.resume import set_resume
from tests.tools.toolbox import REPO
from tests.utils.processes import SERVER, start

ITERATIONS = 20
CONFIG = REPO / 'configs/afa/afa_mit-tiny_shapes.py'
#: The quickstart's network, with as little to do as possible.
SMALL = {
    'model.data_preprocessor.size': (64, 64),
    'model.backbone.embed_dims': 8,
    'model.backbone.num_layers': (1, 1, 1, 2),
    'model.decode_head.in_channels': [8, 16, 40, 64],
    'model.decode_head.channels': 32,
}
#: What differs by chance is left out: crops, mirror images, dropout, batch statistics.
OPTIONS = {
    **SMALL,
    'randomness.seed': 0,
    'model.decode_head.dropout_ratio': 0.0,
    'model.decode_head.norm_cfg': dict(type='GN', num_groups=4),
    'model.pseudo_labeler.radius': 2,
    'model.train_cfg.cls_only_until': 4,
    'model.train_cfg.cam_label_until': 11,
    'train_dataloader.num_workers': 0,
    'train_dataloader.persistent_workers': False,
    'train_dataloader.dataset.pipeline.1.ratio_range': (1.0, 1.0),
    'train_dataloader.dataset.pipeline.2.prob': 0.0,
    'train_dataloader.dataset.pipeline.3.crop_size': (64, 64),
    'train_cfg.max_iters': ITERATIONS,
    'param_scheduler.0.max_iters': ITERATIONS,
    'param_scheduler.0.warmup_iters': 5,
    'default_hooks.checkpoint': None,
}


class Journal(Hook):
    """Write a line for each iteration, at once: number, images, their crops, losses and learning rate."""

    priority = 'VERY_LOW'

    def __init__(self, folder):
        self.folder = Path(folder)

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.rate = runner.optim_wrapper.get_lr()['lr'][0]

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        batches = data_batch if isinstance(data_batch, list) else [data_batch]
        samples = [sample for batch in batches for sample in batch['data_samples']]
        line = {
            'iteration': runner.iter + 1,
            'images': [(sample.img_id, list(sample.img_box), sample.flip) for sample in samples],
            'pixels': [float(image.double().sum()) for batch in batches for image in batch['inputs']],
            'losses': {name: value.item() for name, value in outputs.items()},
            'rate': self.rate,
        }
        with journal_file(self.folder, get_rank()).open('a') as file:
            file.write(json.dumps(line) + '\n')


def journal_file(folder, rank=0):
    return Path(folder) / f'journal_{rank}.jsonl'


def read_journal(folder, rank=0):
    """Return the lines that were written to their end."""
    file = journal_file(folder, rank)
    lines = file.read_text().splitlines(keepends=True) if file.exists() else []
    return [json.loads(line) for line in lines if line.endswith('\n')]


def weights_of(folder, rank=0):
    """Return the weights at the end of a run."""
    return torch.load(Path(folder, f'weights_{rank}.pth'), weights_only=True)


def train(data, work_dir, options, launcher='none', hooks=(), resume=False, validate=False):
    """Train, and leave journal and weights of this rank in the work directory."""
    cfg = Config.fromfile(CONFIG)
    cfg.merge_from_dict({**OPTIONS, 'train_dataloader.dataset.data_root': str(data), **options})
    if validate:
        cfg.val_dataloader.update(num_workers=0, persistent_workers=False)
        cfg.val_dataloader.dataset.data_root = str(data)
        cfg.val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
    else:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    cfg.test_cfg = cfg.test_dataloader = cfg.test_evaluator = None
    cfg.work_dir, cfg.experiment_name, cfg.log_level = str(work_dir), Path(work_dir).name, 'WARNING'
    if resume:
        set_resume(cfg)
    prepare_runtime(cfg, launcher)
    runner = build_runner(cfg)
    for hook in (Journal(work_dir), *hooks):
        runner.register_hook(hook)
    runner.train()
    model = getattr(runner.model, 'module', runner.model)
    torch.save(model.state_dict(), Path(work_dir, f'weights_{get_rank()}.pth'))
    return runner


def start_training(data, folder, options, num_procs=1, **kwargs):
    """Start the processes of a run; their output goes to files `output_RANK`."""
    folder.mkdir(parents=True, exist_ok=True)
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    arguments = data, folder, options, num_procs, port, kwargs
    return [
        start(_train, rank, *arguments, output=folder / f'output_{rank}', context=SERVER) for rank in range(num_procs)
    ]


def finish(processes, folder, seconds=240):
    """Wait for processes that end by themselves."""
    for rank, process in enumerate(processes):
        process.join(seconds)
        assert process.exitcode == 0, (folder / f'output_{rank}').read_text()[-4000:]


def _train(rank, data, folder, options, num_procs, port, kwargs):
    if num_procs > 1:
        names = dict(RANK=rank, LOCAL_RANK=rank, WORLD_SIZE=num_procs, MASTER_ADDR='127.0.0.1', MASTER_PORT=port)
        os.environ.update({name: str(value) for name, value in names.items()})
    train(data, folder, options, 'pytorch' if num_procs > 1 else 'none', **kwargs)
    shut_down()
