import pytest
import torch
from mmseg.models.backbones import VisionTransformer
from mmseg.registry import MODELS
from torch.testing import assert_close

from afa_mmseg.models import AttnVisionTransformer
from tests.toco_network import build_parts, normalize

TINY = dict(embed_dims=16, num_layers=4, num_heads=2)


@pytest.mark.parametrize('name', ['64x64', '75x107', '80x144'])
def test_tokens_equal_the_reference(golden, name):
    data = golden(f'toco/forward_{name}')
    backbone, _ = build_parts()
    (aux, last), token, _ = backbone.forward_with_tokens(normalize(data['x_u8']))
    assert_close(aux, data['aux_map'], rtol=0, atol=2e-5)
    assert_close(last, data['fmap'], rtol=0, atol=2e-5)
    assert_close(token, data['cls_token'], rtol=0, atol=2e-5)
    assert backbone.grid_size(*data['x_u8'].shape[-2:]) == last.shape[-2:]


def test_a_checkpoint_of_mmsegs_own_backbone_loads_and_equals_its_features():
    theirs = VisionTransformer(
        64,
        patch_pad=0,
        patch_bias=True,
        final_norm=True,
        norm_cfg=dict(type='LN', eps=1e-6),
        out_indices=(1, 3),
        **TINY,
    )
    theirs.eval()
    theirs.init_weights()
    ours = AttnVisionTransformer(TINY, (1, 3), img_size=64).eval()
    ours.load_state_dict(theirs.state_dict())
    image = torch.randn(2, 3, 64, 96)
    for ours_map, theirs_map in zip(ours(image), theirs(image)):
        assert_close(ours_map, theirs_map, rtol=1e-4, atol=1e-5)


def test_attention_is_that_between_patch_tokens():
    backbone = AttnVisionTransformer(TINY, num_attentions=3, img_size=64)
    maps, attentions = backbone.forward_with_attention(torch.rand(2, 3, 48, 80))
    assert [attention.logits.shape for attention in attentions] == [(2, 2, 15, 15)] * 3
    assert maps[-1].shape == (2, 16, 3, 5)


def test_a_missing_file_of_a_list_is_named(tmp_path):
    init_cfg = [dict(type='TruncNormal', layer='Linear'), dict(type='Pretrained', checkpoint='gone.pth')]
    with pytest.raises(FileNotFoundError, match='(?s)gone.pth.*convert_vit.py'):
        AttnVisionTransformer(TINY, init_cfg=init_cfg).init_weights()


def test_only_the_position_embedding_is_frozen():
    frozen = [name for name, p in AttnVisionTransformer(TINY).named_parameters() if not p.requires_grad]
    assert frozen == ['pos_embed']
    assert AttnVisionTransformer(TINY, freeze_pos_embed=False).pos_embed.requires_grad


def test_recomputing_activations_changes_no_gradient():
    image, gradients = torch.rand(1, 3, 48, 48), []
    for with_cp in (False, True):
        torch.manual_seed(0)
        backbone = AttnVisionTransformer(TINY, img_size=48, with_cp=with_cp)
        (backbone(image)[-1] ** 2).sum().backward()
        gradients.append(backbone.layers[0].attn.attn.in_proj_weight.grad)
    assert_close(*gradients)


@pytest.mark.parametrize('settings', [dict(arch='vit-h'), dict(out_indices=(12,)), dict(num_attentions=0)])
def test_invalid_settings_are_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        AttnVisionTransformer(**settings)


def test_an_image_smaller_than_a_patch_is_refused():
    with pytest.raises(ValueError, match='15 x 64'):
        AttnVisionTransformer(TINY)(torch.rand(1, 3, 15, 64))


def test_a_pretrained_file_is_loaded_and_one_of_timms_names_its_converter(tmp_path):
    settings = dict(type='AttnVisionTransformer', arch=TINY, img_size=64)
    own = MODELS.build(settings)
    torch.save(dict(state_dict=own.state_dict()), tmp_path / 'own.pth')
    loaded = MODELS.build(dict(settings, init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'own.pth'))))
    loaded.init_weights()
    assert all(torch.equal(value, own.state_dict()[key]) for key, value in loaded.state_dict().items())
    torch.save({'patch_embed.proj.weight': torch.zeros(1)}, tmp_path / 'timm.pth')
    for file, error in (('timm.pth', ValueError), ('none.pth', FileNotFoundError)):
        backbone = MODELS.build(dict(settings, init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / file))))
        with pytest.raises(error, match=rf'convert_vit\.py FILE .*{file}'):
            backbone.init_weights()
