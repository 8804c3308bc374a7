"""ToCo through inference, video, export, panels, the hook, the page, ONNX, mixed precision and the stop at NaN."""

import gradio as gr
import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmseg.registry import DATASETS, MODELS
from PIL import Image
from torch.testing import assert_close

from afa_mmseg.apis import WeakSegInferencer, export_onnx, export_pseudo_labels, run_onnx
from afa_mmseg.apis.image_results import Request, infer_images
from afa_mmseg.apis.images import find_images
from afa_mmseg.apis.video import infer_video
from afa_mmseg.datasets import ShapesVOCDataset
from afa_mmseg.datasets.shapes_generator import make_shapes_voc
from afa_mmseg.engine.options import enable_amp
from afa_mmseg.utils import read_mask
from afa_mmseg.visualization import draw_sample, draw_summary, take_samples
from afa_mmseg.web.handlers import Handlers
from afa_mmseg.web.page import build_page
from afa_mmseg.web.uploads import Limits
from tests.engine.test_finite import Sabotage
from tests.toco_network import shapes_config


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp('shapes')
    make_shapes_voc(folder, num_train=4, num_val=1, size=64)
    return folder


@pytest.fixture(scope='module')
def files(data):
    """Config and checkpoint of a network with random weights."""
    config = shapes_config(data)
    init_default_scope('mmseg')
    torch.manual_seed(0)
    model = MODELS.build(config.model)
    model.init_weights()
    torch.save(dict(state_dict=model.state_dict(), meta=dict(dataset_meta=ShapesVOCDataset.METAINFO)), data / 'net.pth')
    return config, data / 'net.pth'


@pytest.fixture(scope='module')
def inferencer(files):
    return WeakSegInferencer(*files, device='cpu', show_progress=False)


@pytest.fixture
def runner(files, tmp_path):
    """Build a Runner that starts from the checkpoint and keeps none."""

    def build(change=lambda config: None):
        config, checkpoint = files
        config = config.copy()
        config.work_dir, config.load_from = str(tmp_path), str(checkpoint)
        config.visualizer.name = config.experiment_name = str(tmp_path.name)
        config.default_hooks.checkpoint = None
        change(config)
        return Runner.from_cfg(config)

    return build


def test_inference_writes_all_but_the_propagated_cam(inferencer, data, tmp_path):
    images = find_images([data / 'JPEGImages'])[:2]
    outcomes = infer_images(inferencer, images, tmp_path, Request(classes=['disc'], npz=True))
    assert [outcome.error for outcome in outcomes] == ['', '']
    assert sorted(path.name for path in (tmp_path / 'overlay').iterdir()) == ['cam', 'pred', 'pseudo']
    with np.load(tmp_path / f'scores/{images[0].name}.npz') as scores:
        assert scores['cam'].shape == (1, 64, 64)
    assert set(np.unique(read_mask(tmp_path / f'mask/pseudo/{images[0].name}.png'))) <= {0, 1, 255}


def test_a_video_is_written(inferencer, data, tmp_path):
    assert infer_video(inferencer, data / 'JPEGImages', [tmp_path / 'out.gif'], max_frames=3) == (3, False)
    assert Image.open(tmp_path / 'out.gif').n_frames == 2  # every second frame


def test_exported_labels_are_those_of_the_inferencer(inferencer, files, tmp_path):
    exported = export_pseudo_labels(*files, tmp_path, device='cpu', num_workers=0)
    assert (exported.num_written, exported.faults) == (4, {})
    job = exported.jobs[0]
    classes = [exported.classes[i + 1] for i in np.flatnonzero(job.info['gt_label'])]
    expected = inferencer(job.info['img_path'], classes=classes)['pred_pseudo_label']
    assert np.array_equal(read_mask(job.file), expected)


def test_panels_show_attention_and_no_affinity(inferencer, files):
    dataset = DATASETS.build(files[0].val_dataloader.dataset)
    (sample,) = take_samples(dataset, [0], 0, crops=False)
    steps = inferencer.explain(sample.inputs.permute(1, 2, 0).numpy())
    assert (steps.has_affinity, steps.has_attention) == (False, True)
    panel = draw_sample(inferencer.model, sample, dataset.metainfo)
    assert panel.shape[0] > 3 * 260  # tiles of classes, of labels and of attention
    assert draw_summary(inferencer.model, sample, dataset.metainfo).shape[1] == 5 * 192 + 4 * 4


def test_training_draws_panels_and_validates(runner, tmp_path):
    figures = runner().val()
    assert {'mIoU', 'cam/mIoU', 'aux_cam/mIoU', 'cls/f1'} <= figures.keys()
    (image,) = tmp_path.rglob('vis_image/*.png')
    assert image.name == 'val_val_000000_0.png'


def test_the_page_shows_three_steps_and_attention(inferencer, data):
    page = build_page(inferencer, [], Limits())
    hidden = [block for block in page.blocks.values() if isinstance(block, gr.Column) and not block.visible]
    assert len(hidden) == 2  # propagated CAM, affinity
    handlers = Handlers(inferencer, Limits())
    visit, _, _, cam, propagated, refined, prediction, *_ = handlers.look(str(next(data.glob('JPEGImages/*'))), 0.4)
    assert propagated is None
    assert cam.shape == refined.shape == prediction.shape == visit.canvas.shape
    ties = visit.ties(20, 10)
    assert ties.affinity is None
    np.testing.assert_allclose(ties.attention.sum(axis=(1, 2)), 1, rtol=1e-5)


def test_mixed_precision_and_accumulation_train_to_the_end(runner):
    def change(config):
        config.custom_hooks = []
        config.optim_wrapper.accumulative_counts = 2
        enable_amp(config)

    run = runner(change)
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    run.train()
    after = run.model.state_dict()
    assert run.iter == 6
    assert all(value.dtype == before[name].dtype and value.isfinite().all() for name, value in after.items())
    for name in ('conv6.weight', 'aux_classifier.weight', 'averaged_projector.last_layer.weight'):
        assert not torch.equal(after[f'decode_head.{name}'], before[f'decode_head.{name}'])


def test_a_loss_that_is_not_finite_stops_training(runner):
    def change(config):
        config.custom_hooks = [dict(type=Sabotage.__name__, what='classifier', at=4)]

    with pytest.raises(FloatingPointError, match=r'iteration 5[\s\S]*loss'):
        runner(change).train()


@pytest.mark.slow
@pytest.mark.parametrize('size', [(2, 3, 64, 64), (1, 3, 75, 110)])
def test_onnx_computes_what_prediction_computes(inferencer, tmp_path, size):
    model = inferencer.model
    export_onnx(model, tmp_path / 'model.onnx')
    image = torch.rand(size, generator=torch.Generator().manual_seed(1)) * 255
    normalised = (image - model.data_preprocessor.mean) / model.data_preprocessor.std
    with torch.no_grad():
        expected = model.encode_decode(normalised, [dict(img_shape=size[2:])] * size[0])
    assert_close(torch.from_numpy(run_onnx(tmp_path / 'model.onnx', image.numpy())), expected, rtol=0, atol=1e-4)
