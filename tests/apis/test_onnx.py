"""The exported file computes what the network computes, at any size."""

import itertools
import json
import sys

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.apis import inference_model
from mmseg.registry import MODELS
from torch.testing import assert_close

from afa_mmseg.apis import export_onnx, run_onnx
from afa_mmseg.apis.onnx import Exportable, integer_padding, open_onnx, same_padding
from afa_mmseg.engine import load_config
from tests.conftest import DATA
from tests.reference_network import build_tiny_segmentor, map_reference_keys
from tests.tiny_files import CLASSES, PALETTE
from tests.toco_network import SMALL, TOCO_SHAPES


@pytest.fixture(scope='module')
def exported(tmp_path_factory):
    init_default_scope('mmseg')
    model = build_tiny_segmentor().eval()
    model.load_state_dict(map_reference_keys(torch.load(DATA / 'tiny/wetr_tiny.pth', weights_only=True)))
    model.dataset_meta = dict(classes=CLASSES, palette=PALETTE)
    path = tmp_path_factory.mktemp('onnx') / 'model.onnx'
    export_onnx(model, path)
    return model, path


@pytest.mark.slow
def test_labels_are_the_argmax_of_the_logits_and_classes_are_in_the_metadata(exported, tmp_path):
    model, path = exported
    export_onnx(model, tmp_path / 'labels.onnx', argmax=True)
    image = np.random.default_rng(2).uniform(0, 255, (2, 3, 75, 110))
    labels = run_onnx(tmp_path / 'labels.onnx', image)
    assert (labels.shape, labels.dtype) == ((2, 75, 110), np.uint8)
    assert (labels != run_onnx(path, image).argmax(axis=1)).mean() < 1e-3
    for file, output in ((path, 'logits'), (tmp_path / 'labels.onnx', 'labels')):
        session = open_onnx(file)
        assert session.get_outputs()[0].name == output
        meta = session.get_modelmeta().custom_metadata_map
        assert json.loads(meta['classes']) == list(CLASSES)
        assert json.loads(meta['palette']) == PALETTE


@pytest.mark.slow
@pytest.mark.parametrize('size', [(2, 3, 64, 64), (1, 3, 75, 110), (3, 3, 160, 61)])
def test_logits_are_those_of_prediction_whatever_the_size(exported, size):
    model, path = exported
    image = torch.rand(size, generator=torch.Generator().manual_seed(1)) * 255
    normalised = (image - model.data_preprocessor.mean) / model.data_preprocessor.std
    with torch.no_grad():
        expected = model.encode_decode(normalised, [dict(img_shape=size[2:])] * size[0])
    assert_close(torch.from_numpy(run_onnx(path, image.numpy())), expected, rtol=0, atol=1e-4)


@pytest.mark.slow
def test_labels_are_those_of_mmsegs_inference(exported):
    model, path = exported
    model.cfg = Config(dict(test_pipeline=[dict(type='LoadImageFromNDArray'), dict(type='PackSegInputs')]))
    image = np.random.default_rng(0).integers(0, 256, (80, 96, 3), dtype=np.uint8)  # BGR, as OpenCV reads
    label = inference_model(model, image).pred_sem_seg.data[0].numpy()
    logits = run_onnx(path, image[..., ::-1].transpose(2, 0, 1)[None])
    assert (logits[0].argmax(axis=0) != label).mean() < 1e-3  # rounding decides ties


@pytest.mark.slow
def test_it_is_one_file_and_nothing_else(exported):
    assert [path.name for path in exported[1].parent.iterdir()] == ['model.onnx']


def test_padding_is_that_of_timm():
    padding = pytest.importorskip('timm.layers.padding')
    original = padding.get_same_padding
    cases = list(itertools.product(range(1, 40), (1, 3, 5, 7), (1, 2, 3, 4), (1, 2, 3)))
    assert [case for case in cases if same_padding(*case) != original(*case)] == []
    with integer_padding():
        assert padding.get_same_padding is same_padding
    assert padding.get_same_padding is original


@pytest.mark.slow
def test_a_network_on_a_convolutional_backbone_is_exported(tmp_path):
    pytest.importorskip('timm')
    config = load_config('afa_efficientnet-lite2_voc-animals')
    config.model.backbone.update(
        backbone=dict(config.model.backbone.backbone, model_name='tf_mobilenetv3_small_minimal_100'),
        in_channels=576,
        init_cfg=None,
    )
    config.model.decode_head.in_channels = [16, 24, 48, 576]
    model = MODELS.build(config.model).eval()
    export_onnx(model, tmp_path / 'model.onnx')
    image = 255 * torch.rand(1, 3, 100, 72)
    with torch.no_grad():
        expected = Exportable(model)(image)
    assert_close(torch.from_numpy(run_onnx(tmp_path / 'model.onnx', image.numpy())), expected, rtol=1e-3, atol=1e-4)


def test_a_missing_package_is_named(tmp_path, tiny_segmentor, monkeypatch):
    monkeypatch.setitem(sys.modules, 'onnxscript', None)
    with pytest.raises(ModuleNotFoundError, match=r'onnxscript is not installed: .*\[onnx\]'):
        export_onnx(tiny_segmentor, tmp_path / 'model.onnx')
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_images_are_resized_as_in_prediction(exported, tmp_path):
    config = Config.fromfile(TOCO_SHAPES)
    config.merge_from_dict({key: value for key, value in SMALL.items() if key.startswith('model.')})
    model = MODELS.build({**config.model, 'test_size': (80, 64), 'test_cfg': dict(mode='whole')}).eval()
    export_onnx(model, tmp_path / 'model.onnx')
    image = torch.rand(1, 3, 96, 70, generator=torch.Generator().manual_seed(1)) * 255
    normalised = (image - model.data_preprocessor.mean) / model.data_preprocessor.std
    with torch.no_grad():
        expected = model.inference(normalised, [dict(ori_shape=(96, 70), img_shape=(96, 70))])
    assert_close(torch.from_numpy(run_onnx(tmp_path / 'model.onnx', image.numpy())), expected, rtol=0, atol=1e-4)
