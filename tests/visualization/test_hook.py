"""WeakSegVisualizationHook: drawn files, and a run unchanged by them."""

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from PIL import Image

from afa_mmseg.datasets.shapes_generator import make_shapes_voc
from afa_mmseg.engine import build_runner, prepare_runtime
from afa_mmseg.visualization import WeakSegVisualizationHook, samples, take_samples
from afa_mmseg.visualization.training_log import read_runs
from tests.engine.training import SMALL
from tests.tools.toolbox import REPO

CONFIG = REPO / 'configs/afa/afa_mit-tiny_shapes.py'
ITERATIONS = 4
OPTIONS = {
    **SMALL,
    'train_cfg.max_iters': ITERATIONS,
    'train_cfg.val_interval': ITERATIONS,
    'param_scheduler.0.max_iters': ITERATIONS,
    'param_scheduler.0.warmup_iters': 1,
    'train_dataloader.batch_size': 2,
    'train_dataloader.num_workers': 0,
    'train_dataloader.persistent_workers': False,
    'val_dataloader.num_workers': 0,
    'val_dataloader.persistent_workers': False,
    'default_hooks.checkpoint': None,
    'default_hooks.logger.interval': 1,
    'log_level': 'ERROR',
}


class Recorder(Hook):
    """Keeps the losses of each iteration."""

    priority = 'VERY_LOW'

    def __init__(self):
        self.losses = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.losses.append({name: value.item() for name, value in outputs.items()})


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp('data') / 'ShapesVOC'
    make_shapes_voc(str(root), num_train=4, num_val=3, size=64)
    return root


@pytest.fixture(scope='module')
def build(data, tmp_path_factory):
    """Build a Runner of a small config; return it with its work directory."""

    def build(hooks, config=CONFIG, **options):
        work_dir = tmp_path_factory.mktemp('run')
        cfg = Config.fromfile(config)
        roots = {f'{split}_dataloader.dataset.data_root': str(data) for split in ('train', 'val', 'test')}
        cfg.merge_from_dict({**OPTIONS, **roots, **options})
        cfg.train_dataloader.dataset.pipeline[-2].crop_size = (64, 64)
        cfg.custom_hooks, cfg.work_dir, cfg.experiment_name = hooks, str(work_dir), work_dir.name
        cfg.visualizer.name = work_dir.name  # one of the same name would be the first run's
        prepare_runtime(cfg, 'none')
        return build_runner(cfg), work_dir

    return build


def train(build, hooks):
    phases = {'model.train_cfg.cls_only_until': 1, 'model.train_cfg.cam_label_until': 2}
    runner, work_dir = build(hooks, **phases)
    recorder = Recorder()
    runner.register_hook(recorder)
    runner.train()
    return runner, work_dir, recorder.losses


@pytest.fixture(scope='module')
def run(build):
    """A finished run that drew at every other iteration."""
    return train(build, [dict(type='WeakSegVisualizationHook', interval=2)])


def images_of(work_dir):
    return {file.stem: np.array(Image.open(file)) for file in work_dir.glob('*/vis_data/vis_image/*.png')}


@pytest.mark.slow
def test_a_run_is_the_same_with_and_without_images(run, build):
    drawn, _, losses = run
    plain, _, expected = train(build, [])
    assert losses == expected
    assert [line['loss_seg'] > 0 for line in losses] == [False, False, True, True]
    for name, value in plain.model.state_dict().items():
        assert torch.equal(drawn.model.state_dict()[name], value), name


@pytest.mark.slow
def test_each_interval_and_each_validation_is_drawn_in_every_phase(run):
    _, work_dir, _ = run
    steps = [f'train_train_{i:06d}_{step}' for i in range(2) for step in (2, 4)]
    images = images_of(work_dir)
    assert sorted(images) == sorted([*steps, 'val_val_000000_4', 'val_val_000001_4'])
    for image in images.values():
        assert image.shape[1] <= 5 * 228
        assert image.std() > 20


@pytest.mark.slow
def test_its_log_is_read(run):
    _, work_dir, losses = run
    (log,) = read_runs([work_dir])
    assert log.losses == ['loss', 'loss_affinity', 'loss_cls', 'loss_seg']
    assert log.curves['loss'][0] == log.curves['lr'][0] == [1, 2, 3, 4]
    assert log.curves['loss'][1][0] == pytest.approx(losses[0]['loss'])  # mmengine logs moving means
    assert log.best == (4, log.curves['mIoU'][1][0])
    assert {'cam/mIoU', 'propagated_cam/mIoU', 'refined_cam/mIoU', 'cls/f1'} <= log.curves.keys()


def test_images_are_chosen_by_id_in_both_data_sets(build):
    ids = ['val_000002', 'train_000003', 'train_000000']
    runner, _ = build([])
    hook = WeakSegVisualizationHook(sample_ids=ids)
    runner._train_loop, runner._val_loop = runner.train_loop, runner.val_loop
    hook.before_run(runner)
    drawn = {split: [sample.name for sample in taken] for split, taken in hook._samples.items()}
    assert drawn == dict(train=['train_000003', 'train_000000'], val=['val_000002'])
    with pytest.raises(ValueError, match=r"sample_ids=\['cat'\] .* train_dataloader or val_dataloader"):
        WeakSegVisualizationHook(sample_ids=['cat']).before_run(runner)


def test_validation_alone_without_ground_truth_inside_a_wrapper(build):
    options = {
        'val_dataloader.dataset.pipeline': [dict(type='LoadImage'), dict(type='PackImageLevelInputs')],
        'val_dataloader.dataset.indices': 1,
        'val_evaluator': [dict(type='mmpretrain.MultiLabelMetric', thr=0.5)],
        'visualizer.vis_backends': [dict(type='LocalVisBackend')],
    }
    runner, work_dir = build([dict(type='WeakSegVisualizationHook', num_points=0)], **options)
    runner.model = torch.nn.DataParallel(runner.model)  # passes calls on, on a CPU
    runner.model.val_step = runner.model.module.val_step
    runner.val()
    ((name, image),) = images_of(work_dir).items()
    assert name == 'val_val_000000_0'
    assert image.shape[0] < 3 * 260  # no affinity


def test_crops_have_a_box_and_no_ground_truth_and_leave_random_numbers_alone(build):
    runner, _ = build([])
    dataset = runner.train_dataloader.dataset
    torch.manual_seed(5)
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    (one,), (again,), (other,) = (take_samples(dataset, [2], seed, crops=True) for seed in (0, 0, 1))
    assert np.array_equal(np.random.get_state()[1], state)  # noqa: NPY002
    assert torch.initial_seed() == 5
    assert torch.equal(one.inputs, again.inputs)
    assert not torch.equal(one.inputs, other.inputs)
    assert one.ground_truth is None
    top, bottom, left, right = one.meta['img_box']
    assert not one.inputs[:, :top].any()
    assert not one.inputs[:, :, right:].any()
    assert one.meta['ori_shape'] == (64, 64)


def test_the_mode_of_each_module_is_restored():
    model = torch.nn.Sequential(torch.nn.BatchNorm1d(2), torch.nn.Dropout()).train()
    model[0].eval()
    with samples.evaluating(model):
        assert not any(module.training for module in model.modules())
    assert [module.training for module in model.modules()] == [True, False, True]


def test_a_segmentor_without_cams_is_refused(build):
    runner, _ = build([dict(type='WeakSegVisualizationHook')], CONFIG.with_name('segformer_mit-tiny_shapes.py'))
    with pytest.raises(ValueError, match='EncoderDecoder has no CAMs'):
        runner.train()


@pytest.mark.parametrize('settings', [dict(interval=-1), dict(num_samples=0), dict(num_points=3)])
def test_invalid_settings_are_errors(settings):
    ((name, value),) = settings.items()
    with pytest.raises(ValueError, match=rf'{name}={value}\b'):
        WeakSegVisualizationHook(**settings)
