"""Twelve iterations of training, driven by mmengine's Runner, against those of the reference."""

import numpy as np
import pytest
import torch
from mmseg.models import SegDataPreProcessor
from mmseg.registry import MODELS
from torch.testing import assert_close
from torch.utils.data import Dataset

from afa_mmseg.models import AFA
from tests.models.trajectory import ITERATIONS, Recorder, build_runner
from tests.reference_network import make_sample, map_reference_keys, tiny_config
from tests.tools.toolbox import REPO

DATA = REPO / 'tests/data/tiny'


class GoldenBatches(Dataset):
    """The golden batches, image by image; inputs are normalised already."""

    def __init__(self, data):
        self.data = data

    def __len__(self):
        return 2 * ITERATIONS

    def __getitem__(self, index):
        place = divmod(index, 2)
        sample = make_sample([], img_box=tuple(self.data['B'][place].tolist()))
        sample.gt_label = self.data['Y'][place]
        return dict(inputs=self.data['X'][place], data_samples=sample)


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


def start():
    return map_reference_keys(torch.load(DATA / 'wetr_tiny.pth', weights_only=True))


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    with np.load(DATA / 'trajectory.npz') as file:
        data = {key: torch.from_numpy(np.array(value)) for key, value in file.items()}
    for module in (NormalizedInputs, RecordingSegmentor):
        MODELS.register_module(module=module, force=True)
    model = tiny_config()
    model['type'] = 'RecordingSegmentor'
    model['data_preprocessor']['type'] = 'NormalizedInputs'
    recorder, work_dir = Recorder(), tmp_path_factory.mktemp('trajectory')
    runner = build_runner(model, start(), GoldenBatches(data), 'schedule_20k', recorder, work_dir)
    runner.train()
    return runner, recorder, data


def test_classification_loss(run):
    _, recorder, data = run
    assert_close(recorder.losses('loss_cls'), data['cls_loss'], rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ('name', 'key', 'tolerance'), [('loss_affinity', 'aff_loss', 1e-4), ('loss_seg', 'seg_loss', 1e-3)]
)
def test_other_losses_are_zero_first_and_the_references_later(run, name, key, tolerance):
    _, recorder, data = run
    loss = recorder.losses(name)
    assert loss[:3].abs().max() == 0
    assert_close(loss[3:] / 0.1, data[key][3:], rtol=0, atol=tolerance)


def test_learning_rates_of_all_four_groups(run):
    _, recorder, data = run
    groups = {name: parameter_group(name) for name in recorder.rates[0]}
    # Queries and keys-values are one tensor: 116 in the first group in the reference.
    assert [[*groups.values()].count(i) for i in range(4)] == [100, 60, 3, 13]
    for step, rates in enumerate(recorder.rates):
        ours = torch.tensor([*rates.values()], dtype=torch.float64)
        assert_close(ours, data['lr'][step][[*groups.values()]], rtol=0, atol=1e-9)


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
    before, after = start(), runner.model.state_dict()
    for name, _ in runner.model.named_parameters():
        moved = not torch.equal(after[name], before[name])
        assert moved == (parameter_group(name) != 1), name
