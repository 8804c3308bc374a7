"""NaN protection: training stops before the update, all ranks together, with a dump that replays the step."""

import os
import re
import runpy
import socket
import time
from pathlib import Path

import pytest
import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.registry import HOOKS, OPTIM_WRAPPERS

from afa_mmseg.datasets.shapes_generator import make_shapes_voc
from afa_mmseg.engine import finite, read_dump, shut_down
from tests.engine.training import train
from tests.tools.toolbox import REPO
from tests.utils.processes import SERVER, start

SAVE_ALWAYS = {'default_hooks.checkpoint': dict(interval=1, max_keep_ckpts=1)}
SCRIPT = str(REPO / 'tools/analysis_tools/replay_nonfinite.py')


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


def dump_of(message):
    """Return config and dump that the message names."""
    return re.search(r'replay_nonfinite\.py (\S+) (\S+)', message).groups()


def replayed(message, monkeypatch, capsys):
    """Run the command of the message in this process; return its lines."""
    monkeypatch.setattr('sys.argv', [SCRIPT, *dump_of(message), '--device', 'cpu'])
    capsys.readouterr()
    runpy.run_path(SCRIPT)['main']()
    return capsys.readouterr().out.splitlines()


def test_a_loss_stops_before_the_update_with_iteration_images_and_term(images, tmp_path, monkeypatch, capsys):
    # Random numbers take part, so that what is replayed has to have the same.
    random = {'model.backbone.drop_path_rate': 0.5, 'model.decode_head.dropout_ratio': 0.5}
    message = spoiled(images, tmp_path, 'classifier', 6, random)
    assert 'before the update of iteration 7: loss_cls is not finite (loss_cls=' in message
    dump = read_dump(dump_of(message)[1])
    (one,) = dump['passes']
    images = [sample['meta']['img_path'] for sample in one['samples']]
    assert len(images) == 4
    assert all(Path(image).is_file() and image in message for image in images)
    assert (dump['state_dict']['decode_head.classifier.weight'] == torch.tensor(1e38)).all()  # no update after it
    assert saved(tmp_path) == {'iter_6.pth', 'not_finite_iter_7_rank_0.pth'}

    lines = replayed(message, monkeypatch, capsys)
    assert lines[1].startswith('infinity from finite inputs: decode_head.classifier ')
    assert not [line for line in lines if 'in training' in line]  # all losses as they were
    assert f'loss_seg = {one["losses"]["loss_seg"]:.6g}' in lines


def test_a_gradient_stops_before_the_update(images, tmp_path, monkeypatch, capsys):
    message = spoiled(images, tmp_path, 'gradient', 2)
    assert "iteration 3: losses are finite, gradients are not: 'decode_head.conv_seg.bias'" in message
    assert saved(tmp_path) == {'iter_2.pth', 'not_finite_iter_3_rank_0.pth'}
    assert 'all gradients are finite' in replayed(message, monkeypatch, capsys)[-1]  # it was not the network


def test_weights_are_not_saved(images, tmp_path):
    message = spoiled(images, tmp_path, 'weight', 2)
    assert "not finite after iteration 3: 'decode_head.conv_seg.weight'" in message
    assert saved(tmp_path) == {'iter_2.pth'}
    assert Path((tmp_path / 'last_checkpoint').read_text()).name == 'iter_2.pth'


def test_of_several_batches_of_an_update_the_bad_one_is_named(images, tmp_path, monkeypatch, capsys):
    options = {'optim_wrapper.accumulative_counts': 2, 'train_dataloader.batch_size': 2}
    message = spoiled(images, tmp_path, 'image', 5, options, batch=1)
    assert len(read_dump(dump_of(message)[1])['passes']) == 1
    (spoiled_image,) = re.findall(r'in the image (\S+), before', '\n'.join(replayed(message, monkeypatch, capsys)))
    assert spoiled_image in message
    assert len(re.findall(r'\.jpg', message)) == 2


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
    """Train as one of two ranks; rank 1 gets a bad image and is slow to write the dump.

    Writes the message, and the names of the dumps that were there when it ended: a launcher would end the other.
    """
    write = finite.write_dump
    finite.write_dump = lambda *args, **kwargs: (time.sleep(1), write(*args, **kwargs))
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE='2', MASTER_ADDR='127.0.0.1', MASTER_PORT=port)
    hooks = [dict(type='Sabotage', what='image', at=2, rank=1)]
    try:
        train(images, work_dir, {**SAVE_ALWAYS, 'custom_hooks': hooks}, launcher='pytorch')
    except FloatingPointError as error:
        (work_dir / f'message_{rank}').write_text(str(error))
        (work_dir / f'dumps_{rank}').write_text(' '.join(path.name for path in work_dir.glob('not_finite*')))
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
    assert saved(tmp_path) == {'iter_2.pth', 'not_finite_iter_3_rank_1.pth'}
    assert [(tmp_path / f'dumps_{rank}').read_text() for rank in range(2)] == ['not_finite_iter_3_rank_1.pth'] * 2
    assert dump_of(bad)[1].endswith('rank_1.pth')


def test_another_file_is_no_dump(tmp_path):
    torch.save(dict(state_dict={}), tmp_path / 'iter_3.pth')
    with pytest.raises(ValueError, match=r'iter_3\.pth is no dump of a training step: those are called not_finite'):
        read_dump(tmp_path / 'iter_3.pth')
