import pytest
import torch
from torch.testing import assert_close

from afa_mmseg.functional import affinity_loss, balanced_cross_entropy


@pytest.mark.parametrize('name', ['100x120_r4', 'allignore', 'allpos'])
def test_affinity_loss_equals_the_reference(golden, name):
    data = golden(f'affloss_{name}')
    affinity = data['inputs'].requires_grad_()
    loss = affinity_loss(affinity, data['targets'])
    loss.backward()
    assert_close(loss, data['loss'], rtol=0, atol=1e-5)
    assert_close(affinity.grad, data['grad'], rtol=0, atol=1e-7)
    pairs = [(data['targets'] == value).sum() + 1 for value in (1, 0)]
    assert pairs == [data['pos_count'], data['neg_count']]


def test_balanced_cross_entropy_equals_the_reference(golden):
    data = golden('segloss')
    logits = data['pred'].requires_grad_()
    loss = balanced_cross_entropy(logits, data['label_normal'])
    loss.backward()
    assert_close(loss, data['loss_normal'], rtol=0, atol=1e-5)
    assert_close(logits.grad, data['grad_normal'], rtol=0, atol=1e-7)


@pytest.mark.parametrize('case', ['nobg', 'nofg', 'allignore'])
def test_a_missing_side_counts_as_zero_where_the_reference_is_nan(golden, case):
    data = golden('segloss')
    assert torch.isnan(data[f'loss_{case}']) or case == 'allignore'
    logits, label = data['pred'].requires_grad_(), data[f'label_{case}'].long()
    loss = balanced_cross_entropy(logits, label)
    loss.backward()
    valid = label != 255
    expected = torch.tensor(0.0)
    if valid.any():
        expected = 0.5 * torch.nn.functional.cross_entropy(logits.detach(), label, ignore_index=255)
    assert_close(loss.detach(), expected, rtol=1e-5, atol=1e-7)
    assert logits.grad.isfinite().all()


def test_balanced_cross_entropy_weighs_sides_not_pixels():
    logits = torch.tensor([[[[2.0, 2.0, 2.0, 0.0]], [[0.0, 0.0, 0.0, 0.0]]]])
    label = torch.tensor([[[0, 0, 0, 1]]])
    background, foreground = torch.log1p(torch.tensor(-2.0).exp()), torch.tensor(2.0).log()
    assert_close(balanced_cross_entropy(logits, label), 0.5 * background + 0.5 * foreground)


def test_balanced_cross_entropy_names_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match=r'\(1, 3, 4, 4\), \(1, 8, 8\)'):
        balanced_cross_entropy(torch.rand(1, 3, 4, 4), torch.zeros(1, 8, 8))
