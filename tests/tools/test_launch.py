"""Starting processes and applying command line options, without starting anything."""

import argparse
import os

import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.dataset import ConcatDataset, RepeatDataset
from mmseg.registry import DATASETS
from torch import nn

from afa_mmseg.engine import (
    apply_common_options,
    build_runner,
    cpu,
    draw_predictions,
    enable_tta,
    evaluate_classifier,
    launch,
    options,
    prepare_runtime,
    refuse_inputs,
    save_predictions,
)
from afa_mmseg.engine.config_check import metrics_of
from tests.datasets.files import write_image, write_mask

SLURM = dict(SLURM_PROCID='3', SLURM_NTASKS='4', SLURM_LOCALID='1', SLURM_NODELIST='node[1-2]')
MPI = dict(OMPI_COMM_WORLD_RANK='1', OMPI_COMM_WORLD_SIZE='2', OMPI_COMM_WORLD_LOCAL_RANK='1')


@pytest.fixture
def clean_environment(monkeypatch):
    """No launcher's variables, and none left behind either."""
    for name in (*os.environ, 'RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR', 'MASTER_PORT'):
        if name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK') or name.startswith(('SLURM_', 'OMPI_', 'MASTER_')):
            monkeypatch.setenv(name, '')
            monkeypatch.delenv(name)
    return monkeypatch


def set_variables(monkeypatch, variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def arguments(**given):
    defaults = dict(config='configs/toy.py', cfg_options=None, work_dir=None, launcher='none')
    return argparse.Namespace(**{**defaults, **given})


def pretend_device(monkeypatch, device):
    for module in (launch, options):
        monkeypatch.setattr(module, 'get_device', lambda: device)


# Processes


@pytest.mark.parametrize(('launcher', 'device'), [('none', 'cpu'), ('pytorch', 'cuda')])
def test_one_process_and_gpus_keep_the_defaults(clean_environment, launcher, device):
    pretend_device(clean_environment, device)
    set_variables(clean_environment, dict(RANK='0', WORLD_SIZE='1', LOCAL_RANK='0'))
    cfg = Config(dict(model=dict(norm_cfg=dict(type='SyncBN'))))
    prepare_runtime(cfg, launcher)
    assert cfg.to_dict() == dict(model=dict(norm_cfg=dict(type='SyncBN')), launcher=launcher)
    assert not torch.distributed.is_initialized()


def test_user_settings_of_the_model_wrapper_survive(clean_environment):
    pretend_device(clean_environment, 'cpu')
    set_variables(clean_environment, dict(RANK='0', WORLD_SIZE='1', LOCAL_RANK='0'))
    started = []
    clean_environment.setattr(
        launch.torch_dist, 'init_process_group', lambda backend, timeout: started.append((backend, timeout.seconds))
    )
    dist_cfg = dict(backend='nccl', timeout=90)
    cfg = Config(
        dict(model={}, model_wrapper_cfg=dict(broadcast_buffers=True), find_unused_parameters=True)
        | dict(env_cfg=dict(dist_cfg=dist_cfg))
    )
    prepare_runtime(cfg, 'pytorch')
    assert started == [('gloo', 90)]
    assert cfg.model_wrapper_cfg == dict(
        type='CPUDistributedDataParallel', broadcast_buffers=True, find_unused_parameters=True
    )


@pytest.mark.parametrize(
    ('launcher', 'variables', 'expected'),
    [
        ('pytorch', dict(RANK='1', WORLD_SIZE='2', LOCAL_RANK='0'), ['1', '2', '0', '127.0.0.1', '29500']),
        ('slurm', {**SLURM, 'MASTER_ADDR': 'node1', 'MASTER_PORT': '4'}, ['3', '4', '1', 'node1', '4']),
        ('mpi', MPI, ['1', '2', '1', '127.0.0.1', '29500']),
        ('mpi', {**MPI, 'MASTER_ADDR': 'first'}, ['1', '2', '1', 'first', '29500']),
    ],
)
def test_variables_of_each_launcher(clean_environment, launcher, variables, expected):
    set_variables(clean_environment, variables)
    found = launch.rank_variables(launcher)
    assert [found[name] for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR', 'MASTER_PORT')] == expected


@pytest.mark.parametrize(
    ('launcher', 'variables', 'message'),
    [
        ('horovod', {}, 'launcher must be one of none, pytorch, slurm, mpi'),
        ('pytorch', dict(RANK='0'), 'finds no WORLD_SIZE, LOCAL_RANK in the environment.*tools/dist_'),
        ('slurm', dict(SLURM_NTASKS='2'), 'finds no SLURM_PROCID, SLURM_LOCALID.*tools/slurm_'),
        ('slurm', {**SLURM, 'PATH': ''}, 'set MASTER_ADDR'),
    ],
)
def test_launchers_that_cannot_work_are_errors(clean_environment, launcher, variables, message):
    set_variables(clean_environment, variables)
    with pytest.raises(ValueError, match=message):
        prepare_runtime(Config(dict(model={})), launcher)


def test_runner_type_of_the_config_is_built(monkeypatch):
    from mmseg.registry import RUNNERS

    monkeypatch.setattr(RUNNERS, 'build', lambda cfg: f'a {cfg.runner_type}')
    assert build_runner(Config(dict(runner_type='Sprinter'))) == 'a Sprinter'


def test_sync_bn_becomes_bn_under_the_wrapper_of_cpus_and_the_optimiser_keeps_its_parameters(monkeypatch):
    started = []
    monkeypatch.setattr(cpu.MMDistributedDataParallel, '__init__', lambda self, module, **_: started.append(module))
    net = nn.Sequential(nn.SyncBatchNorm(3))
    before = [*net.parameters()]
    cpu.CPUDistributedDataParallel(net, device_ids=[0])
    (wrapped,) = started
    assert not isinstance(wrapped[0], nn.SyncBatchNorm)
    assert all(one is other for one, other in zip(wrapped.parameters(), before))


# Options


def test_load_from_may_be_a_url():
    apply_common_options(Config(dict(load_from='https://example.org/mit_b1.pth')), arguments())


@pytest.mark.parametrize(
    ('in_config', 'given', 'expected'),
    [(None, None, 'work_dirs/toy'), ('a', None, 'a'), ('a', 'b', 'b'), (None, 'b', 'b')],
)
def test_work_dir(in_config, given, expected):
    cfg = Config({} if in_config is None else dict(work_dir=in_config))
    apply_common_options(cfg, arguments(work_dir=given))
    assert cfg.work_dir == expected


@pytest.mark.parametrize('missing', [['tta_model'], ['tta_pipeline'], ['tta_model', 'tta_pipeline']])
def test_tta_names_the_missing_field(missing):
    fields = dict(tta_model=dict(type='SegTTAModel'), tta_pipeline=[])
    cfg = Config({field: value for field, value in fields.items() if field not in missing})
    with pytest.raises(ValueError, match='--tta needs ' + ' and '.join(missing)):
        enable_tta(cfg)


def test_tta_reaches_wrapped_data_sets():
    inner = [dict(type='A', pipeline=['old']), dict(type='B', dataset=dict(type='C', pipeline=['old']))]
    cfg = Config(
        dict(
            model=dict(type='M'),
            tta_model=dict(type='T'),
            tta_pipeline=['new'],
            test_dataloader=dict(dataset=dict(type='ConcatDataset', datasets=inner)),
        )
    )
    enable_tta(cfg)
    first, second = cfg.test_dataloader.dataset.datasets
    assert (first.pipeline, second.dataset.pipeline) == (['new'], ['new'])
    assert cfg.model == dict(type='T', module=dict(type='M'))


@pytest.mark.parametrize(
    'wrap', [lambda iou: iou, lambda iou: [dict(type='F1'), iou], lambda iou: dict(type='Evaluator', metrics=[iou])]
)
def test_out_reaches_the_segmentation_metric(wrap, tmp_path):
    cfg = Config(dict(test_evaluator=wrap(dict(type='mmseg.IoUMetric'))))
    folder = tmp_path / 'new' / 'images'
    save_predictions(cfg, str(folder))
    assert [metric.get('output_dir') for metric in metrics_of(cfg.test_evaluator)][-1] == str(folder)
    assert folder.is_dir()  # before any process writes


def test_out_without_a_metric_that_writes():
    with pytest.raises(ValueError, match='--out needs an IoUMetric in test_evaluator'):
        save_predictions(Config(dict(test_evaluator=[dict(type='CAMIoUMetric')])), 'images')


def test_without_masks_the_classifier_alone_is_evaluated():
    cfg = Config(dict(model=dict(type='AFA'), test_evaluator=[dict(type='IoUMetric', format_only=True)]))
    assert evaluate_classifier(cfg)
    assert cfg.test_evaluator == dict(type='ImageF1Metric', prefix='cls')
    assert cfg.model.test_cfg == dict(mode='whole', with_cam=True)
    for metric in (dict(type='IoUMetric'), dict(type='IoUMetric', format_only=True, output_dir='out')):
        cfg = Config(dict(model=dict(type='AFA'), test_evaluator=metric))
        assert not evaluate_classifier(cfg)
        assert cfg.test_evaluator == metric
    cfg = Config(dict(model=dict(type='T', module={}), test_evaluator=dict(type='IoUMetric', format_only=True)))
    with pytest.raises(ValueError, match='--tta .* --out'):
        evaluate_classifier(cfg)
    plain = dict(model=dict(type='mmseg.EncoderDecoder'), test_evaluator=dict(type='IoUMetric', format_only=True))
    with pytest.raises(ValueError, match='EncoderDecoder has no classifier.* --out'):
        evaluate_classifier(Config(plain))


@pytest.mark.parametrize('given', [{}, dict(default_hooks=dict(logger=dict(type='L')), visualizer=dict(type='V'))])
def test_show_dir_needs_nothing_in_the_config(given):
    cfg = Config(given)
    draw_predictions(cfg, 'images')
    assert cfg.default_hooks.visualization == dict(
        type='SegVisualizationHook', draw=True, show=False, wait_time=2.0, interval=1
    )
    assert (cfg.visualizer.type, cfg.visualizer.save_dir) == ('OverlayVisualizer', 'images')
    assert cfg.visualizer.vis_backends == [ConfigDict(type='LocalVisBackend')]


@pytest.mark.parametrize('folder', ['SegmentationClassAug', 'JPEGImages'])
def test_predictions_do_not_replace_what_a_data_set_reads(tmp_path, folder):
    write_image(tmp_path / 'JPEGImages/a.jpg')
    write_mask(tmp_path / 'SegmentationClassAug/a.png', 1)
    (tmp_path / 'labels.csv').write_text('id,label\na,cat\n')
    settings = dict(type='VOCImageLevelDataset', data_root=str(tmp_path), label_file='labels.csv', ann_file='')
    dataset = DATASETS.build(settings)
    for wrapped in (dataset, RepeatDataset(dataset, 2, lazy_init=True), ConcatDataset([dataset], lazy_init=True)):
        with pytest.raises(ValueError, match=f'{folder} is the input'):
            refuse_inputs(wrapped, str(tmp_path / folder))
    refuse_inputs(dataset, str(tmp_path / 'out'))
