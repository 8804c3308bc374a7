import pytest
import torch
from mmseg.models.backbones import MixVisionTransformer
from torch.testing import assert_close

from afa_mmseg.models import AttnMixVisionTransformer
from afa_mmseg.models.checkpoints import convert, recognise, to_afa
from tests.models.checkpoints.states import (
    TINY,
    afa_state,
    assert_same,
    backbone_state,
    nvlabs_state,
    starting_with,
    with_prefix,
)
from tests.reference_network import build_tiny_segmentor

# The layouts


@pytest.mark.parametrize('prefix', ['', 'module.'])
@pytest.mark.parametrize('name', ['64x64', '74x106'])
def test_afas_weights_lead_to_the_golden_outputs(golden, prefix, name):
    converted = convert(with_prefix(prefix, afa_state()))
    segmentor = build_tiny_segmentor().eval()
    segmentor.load_state_dict(converted.state, strict=True)
    data, head = golden(f'tiny/wetr_forward_{name}'), segmentor.decode_head
    features, attentions = segmentor.backbone.forward_with_attention(data['x'])
    assert_close(head.image_logits(features), data['cls'], rtol=0, atol=1e-4)
    assert_close(head(features), data['seg'], rtol=0, atol=1e-4)
    assert_close(head.affinity(attentions), data['attn_pred'], rtol=0, atol=1e-4)
    assert converted.layout.is_segmentor
    assert converted.left_out == {}


def test_the_way_to_afa_and_back_changes_no_bit():
    theirs = afa_state()
    ours = convert(theirs).state
    assert_same(to_afa(ours), theirs)
    trained = build_tiny_segmentor().state_dict()
    assert_same(convert(to_afa(trained)).state, trained)


def test_nvlabs_encoder_is_afas_without_the_classifier():
    converted = convert(nvlabs_state())
    assert_same(with_prefix('backbone.', converted.state), starting_with('backbone.', convert(afa_state()).state))
    assert converted.left_out == {'head.weight': "ImageNet's classifier", 'head.bias': "ImageNet's classifier"}
    AttnMixVisionTransformer(TINY).load_state_dict(converted.state, strict=True)


@pytest.mark.parametrize('layout', ['nvlabs', 'mmseg'])
def test_of_a_trained_segformer_the_backbone_is_taken(layout):
    backbone = nvlabs_state() if layout == 'nvlabs' else convert(nvlabs_state()).state
    backbone = {key: value for key, value in backbone.items() if not key.startswith('head.')}
    state = {**with_prefix('backbone.', backbone), 'decode_head.linear_pred.weight': torch.ones(150, 8, 1, 1)}
    converted = convert(state)
    assert_same(converted.state, convert(nvlabs_state()).state)
    assert converted.left_out == {'decode_head.linear_pred.weight': 'decode head'}


def test_mmsegs_own_backbone_keeps_its_names():
    state = MixVisionTransformer(**TINY, num_heads=(1, 2, 5, 8)).state_dict()
    converted = convert(state)
    assert converted.layout.title == "mmseg's MiT"
    assert_same(converted.state, state)


def test_of_our_own_segmentor_the_backbone_is_taken():
    state = build_tiny_segmentor().state_dict()
    converted = convert(state)
    assert_same(
        with_prefix('backbone.', converted.state), {k: v for k, v in state.items() if k.startswith('backbone.')}
    )
    assert set(converted.left_out) == {key for key in state if key.startswith('decode_head.')}


@pytest.fixture(scope='module')
def hugging_face():
    """transformers' own network with weights far from their initial values."""
    transformers = pytest.importorskip('transformers')
    torch.manual_seed(0)
    config = transformers.SegformerConfig(
        depths=[2, 1, 3, 2], hidden_sizes=[8, 16, 40, 64], num_attention_heads=[1, 2, 5, 8], num_labels=10
    )
    network = transformers.SegformerForImageClassification(config).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network


def states_of(network, folder):
    """Its state dict as saved, with and without the classifier."""
    from safetensors.torch import load_file

    network.save_pretrained(folder / 'whole')
    network.segformer.save_pretrained(folder / 'backbone')
    return [load_file(folder / name / 'model.safetensors') for name in ('whole', 'backbone')]


def test_hugging_faces_features_are_ours(hugging_face, tmp_path):
    image = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        expected = hugging_face.segformer(image, output_hidden_states=True).hidden_states
    states = [convert(state) for state in states_of(hugging_face, tmp_path)]
    # Every stage on half the grid of the one before, as in the weights' own network.
    backbone = AttnMixVisionTransformer(dict(embed_dims=8, num_layers=(2, 1, 3, 2)), strides=(4, 2, 2, 2)).eval()
    backbone.load_state_dict(states[0].state, strict=True)
    with torch.no_grad():
        features = backbone(image)
    for ours, theirs in zip(features, expected):
        assert_close(ours, theirs, rtol=0, atol=1e-4)
        assert theirs.std() > 0.5
    assert_same(states[1].state, states[0].state)
    assert [set(state.left_out) for state in states] == [{'classifier.weight', 'classifier.bias'}, set()]


def test_the_hubs_own_names_are_known(hugging_face, tmp_path):
    saved = states_of(hugging_face, tmp_path)[0]
    assert 'segformer.encoder.block.0.0.attention.self.query.weight' in saved
    assert convert(saved).layout.title == "Hugging Face's SegFormer (nvidia/mit-b*)"


@pytest.mark.parametrize('preset', ['b0', 'b1'])
def test_presets_are_found_by_shapes(preset):
    architecture = recognise(AttnMixVisionTransformer(preset).state_dict()).architecture
    assert (architecture.preset, str(architecture)) == (preset, f'MiT-{preset.upper()}')


def test_the_result_shares_no_memory_with_the_source():
    state = nvlabs_state()
    converted = convert(state).state
    for value in state.values():
        value.zero_()
    assert converted['layers.0.0.projection.weight'].abs().sum() > 0
    assert converted['layers.0.1.0.attn.attn.in_proj_weight'].abs().sum() > 0


# What does not fit


def without(state, *keys):
    return {key: value for key, value in state.items() if key not in keys}


def test_an_unknown_layout_shows_keys_and_names_the_known_ones():
    message = r"(?s)none of the known layouts .*'conv1\.weight'.*AFA's segmentor.*NVlabs.*mmseg's MiT.*Hugging Face"
    with pytest.raises(ValueError, match=message):
        convert({'conv1.weight': torch.ones(1)})
    with pytest.raises(ValueError, match='it is empty'):
        convert({})


def test_missing_and_left_over_tensors_are_all_named():
    state = without(nvlabs_state(), 'block1.0.attn.kv.weight')
    state['block1.0.attn.extra'] = torch.ones(1)
    with pytest.raises(ValueError) as error:
        convert(state)
    assert str(error.value).splitlines() == [
        'tensors do not fit:',
        "    missing: 'block1.0.attn.kv.weight'",
        "    left over: 'block1.0.attn.extra'",
    ]


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (
            {'patch_embed3.proj.weight': None, 'block1.0.norm1.weight': None},
            r"a patch embedding and blocks: no 'patch_embed3\.proj\.weight', 'block1\.0\.norm1\.weight'",
        ),
        (
            {'patch_embed2.proj.weight': torch.ones(24, 8, 3, 3)},
            'stages are 8, 24, 40, 64 channels wide; .* 1, 2, 5, 8 times its embed_dims',
        ),
        ({'patch_embed1.proj.weight': torch.tensor(1.0)}, 'stages are 0, 16, 40, 64 channels wide'),
    ],
)
def test_networks_that_are_no_mix_transformers_are_refused(change, message):
    state = {key: value for key, value in {**nvlabs_state(), **change}.items() if value is not None}
    with pytest.raises(ValueError, match=message):
        convert(state)


def test_an_afa_checkpoint_needs_its_decoder():
    with pytest.raises(ValueError, match=r'missing: .*decoder\.linear_c1'):
        convert(starting_with('encoder.', afa_state()))


def test_only_a_whole_segmentor_goes_to_afa():
    with pytest.raises(ValueError, match=r"only a whole segmentor of ours .* 'layers\.0\.0\.projection\.weight'"):
        to_afa(backbone_state())
    with pytest.raises(ValueError, match="left over: 'decode_head.extra'"):
        to_afa({**build_tiny_segmentor().state_dict(), 'decode_head.extra': torch.ones(1)})
