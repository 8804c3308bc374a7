"""Exact resume: a run that is killed and resumed computes what an uninterrupted one computes."""

import os
import random
import shutil
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.logging import MMLogger

from afa_mmseg.datasets.shapes_generator import make_shapes_voc
from afa_mmseg.engine import find_checkpoint
from afa_mmseg.engine.atomic_checkpoints import AtomicBackend
from afa_mmseg.engine.resume import ResumeHook, restore_logs, set_resume
from afa_mmseg.utils.checkpoints import find_damage
from tests.engine.training import ITERATIONS, OPTIONS, finish, read_journal, start_training, train, weights_of
from tests.utils.processes import SERVER, start, wait_for

INTERVAL = 3
#: Everything that draws random numbers does so here, unlike in the other tests of training.
CHANCE = {
    'train_dataloader.batch_size': 1,
    'train_dataloader.dataset.pipeline.1.ratio_range': (0.7, 1.5),
    'train_dataloader.dataset.pipeline.2.prob': 0.5,
    'model.decode_head.dropout_ratio': 0.2,
    'model.decode_head.norm_cfg': dict(type='SyncBN', _delete_=True),
    'model.backbone.drop_path_rate': 0.3,
    'optim_wrapper.paramwise_cfg': dict(custom_keys={'decode_head': dict(lr_mult=10.0)}),  # several groups
    'custom_hooks': [],
    'visualizer.vis_backends': [],
}


def checkpoints(interval=INTERVAL, **kwargs):
    return {'default_hooks.checkpoint': dict(type='AtomicCheckpointHook', by_epoch=False, interval=interval, **kwargs)}


SAVING = {**CHANCE, **checkpoints(max_keep_ckpts=2, save_best='mIoU'), 'train_cfg.val_interval': 2 * INTERVAL}
SHORT = {
    **CHANCE,
    'train_cfg.max_iters': 6,
    'train_cfg.val_interval': 4,
    'model.train_cfg.cls_only_until': 1,
    'model.train_cfg.cam_label_until': 3,
}
ACCUMULATED = {'optim_wrapper.accumulative_counts': 2}


def workers(count):
    return {'train_dataloader.num_workers': count, 'train_dataloader.persistent_workers': count > 0}


def assert_equal_weights(one, other):
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


@pytest.fixture(scope='module', autouse=True)
def plain_config_text():
    """Without the formatter of config files, which takes longer than everything else in so short a run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('yapf.yapflib.yapf_api.FormatCode', lambda text, **kwargs: (text, True))
        yield


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp('resume') / 'data'
    make_shapes_voc(root, num_train=11, num_val=2, size=64)
    return root


@pytest.fixture(scope='module')
def uninterrupted(data):
    """Folder of a run that nothing stopped, without worker processes, for each number of processes."""
    folders = {}

    def get(num_procs):
        if num_procs not in folders:
            folder = folders[num_procs] = data.parent / f'whole-{num_procs}'
            options = {**SAVING, **workers(0), **(ACCUMULATED if num_procs == 1 else {})}
            finish(start_training(data, folder, options, num_procs, validate=True), folder)
        return folders[num_procs]

    return get


@pytest.fixture(scope='module')
def short(data):
    """A short run with checkpoints after 2, 4 and 6 iterations, in this process: (folder, runner)."""
    folder = data.parent / 'short'
    return folder, train(data, folder, {**SHORT, **checkpoints(2)}, validate=True)


# kill -9


@pytest.mark.parametrize(('num_procs', 'num_workers'), [(1, 0), (1, 2), (2, 0), (2, 2)])
@pytest.mark.slow
def test_killed_at_random_moments_and_resumed(data, uninterrupted, tmp_path, num_procs, num_workers):
    options = {**SAVING, **workers(num_workers), **(ACCUMULATED if num_procs == 1 else {})}
    kills = 2
    for _ in range(kills):
        kill_at_random(start_training(data, tmp_path, options, num_procs, resume=True, validate=True), tmp_path)
        assert find_checkpoint(tmp_path) is None or find_damage(find_checkpoint(tmp_path)) is None
    finish(start_training(data, tmp_path, options, num_procs, resume=True, validate=True), tmp_path)
    whole = uninterrupted(num_procs)
    for rank in range(num_procs):
        expected = {line['iteration']: line for line in read_journal(whole, rank)}
        lines = read_journal(tmp_path, rank)
        assert {line['iteration'] for line in lines} == set(expected) == set(range(1, ITERATIONS + 1))
        assert [line for line in lines if line != expected[line['iteration']]] == []
        assert len(lines) <= ITERATIONS + kills * INTERVAL  # what was computed twice
        assert_equal_weights(weights_of(tmp_path, rank), weights_of(whole, rank))
        # The last phase did something; an iteration of it may ignore every pixel of its one image.
        last_phase = range(OPTIONS['model.train_cfg.cam_label_until'] + 1, ITERATIONS + 1)
        assert max(expected[iteration]['losses']['loss_seg'] for iteration in last_phase) > 0


def kill_at_random(processes, folder):
    """Let a run get somewhere, and kill all its processes at a moment between two iterations or within one."""
    before = len(read_journal(folder))
    wait_for(lambda: len(read_journal(folder)) > before + 2 or not processes[0].is_alive(), 240)
    time.sleep(random.uniform(0, 0.5))
    for process in processes:
        process.kill()
        process.join(60)


@pytest.mark.slow
def test_killed_while_a_checkpoint_is_written(data, uninterrupted, tmp_path):
    options = {**SAVING, **workers(0), **ACCUMULATED, **checkpoints(max_keep_ckpts=1)}
    process = start(train_until_second_write, data, tmp_path, options, output=tmp_path / 'output', context=SERVER)
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    assert len(list(tmp_path.glob('.tmp-*'))) == 1
    assert Path((tmp_path / 'last_checkpoint').read_text()).name == 'iter_3.pth'
    assert Path(find_checkpoint(tmp_path)).name == 'iter_3.pth'
    finish(start_training(data, tmp_path, options, resume=True), tmp_path)
    assert list(tmp_path.glob('.tmp-*')) == []
    iterations = [*range(1, 2 * INTERVAL), *range(INTERVAL + 1, ITERATIONS + 1)]
    assert [line['iteration'] for line in read_journal(tmp_path)] == iterations
    assert_equal_weights(weights_of(tmp_path), weights_of(uninterrupted(1)))


def train_until_second_write(data, folder, options):
    """Train, and be killed with half of the second checkpoint in its file."""

    def put(self, obj, filepath):
        if Path(filepath).name == f'iter_{2 * INTERVAL}.pth':
            os.fsync = lambda number: (os.ftruncate(number, len(obj) // 2), os.kill(os.getpid(), signal.SIGKILL))
        original(self, obj, filepath)

    original, AtomicBackend.put = AtomicBackend.put, put
    train(data, folder, options)


@pytest.mark.slow
def test_killed_in_a_validation_the_run_begins_with_it(data, tmp_path):
    class Stop(Hook):
        def after_val_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            raise KeyboardInterrupt

    class Note(Hook):
        validated = []

        def after_val_epoch(self, runner, metrics=None):
            self.validated.append((runner.iter, metrics['mIoU']))

    options = {**SHORT, **checkpoints(4, save_best='mIoU')}
    note = Note()
    train(data, tmp_path / 'whole', options, validate=True, hooks=[note])
    whole, note.validated[:] = list(note.validated), []
    assert [iteration for iteration, _ in whole] == [4, 6]
    with pytest.raises(KeyboardInterrupt):
        train(data, tmp_path / 'killed', options, validate=True, hooks=[Stop()])
    train(data, tmp_path / 'killed', options, validate=True, hooks=[note], resume=True)
    assert note.validated == whole
    best = [sorted(path.name for path in (tmp_path / run).glob('best_*')) for run in ('whole', 'killed')]
    assert best[0] == best[1] != []
    note.validated.clear()
    train(data, tmp_path / 'killed', options, validate=True, hooks=[note], resume=True)
    assert note.validated == []  # that of the last iteration was finished
    assert_equal_weights(weights_of(tmp_path / 'killed'), weights_of(tmp_path / 'whole'))


# Files


@pytest.mark.slow
def test_there_is_a_whole_recorded_checkpoint_at_every_moment(data, tmp_path, monkeypatch):
    class Improve(Hook):
        priority = 'VERY_HIGH'

        def after_val_epoch(self, runner, metrics=None):
            metrics['mIoU'] = float(runner.iter)

    events, wrong = [], []

    def watched(function, name):
        def call(*args):
            result = function(*args)
            record = tmp_path / 'last_checkpoint'
            events.append(f'{name} {Path(args[-1]).name}')
            if record.is_file() and find_damage(record.read_text()) is not None:
                wrong.append(events[-1])
            return result

        return call

    monkeypatch.setattr(os, 'replace', watched(os.replace, 'write'))
    monkeypatch.setattr(AtomicBackend, 'remove', watched(AtomicBackend.remove, 'remove'))
    options = {**SHORT, **checkpoints(2, max_keep_ckpts=1, save_best='mIoU'), 'train_cfg.val_interval': 2}
    train(data, tmp_path, options, validate=True, hooks=[Improve()])
    assert wrong == []
    for prefix in ('', 'best_mIoU_'):
        order = [f'write {prefix}iter_2.pth', f'write {prefix}iter_4.pth', f'remove {prefix}iter_2.pth']
        assert list(dict.fromkeys(event for event in events if event in order)) == order  # mmengine writes some twice
    assert {path.name for path in tmp_path.glob('*iter*.pth')} == {'iter_6.pth', 'best_mIoU_iter_6.pth'}


# Nothing to train


def test_a_finished_run_says_that_nothing_is_left_to_train(data, short, tmp_path, monkeypatch):
    warnings = []
    monkeypatch.setattr(MMLogger, 'warning', lambda self, text, *args: warnings.append(text), raising=False)
    shutil.copytree(short[0], tmp_path / 'run')
    train(data, tmp_path / 'run', {**SHORT, **checkpoints(2)}, resume=True, validate=True)
    assert_equal_weights(weights_of(tmp_path / 'run'), weights_of(short[0]))
    assert [text for text in warnings if 'nothing to train' in text and 'train_cfg.max_iters=6' in text]


def test_a_longer_run_than_the_schedule_of_the_checkpoint_is_warned_of(data, short, tmp_path, monkeypatch):
    warnings = []
    monkeypatch.setattr(MMLogger, 'warning', lambda self, text, *args: warnings.append(text), raising=False)
    shutil.copytree(short[0], tmp_path / 'run')
    train(data, tmp_path / 'run', {**SHORT, **checkpoints(2), 'train_cfg.max_iters': ITERATIONS + 1}, resume=True)
    assert [text for text in warnings if f'ends at iteration {ITERATIONS}, the run at {ITERATIONS + 1}' in text]


def test_a_run_without_iterations_is_an_error(data, tmp_path):
    with pytest.raises(ValueError, match=r'train_cfg\.max_iters=0'):
        train(data, tmp_path, {**SHORT, 'train_cfg.max_iters': 0})


# Which checkpoint, what it holds, and whether it fits


def save(path):
    torch.save(dict(a=1), path)
    return path


def test_the_newest_whole_checkpoint_of_the_work_directory_is_found(tmp_path):
    elsewhere = save(tmp_path / 'iter_12.pth')
    folder = tmp_path / 'run'
    folder.mkdir()
    assert find_checkpoint(str(folder)) is None
    older, newer = save(folder / 'iter_9.pth'), save(folder / 'iter_10.pth')
    save(folder / 'best_mIoU_iter_10.pth')
    (folder / 'last_checkpoint').write_text(str(older))
    assert find_checkpoint(str(folder)) == str(older)
    (folder / 'last_checkpoint').write_text(str(elsewhere))  # of the folder that this one was copied from
    assert find_checkpoint(str(folder)) == str(newer)
    newer.write_bytes(newer.read_bytes()[:-200])
    assert find_checkpoint(str(folder)) == str(older)
    older.write_bytes(b'PK')
    with pytest.raises(ValueError, match=r'(?s)iter_10.pth: .*iter_9.pth: '):
        find_checkpoint(str(folder))
    assert find_checkpoint(str(folder), out_dir=str(tmp_path / 'out')) is None


def test_resume_does_not_take_pretrained_weights_for_a_checkpoint(tmp_path):
    pretrained = str(save(tmp_path / 'mit_b1.pth'))
    cfg = Config(dict(load_from=pretrained, work_dir=str(tmp_path / 'run')))
    set_resume(cfg)
    assert (cfg.resume, cfg.load_from) == (False, pretrained)
    (tmp_path / 'run').mkdir()
    checkpoint = str(save(tmp_path / 'run/iter_2.pth'))
    set_resume(cfg)
    assert (cfg.resume, cfg.load_from) == (True, checkpoint)
    cfg.load_from = pretrained
    set_resume(cfg, explicit=True)  # as a requeued job does
    assert (cfg.resume, cfg.load_from) == (True, checkpoint)
    cfg.load_from, cfg.work_dir = pretrained, str(tmp_path / 'other')
    set_resume(cfg, explicit=True)
    assert (cfg.resume, cfg.load_from) == (True, pretrained)


def test_checkpoints_beside_the_work_directory_are_found_from_any_folder(tmp_path, monkeypatch):
    (tmp_path / 'run').mkdir()
    (tmp_path / 'out/run').mkdir(parents=True)
    checkpoint = save(tmp_path / 'out/run/iter_2.pth')
    monkeypatch.chdir(tmp_path / 'run')
    assert find_checkpoint('.', out_dir=str(tmp_path / 'out')) == str(checkpoint)


def test_processes_that_would_continue_at_different_iterations_are_refused(monkeypatch):
    monkeypatch.setattr('afa_mmseg.engine.resume.all_gather_object', lambda number: [number, 0])
    with pytest.raises(OSError, match=r'\[4, 0\].*/runs/a'):
        ResumeHook().before_train(SimpleNamespace(iter=4, work_dir='/runs/a'))


def test_checkpoints_hold_nothing_to_unpickle(short):
    folder, runner = short
    checkpoint = torch.load(folder / 'iter_6.pth', weights_only=True)  # no class is allowed besides
    logs = restore_logs(checkpoint['message_hub']['log_scalars'])
    assert logs.keys() == runner.message_hub.log_scalars.keys() >= {'train/loss', 'train/lr', 'train/time'}
    ours, theirs = (log['train/loss_cls'] for log in (logs, runner.message_hub.log_scalars))
    assert ours.data[0].tolist() == theirs.data[0].tolist()
    assert len(ours.data[0]) == 6
    assert ours.mean(3) == theirs.mean(3)
    assert checkpoint['settings']['model.decode_head.num_classes'] == '7'


def resume_from(data, short, folder, options, name='iter_4.pth', **kwargs):
    given = {'load_from': str(short[0] / name), 'resume': True, **SHORT, **checkpoints(2), **options}
    return train(data, folder, given, **kwargs)


@pytest.mark.parametrize(
    ('options', 'named'),
    [
        ({'model.backbone.num_layers': (1, 1, 2, 2)}, r'num_layers: \(1, 1, 1, 2\) in .*, \(1, 1, 2, 2\) now'),
        ({'optim_wrapper.optimizer': dict(type='SGD', lr=0.01, _delete_=True)}, r"optimizer.type: 'AdamW'.*'SGD' now"),
        (
            {'optim_wrapper.paramwise_cfg': None},
            r'has 1 group\(s\) .* here and \d{3} there.*lr_mult: 10.0 in .*, not set now',
        ),
    ],
    ids=['layers', 'optimizer', 'groups'],
)
def test_another_network_or_optimizer_is_refused(data, short, tmp_path, options, named):
    with pytest.raises(ValueError, match=f'(?s)iter_4.pth: .*{named}'):
        resume_from(data, short, tmp_path, options)


def test_weights_alone_are_refused(data, short, tmp_path):
    checkpoint = torch.load(short[0] / 'iter_4.pth', weights_only=True)
    del checkpoint['optimizer']
    torch.save(checkpoint, tmp_path / 'best.pth')
    with pytest.raises(ValueError, match='best.pth: it holds no optimizer'):
        resume_from(data, short, tmp_path, {'load_from': str(tmp_path / 'best.pth')})


@pytest.mark.slow
def test_other_changes_are_logged_and_the_images_continue(data, short, tmp_path, capfd):
    options = {
        'train_dataloader.batch_size': 2,
        'optim_wrapper.optimizer.lr': 1.0,
        'model.pseudo_labeler.radius': 3,
        'train_cfg.max_iters': 5,
        **workers(1),
    }
    runner = resume_from(data, short, tmp_path, options)
    logged = capfd.readouterr().out
    for line in (
        'train_dataloader.batch_size: 1 in the checkpoint, 2 now\n',
        'model.pseudo_labeler.radius: 2 in the checkpoint, 3 now\n',
        'optim_wrapper.optimizer.lr: 0.0005 in the checkpoint, 1.0 now\n',
    ):
        assert line in logged
    assert 'max_iters' not in logged
    assert runner.message_hub.get_info('images_seen') == 4 + 2
    assert runner.optim_wrapper.get_lr()['lr'][0] < 5e-4


@pytest.mark.slow
def test_the_seed_of_a_checkpoint_is_kept_and_its_config_is_not_run(data, short, tmp_path):
    checkpoint = torch.load(short[0] / 'iter_4.pth', weights_only=True)
    proof = tmp_path / 'was-run'
    checkpoint['meta']['config'] = f'open({str(proof)!r}, "w").close()'
    torch.save(checkpoint, tmp_path / 'bad.pth')
    resume_from(data, short, tmp_path, {'load_from': str(tmp_path / 'bad.pth'), 'randomness': dict(seed=None)})
    assert not proof.exists()
    assert_equal_weights(weights_of(tmp_path), weights_of(short[0]))


@pytest.mark.slow
def test_mmengine_s_sampler_is_resumed_too(data, tmp_path):
    options = {**SHORT, **checkpoints(3), 'train_dataloader.sampler.type': 'InfiniteSampler'}
    whole = train(data, tmp_path, options)
    (tmp_path / 'iter_6.pth').unlink()
    resumed = train(data, tmp_path, options, resume=True)
    assert resumed.message_hub.get_info('images_seen') == whole.message_hub.get_info('images_seen') == 6


@pytest.mark.slow
def test_a_checkpoint_between_two_that_are_due(data, short, tmp_path):
    class Save(Hook):
        def before_train_iter(self, runner, batch_idx, data_batch=None):
            if runner.iter == 3:
                saver = next(hook for hook in runner.hooks if hasattr(hook, 'save_now'))
                assert saver.save_now(runner).endswith('iter_3.pth')
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(data, tmp_path, {**SHORT, **checkpoints(2)}, hooks=[Save()])
    assert Path(find_checkpoint(tmp_path)).name == 'iter_3.pth'
    train(data, tmp_path, {**SHORT, **checkpoints(2)}, resume=True)
    assert_equal_weights(weights_of(tmp_path), weights_of(short[0]))
