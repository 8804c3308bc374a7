"""HybridVisionTransformer on small backbones of mmseg and timm; under AFA and ToCo it is in test_configs.py."""

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmseg.registry import MODELS
from torch import nn
from torch.testing import assert_close

from afa_mmseg.models import AttnVisionTransformer, HybridVisionTransformer
from tests.models.test_attention_backbone import NAME, RESNET, TIMM
from tests.tools.toolbox import REPO

TINY = dict(embed_dims=16, num_layers=4, num_heads=2)


def make(backbone=RESNET, in_channels=64, init_cfg=None, **settings):
    stem = dict(backbone=backbone, in_channels=in_channels, init_cfg=init_cfg)
    return HybridVisionTransformer(stem, TINY, **{'img_size': 64, **settings})


def test_it_is_a_vision_transformer_whose_patches_are_the_cells_of_the_map():
    hybrid = make().eval()
    plain = AttnVisionTransformer(TINY, img_size=64).eval()
    plain.load_state_dict(hybrid.state_dict(), strict=False)
    image = torch.rand(2, 3, 70, 96)
    cells, grid = hybrid.embed(image)
    stem = hybrid.patch_embed
    by_hand = stem.attention_norm(stem.attention_embed(stem.backbone(image)[-1]).flatten(2).transpose(1, 2))
    assert_close(cells, by_hand)
    assert grid == (5, 6) == hybrid.grid_size(70, 96)  # rounded up, as the convolutions below pad
    plain.patch_embed = nn.Module()
    plain.patch_embed.forward = lambda x: (cells, grid)
    ours, theirs = hybrid.forward_with_tokens(image), plain.forward_with_tokens(image)
    assert_close(ours.maps, theirs.maps)
    assert_close(ours.class_token, theirs.class_token)
    assert_close(ours.attentions[-1].logits, theirs.attentions[-1].logits)


def test_the_loss_reaches_the_backbone_below_but_not_its_batch_norm():
    hybrid = make().train()
    token = hybrid.forward_with_tokens(torch.rand(2, 3, 64, 64)).class_token
    (token * torch.randn(2, 16)).sum().backward()  # the plain sum is constant: the token is normalised
    assert hybrid.patch_embed.backbone.conv1.weight.grad.abs().max() > 0
    assert hybrid.pos_embed.grad is not None
    assert not hybrid.patch_embed.backbone.bn1.training
    assert not hybrid.patch_embed.backbone.bn1.weight.requires_grad


def test_weights_below_are_those_of_its_own_file_and_not_drawn_anew(tmp_path):
    timm = pytest.importorskip('timm')
    state = timm.create_model(NAME).state_dict()
    torch.save(state, tmp_path / 'weights.pth')
    from_file = make(TIMM, 160, dict(type='Pretrained', checkpoint=str(tmp_path / 'weights.pth')))
    from_file.init_weights()
    for name, value in from_file.patch_embed.backbone.timm_model.state_dict().items():
        assert_close(value, state[name], rtol=0, atol=0)
    by_itself = make(TIMM, 160)  # as with pretrained=True, which downloads when it is built
    before = by_itself.patch_embed.backbone.timm_model.conv_stem.weight.clone()
    by_itself.init_weights()
    assert torch.equal(by_itself.patch_embed.backbone.timm_model.conv_stem.weight, before)
    assert by_itself.cls_token.std().item() == pytest.approx(0.02, rel=0.5)  # ViT's own


def test_a_checkpoint_of_the_whole_is_loaded(tmp_path):
    first, second = make().eval(), make().eval()
    torch.save(first.state_dict(), tmp_path / 'whole.pth')
    second.init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'whole.pth'))
    second.init_weights()
    image = torch.rand(1, 3, 64, 64)
    assert_close(second(image), first(image), rtol=0, atol=0)


def test_wrong_settings_and_small_images_are_refused():
    with pytest.raises(ValueError, match='in_channels=48'):
        make(in_channels=48)(torch.rand(1, 3, 64, 64))
    with pytest.raises(ValueError, match='15 x 64'):
        make()(torch.rand(1, 3, 15, 64))
    with pytest.raises(ValueError, match='deit-x'):
        HybridVisionTransformer(dict(backbone=RESNET, in_channels=64), 'deit-x')
    with pytest.raises(ValueError, match=r'stem\.num_blocks'):
        HybridVisionTransformer(dict(backbone=RESNET, in_channels=64, num_blocks=2), TINY)
    with pytest.raises(ValueError, match=r'stem\.in_channels'):
        HybridVisionTransformer(dict(backbone=RESNET), TINY)


def test_a_missing_file_of_the_stem_is_named_with_a_remedy(tmp_path):
    hybrid = make(init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'none.pth')))
    with pytest.raises(FileNotFoundError, match=r'none\.pth[\s\S]*afa weights'):
        hybrid.init_weights()


@pytest.mark.parametrize('name', ['afa', 'toco'])
def test_new_parts_learn_faster_than_pretrained_ones(name):
    config = Config.fromfile(REPO / f'configs/{name}/{name}_hybrid-s_voc-animals.py')
    config.model.backbone.stem = dict(backbone=RESNET, in_channels=64)
    model = MODELS.build(config.model)
    wrapper = build_optim_wrapper(model, config.optim_wrapper)
    rates = {id(p): group['lr'] for group in wrapper.optimizer.param_groups for p in group['params']}
    for parameter_name, parameter in model.named_parameters():
        if parameter.requires_grad:
            below = parameter_name.startswith('backbone.patch_embed.backbone')
            times = 10 if parameter_name.startswith('decode_head') else 1 if below else 2
            assert rates[id(parameter)] == pytest.approx(5e-5 * times), parameter_name
