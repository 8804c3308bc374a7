"""Download of pretrained weights from a server on this machine, and the table of sources."""

import functools
import http.server
import runpy
import threading

import pytest
import torch
from safetensors import safe_open

from afa_mmseg.engine import load_config
from afa_mmseg.models import AttnMixVisionTransformer
from afa_mmseg.models.checkpoints.downloads import SHIPPED, SOURCES, download_weights
from tests.models.checkpoints.states import backbone_state, nvlabs_state
from tests.tools.toolbox import REPO

SCRIPT = str(REPO / 'tools/model_converters/download_weights.py')


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A stand-in for Hugging Face's hub with the weights of a small network; its folder."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    folder = tmp_path / 'hub'
    (folder / 'nvidia/mit-b1/resolve/main').mkdir(parents=True)
    torch.save(nvlabs_state(), folder / 'nvidia/mit-b1/resolve/main/pytorch_model.bin')
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv('HF_ENDPOINT', f'http://127.0.0.1:{server.server_port}')
    monkeypatch.chdir(tmp_path)
    yield folder
    server.shutdown()
    server.server_close()


def run(monkeypatch, *words):
    monkeypatch.setattr('sys.argv', [SCRIPT, *words])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(SCRIPT, run_name='__main__')
    return end.value.code


def test_weights_are_downloaded_and_converted(hub, monkeypatch, capsys):
    assert run(monkeypatch, 'mit-b1') == 0
    output = capsys.readouterr().out
    assert SOURCES['mit-b1'].licence in output
    assert 'afa_mit-b1_voc' in output
    written = torch.load(hub.parent / 'pretrained/mit_b1.pth', weights_only=True)
    assert written['state_dict'].keys() == backbone_state().keys()
    assert written['meta']['licence'] == SOURCES['mit-b1'].licence
    assert run(monkeypatch, 'mit-b1') == 1  # it exists


def test_a_failed_download_names_the_address_and_what_to_do(hub, monkeypatch, capsys):
    assert run(monkeypatch, 'mit-b2') == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if 'error' in line]
    assert '/nvidia/mit-b2/resolve/main/pytorch_model.bin' in line
    assert 'afa convert mit FILE pretrained/mit_b2.pth' in line
    assert not (hub.parent / 'pretrained').exists()


def test_another_checksum_and_other_weights_are_refused(hub, monkeypatch):
    url = '{hub}/nvidia/mit-b1/resolve/main/pytorch_model.bin'
    monkeypatch.setitem(SOURCES, 'deit-s', SOURCES['deit-s']._replace(address=url))
    with pytest.raises(ConnectionError, match='cd65a155'):
        download_weights('deit-s', 'deit.pth')
    monkeypatch.setitem(SOURCES, 'deit-s', SOURCES['deit-s']._replace(address=url, sha256=''))
    with pytest.raises(ValueError, match='mit-b1'):
        download_weights('deit-s', 'deit.pth')


@pytest.mark.parametrize('name', SOURCES)
def test_the_config_of_a_source_names_its_file(name):
    source = SOURCES[name]
    assert repr(source.file) in load_config(source.config).pretty_text
    assert source.sha256 in source.url
    assert source.licence


def test_shipped_weights_are_those_of_a_backbone_and_have_a_card(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, 'mit-b0-distilled') == 0
    written = torch.load('pretrained/mit_b0_distilled.pth', weights_only=True)
    backbone = AttnMixVisionTransformer(
        'b0', init_cfg=dict(type='Pretrained', checkpoint='pretrained/mit_b0_distilled.pth')
    )
    backbone.init_weights()
    file = SHIPPED / 'mit_b0_distilled.safetensors'
    with safe_open(file, 'pt') as shipped:
        assert shipped.keys() == [*sorted(backbone.state_dict())]
        for key, value in backbone.state_dict().items():
            assert value.dtype == torch.float32
            assert torch.equal(value, written['state_dict'][key])
            assert torch.equal(value, shipped.get_tensor(key).float())
    assert file.stat().st_size < 8e6
    card = file.with_suffix('.md').read_text(encoding='utf-8')
    assert all(word in card for word in ('Apache-2.0', 'EfficientNet-Lite2', 'Caltech-101', '5-NN'))
