"""Twelve iterations of training, driven by mmengine's Runner, against those of the reference."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.models import SegDataPreProcessor
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch.testing import assert_close
from torch.utils.data import Dataset

from afa_mmseg.models import AFA
from tests.reference_network import map_reference_keys, tiny_config

DATA = Path(__file__).parents[1] / 'data/tiny'
SCHEDULE = Path(__file__).parents[2] / 'configs/_base_/schedules/schedule_20k.py'
ITERATIONS = 12


class GoldenBatches(Dataset):
    """The golden batches, image by image; inputs are normalised already."""

    def __init__(self, data):
        self.data = data

    def __len__(self):
        return 2 * ITERATIONS

    def __getitem__(self, index):
        step, i = divmod(index, 2)
        sample = SegDataSample(metainfo=dict(img_box=tuple(self.data['B'][step, i].tolist())))
        sample.gt_label = self.data['Y'][step, i]
        return dict(inputs=self.data['X'][step, i], data_samples=sample)


class NormalizedInputs(SegDataPreProcessor):
    """Leaves the golden inputs as they are."""

    def forward(self, data, training=False):
        data = self.cast_data(data)
        return dict(inputs=torch.stack(data['inputs']), data_samples=data['data_samples'])


class RecordingSegmentor(AFA):
    """Keeps the label maps of each iteration."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.labels = {}

    def pseudo_labels(self, inputs, gt_label, boxes, iteration, base=None):
        self.labels[iteration] = super().pseudo_labels(inputs, gt_label, boxes, iteration, base)
        return self.labels[iteration]


class Recorder(Hook):
    """Keeps the losses of each iteration and the learning rate of each parameter used in it."""

    def __init__(self):
        self.logs, self.rates = [], []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.rates.append([group['lr'] for group in runner.optim_wrapper.optimizer.param_groups])

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.logs.append({name: value.item() for name, value in outputs.items()})


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    with np.load(DATA / 'trajectory.npz') as file:
        data = {key: torch.from_numpy(np.array(value)) for key, value in file.items()}
    for module in (NormalizedInputs, RecordingSegmentor):
        MODELS.register_module(module=module, force=True)
    model = tiny_config()
    model['type'] = 'RecordingSegmentor'
    model['data_preprocessor']['type'] = 'NormalizedInputs'
    schedule = Config.fromfile(SCHEDULE)
    schedule.merge_from_dict({'param_scheduler.0.max_iters': ITERATIONS, 'param_scheduler.0.warmup_iters': 3})
    state = map_reference_keys(torch.load(DATA / 'wetr_tiny.pth', weights_only=True))
    work_dir = tmp_path_factory.mktemp('trajectory')
    torch.save(dict(state_dict=state), work_dir / 'start.pth')
    recorder = Recorder()
    runner = Runner(
        model=model,
        work_dir=str(work_dir),
        load_from=str(work_dir / 'start.pth'),
        train_dataloader=dict(
            dataset=GoldenBatches(data),
            sampler=dict(type='DefaultSampler', shuffle=False),
            batch_size=2,
            num_workers=0,
        ),
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=ITERATIONS),
        optim_wrapper=schedule.optim_wrapper,
        param_scheduler=schedule.param_scheduler,
        custom_hooks=[recorder],
        default_hooks=dict(checkpoint=None, logger=None),
        default_scope='mmseg',
        log_level='WARNING',
        experiment_name='trajectory',
    )
    runner.train()
    return runner, recorder, data


def losses(recorder, name):
    return torch.tensor([log[name] for log in recorder.logs], dtype=torch.float64)


def test_classification_loss(run):
    _, recorder, data = run
    assert_close(losses(recorder, 'loss_cls'), data['cls_loss'], rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ('name', 'key', 'tolerance'), [('loss_affinity', 'aff_loss', 1e-4), ('loss_seg', 'seg_loss', 1e-3)]
)
def test_other_losses_are_zero_first_and_the_references_later(run, name, key, tolerance):
    _, recorder, data = run
    loss = losses(recorder, name)
    assert loss[:3].abs().max() == 0
    assert_close(loss[3:] / 0.1, data[key][3:], rtol=0, atol=tolerance)


def test_learning_rates_of_all_four_groups(run):
    runner, recorder, data = run
    names = [name for name, _ in runner.model.named_parameters()]
    groups = [parameter_group(name) for name in names]
    assert [groups.count(i) for i in range(4)] == [
        100,
        60,
        3,
        13,
    ]  # queries and keys-values being one tensor: 116 in the reference
    for step in range(ITERATIONS):
        rates = torch.tensor(recorder.rates[step], dtype=torch.float64)
        assert_close(rates, data['lr'][step][groups], rtol=0, atol=1e-9)


def parameter_group(name):
    """Index of the reference's parameter group: backbone, its norms, classifier and affinity, segmentation."""
    if name.startswith('backbone'):
        return int('norm' in name or name.split('.')[3] == '2')
    return 2 if name.startswith(('decode_head.classifier', 'decode_head.affinity_proj')) else 3


def test_label_maps(run):
    runner, _, data = run
    assert sorted(runner.model.labels) == list(range(3, ITERATIONS))
    for step, (seg_label, affinity_label) in runner.model.labels.items():
        key = 'refined_aff_label_hl' if step > 6 else 'refined_pseudo_label'
        assert (seg_label != data[key][step]).sum() <= 10
        assert (affinity_label != data['refined_pseudo_label'][step]).sum() <= 10


def test_pair_counts(run):
    _, recorder, data = run
    for log, positive, negative in list(zip(recorder.logs, data['pos_count'], data['neg_count']))[3:]:
        # The reference's counts start at 1.
        assert abs(log['positive_pairs'] + 1 - positive) <= 2
        assert abs(log['negative_pairs'] + 1 - negative) <= 2


def test_norms_stay_as_they_were(run):
    runner, _, _ = run
    before = map_reference_keys(torch.load(DATA / 'wetr_tiny.pth', weights_only=True))
    after = runner.model.state_dict()
    for name, _ in runner.model.named_parameters():
        moved = not torch.equal(after[name], before[name])
        assert moved == (parameter_group(name) != 1), name
