"""Short trainings by mmengine's Runner, in this process or in several, and what each process saw."""

import json
import subprocess
import sys
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.dist import get_rank
from mmengine.hooks import Hook

from afa_mmseg.engine import build_runner, prepare_runtime, shut_down
from afa_mmseg.engine.resume import set_resume
from tests.tools.toolbox import REPO, tool_environment

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


class Recorder(Hook):
    """Keeps what an iteration gave: each loss, the learning rate."""

    priority = 'VERY_LOW'

    def __init__(self):
        self.log = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.rate = runner.optim_wrapper.get_lr()['lr'][0]

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.log.append({**{name: value.item() for name, value in outputs.items()}, 'lr': self.rate})


def train(data, work_dir, options, launcher='none', hooks=(), resume=False, validate=False):
    """Train, and leave `log_RANK.json` and `weights_RANK.pth` in the work directory."""
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
    recorder = Recorder()
    for hook in (recorder, *hooks):
        runner.register_hook(hook)
    runner.train()
    model = getattr(runner.model, 'module', runner.model)
    Path(work_dir, f'log_{get_rank()}.json').write_text(json.dumps(recorder.log))
    torch.save(model.state_dict(), Path(work_dir, f'weights_{get_rank()}.pth'))
    return runner


def train_in_processes(data, root, jobs, num_procs=2):
    """Do several trainings, one after the other, in as many processes; {name: options}, to `root/name`."""
    (root / 'jobs.json').write_text(json.dumps(jobs))
    command = ['-m', 'torch.distributed.run', '--standalone', f'--nproc_per_node={num_procs}', '-m', __name__]
    process = subprocess.run(
        [sys.executable, *command, str(data), str(root)],
        cwd=REPO,
        env=tool_environment(PYTHONPATH=str(REPO), OMP_NUM_THREADS='1'),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert process.returncode == 0, process.stdout[-4000:]


def main():
    """Do the jobs of `train_in_processes`, as one of its processes."""
    data, root = sys.argv[1], Path(sys.argv[2])
    for name, options in json.loads((root / 'jobs.json').read_text()).items():
        train(data, root / name, options, launcher='pytorch')
    shut_down()


if __name__ == '__main__':
    main()
