"""Twelve iterations of ToCo, driven by mmengine's Runner, against those of the reference: VOC's phases and COCO's."""

import numpy as np
import pytest
import torch
from mmseg.models import SegDataPreProcessor
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch.testing import assert_close
from torch.utils.data import Dataset

from afa_mmseg.models import ToCo
from afa_mmseg.models.checkpoints.vit import to_toco
from tests.models.trajectory import ITERATIONS, Recorder, build_runner
from tests.toco_network import BACKBONE, DATA, HEAD, MEAN, STD, normalize, tiny_state

#: Last indices of the phases, scores and temperature.
RUNS = dict(
    voc=(dict(no_seg_until=3), (0.25, 0.7), 0.5),
    coco=(dict(no_seg_until=3, aux_label_until=6, no_contrast_until=6), (0.25, 0.65), 1.0),
)


class GoldenViews(Dataset):
    """The golden batches, image by image, as raw pixel values."""

    def __init__(self, data):
        self.data = data

    def __len__(self):
        return 2 * ITERATIONS

    def __getitem__(self, index):
        place = divmod(index, 2)
        pool = self.data['pool_u8']
        sample = SegDataSample(metainfo=dict(img_box=tuple(self.data['B'][place].tolist())))
        view3 = pool[self.data['local_index'][place].long()]
        sample.set_data(
            dict(
                gt_label=self.data['Y'][place].float(),
                view2=pool[self.data['view2_index'][place].long()].flip(-1),
                view3=view3.flip(-1) if self.data['local_mirrored'][place] else view3,
            )
        )
        return dict(inputs=pool[self.data['input_index'][place].long()], data_samples=sample)


class ReferenceNormalization(SegDataPreProcessor):
    """Normalises in the reference's order of operations."""

    def forward(self, data, training=False):
        return dict(inputs=normalize(torch.stack(data['inputs'])), data_samples=data.get('data_samples'))


class RecordingToCo(ToCo):
    """Keeps labels and regions of each iteration, and takes the recorded crops."""

    def draw_corners(self, regions):
        self.seen.setdefault('regions', []).append(regions)
        return self.corners[len(self.seen['regions']) - 1].long()

    def patch_label(self, *args):
        self.seen.setdefault('patches', []).append(super().patch_label(*args))
        return self.seen['patches'][-1]

    def apply_rule(self, *args):
        (label,) = super().apply_rule(*args)
        self.seen.setdefault('labels', []).append(label)
        return (label,)


class GradientRecorder(Recorder):
    """Keeps the norm of each parameter's gradient, too."""

    def __init__(self):
        super().__init__()
        self.gradients = []

    def before_train(self, runner):
        def keep(name):
            return lambda parameter: self.gradients[-1].update({name: parameter.grad.norm().item()})

        for name, parameter in runner.model.named_parameters():
            if parameter.requires_grad:
                parameter.register_post_accumulate_grad_hook(keep(name))

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        super().before_train_iter(runner, batch_idx, data_batch)
        self.gradients.append({})


def load(name):
    with np.load(DATA / f'{name}.npz') as file:
        return {key: np.array(value) for key, value in file.items()}


@pytest.fixture(scope='module', params=RUNS)
def run(request, tmp_path_factory):
    for module in (ReferenceNormalization, RecordingToCo):
        MODELS.register_module(module=module, force=True)
    phases, scores, temperature = RUNS[request.param]
    model = dict(
        type='RecordingToCo',
        data_preprocessor=dict(type='ReferenceNormalization', mean=MEAN, std=STD),
        backbone=BACKBONE,
        decode_head=dict(HEAD, loss_ctc=dict(type='ClassTokenContrastLoss', temperature=temperature)),
        pseudo_labeler=dict(type='CamPseudoLabeler', bkg_scores=scores),
        refiner=dict(type='PAR', num_iters=10),
        train_cfg=dict(**phases, local_size=32),
    )
    views = GoldenViews({key: torch.from_numpy(value) for key, value in load('trajectory_inputs').items()})
    recorder, work_dir = GradientRecorder(), tmp_path_factory.mktemp('toco_trajectory')
    runner = build_runner(model, tiny_state(), views, 'toco_20k', recorder, work_dir)
    golden = load(f'trajectory_{request.param}')
    first = phases.get('no_contrast_until', -1) + 1
    runner.model.seen, runner.model.corners = {}, torch.from_numpy(golden['crop_boxes'][first:])
    runner.train()
    return runner, recorder, golden, first


@pytest.mark.parametrize(
    ('name', 'key', 'weight', 'tolerance'),
    [
        ('loss_cls', 'cls_loss', 1.0, 2e-5),
        ('loss_aux', 'cls_loss_aux', 1.0, 2e-5),
        ('loss_ptc', 'ptc_loss', 0.2, 2e-5),
        ('loss_ctc', 'ctc_loss', 0.5, 2e-4),
        ('loss_seg', 'seg_loss', 0.1, 1e-3),
    ],
)
def test_losses(run, name, key, weight, tolerance):
    _, recorder, golden, contrast_from = run
    first = {'loss_ptc': contrast_from, 'loss_ctc': contrast_from, 'loss_seg': 4}.get(name, 0)
    losses = recorder.losses(name)
    assert losses[:first].abs().sum() == 0
    assert_close(losses[first:] / weight, torch.from_numpy(golden[key][first:]), rtol=0, atol=tolerance)


def test_labels_and_regions(run):
    runner, _, golden, first = run
    seen = {name: torch.stack(maps).numpy() for name, maps in runner.model.seen.items()}
    for name, key, start in (
        ('labels', 'refined_pseudo_label', 4),
        ('patches', 'pseudo_label_aux', first),
        ('regions', 'roi_mask', first),
    ):
        differing = (_names_aside(seen[name], name) != _names_aside(golden[key][start:], name)).sum(axis=(1, 2, 3))
        assert len(differing) == ITERATIONS - start
        assert differing.max() <= 10, name


def _names_aside(maps, name):
    """Background, ignored and any class: patch labels have the names of packed classes."""
    return np.where((maps > 0) & (maps < 255), 1, maps) if name == 'patches' else maps


def test_learning_rates_and_decay_of_all_groups(run):
    runner, recorder, golden, _ = run
    assert {group['weight_decay'] for group in runner.optim_wrapper.optimizer.param_groups} == {0.01}
    for step, rates in enumerate(recorder.rates):
        for name, rate in rates.items():
            group = 3 if '.conv' in name else 2 if name.startswith('decode_head') else int('.ln' in name)
            assert abs(rate - golden['lr'][step, group]) < 1e-9, name


def test_gradients(run):
    """Norms of all gradients in the first two phases, and which parameters have none."""
    runner, recorder, golden, _ = run
    names = to_toco_names(runner.model)
    expected = dict(zip(golden['param_names'].tolist(), golden['grad_l2'].T))
    none = {name for name, is_none in zip(golden['param_names'].tolist(), golden['grad_none']) if is_none}
    assert set(names.values()) == set(expected) - none
    for step, gradients in enumerate(recorder.gradients):
        assert gradients.keys() == names.keys()
        for own, name in names.items():
            assert gradients[own] == pytest.approx(expected[name][step], rel=2e-2, abs=2e-4), (step, name)


def to_toco_names(model):
    """The reference's name of each trained parameter."""
    state = {key: torch.full((1, 1), i) for i, key in enumerate(model.state_dict())}
    theirs = {int(value): key for key, value in to_toco(state).items() if not key.endswith('weight_g')}
    order = {key: i for i, key in enumerate(model.state_dict())}
    return {name: theirs[order[name]] for name, p in model.named_parameters() if p.requires_grad}


def test_final_weights(run):
    runner, _, golden, _ = run
    state = to_toco(runner.model.state_dict())
    for key in (key for key in golden if key.startswith('final/')):
        assert_close(state[key.removeprefix('final/')], torch.from_numpy(golden[key]), rtol=0, atol=2e-4)
