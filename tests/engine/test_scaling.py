"""The same images in one process or two, at once or one after the other: the same losses and weights."""

import pytest
import torch
from mmseg.registry import MODELS
from torch.testing import assert_close

from afa_mmseg.datasets.shapes_generator import make_shapes_voc
from afa_mmseg.models.losses.losses import mean_over_groups
from tests.engine import training
from tests.engine.training import ITERATIONS, finish, read_journal, start_training, train

BATCH = 'train_dataloader.batch_size'
ACCUMULATE = 'optim_wrapper.accumulative_counts'
LOSSES = ('loss', 'loss_cls', 'loss_affinity', 'loss_seg')
DROP_PATH = {'model.backbone.drop_path_rate': 0.3}
SHORT = {'train_cfg.max_iters': 6, 'model.train_cfg.cls_only_until': 1, 'model.train_cfg.cam_label_until': 3}


def groups_of(size):
    return {f'model.decode_head.{loss}.group_size': size for loss in ('loss_affinity', 'loss_decode')}


def in_order(ann_file):
    """Load images in the order of a list."""
    return {'train_dataloader.sampler.shuffle': False, 'train_dataloader.dataset.ann_file': ann_file}


def log_of(folder):
    """Return losses and learning rate of each iteration: the mean over the processes."""
    ranks = range(len(list(folder.glob('journal_*'))))
    logs = [[{**line['losses'], 'lr': line['rate']} for line in read_journal(folder, rank)] for rank in ranks]
    return [{name: sum(line[name] for line in lines) / len(lines) for name in lines[0]} for lines in zip(*logs)]


def curve(folder, name):
    return torch.tensor([line[name] for line in log_of(folder)], dtype=torch.float64)


def weights_of(folder, rank=0):
    """Return the weights but for the keys' biases: their true gradient is zero, and Adam steps along its rounding."""
    weights = training.weights_of(folder, rank)
    for name, weight in weights.items():
        if name.endswith('in_proj_bias'):
            weight.chunk(3)[1].zero_()
    return weights


def assert_same_training(one, other, losses=1e-4, weights=1e-5):
    for name in LOSSES:
        assert_close(curve(one, name), curve(other, name), rtol=0, atol=losses)
    assert_close(weights_of(one), weights_of(other), rtol=0, atol=weights)


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """Twenty images, in three lists."""
    root = tmp_path_factory.mktemp('scaling') / 'data'
    make_shapes_voc(root, num_train=20, num_val=1, size=64)
    names = (root / 'ImageSets/Segmentation/train_aug.txt').read_text().split()
    # Two processes with two images each take the first and third of four, and the second and fourth.
    swapped = [names[i + j] for i in range(0, 20, 4) for j in (0, 2, 1, 3)]
    (root / 'swapped.txt').write_text('\n'.join(swapped))
    return root


@pytest.fixture(scope='module')
def two_processes(data):
    """Train in two processes; return the folder of the results."""
    jobs = {
        'pairs': {BATCH: 2},
        'accumulated': {BATCH: 1, ACCUMULATE: 2},
        'in-order': {BATCH: 2, **in_order('ImageSets/Segmentation/train_aug.txt')},
        'drop-path': {BATCH: 1, **DROP_PATH, **SHORT},
        'checkpointed': {BATCH: 1, **DROP_PATH, **SHORT, 'model.backbone.with_cp': True},
    }
    root = data.parent / 'two'
    for name, options in jobs.items():
        finish(start_training(data, root / name, options, num_procs=2), root / name)
    return root


@pytest.fixture
def one_process(data, tmp_path):
    """Train in this process; return the folder of the result."""

    def run(name, options):
        train(data, tmp_path / name, options)
        return tmp_path / name

    return run


# Two processes


@pytest.mark.slow
def test_one_process_and_two_have_the_same_losses_on_the_same_batch(two_processes, one_process):
    one = one_process('four', {BATCH: 4, **groups_of(2)})
    assert_same_training(one, two_processes / 'pairs')
    log = log_of(one)
    assert len(log) == ITERATIONS
    assert [line['loss_seg'] > 0 for line in log] == [i > 4 for i in range(ITERATIONS)]


@pytest.mark.slow
def test_counted_over_four_images_balanced_losses_are_others(two_processes, one_process):
    one, two = one_process('four', {BATCH: 4, **groups_of(None)}), two_processes / 'pairs'
    first = 5  # with balanced losses; the weights are still the same
    assert_close(curve(one, 'loss_cls')[: first + 1], curve(two, 'loss_cls')[: first + 1], rtol=0, atol=1e-5)
    for name in ('loss_affinity', 'loss_seg'):
        assert abs(curve(one, name)[first] - curve(two, name)[first]) > 1e-3


@pytest.mark.slow
def test_processes_end_with_the_same_weights(two_processes):
    for name in ('pairs', 'accumulated', 'checkpointed'):
        first, second = (weights_of(two_processes / name, rank) for rank in range(2))
        assert_close(first, second, rtol=0, atol=0)


@pytest.mark.slow
def test_one_process_of_four_batches_equals_two_of_two(two_processes, one_process):
    assert_same_training(one_process('alone', {BATCH: 1, ACCUMULATE: 4}), two_processes / 'accumulated')


@pytest.mark.slow
def test_two_batches_of_a_pair_equal_two_processes_with_the_same_pairs(two_processes, one_process):
    alone = one_process('alone', {BATCH: 2, ACCUMULATE: 2, **in_order('swapped.txt')})
    assert_same_training(alone, two_processes / 'in-order')


@pytest.mark.slow
def test_checkpointing_changes_nothing_in_two_processes(two_processes):
    plain, checkpointed = two_processes / 'drop-path', two_processes / 'checkpointed'
    assert_same_training(plain, checkpointed, losses=1e-6, weights=1e-6)
    assert curve(plain, 'loss_seg')[-1] > 0


# Accumulation in one process


@pytest.mark.slow
def test_accumulated_batches_are_one_batch_whose_images_count_by_themselves(one_process):
    accumulated = one_process('accumulated', {BATCH: 1, ACCUMULATE: 2})
    at_once = one_process('at-once', {BATCH: 2, **groups_of(1)})
    assert_same_training(accumulated, at_once)


@pytest.mark.slow
def test_schedule_and_phases_count_updates(one_process):
    accumulated = one_process('accumulated', {BATCH: 1, ACCUMULATE: 3})
    plain = one_process('plain', {BATCH: 3})
    assert len(log_of(accumulated)) == ITERATIONS
    assert_close(curve(accumulated, 'lr'), curve(plain, 'lr'), rtol=0, atol=0)
    for name in ('loss_seg', 'positive_pairs'):  # appears with the second phase
        assert [line.get(name, 0) > 0 for line in log_of(accumulated)] == [i > 4 for i in range(ITERATIONS)]


# Groups


@pytest.mark.parametrize(('size', 'expected'), [(None, [4]), (4, [4]), (2, [2, 2]), (3, [2, 2]), (1, [1, 1, 1, 1])])
def test_groups_are_dealt_out_in_turn(size, expected):
    seen = []

    def loss(x, y):
        assert torch.equal(x, y)
        seen.append(x.tolist())
        return x.mean()

    x = torch.arange(4.0)
    assert mean_over_groups(loss, size, x, x) == 1.5
    assert [len(group) for group in seen] == expected
    assert seen[0] == x[:: len(expected)].tolist()


@pytest.mark.parametrize('loss', ['AffinityLoss', 'BalancedCrossEntropyLoss'])
def test_a_group_without_images_is_named(loss):
    with pytest.raises(ValueError, match='group_size=0 must be a positive number of images'):
        MODELS.build(dict(type=loss, group_size=0))
