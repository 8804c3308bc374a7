import pytest
import torch
from torch.testing import assert_close

from afa_mmseg.engine import WarmupPolyLR


def make_optimizer():
    return torch.optim.SGD([dict(params=[torch.zeros(1)], lr=lr) for lr in (6e-5, 0.0, 6e-4)])


def test_multiplier_of_every_step_equals_the_reference(golden):
    expected = golden('schedule_1500_20000')['mult'][:20000]
    optimizer = make_optimizer()
    scheduler = WarmupPolyLR(optimizer, max_iters=20000, warmup_iters=1500)
    used = []
    for _ in expected:
        used.append([group['lr'] for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    used = torch.tensor(used, dtype=torch.float64)
    assert_close(used[:, 0] / 6e-5, expected, rtol=0, atol=1e-6)
    assert_close(used[:, 2] / 6e-4, expected, rtol=0, atol=1e-6)
    assert used[:, 1].abs().max() == 0


@pytest.mark.parametrize(('name', 'max_iters'), [('voc', 20000), ('coco', 80000)])
def test_tocos_multipliers_equal_the_reference(golden, name, max_iters):
    data = golden('toco/schedule')
    steps = data[f'step_{name}']
    scheduler = WarmupPolyLR(make_optimizer(), max_iters=max_iters, warmup_iters=1500, power=0.9)
    used = torch.tensor([scheduler.multiplier(step) for step in steps.tolist()], dtype=torch.float64)
    within = steps < max_iters
    assert_close(used[within], data[f'mult_{name}'][within], rtol=0, atol=1e-9)


def test_schedule_goes_on_from_its_state():
    optimizer, again = make_optimizer(), make_optimizer()
    scheduler = WarmupPolyLR(optimizer, max_iters=10, warmup_iters=3)
    for _ in range(5):
        optimizer.step()
        scheduler.step()
    resumed = WarmupPolyLR(again, max_iters=10, warmup_iters=3)
    resumed.load_state_dict(scheduler.state_dict())
    for one, other in ((optimizer, scheduler), (again, resumed)):
        one.step()
        other.step()
    assert again.param_groups[0]['lr'] == optimizer.param_groups[0]['lr'] == 6e-5 * (1 - 6 / 10)


@pytest.mark.parametrize(('warmup_iters', 'max_iters'), [(1500, 100), (-1, 100), (0, 0)])
def test_a_warm_up_longer_than_the_run_is_named(warmup_iters, max_iters):
    with pytest.raises(ValueError, match=rf'warmup_iters={warmup_iters} must lie between 0 and max_iters={max_iters}'):
        WarmupPolyLR(make_optimizer(), max_iters=max_iters, warmup_iters=warmup_iters)
