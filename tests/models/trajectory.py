"""Twelve golden iterations, driven by mmengine's Runner with one of our schedules."""

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from tests.tools.toolbox import REPO

ITERATIONS = 12


class Recorder(Hook):
    """Keep the losses of each iteration, and the learning rate of each parameter by name."""

    def __init__(self):
        self.logs, self.rates = [], []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        groups = runner.optim_wrapper.optimizer.param_groups
        rates = {id(parameter): group['lr'] for group in groups for parameter in group['params']}
        self.rates.append({name: rates[id(p)] for name, p in runner.model.named_parameters() if p.requires_grad})

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.logs.append({name: value.item() for name, value in outputs.items()})

    def losses(self, name):
        return torch.tensor([log[name] for log in self.logs], dtype=torch.float64)


def build_runner(model, state, dataset, schedule, recorder, work_dir):
    """Build the Runner of twelve iterations of two images each, which starts from a state dict."""
    schedule = Config.fromfile(REPO / f'configs/_base_/schedules/{schedule}.py')
    schedule.merge_from_dict({'param_scheduler.0.max_iters': ITERATIONS, 'param_scheduler.0.warmup_iters': 3})
    torch.save(dict(state_dict=state), work_dir / 'start.pth')
    return Runner(
        model=model,
        work_dir=str(work_dir),
        load_from=str(work_dir / 'start.pth'),
        train_dataloader=dict(
            dataset=dataset, sampler=dict(type='DefaultSampler', shuffle=False), batch_size=2, num_workers=0
        ),
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=ITERATIONS),
        optim_wrapper=schedule.optim_wrapper,
        param_scheduler=schedule.param_scheduler,
        custom_hooks=[recorder],
        default_hooks=dict(checkpoint=None, logger=None),
        default_scope='mmseg',
        log_level='WARNING',
        experiment_name=work_dir.name,
    )
