"""Tests that every method without affinity passes; a test class of a method inherits them."""

import gradio as gr
import numpy as np
import pytest
from mmseg.registry import DATASETS
from PIL import Image

from afa_mmseg.apis import WeakSegInferencer, export_pseudo_labels
from afa_mmseg.apis.image_results import Request, infer_images
from afa_mmseg.apis.images import find_images
from afa_mmseg.apis.video import infer_video
from afa_mmseg.datasets import ShapesVOCDataset
from afa_mmseg.datasets.shapes_generator import make_shapes_voc
from afa_mmseg.utils import read_mask
from afa_mmseg.visualization import draw_sample, draw_summary, take_samples
from afa_mmseg.web.handlers import Handlers
from afa_mmseg.web.page import build_page
from afa_mmseg.web.uploads import Limits
from tests.apis.small_run import write_checkpoint


class AnyMethod:
    """Inference, video, export, panels and page of a network with random weights.

    `config` maps a ShapesVOC folder to the method's config; `has_attention` states whether it shows attention.
    """

    config, has_attention = None, False

    @pytest.fixture(scope='class')
    def data(self, tmp_path_factory):
        folder = tmp_path_factory.mktemp('shapes')
        make_shapes_voc(folder, num_train=4, num_val=1, size=64)
        return folder

    @pytest.fixture(scope='class')
    def files(self, data):
        """Config and checkpoint."""
        config = type(self).config(data)
        write_checkpoint(config, data / 'net.pth', ShapesVOCDataset.METAINFO)
        return config, data / 'net.pth'

    @pytest.fixture(scope='class')
    def inferencer(self, files):
        return WeakSegInferencer(*files, device='cpu', show_progress=False)

    def test_inference_leaves_out_the_propagated_cam(self, inferencer, data, tmp_path):
        images = find_images([data / 'JPEGImages'])[:2]
        outcomes = infer_images(inferencer, images, tmp_path, Request(classes=['disc'], npz=True))
        assert [outcome.error for outcome in outcomes] == ['', '']
        assert sorted(path.name for path in (tmp_path / 'overlay').iterdir()) == ['cam', 'pred', 'pseudo']
        with np.load(tmp_path / f'scores/{images[0].name}.npz') as scores:
            assert scores.files == ['probability', 'score', 'classes', 'cam']
            assert scores['cam'].shape == (1, 64, 64)
        assert set(np.unique(read_mask(tmp_path / f'mask/pseudo/{images[0].name}.png'))) <= {0, 1, 255}

    def test_a_video_is_written(self, inferencer, data, tmp_path):
        assert infer_video(inferencer, data / 'JPEGImages', [tmp_path / 'out.gif'], max_frames=3) == (3, False)
        assert Image.open(tmp_path / 'out.gif').n_frames == 2  # every second frame

    def test_exported_labels_are_those_of_the_inferencer(self, inferencer, files, tmp_path):
        exported = export_pseudo_labels(*files, tmp_path, device='cpu', num_workers=0)
        assert (exported.num_written, exported.faults) == (4, {})
        job = exported.jobs[0]
        classes = [exported.classes[i + 1] for i in np.flatnonzero(job.info['gt_label'])]
        expected = inferencer(job.info['img_path'], classes=classes)['pred_pseudo_label']
        assert np.array_equal(read_mask(job.file), expected)

    def test_panels_have_tiles_of_what_the_method_has(self, inferencer, files):
        dataset = DATASETS.build(files[0].val_dataloader.dataset)
        (sample,) = take_samples(dataset, [0], 0, crops=False)
        steps = inferencer.explain(sample.inputs.permute(1, 2, 0).numpy())
        assert (steps.has_affinity, steps.has_attention) == (False, self.has_attention)
        panel = draw_sample(inferencer.model, sample, dataset.metainfo)
        assert (panel.shape[0] > 3 * 260) == self.has_attention  # tiles of classes, of labels and of attention
        assert draw_summary(inferencer.model, sample, dataset.metainfo).shape[1] == 5 * 192 + 4 * 4

    def test_the_page_shows_three_steps_and_what_the_method_has(self, inferencer, data):
        page = build_page(inferencer, [], Limits())
        hidden = [block for block in page.blocks.values() if isinstance(block, gr.Column) and not block.visible]
        assert len(hidden) == 3 - self.has_attention  # propagated CAM, affinity, attention
        handlers = Handlers(inferencer, Limits())
        visit, _, _, cam, propagated, refined, prediction, *_ = handlers.look(str(next(data.glob('JPEGImages/*'))), 0.4)
        assert propagated is None
        assert cam.shape == refined.shape == prediction.shape == visit.canvas.shape
        assert handlers.slide(visit, 0.6)[0] is None
        event = gr.SelectData(None, dict(index=[20, 10], value=None))
        sentence, _, affinity, heads, numbers = handlers.click(visit, event)
        assert 'Row 1, column 2.' in sentence
        assert (affinity, bool(heads)) == (None, self.has_attention)
        with np.load(numbers) as saved:
            assert sorted(saved.files) == [*(['attention'] if self.has_attention else []), 'cell', 'point']
