import pytest
import torch
from mmseg.models.backbones import MixVisionTransformer
from mmseg.registry import MODELS
from torch.testing import assert_close

from afa_mmseg.models import AttnMixVisionTransformer

TINY = dict(embed_dims=8, num_layers=(2, 2, 2, 2))


@pytest.mark.parametrize('name', ['64x64', '74x106'])
def test_features_and_attention_equal_the_reference(golden, tiny_segmentor, name):
    data = golden(f'tiny/wetr_forward_{name}')
    features, attentions = tiny_segmentor.backbone.forward_with_attention(data['x'])
    for i, feature in enumerate(features, start=1):
        if f'feat{i}' in data:
            assert_close(feature, data[f'feat{i}'], rtol=0, atol=1e-4)
    for attention, key in zip(attentions, ['attn6', 'attn7']):
        assert_close(attention.logits, data[key], rtol=0, atol=1e-4)


def test_a_checkpoint_of_mmsegs_own_backbone_leads_to_its_features():
    settings = dict(**TINY, num_heads=(1, 2, 5, 8), strides=(4, 2, 2, 1))
    theirs, ours = MixVisionTransformer(**settings).eval(), AttnMixVisionTransformer(TINY, drop_path_rate=0.0).eval()
    theirs.init_weights()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    for module in (*theirs.modules(), *ours.modules()):
        if isinstance(module, torch.nn.LayerNorm):
            module.eps = 1e-5  # mmseg builds every norm with 1e-6
    image = torch.randn(2, 3, 64, 96)
    for ours_map, theirs_map in zip(ours(image), theirs(image)):
        assert_close(ours_map, theirs_map, rtol=1e-4, atol=1e-5)


def test_norms_have_the_epsilons_that_the_weights_were_trained_with():
    names = {name: m.eps for name, m in AttnMixVisionTransformer(TINY).named_modules() if hasattr(m, 'eps')}
    loose = {name for name, eps in names.items() if eps == 1e-5}
    assert loose == {name for name in names if name.endswith(('.0.norm', '.attn.norm'))}
    assert len(loose) == 4 + 6
    assert all(names[name] == 1e-6 for name in set(names) - loose)


@pytest.mark.parametrize(('arch', 'width', 'blocks'), [('b0', 256, 8), ('b1', 512, 8), ('b2', 512, 16)])
def test_presets_are_segformers(arch, width, blocks):
    backbone = AttnMixVisionTransformer(arch)
    assert backbone(torch.rand(1, 3, 32, 32))[-1].shape[1] == width
    assert sum(len(layer[1]) for layer in backbone.layers) == blocks


@pytest.mark.parametrize('size', [(64, 64), (74, 106), (100, 61)])
def test_grid_size_is_that_of_the_features(size):
    backbone = AttnMixVisionTransformer(TINY)
    features, attentions = backbone.forward_with_attention(torch.rand(1, 3, *size))
    assert backbone.grid_size(*size) == features[-1].shape[-2:]
    assert attentions[0].logits.shape[-1] == features[-1][0, 0].numel()


def test_min_size_is_the_smallest_that_works():
    backbone = AttnMixVisionTransformer(TINY)
    backbone(torch.rand(1, 3, backbone.min_size, backbone.min_size))
    with pytest.raises(ValueError, match=r'28 x 40 .* 29'):
        backbone(torch.rand(1, 3, 28, 40))


def test_pretrained_weights_load_from_a_file(tmp_path):
    source = AttnMixVisionTransformer(TINY)
    source.init_weights()
    torch.save(dict(state_dict=source.state_dict()), tmp_path / 'mit.pth')
    cfg = dict(type='AttnMixVisionTransformer', arch=TINY)
    loaded = MODELS.build(dict(**cfg, init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'mit.pth'))))
    loaded.init_weights()
    for key, value in source.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value)


def test_a_missing_pretrained_file_is_named_with_its_remedy():
    backbone = AttnMixVisionTransformer(TINY, init_cfg=dict(type='Pretrained', checkpoint='no/such/mit.pth'))
    with pytest.raises(FileNotFoundError, match=r'(?s)no/such/mit\.pth.*init_cfg\.checkpoint'):
        backbone.init_weights()


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(arch='b9'), r"arch='b9' .* choose from b0, b1"),
        (dict(arch=TINY, num_attentions=3), 'num_attentions=3'),
        (dict(arch=TINY, sr_ratios=(8, 4, 2, 2)), r'sr_ratios=\(8, 4, 2, 2\)'),
    ],
)
def test_bad_settings_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        AttnMixVisionTransformer(**arguments)
