import functools
import http.server
import threading

import pytest
import torch
from mmseg.registry import MODELS

from afa_mmseg.models import AttnMixVisionTransformer
from afa_mmseg.models.checkpoints import convert_file, read_pretrained
from tests.models.checkpoints.states import (
    TINY,
    WETR,
    assert_same,
    backbone_state,
    nvlabs_state,
    starting_with,
    with_prefix,
)
from tests.reference_network import build_tiny_segmentor


def initialised(checkpoint, arch=None, **init_cfg):
    """A backbone that loaded its pretrained file."""
    backbone = AttnMixVisionTransformer(
        arch or TINY, init_cfg=dict(type='Pretrained', checkpoint=str(checkpoint), **init_cfg)
    )
    backbone.init_weights()
    return backbone


def test_a_converted_file_is_what_a_backbone_starts_from(tmp_path):
    torch.save(nvlabs_state(), tmp_path / 'source.pth')
    convert_file(tmp_path / 'source.pth', tmp_path / 'mit.pth')
    content = torch.load(tmp_path / 'mit.pth', weights_only=True)
    assert content['meta']['arch'] == TINY
    assert_same(initialised(tmp_path / 'mit.pth').state_dict(), content['state_dict'])


def test_a_trained_segmentors_backbone_is_named_by_its_prefix(tmp_path):
    state = build_tiny_segmentor().state_dict()
    torch.save(dict(state_dict=state), tmp_path / 'whole.pth')
    loaded = initialised(tmp_path / 'whole.pth', prefix='backbone.').state_dict()
    assert_same(with_prefix('backbone.', loaded), starting_with('backbone.', state))
    with pytest.raises(ValueError, match=r"(?s)It holds mmseg's MiT\. Convert it and name the result: python tools/"):
        initialised(tmp_path / 'whole.pth')


VIT = dict(type='AttnVisionTransformer', arch=dict(embed_dims=32, num_layers=3, num_heads=2), img_size=(64, 64))
FORMS = {
    'bare': (lambda state: state, {}),
    'state_dict': (lambda state: dict(state_dict=state), {}),
    'model': (lambda state: dict(model=state), {}),  # DeiT
    'distributed': (lambda state: with_prefix('module.', state), {}),
    'segmentor': (lambda state: dict(state_dict=with_prefix('backbone.', state)), dict(prefix='backbone')),
}


@pytest.mark.parametrize(('form', 'init_cfg'), FORMS.values(), ids=FORMS)
@pytest.mark.parametrize('config', [dict(type='AttnMixVisionTransformer', arch=TINY), VIT], ids=['mit', 'vit'])
def test_all_weights_are_loaded_from_every_form_of_file(tmp_path, config, form, init_cfg):
    state = {name: torch.rand(value.shape) for name, value in MODELS.build(config).state_dict().items()}
    torch.save(form(state), tmp_path / 'weights.pth')
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'weights.pth'), **init_cfg)
    backbone = MODELS.build(dict(config, init_cfg=init_cfg))
    backbone.init_weights()
    assert_same(backbone.state_dict(), state)


def test_a_classifier_besides_does_no_harm(tmp_path):
    state = backbone_state()
    torch.save({**with_prefix('module.', state), 'head.weight': torch.ones(1)}, tmp_path / 'mit.pth')
    assert_same(initialised(tmp_path / 'mit.pth').state_dict(), state)


@pytest.mark.parametrize(
    ('arch', 'message'),
    [
        (dict(embed_dims=16), 'of another shape: .* expected'),
        (dict(num_layers=(2, 2, 3, 2)), r"left over: 'layers\.2\.1\.2\.norm1\.weight'"),
        (dict(num_layers=(2, 2, 1, 2)), r"missing: 'layers\.2\.1\.1\.norm1\.weight'"),
    ],
)
def test_weights_of_another_architecture_are_refused(tmp_path, arch, message):
    torch.save(backbone_state(**arch), tmp_path / 'mit.pth')
    with pytest.raises(ValueError, match=rf'(?s)do not fit: .*The file holds MiT of .*backbone is MiT of .*{message}'):
        initialised(tmp_path / 'mit.pth')


def test_unconverted_files_name_the_command(tmp_path):
    torch.save(nvlabs_state(), tmp_path / 'nvlabs.pth')
    with pytest.raises(ValueError, match=r"It holds NVlabs' SegFormer .* Convert it and name the result: python"):
        initialised(tmp_path / 'nvlabs.pth')
    with pytest.raises(ValueError, match=r"(?s)It holds AFA's segmentor .*load_from=OUT .*init_cfg=None"):
        initialised(WETR)
    torch.save({'conv1.weight': torch.ones(1)}, tmp_path / 'resnet.pth')
    with pytest.raises(ValueError, match=r"Its keys: 'conv1\.weight'"):
        initialised(tmp_path / 'resnet.pth')


@pytest.mark.parametrize('preset', ['b0', 'b1'])
def test_a_missing_file_names_sources_and_command(preset):
    own = AttnMixVisionTransformer(preset).state_dict()
    with pytest.raises(FileNotFoundError) as error:
        read_pretrained(own, 'pre trained/mit.pth')
    for part in (
        'not found: pre trained/mit.pth',
        'model.backbone.init_cfg.checkpoint',
        f"afa weights mit-{preset} --out 'pre trained/mit.pth'",
        "python tools/model_converters/convert_mit.py DOWNLOADED_FILE 'pre trained/mit.pth'",
    ):
        assert part in str(error.value)


def test_a_backbone_looks_before_it_loads():
    with pytest.raises(FileNotFoundError, match=r'(?s)no/mit\.pth.*afa weights mit-b0 '):
        initialised('no/mit.pth', 'b0')


def test_other_weights_are_not_offered_under_the_name_of_distilled_ones():
    with pytest.raises(FileNotFoundError, match='afa weights mit-b0-distilled --out no/mit_b0_distilled.pth'):
        initialised('no/mit_b0_distilled.pth', 'b0')
    with pytest.raises(FileNotFoundError, match='Distil a MiT-B0') as error:
        initialised('no/my_distilled.pth', 'b0')
    assert 'afa weights' not in str(error.value)


def test_a_file_that_runs_code_is_refused(tmp_path):
    torch.save(dict(backbone_state(), extra=pytest.Session), tmp_path / 'mit.pth')
    with pytest.raises(ValueError, match=r'mit\.pth is refused'):
        initialised(tmp_path / 'mit.pth')


@pytest.fixture
def server(tmp_path):
    """A web server of a folder: (its address, the folder)."""
    (tmp_path / 'web').mkdir()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path / 'web')
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as web:
        thread = threading.Thread(target=web.serve_forever)
        thread.start()
        yield f'http://127.0.0.1:{web.server_port}', tmp_path / 'web'
        web.shutdown()
        thread.join()


def test_downloads_are_looked_at_too(server, tmp_path, monkeypatch):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'home'))
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    address, folder = server
    state = backbone_state()
    torch.save(state, folder / 'right.pth')
    torch.save(backbone_state(embed_dims=16), folder / 'wrong.pth')
    assert_same(initialised(f'{address}/right.pth').state_dict(), state)
    with pytest.raises(ValueError, match=r'do not fit: http://.*/wrong\.pth'):
        initialised(f'{address}/wrong.pth')
