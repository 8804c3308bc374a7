import pytest
import torch
from mmengine.config import Config
from mmseg.apis import init_model

from afa_mmseg.datasets import COCOImageLevelDataset, VOCImageLevelDataset
from afa_mmseg.models.checkpoints import convert, convert_file, convert_file_to_afa
from tests.models.checkpoints.states import WETR, afa_state, assert_same, nvlabs_state
from tests.reference_network import tiny_config


def test_a_converted_segmentor_predicts_through_mmsegs_api(tmp_path, golden):
    assert convert_file(WETR, tmp_path / 'out/afa.pth').layout.is_segmentor
    model = init_model(Config(dict(model=tiny_config())), str(tmp_path / 'out/afa.pth'), device='cpu')
    assert model.dataset_meta['classes'] == tuple(VOCImageLevelDataset.METAINFO['classes'])
    assert model.dataset_meta['palette'] == VOCImageLevelDataset.METAINFO['palette']
    data = golden('tiny/wetr_forward_64x64')
    with torch.no_grad():
        segmented = model.encode_decode(data['x'], [dict(img_shape=(64, 64))] * 2)
    expected = torch.nn.functional.interpolate(data['seg'], (64, 64), mode='bilinear')
    torch.testing.assert_close(segmented, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ('num_classes', 'classes'), [(81, COCOImageLevelDataset.METAINFO['classes']), (7, None)], ids=['coco', 'other']
)
def test_classes_are_those_of_the_data_set_with_as_many(tmp_path, num_classes, classes):
    state = afa_state()
    for key, number in (('classifier.weight', num_classes - 1), ('decoder.linear_pred.weight', num_classes)):
        state[key] = torch.zeros(number, *state[key].shape[1:])
    state['decoder.linear_pred.bias'] = torch.zeros(num_classes)
    torch.save(state, tmp_path / 'wetr.pth')
    convert_file(tmp_path / 'wetr.pth', tmp_path / 'afa.pth')
    meta = torch.load(tmp_path / 'afa.pth', weights_only=True)['meta']
    assert meta.get('dataset_meta', {}).get('classes') == classes


def test_files_go_to_afa_and_back(tmp_path):
    convert_file(WETR, tmp_path / 'afa.pth')
    convert_file_to_afa(tmp_path / 'afa.pth', tmp_path / 'wetr.pth')
    assert_same(torch.load(tmp_path / 'wetr.pth', weights_only=True), afa_state())


def test_a_file_is_replaced_by_force_only(tmp_path):
    out = tmp_path / 'mit.pth'
    out.write_bytes(b'other')
    with pytest.raises(FileExistsError, match=r'mit\.pth exists: .* --force'):
        convert_file(WETR, out)
    assert out.read_bytes() == b'other'
    convert_file(WETR, out, force=True)
    assert_same(torch.load(out, weights_only=True)['state_dict'], convert(afa_state()).state)


def test_what_a_killed_conversion_left_is_removed(tmp_path):
    (tmp_path / '.tmp-999999999-mit.pth').write_bytes(b'half')
    convert_file(WETR, tmp_path / 'mit.pth')
    assert [file.name for file in tmp_path.iterdir()] == ['mit.pth']


def test_errors_name_the_file(tmp_path):
    with pytest.raises(FileExistsError, match='exists: name another file'):
        convert_file(WETR, tmp_path)
    torch.save({'a': torch.ones(1)}, tmp_path / 'a.pth')
    with pytest.raises(ValueError, match=r'a\.pth: none of the known layouts'):
        convert_file(tmp_path / 'a.pth', tmp_path / 'b.pth')
    torch.save(nvlabs_state(), tmp_path / 'mit.pth')
    with pytest.raises(ValueError, match=r'mit\.pth: only a whole segmentor of ours'):
        convert_file_to_afa(tmp_path / 'mit.pth', tmp_path / 'b.pth')
    assert not (tmp_path / 'b.pth').exists()
