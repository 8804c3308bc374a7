"""Starting processes and applying command line options, without starting anything."""

import argparse
import os
import signal

import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import HOOKS, OPTIM_WRAPPERS
from torch import nn

from afa_mmseg.engine import (
    InterruptHook,
    apply_common_options,
    build_runner,
    draw_predictions,
    enable_tta,
    find_checkpoint,
    interrupt,
    launch,
    load_config,
    options,
    prepare_runtime,
    save_predictions,
)
from afa_mmseg.engine.cpu import revert_sync_bn

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


def test_sync_bn_becomes_bn_wherever_it_stands():
    norm = dict(type='SyncBN', momentum=0.01)
    model = dict(norm_cfg=norm, heads=[dict(norm_cfg=dict(type='mmcv.MMSyncBN')), dict(norm_cfg=dict(type='LN'))])
    cfg = Config(dict(model=dict(model, extra=(dict(type=nn.SyncBatchNorm),)), sync_bn='torch'))
    assert revert_sync_bn(cfg)
    assert cfg.model.norm_cfg == dict(type='BN', momentum=0.01)
    assert [head.norm_cfg.type for head in cfg.model.heads] == ['BN', 'LN']
    assert cfg.model.extra[0].type == 'BN'
    assert 'sync_bn' not in cfg
    assert not revert_sync_bn(cfg)


def test_one_process_needs_no_process_group(clean_environment):
    pretend_device(clean_environment, 'cpu')
    cfg = Config(dict(model=dict(norm_cfg=dict(type='SyncBN'))))
    prepare_runtime(cfg, 'none')
    assert cfg.to_dict() == dict(model=dict(norm_cfg=dict(type='BN')), launcher='none')
    assert not torch.distributed.is_initialized()


def test_gpus_keep_the_defaults(clean_environment):
    pretend_device(clean_environment, 'cuda')
    set_variables(clean_environment, dict(RANK='0', WORLD_SIZE='1', LOCAL_RANK='0'))
    cfg = Config(dict(model=dict(norm_cfg=dict(type='SyncBN'))))
    prepare_runtime(cfg, 'pytorch')
    assert cfg.to_dict() == dict(model=dict(norm_cfg=dict(type='SyncBN')), launcher='pytorch')
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
        type='MMDistributedDataParallel', broadcast_buffers=True, find_unused_parameters=True, device_ids=None
    )
    assert 'custom_hooks' not in cfg  # no SyncBN, so nothing to average


@pytest.mark.parametrize(
    ('launcher', 'variables', 'expected'),
    [
        ('pytorch', dict(RANK='1', WORLD_SIZE='2', LOCAL_RANK='0'), ['1', '2', '0', '127.0.0.1', '29500']),
        ('slurm', {**SLURM, 'MASTER_ADDR': 'node1', 'MASTER_PORT': '4'}, ['3', '4', '1', 'node1', '4']),
        ('mpi', {**MPI, 'OMPI_COMM_WORLD_LOCAL_SIZE': '2'}, ['1', '2', '1', '127.0.0.1', '29500']),
        ('mpi', {**MPI, 'MASTER_ADDR': 'first'}, ['1', '2', '1', 'first', '29500']),
    ],
)
def test_variables_of_each_launcher(clean_environment, launcher, variables, expected):
    set_variables(clean_environment, variables)
    found = launch._rank_variables(launcher)
    assert [found[name] for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR', 'MASTER_PORT')] == expected


@pytest.mark.parametrize(
    ('launcher', 'variables', 'message'),
    [
        ('horovod', {}, 'launcher must be one of none, pytorch, slurm, mpi'),
        ('pytorch', dict(RANK='0'), 'finds no WORLD_SIZE, LOCAL_RANK in the environment.*tools/dist_'),
        ('slurm', dict(SLURM_NTASKS='2'), 'finds no SLURM_PROCID, SLURM_LOCALID.*tools/slurm_'),
        ('slurm', {**SLURM, 'PATH': ''}, 'set MASTER_ADDR'),
        ('mpi', MPI, 'several machines: set MASTER_ADDR'),
    ],
)
def test_launchers_that_cannot_work_say_why(clean_environment, launcher, variables, message):
    set_variables(clean_environment, variables)
    with pytest.raises(ValueError, match=message):
        prepare_runtime(Config(dict(model={})), launcher)


def test_more_processes_than_gpus():
    launch._check_gpu_count(local_rank=1, count=2)
    with pytest.raises(ValueError, match='process 3 of this machine finds only 2 GPU'):
        launch._check_gpu_count(local_rank=2, count=2)


def test_runner_type_of_the_config_is_built(monkeypatch):
    from mmseg.registry import RUNNERS

    monkeypatch.setattr(RUNNERS, 'build', lambda cfg: f'a {cfg.runner_type}')
    assert build_runner(Config(dict(runner_type='Sprinter'))) == 'a Sprinter'


# Interruption


@pytest.fixture(params=interrupt.SIGNALS)
def number(request):
    """A signal, which these tests may have been told to ignore: `nohup`."""
    before = signal.signal(request.param, signal.SIG_DFL)
    yield request.param
    signal.signal(request.param, before)


def test_a_signal_waits_for_the_next_iteration(number):
    hook = HOOKS.build(dict(type='InterruptHook'))
    before = signal.getsignal(number)
    hook.before_train(runner=None)
    try:
        hook.before_train_iter(None, batch_idx=0)
        signal.raise_signal(number)
        signal.raise_signal(number)  # from the terminal and from torchrun
        with pytest.raises(interrupt.Interrupted) as raised:
            hook.before_train_iter(None, batch_idx=1)
        assert raised.value.number == number
    finally:
        hook.after_train(runner=None)
    assert signal.getsignal(number) is before


def test_a_second_ctrl_c_stops_at_once(monkeypatch):
    monkeypatch.setattr(interrupt, 'REPEAT_SECONDS', 0.0)
    hook = InterruptHook()
    hook.before_train(runner=None)
    try:
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    finally:
        hook.release()


def test_what_nohup_ignores_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    hook = InterruptHook()
    hook.before_train(runner=None)
    try:
        signal.raise_signal(signal.SIGHUP)
        assert not hook.requested
    finally:
        hook.release()
        signal.signal(signal.SIGHUP, before)


# Options


def test_missing_config_and_missing_weights_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'config not found: .*nowhere\.py'):
        load_config(str(tmp_path / 'nowhere.py'))
    with pytest.raises(FileNotFoundError, match='load_from not found: mit_b1.pth'):
        apply_common_options(Config(dict(load_from='mit_b1.pth')), arguments())
    apply_common_options(Config(dict(load_from='https://example.org/mit_b1.pth')), arguments())


@pytest.mark.parametrize(
    ('in_config', 'given', 'expected'),
    [(None, None, 'work_dirs/toy'), ('a', None, 'a'), ('a', 'b', 'b'), (None, 'b', 'b')],
)
def test_work_dir(in_config, given, expected):
    cfg = Config({} if in_config is None else dict(work_dir=in_config))
    apply_common_options(cfg, arguments(work_dir=given))
    assert cfg.work_dir == expected


def test_cfg_options_reach_nested_values():
    cfg = Config(dict(model=dict(head=dict(channels=8, num_classes=2))))
    apply_common_options(cfg, arguments(cfg_options={'model.head.channels': 16}))
    assert cfg.model.head == dict(channels=16, num_classes=2)


@pytest.mark.parametrize(
    ('device', 'before', 'after'),
    [
        ('cuda', dict(type='OptimWrapper'), dict(type='AmpOptimWrapper', loss_scale='dynamic', dtype='float16')),
        ('cuda', dict(type='AmpOptimWrapper', dtype='bfloat16'), dict(type='AmpOptimWrapper', dtype='bfloat16')),
        ('cpu', dict(type='mmengine.OptimWrapper'), dict(type='CPUAmpOptimWrapper')),
        ('cpu', dict(type='AmpOptimWrapper', loss_scale=512.0, dtype='float16'), dict(type='CPUAmpOptimWrapper')),
    ],
)
def test_amp_is_float16_on_gpus_and_bfloat16_on_the_cpu(monkeypatch, device, before, after):
    pretend_device(monkeypatch, device)
    cfg = Config(dict(optim_wrapper=dict(before, optimizer=dict(type='SGD', lr=1.0))))
    apply_common_options(cfg, arguments(amp=True))
    assert cfg.optim_wrapper == dict(after, optimizer=dict(type='SGD', lr=1.0))


def test_amp_refuses_what_it_does_not_know():
    cfg = Config(dict(optim_wrapper=dict(type='ApexOptimWrapper')))
    with pytest.raises(ValueError, match='this config has ApexOptimWrapper'):
        apply_common_options(cfg, arguments(amp=True))


def test_cpu_amp_computes_in_bfloat16_and_updates_float32_weights():
    layer = nn.Linear(4, 1, bias=False)
    nn.init.ones_(layer.weight)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.5)
    wrapper = OPTIM_WRAPPERS.build(dict(type='CPUAmpOptimWrapper', optimizer=optimizer))
    with wrapper.optim_context(layer):
        output = layer(torch.ones(1, 4))
    assert output.dtype == torch.bfloat16
    wrapper.update_params(output.sum())
    assert layer.weight.dtype == torch.float32
    assert layer.weight.tolist() == [[0.5] * 4]


def save(path):
    torch.save(dict(a=1), path)
    return path


def test_resume_takes_the_recorded_checkpoint(tmp_path):
    recorded, newer = save(tmp_path / 'iter_8.pth'), save(tmp_path / 'iter_10.pth')
    (tmp_path / 'last_checkpoint').write_text(str(recorded))
    assert find_checkpoint(str(tmp_path)) == str(recorded)
    recorded.unlink()  # as when a run was stopped between the deletion and the record
    assert find_checkpoint(str(tmp_path)) == str(newer)


def test_resume_skips_half_a_file_and_files_without_optimizer(tmp_path):
    good, half = save(tmp_path / 'iter_9.pth'), save(tmp_path / 'iter_10.pth')
    half.write_bytes(half.read_bytes()[:-200])
    save(tmp_path / 'best_mIoU_iter_10.pth')
    (tmp_path / 'last_checkpoint').write_text('')
    assert find_checkpoint(str(tmp_path)) == str(good)


def test_resume_follows_a_work_dir_that_was_moved(tmp_path):
    moved = save(tmp_path / 'final.pth')
    (tmp_path / 'last_checkpoint').write_text('/old/place/final.pth')
    assert find_checkpoint(str(tmp_path)) == str(moved)


def test_resume_does_not_take_pretrained_weights_for_a_checkpoint(tmp_path):
    pretrained = str(save(tmp_path / 'mit_b1.pth'))
    work_dir = tmp_path / 'work'
    cfg = Config(dict(load_from=pretrained))
    apply_common_options(cfg, arguments(resume=True, work_dir=str(work_dir)))
    assert (cfg.resume, cfg.load_from) == (False, pretrained)

    work_dir.mkdir()
    checkpoint = str(save(work_dir / 'iter_2.pth'))
    apply_common_options(cfg, arguments(resume=True, work_dir=str(work_dir)))
    assert (cfg.resume, cfg.load_from) == (True, checkpoint)

    apply_common_options(cfg, arguments(resume=True, cfg_options=dict(load_from=pretrained)))
    assert (cfg.resume, cfg.load_from) == (True, pretrained)


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
    folder = tmp_path / 'new' / 'pictures'
    save_predictions(cfg, str(folder))
    assert [metric.get('output_dir') for metric in options._metrics(cfg.test_evaluator)][-1] == str(folder)
    assert folder.is_dir()  # before any process writes


def test_out_without_a_metric_that_writes():
    with pytest.raises(ValueError, match='--out needs an IoUMetric in test_evaluator'):
        save_predictions(Config(dict(test_evaluator=[dict(type='CAMIoUMetric')])), 'pictures')


@pytest.mark.parametrize('given', [{}, dict(default_hooks=dict(logger=dict(type='L')), visualizer=dict(type='V'))])
def test_show_dir_needs_nothing_in_the_config(given):
    cfg = Config(given)
    draw_predictions(cfg, 'pictures')
    assert cfg.default_hooks.visualization == dict(
        type='SegVisualizationHook', draw=True, show=False, wait_time=2.0, interval=1
    )
    assert cfg.visualizer.save_dir == 'pictures'
    assert cfg.visualizer.vis_backends == [ConfigDict(type='LocalVisBackend')]
