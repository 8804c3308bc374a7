"""tools/export_onnx.py as a user runs it."""

import os
import runpy

import pytest
import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS

from tests.tools.toolbox import REPO, run_tool


def export(config, folder, modules, check=True):
    """Export `model.pth`; the config's own module lies in the folder `modules`."""
    return run_tool(
        'export_onnx.py',
        config,
        'model.pth',
        'net.onnx',
        cwd=folder,
        check=check,
        PYTHONPATH=f'{REPO}{os.pathsep}{modules}',
    ).stdout


def test_a_file_of_another_kind_is_not_replaced(tmp_path, monkeypatch):
    table = tmp_path / 'tags.csv'
    table.write_text('a;b')
    monkeypatch.setattr('sys.argv', ['export_onnx.py', 'config.py', 'model.pth', str(table)])
    with pytest.raises(ValueError, match=r'tags\.csv does not end in \.onnx'):
        runpy.run_path(str(REPO / 'tools/export_onnx.py'))['main']()
    assert table.read_text() == 'a;b'


@pytest.mark.slow
def test_any_segmentor_of_mmseg_is_exported_and_compared(toy_config, tmp_path):
    init_default_scope('mmseg')
    config = Config.fromfile(toy_config, import_custom_modules=False)
    model = revert_sync_batchnorm(MODELS.build(config.model))
    meta = dict(dataset_meta=dict(classes=('dark', 'bright'), palette=[[0, 0, 0], [255, 255, 255]]))
    torch.save(dict(state_dict=model.state_dict(), meta=meta), tmp_path / 'model.pth')
    out = export(toy_config, tmp_path, toy_config.parent)
    assert 'net.onnx written; logits differ by at most ' in out
    assert (tmp_path / 'net.onnx').is_file()

    (tmp_path / 'net.onnx').unlink()
    other = tmp_path / 'other.py'
    other.write_text(f'_base_ = {str(toy_config)!r}\nmodel = dict(backbone=dict(num_layers=[2]))\n')
    message = export(other, tmp_path, toy_config.parent, check=False).splitlines()[-1]
    assert message.startswith('export_onnx.py: error: model.pth: the checkpoint is not one of this config: it lacks')
    assert "'backbone.layers.0.1.1." in message
    assert not (tmp_path / 'net.onnx').exists()
