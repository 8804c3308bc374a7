"""AttentionBackbone on small pretrained backbones of mmseg and timm, and under AFAHead."""

import sys

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmseg.registry import MODELS
from torch import nn
from torch.testing import assert_close

from afa_mmseg.models import AFAHead, AttentionBackbone
from tests.tools.toolbox import REPO

RESNET = dict(
    type='ResNet', depth=18, base_channels=8, strides=(1, 2, 2, 1), norm_cfg=dict(type='BN'), out_indices=(0, 1, 2, 3)
)
NAME = 'mobilenetv2_050'
TIMM = dict(type='TIMMBackbone', model_name=NAME, pretrained=False, output_stride=16, out_indices=(1, 2, 3, 4))


def make(backbone=RESNET, in_channels=64, **settings):
    return AttentionBackbone(backbone, in_channels, num_heads=4, **settings)


def test_the_last_map_becomes_that_of_the_blocks_and_shows_its_attention():
    backbone = make(num_blocks=3, embed_dims=32).eval()
    image = torch.rand(2, 3, 70, 96)
    features, attentions = backbone.forward_with_attention(image)
    below = backbone.backbone(image)
    for ours, theirs in zip(features[:3], below[:3]):
        assert_close(ours, theirs)
    assert features[3].shape == (2, 32, 5, 6)
    assert_close(features[3].mean(dim=1), torch.zeros(2, 5, 6), rtol=0, atol=1e-5)  # the last norm
    assert len(attentions) == 3
    assert attentions[0].query.shape == attentions[0].key.shape == (2, 4, 30, 8)
    assert_close(backbone(image)[3], features[3])


def test_a_blocks_output_is_that_of_its_own_attention():
    backbone = make(num_blocks=1).eval()
    image = torch.rand(1, 3, 64, 64)
    block, norm = backbone.attention_blocks[0], backbone.attention_norm
    x = backbone.backbone(image)[-1].flatten(2).transpose(1, 2)
    attended, _ = block.attn.attn(*[block.norm1(x).transpose(0, 1)] * 3)  # PyTorch's own attention, (N, B, C)
    x = x + attended.transpose(0, 1)
    expected = norm(block.ffn(block.norm2(x), (4, 4), identity=x))
    assert_close(backbone(image)[-1].flatten(2).transpose(1, 2), expected, rtol=1e-4, atol=1e-5)


def test_the_head_works_on_it_and_affinity_reaches_the_backbone_below():
    backbone = make()
    head = AFAHead([8, 16, 32, 64], 16, num_classes=4, num_attention_heads=8)
    features, attentions = backbone.forward_with_attention(torch.rand(2, 3, 64, 64))
    affinity = head.affinity(attentions)
    assert affinity.shape == (2, 16, 16)
    assert_close(affinity, affinity.transpose(1, 2))
    assert head(features).shape == (2, 4, 16, 16)
    affinity.sum().backward()
    assert backbone.backbone.conv1.weight.grad.abs().max() > 0


def test_batch_norm_below_keeps_its_statistics_and_weights():
    backbone = make().train()
    norms = [module for module in backbone.backbone.modules() if isinstance(module, nn.BatchNorm2d)]
    before = [norm.running_mean.clone() for norm in norms]
    backbone(torch.rand(2, 3, 64, 64))
    assert all(torch.equal(norm.running_mean, mean) for norm, mean in zip(norms, before))
    assert not any(p.requires_grad for norm in norms for p in norm.parameters())
    learning = make(norm_eval=False, freeze_norm=False).train()
    assert learning.backbone.bn1.training
    assert learning.backbone.bn1.weight.requires_grad


@pytest.mark.parametrize('size', [(64, 64), (74, 106), (33, 100)])
def test_grid_size_is_that_of_the_features(size):
    backbone = make().eval()
    assert backbone.grid_size(*size) == backbone(torch.rand(1, 3, *size))[-1].shape[-2:]


def test_wrong_announcements_are_refused():
    with pytest.raises(ValueError, match='in_channels=48'):
        make(in_channels=48)(torch.rand(1, 3, 64, 64))
    with pytest.raises(ValueError, match='round_up=False'):
        make(round_up=False)(torch.rand(1, 3, 70, 64))
    with pytest.raises(ValueError, match='embed_dims=30'):
        make(embed_dims=30)
    with pytest.raises(ValueError, match='15 x 64'):
        make()(torch.rand(1, 3, 15, 64))


def test_a_classifiers_checkpoint_is_loaded_below(tmp_path):
    timm = pytest.importorskip('timm')
    classifier = timm.create_model(NAME)
    torch.save(dict(state_dict=classifier.state_dict()), tmp_path / 'weights.pth')
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'weights.pth'))
    backbone = make(TIMM, in_channels=160, init_cfg=init_cfg).eval()
    backbone.init_weights()
    state = classifier.state_dict()
    for name, value in backbone.backbone.timm_model.state_dict().items():
        assert_close(value, state[name], rtol=0, atol=0)
    features, _ = backbone.forward_with_attention(torch.rand(1, 3, 64, 64))
    assert [x.shape[-1] for x in features] == [16, 8, 4, 4]
    del state['blocks.0.0.conv_dw.weight']
    torch.save(state, tmp_path / 'weights.pth')
    with pytest.raises(ValueError, match=r'weights\.pth.*lacks 1 tensors.*blocks\.0\.0\.conv_dw\.weight'):
        backbone.init_weights()


def test_without_timm_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, 'timm', None)
    with pytest.raises(ModuleNotFoundError, match=r'\[timm\]'):
        make(TIMM)


def test_new_blocks_learn_like_heads_and_the_rest_like_a_backbone():
    config = Config.fromfile(REPO / 'configs/afa/afa_efficientnet-lite2_voc-animals.py')
    config.model.backbone.init_cfg = None
    model = MODELS.build(config.model)
    optimizer = build_optim_wrapper(model, config.optim_wrapper).optimizer
    rates = {id(p): group['lr'] for group in optimizer.param_groups for p in group['params']}
    lr = config.optim_wrapper.optimizer.lr
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            new = name.startswith(('decode_head', 'backbone.attention_'))
            assert rates[id(parameter)] == pytest.approx(10 * lr if new else lr), name
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert frozen == {n for n, _ in model.named_parameters() if n.startswith('backbone.backbone') and '.bn' in n}
