import pytest
import torch
from mmseg.registry import MODELS
from torch.testing import assert_close

from afa_mmseg.models.backbones import Attention


def make_head(**overrides):
    settings = dict(in_channels=(4, 4, 4, 6), channels=8, num_classes=4, norm_cfg=dict(type='BN'))
    return MODELS.build(dict(type='AFAHead', **{**settings, **overrides}))


@pytest.fixture
def features():
    return [torch.randn(2, 4, 16, 16), torch.randn(2, 4, 8, 8), torch.randn(2, 4, 4, 4), torch.randn(2, 6, 4, 4)]


@pytest.mark.parametrize('name', ['64x64', '74x106'])
def test_all_outputs_equal_the_reference(golden, tiny_segmentor, name):
    data, head = golden(f'tiny/wetr_forward_{name}'), tiny_segmentor.decode_head
    features, attentions = tiny_segmentor.backbone.forward_with_attention(data['x'])
    for output, key in [
        (head(features), 'seg'),
        (head.image_logits(features), 'cls'),
        (head.cam_logits(features), 'cam_s4'),
        (head.affinity(attentions), 'attn_pred'),
    ]:
        assert_close(output, data[key], rtol=0, atol=1e-4)


def test_affinity_equals_a_convolution_over_the_symmetric_logits():
    head = make_head()
    attentions = [Attention(torch.randn(2, 8, 9, 5), torch.randn(2, 8, 9, 5)) for _ in range(2)]
    logits = torch.cat([attention.logits for attention in attentions], dim=1)
    expected = head.affinity_proj(logits + logits.transpose(2, 3))[:, 0].sigmoid()
    affinity = head.affinity(attentions)
    assert_close(affinity, expected)
    assert_close(affinity, affinity.transpose(1, 2))


def test_max_pooling_is_the_maximum_of_the_cam_of_each_feature(features):
    head = make_head()
    pooled = features[-1].amax((2, 3))
    assert_close(head.image_logits(features), pooled @ head.classifier.weight[:, :, 0, 0].T)
    average = make_head(pool='avg')
    cam = average.cam_logits(features)
    assert_close(average.image_logits(features), cam.mean((2, 3)))


def test_cam_logits_carry_no_gradient(features):
    assert not make_head().cam_logits([f.requires_grad_() for f in features]).requires_grad


def test_zero_losses_reach_exactly_what_classification_does_not(features):
    head = make_head()
    losses = head.zero_losses()
    total = sum(losses.values())
    assert total == 0
    total.backward()
    reached = {name for name, p in head.named_parameters() if p.grad is not None}
    assert {name for name, _ in head.named_parameters()} - reached == {'classifier.weight'}
    assert all(p.grad.abs().max() == 0 for p in head.parameters() if p.grad is not None)


def test_wrong_settings_are_named():
    with pytest.raises(ValueError, match=r"pool='sum' .* max, avg"):
        make_head(pool='sum')
    with pytest.raises(ValueError, match=r'num_attention_heads=16.* 4'):
        make_head().affinity([Attention(torch.randn(1, 4, 9, 5), torch.randn(1, 4, 9, 5))])


def test_affinity_projection_starts_as_published():
    head = make_head(num_attention_heads=4096)
    head.init_weights()
    # kaiming normal, a = sqrt(5), fan_out = 1 output channel: std = sqrt(2 / 6)
    assert_close(head.affinity_proj.weight.std(), torch.tensor((2 / 6) ** 0.5), rtol=0.05, atol=0)


def test_bias_of_the_affinity_projection_is_drawn_as_by_pytorch():
    drawn = []
    for _ in range(400):
        head = make_head()
        head.init_weights()
        drawn.append(head.affinity_proj.bias.item())
    # uniform within 1 / sqrt(16 heads)
    assert max(map(abs, drawn)) <= 0.25
    assert min(drawn) < -0.24 < 0.24 < max(drawn)
    assert torch.tensor(drawn).std().item() == pytest.approx(0.5 / 12**0.5, rel=0.05)
