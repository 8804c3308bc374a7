import pytest
import torch
from torch.testing import assert_close

from afa_mmseg.models import AttnVisionTransformer
from afa_mmseg.models.checkpoints.vit import convert_vit, to_toco
from tests.toco_network import DATA, tiny_state


@pytest.fixture
def toco_state():
    return torch.load(DATA / 'toco_tiny.pth', weights_only=True)


def test_toco_converts_there_and_back(toco_state):
    back = to_toco(convert_vit({f'module.{key}': value for key, value in toco_state.items()}))
    assert back.keys() == {key for key in toco_state if not key.startswith('encoder.head.')}
    assert all(torch.equal(value, toco_state[key]) for key, value in back.items())


def test_timms_names_convert(toco_state):
    timm = {key.removeprefix('encoder.'): value for key, value in toco_state.items() if key.startswith('encoder.')}
    assert 'head.weight' in timm
    expected = {k.removeprefix('backbone.'): v for k, v in tiny_state().items() if k.startswith('backbone.')}
    converted = convert_vit(timm)
    assert converted.keys() == expected.keys()
    assert all(torch.equal(value, expected[key]) for key, value in converted.items())


def test_hugging_faces_file_leads_to_its_features(tmp_path):
    transformers = pytest.importorskip('transformers')
    load_file = pytest.importorskip('safetensors.torch').load_file
    sizes = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, image_size=64)
    theirs = transformers.ViTModel(transformers.ViTConfig(**sizes, layer_norm_eps=1e-6)).eval()
    theirs.save_pretrained(tmp_path)
    ours = AttnVisionTransformer(dict(embed_dims=16, num_layers=2, num_heads=2), (1,), img_size=64).eval()
    ours.load_state_dict(convert_vit(load_file(tmp_path / 'model.safetensors')))
    image = torch.rand(2, 3, 64, 64)
    tokens = theirs(image).last_hidden_state
    (last,), token, _ = ours.forward_with_tokens(image)
    assert_close(token, tokens[:, 0], rtol=1e-4, atol=1e-5)
    assert_close(last.flatten(2).mT, tokens[:, 1:], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('change', ['missing', 'unexpected', 'magnitude', 'unknown'])
def test_what_does_not_fit_is_named(toco_state, change):
    if change == 'missing':
        del toco_state['encoder.blocks.2.mlp.fc1.bias']
        name = r'encoder\.blocks\.2\.mlp\.fc1\.bias'
    elif change == 'unexpected':
        toco_state['decoder.conv9.weight'] = torch.zeros(1)
        name = r'decoder\.conv9\.weight'
    elif change == 'magnitude':
        toco_state['proj_head.last_layer.weight_g'] *= 2
        name = 'weight_g'
    else:
        toco_state, name = {'stem.weight': torch.zeros(1)}, r'stem\.weight'
    with pytest.raises(ValueError, match=name):
        convert_vit(toco_state)
