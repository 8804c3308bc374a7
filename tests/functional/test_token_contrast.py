import pytest
import torch
from torch.testing import assert_close

from afa_mmseg.functional import affinity_loss, class_token_contrast, patch_token_contrast
from afa_mmseg.functional.token_contrast import patch_pairs


@pytest.mark.parametrize('case', ['normal', 'allignored', 'onelabel', 'alldifferent', 'oneimage'])
def test_patch_contrast_equals_the_reference(golden, case):
    data = golden('toco/ptc')
    features, label = data['fmap'].requires_grad_(), data[f'label_{case}']
    assert torch.equal(patch_pairs(label), data[f'mask_{case}'].long())
    loss = patch_token_contrast(features, label)
    loss.backward()
    assert_close(loss, data[f'loss_{case}'], rtol=0, atol=1e-6)
    assert_close(features.grad, data[f'grad_{case}'], rtol=0, atol=1e-6)


def test_patch_contrast_is_the_affinity_loss_of_cosines_plus_a_constant(golden):
    data = golden('toco/ptc')
    target = data['mask_normal'].long()
    tokens = torch.nn.functional.normalize(data['fmap'].flatten(2), dim=1)
    loss = affinity_loss((tokens.mT @ tokens).abs(), target) + 0.5 / ((target == 1).sum() + 1)
    assert_close(patch_token_contrast(data['fmap'], data['label_normal']), loss)


@pytest.mark.parametrize('temperature', [0.5, 1.0])
@pytest.mark.parametrize('case', ['normal', 'nonegative', 'alllocalnegative'])
def test_class_contrast_equals_the_reference(golden, case, temperature):
    data = golden('toco/ctc_loss')
    check_class_contrast(
        data, f'{case}_t{temperature}', data['student'], data['teacher'], data[f'flags_{case}'], temperature
    )


def test_class_contrast_of_one_image_equals_the_reference(golden):
    data = golden('toco/ctc_loss')
    check_class_contrast(
        data, 'single_t0.5', data['student'][:10], data['teacher'][:2], data['flags_normal'][:1], temperature=0.5
    )


def check_class_contrast(data, key, student, teacher, flags, temperature):
    student = student.clone().requires_grad_()
    loss = class_token_contrast(student, teacher, flags, temperature)
    loss.backward()
    assert_close(loss, data[f'loss_{key}'], rtol=0, atol=1e-6)
    assert_close(student.grad, data[f'grad_{key}'], rtol=0, atol=1e-6)


@pytest.mark.parametrize('factor', [None, 1e12, 1e18, 1e25])
def test_class_contrast_is_finite_where_the_reference_overflows(golden, factor):
    data = golden('toco/ctc_loss')
    assert data['loss_big_t0.5'].isnan()
    factor = data['big_factor'] if factor is None else factor
    student = (data['student'] * factor).requires_grad_()
    loss = class_token_contrast(student, data['teacher'] * factor, data['flags_normal'])
    loss.backward()
    assert loss.isfinite()
    assert student.grad.isfinite().all()


def test_rows_that_do_not_fit_the_flags_are_refused():
    with pytest.raises(ValueError, match='student rows'):
        class_token_contrast(torch.rand(9, 4), torch.rand(4, 4), torch.ones(2, 5))
