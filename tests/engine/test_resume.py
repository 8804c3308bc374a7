"""A run that is killed and resumed computes what it would have computed."""

import os
import random
import re
import resource
import signal
import time
from argparse import Namespace
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer

from afa_mmseg.datasets import ShapesVOCDataset
from afa_mmseg.datasets.shapes_generator import make_shapes_voc
from afa_mmseg.engine import find_checkpoint
from afa_mmseg.engine.atomic_checkpoints import AtomicBackend
from afa_mmseg.engine.options import apply_common_options
from afa_mmseg.engine.resume import find_damage, make_plain, restore_logs
from afa_mmseg.models.checkpoints import set_trust
from tests.engine.stopped import finish, read_journal, start_training
from tests.engine.test_damage import Anything
from tests.engine.training import CONFIG, ITERATIONS, train
from tests.utils.processes import SPAWN, start, wait_for

INTERVAL = 3
#: Everything that draws random numbers does so here, unlike in the other tests of training.
CHANCE = {
    'train_dataloader.batch_size': 1,
    'train_dataloader.dataset.pipeline.1.ratio_range': (0.7, 1.5),
    'train_dataloader.dataset.pipeline.2.prob': 0.5,
    'model.decode_head.dropout_ratio': 0.2,
    'model.decode_head.norm_cfg': dict(type='SyncBN', _delete_=True),
    'model.backbone.drop_path_rate': 0.3,
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


def weights_of(folder, rank=0):
    return torch.load(Path(folder, f'weights_{rank}.pth'), weights_only=True)


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


@pytest.mark.parametrize(
    ('num_procs', 'num_workers'),
    [
        (1, 2),
        pytest.param(1, 0, marks=pytest.mark.slow),
        pytest.param(2, 0, marks=pytest.mark.slow),
        pytest.param(2, 2, marks=pytest.mark.slow),
    ],
)
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
    assert expected[ITERATIONS]['losses']['loss_seg'] > 0  # the last phase was reached


def kill_at_random(processes, folder):
    """Let a run get somewhere, and kill all its processes at a moment between two iterations or within one."""
    before = len(read_journal(folder))
    wait_for(lambda: len(read_journal(folder)) > before + 2 or not processes[0].is_alive(), 120)
    time.sleep(random.uniform(0, 0.5))
    for process in processes:
        process.kill()
        process.join(60)


def test_killed_while_a_checkpoint_is_written(data, uninterrupted, tmp_path):
    options = {**SAVING, **workers(0), **ACCUMULATED, **checkpoints(max_keep_ckpts=1)}
    process = start(train_until_second_write, data, tmp_path, options, output=tmp_path / 'output', context=SPAWN)
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    assert len(list(tmp_path.glob('.tmp-*'))) == 1
    assert Path((tmp_path / 'last_checkpoint').read_text()).name == 'iter_3.pth'
    assert Path(find_checkpoint(tmp_path)).name == 'iter_3.pth'
    finish(start_training(data, tmp_path, options, resume=True), tmp_path)
    assert list(tmp_path.glob('.tmp-*')) == []
    assert [line['iteration'] for line in read_journal(tmp_path)] == list(range(4, ITERATIONS + 1))
    assert_equal_weights(weights_of(tmp_path), weights_of(uninterrupted(1)))


def train_until_second_write(data, folder, options):
    """Train, and be killed with half of the second checkpoint in its file."""

    def put(self, obj, filepath):
        if Path(filepath).name == f'iter_{2 * INTERVAL}.pth':
            os.fsync = lambda number: (os.ftruncate(number, len(obj) // 2), os.kill(os.getpid(), signal.SIGKILL))
        original(self, obj, filepath)

    original, AtomicBackend.put = AtomicBackend.put, put
    train(data, folder, options)


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


def test_a_fresh_run_forgets_the_validations_of_an_earlier_one(data, tmp_path):
    (tmp_path / 'last_validation').write_text('4')
    train(data, tmp_path, {**SHORT, 'train_cfg.max_iters': 2})
    assert not (tmp_path / 'last_validation').exists()


# Files


class Ledger:
    """Looks at the work directory before each change of a name in it."""

    def __init__(self, folder):
        self.folder, self.events, self.wrong = Path(folder), [], []

    def look(self, event):
        record = self.folder / 'last_checkpoint'
        self.events.append(event)
        if record.is_file() and find_damage(record.read_text()) is not None:
            self.wrong.append(event)


def test_there_is_a_whole_recorded_checkpoint_at_every_moment(data, tmp_path, monkeypatch):
    ledger = Ledger(tmp_path)

    def watched(function, name):
        def call(*args, **kwargs):
            ledger.look(f'{name} {Path(args[-1]).name}')
            result = function(*args, **kwargs)
            ledger.look(f'after {name}')
            return result

        return call

    monkeypatch.setattr(os, 'replace', watched(os.replace, 'rename to'))
    monkeypatch.setattr(AtomicBackend, 'remove', watched(AtomicBackend.remove, 'remove'))
    options = {**SHORT, **checkpoints(2, max_keep_ckpts=1, save_best='mIoU'), 'train_cfg.val_interval': 2}
    train(data, tmp_path, options, validate=True)
    assert ledger.wrong == []
    assert 'remove iter_2.pth' in ledger.events
    order = [ledger.events.index(f'{event} iter_{i}.pth') for event, i in [('rename to', 4), ('remove', 2)]]
    assert order == sorted(order)
    kept = sorted(path.name for path in tmp_path.glob('*.pth') if not path.name.startswith('weights'))
    assert [name.rsplit('_', 1)[0] for name in kept] == ['best_mIoU_iter', 'iter']
    assert kept[1] == 'iter_6.pth'


def test_a_better_checkpoint_is_there_before_the_best_so_far_is_removed(data, tmp_path, monkeypatch):
    class Improve(Hook):
        priority = 'VERY_HIGH'

        def after_val_epoch(self, runner, metrics=None):
            metrics['mIoU'] = float(runner.iter)

    events = []
    replace, remove = os.replace, AtomicBackend.remove
    monkeypatch.setattr(os, 'replace', lambda *args: (events.append(f'write {Path(args[1]).name}'), replace(*args)))
    monkeypatch.setattr(
        AtomicBackend, 'remove', lambda self, path: (events.append(f'remove {Path(path).name}'), remove(self, path))
    )
    options = {**SHORT, **checkpoints(2, save_best='mIoU'), 'train_cfg.val_interval': 2}
    train(data, tmp_path, options, validate=True, hooks=[Improve()])
    order = ['write best_mIoU_iter_2.pth', 'write best_mIoU_iter_4.pth', 'remove best_mIoU_iter_2.pth']
    assert [event for event in events if event in order] == order


def test_a_checkpoint_is_on_the_disk_before_it_takes_its_name(tmp_path, monkeypatch):
    events = []
    replace, fsync = os.replace, os.fsync
    monkeypatch.setattr(os, 'replace', lambda *args: (events.append('replace'), replace(*args)))
    monkeypatch.setattr(os, 'fsync', lambda number: (events.append('fsync'), fsync(number)))
    AtomicBackend().put(b'x', tmp_path / 'a')
    assert events == ['fsync', 'replace', 'fsync']  # the last one is the folder's


def test_a_full_disk_leaves_the_checkpoint_before_untouched(data, tmp_path):
    process = start(train_on_a_small_disk, data, tmp_path, output=tmp_path / 'output', context=SPAWN)
    process.join(120)
    assert process.exitcode == 1
    output = (tmp_path / 'output').read_text()
    assert f'the checkpoint {tmp_path}/iter_4.pth cannot be written (File too large); {tmp_path}/iter_2.pth' in output
    assert 'Make room' in output
    assert (tmp_path / 'last_checkpoint').read_text() == find_checkpoint(tmp_path) == f'{tmp_path}/iter_2.pth'
    assert [path.name for path in tmp_path.glob('*iter_*')] == ['iter_2.pth']


def train_on_a_small_disk(data, folder):
    class Fill(Hook):
        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            if runner.iter == 2:
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    train(data, folder, {**SHORT, **checkpoints(2, max_keep_ckpts=1)}, hooks=[Fill()])


@pytest.fixture
def trust():
    """Options of `--resume --trust`; the trust ends with the test."""
    yield dict(cfg_options=None, work_dir=None, resume=True, trust=True)
    set_trust(False)


@pytest.mark.parametrize('named', [False, True], ids=['newest', 'load_from'])
def test_a_trusted_checkpoint_that_would_run_code_is_resumed_from(data, short, tmp_path, trust, named):
    content = torch.load(short[0] / 'iter_4.pth', weights_only=True)
    content['meta']['by'] = Anything()
    path = str(tmp_path / 'iter_4.pth')
    torch.save(content, path)
    trust.update(config='shapes.py', work_dir=str(tmp_path), cfg_options=dict(load_from=path) if named else None)
    cfg = Config.fromfile(CONFIG)
    with pytest.raises(ValueError, match='(?s)--resume: .*iter_4.pth is refused.* read it with --trust'):
        apply_common_options(cfg, Namespace(**{**trust, 'trust': False}))
    apply_common_options(cfg, Namespace(**trust))
    assert (cfg.resume, cfg.load_from) == (True, path)
    train(data, tmp_path, {**SHORT, **checkpoints(2), 'load_from': cfg.load_from, 'resume': cfg.resume})
    assert_equal_weights(weights_of(tmp_path), weights_of(short[0]))


# What is in them, and what a resumed run makes of it


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


def test_plain_values():
    buffer = HistoryBuffer([0.5, 0.25], [1, 2])
    plain = make_plain(dict(log=buffer, best=torch.tensor(3), names=('a', [buffer.mean()])))
    assert restore_logs(dict(log=plain['log']))['log'].data[1].tolist() == [1, 2]
    assert type(plain['names'][1][0]) is float
    assert restore_logs(dict(strange=3, own=buffer)) == dict(own=buffer)


def test_a_broken_one_is_reported_in_the_log(data, short, tmp_path, capfd):
    broken = copy_checkpoints(short, tmp_path)[-1]
    broken.write_bytes(broken.read_bytes()[:-1000])
    runner = train(data, tmp_path, {**SHORT, **checkpoints(2)}, resume=True)
    assert f'{broken} is broken: incomplete' in capfd.readouterr().out
    assert Path(runner._load_from).name == 'iter_4.pth'
    assert_equal_weights(weights_of(tmp_path), weights_of(short[0]))


def copy_checkpoints(short, folder):
    paths = []
    for name in ('iter_2.pth', 'iter_4.pth', 'iter_6.pth'):
        paths.append(folder / name)
        paths[-1].write_bytes((short[0] / name).read_bytes())
    return paths


def resume_from(data, short, folder, options, name='iter_4.pth', **kwargs):
    given = {'load_from': str(short[0] / name), 'resume': True, **SHORT, **checkpoints(2), **options}
    return train(data, folder, given, **kwargs)


@pytest.mark.parametrize(
    ('options', 'told'),
    [
        (
            {
                'model.decode_head.num_classes': 3,
                'train_dataloader.dataset.metainfo': dict(
                    classes=['background', *ShapesVOCDataset.METAINFO['classes'][2:4]]
                ),
            },
            [r'parameters of the network differ', r'model.decode_head.num_classes: 7 in the checkpoint, 3 now'],
        ),
        (
            {'model.backbone.num_layers': (1, 1, 2, 2)},
            [r'absent there', r'model.backbone.num_layers: \[1, 1, 1, 2\] in the checkpoint, \[1, 1, 2, 2\] now'],
        ),
        (
            {'optim_wrapper.optimizer': dict(type='SGD', lr=0.01, _delete_=True)},
            [r"optim_wrapper.optimizer.type is another: 'AdamW', now 'SGD'", r'optim_wrapper.optimizer.lr: 0.0005'],
        ),
        (
            {'optim_wrapper.paramwise_cfg': dict(custom_keys=dict(decode_head=dict(lr_mult=10.0)))},
            [
                r'optimiser has \d+ groups of parameters here and 1 there',
                r'lr_mult: not set in the checkpoint, 10.0 now',
            ],
        ),
    ],
    ids=['classes', 'layers', 'optimizer', 'groups'],
)
def test_another_network_or_optimizer_is_refused(data, short, tmp_path, options, told):
    with pytest.raises(ValueError, match='cannot resume from .*iter_4.pth: ') as raised:
        resume_from(data, short, tmp_path, options)
    for text in told:
        assert re.search(text, str(raised.value)), raised.value


def test_weights_alone_are_refused(data, short, tmp_path):
    checkpoint = torch.load(short[0] / 'iter_4.pth', weights_only=True)
    del checkpoint['optimizer']
    torch.save(checkpoint, tmp_path / 'best.pth')
    with pytest.raises(ValueError, match='it holds no optimizer; it was saved to predict with'):
        resume_from(data, short, tmp_path, {'load_from': str(tmp_path / 'best.pth')})


def test_other_changes_are_told_and_pictures_go_on_from_where_they_were(data, short, tmp_path, capfd):
    options = {
        'train_dataloader.batch_size': 2,
        'optim_wrapper.optimizer.lr': 1.0,
        'model.pseudo_labeler.radius': 3,
        'train_cfg.max_iters': 5,
        **workers(1),
    }
    runner = resume_from(data, short, tmp_path, options)
    told = capfd.readouterr().out
    for line in (
        'train_dataloader.batch_size: 1 in the checkpoint, 2 now\n',
        'model.pseudo_labeler.radius: 2 in the checkpoint, 3 now\n',
        'optim_wrapper.optimizer.lr: 0.0005 in the checkpoint, 1.0 now (without effect: a resumed run keeps the check',
    ):
        assert line in told
    assert not re.search('num_workers|max_iters', told)
    assert runner.message_hub.get_info('pictures_seen') == 4 + 2
    assert runner.optim_wrapper.get_lr()['lr'][0] < 5e-4


def test_the_seed_is_the_checkpoint_s(data, short, tmp_path):
    assert short[1].seed == 0
    resume_from(data, short, tmp_path, {'randomness': dict(seed=None)})
    assert_equal_weights(weights_of(tmp_path), weights_of(short[0]))


def test_a_config_in_a_checkpoint_is_not_run(data, short, tmp_path):
    checkpoint = torch.load(short[0] / 'iter_4.pth', weights_only=True)
    proof = tmp_path / 'was-run'
    checkpoint['meta']['config'] = f'open({str(proof)!r}, "w").close()'
    torch.save(checkpoint, tmp_path / 'bad.pth')
    resume_from(data, short, tmp_path, {'load_from': str(tmp_path / 'bad.pth')})
    assert not proof.exists()


def test_mmengine_s_sampler_goes_on_too_and_what_it_lacks_is_told(data, tmp_path, capfd):
    options = {**SHORT, **checkpoints(3), 'train_dataloader.sampler.type': 'InfiniteSampler'}
    whole = train(data, tmp_path, options)
    (tmp_path / 'iter_6.pth').unlink()
    resumed = train(data, tmp_path, options, resume=True)
    assert 'SequenceSampler repeats those too' in capfd.readouterr().out
    assert resumed.message_hub.get_info('pictures_seen') == whole.message_hub.get_info('pictures_seen') == 6


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
