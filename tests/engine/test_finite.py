"""NaN protection: training stops before the update, all ranks together."""

import os
import re
import socket
from pathlib import Path

import pytest
import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.registry import HOOKS, OPTIM_WRAPPERS

from afa_mmseg.datasets.shapes_generator import make_shapes_voc
from afa_mmseg.engine import shut_down
from tests.engine.training import train
from tests.utils.processes import SERVER, start

SAVE_ALWAYS = {'default_hooks.checkpoint': dict(interval=1, max_keep_ckpts=1)}


@HOOKS.register_module()
class Sabotage(Hook):
    """Spoil an iteration of a rank: weights so large that a loss is not finite, a gradient, an image, a weight."""

    def __init__(self, what, at, rank=0, batch=0):
        self.what, self.at, self.rank, self.batch = what, at, rank, batch

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        model = getattr(runner.model, 'module', runner.model)
        if batch_idx != self.at or get_rank() != self.rank:
            return
        if self.what == 'classifier':
            with torch.no_grad():
                model.decode_head.classifier.weight.fill_(1e38)
        elif self.what == 'gradient':
            model.decode_head.conv_seg.bias.register_hook(lambda gradient: gradient * float('nan'))
        elif self.what == 'image':
            model.register_forward_pre_hook(self.spoil, with_kwargs=True)

    def spoil(self, model, args, kwargs):
        if self.batch == 0:
            kwargs['inputs'][1, 0, 3, 4] = float('nan')
        self.batch -= 1

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if self.what == 'weight' and batch_idx == self.at:
            with torch.no_grad():
                runner.model.decode_head.conv_seg.weight[2, 1] = float('nan')


@OPTIM_WRAPPERS.register_module()
class ScaledOptimWrapper(OptimWrapper):
    """Loss scaling as `AmpOptimWrapper` has it on GPUs."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.loss_scaler = torch.amp.GradScaler('cpu', init_scale=1024.0)

    def backward(self, loss, **kwargs):
        self.loss_scaler.scale(loss).backward(**kwargs)
        self._inner_count += 1

    def step(self, **kwargs):
        self.loss_scaler.step(self.optimizer)
        self.loss_scaler.update()


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp('shapes')
    make_shapes_voc(folder, num_train=6, num_val=1)
    return folder


def spoiled(images, work_dir, what, at, options=None, **details):
    """Train until it stops; return the message."""
    hooks = [dict(type='Sabotage', what=what, at=at, **details)]
    with pytest.raises(FloatingPointError) as error:
        train(images, work_dir, {**SAVE_ALWAYS, 'custom_hooks': hooks, **(options or {})})
    return str(error.value)


def saved(work_dir):
    return {file.name for file in work_dir.glob('*.pth')}


def images_of(message):
    """Return the files that the message names."""
    return [Path(file) for file in re.findall(r'\S+\.jpg', message)]


def test_a_loss_stops_before_the_update_with_iteration_images_and_term(images, tmp_path):
    message = spoiled(images, tmp_path, 'classifier', 6)
    assert 'before the update of iteration 7: loss_cls is not finite (loss_cls=' in message
    assert len(images_of(message)) == 4
    assert all(file.is_file() for file in images_of(message))
    assert saved(tmp_path) == {'iter_6.pth'}


def test_a_gradient_stops_before_the_update(images, tmp_path):
    message = spoiled(images, tmp_path, 'gradient', 2)
    assert "iteration 3: losses are finite, gradients are not: 'decode_head.conv_seg.bias'" in message
    assert saved(tmp_path) == {'iter_2.pth'}


def test_weights_are_not_saved(images, tmp_path):
    message = spoiled(images, tmp_path, 'weight', 2)
    assert "not finite after iteration 3: 'decode_head.conv_seg.weight'" in message
    assert saved(tmp_path) == {'iter_2.pth'}
    assert Path((tmp_path / 'last_checkpoint').read_text()).name == 'iter_2.pth'


def test_of_several_batches_of_an_update_the_bad_one_is_named(images, tmp_path):
    options = {'optim_wrapper.accumulative_counts': 2, 'train_dataloader.batch_size': 2}
    message = spoiled(images, tmp_path, 'image', 5, options, batch=1)
    assert len(images_of(message)) == 2


@pytest.mark.slow
@pytest.mark.parametrize('fused', [True, False])  # a fused optimiser skips the update itself
def test_infinite_gradients_are_the_scalers_business_and_infinite_losses_are_not(images, tmp_path, fused):
    scaled = {'optim_wrapper.type': 'ScaledOptimWrapper', 'optim_wrapper.optimizer.fused': fused}
    hooks = [dict(type='Sabotage', what='gradient', at=1)]
    runner = train(images, tmp_path / 'gradients', {**scaled, 'custom_hooks': hooks, 'train_cfg.max_iters': 3})
    assert runner.optim_wrapper.loss_scaler.get_scale() == 1024.0 / 4  # two updates skipped
    message = spoiled(images, tmp_path / 'losses', 'classifier', 2, scaled)
    assert 'iteration 3: loss_cls is not finite' in message


def train_as_rank(rank, port, images, work_dir):
    """Train as one of two ranks, of which rank 1 gets a bad image; write the message."""
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE='2', MASTER_ADDR='127.0.0.1', MASTER_PORT=port)
    hooks = [dict(type='Sabotage', what='image', at=2, rank=1)]
    try:
        train(images, work_dir, {**SAVE_ALWAYS, 'custom_hooks': hooks}, launcher='pytorch')
    except FloatingPointError as error:
        (work_dir / f'message_{rank}').write_text(str(error))
    shut_down()


@pytest.mark.slow
def test_all_ranks_stop_and_the_bad_one_is_named(images, tmp_path):
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = str(free.getsockname()[1])
    ranks = [
        start(train_as_rank, rank, port, images, tmp_path, output=tmp_path / f'out_{rank}', context=SERVER)
        for rank in range(2)
    ]
    for process in ranks:
        process.join(timeout=120)
    good, bad = ((tmp_path / f'message_{rank}').read_text() for rank in range(2))
    assert 'iteration 3, rank 0 of 2: a loss is not finite on rank 1 of 2, whose message names it' in good
    assert 'iteration 3, rank 1 of 2: loss_cls is not finite' in bad
    assert saved(tmp_path) == {'iter_2.pth'}
