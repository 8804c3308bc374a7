"""A method without affinity and attention goes through training, inference, video, export, panels and the page."""

import json
import math

import gradio as gr
import numpy as np
import torch
from mmengine.runner import Runner
from mmseg.registry import DATASETS

from afa_mmseg.visualization import draw_sample, draw_summary, take_samples
from afa_mmseg.web.handlers import Handlers
from afa_mmseg.web.page import build_page
from afa_mmseg.web.uploads import Limits
from tests.any_method import AnyMethod
from tests.cam_only import cam_only_config


class TestCAMOnly(AnyMethod):
    config = staticmethod(cam_only_config)

    def test_panels_have_no_tiles_of_affinity_and_attention(self, inferencer, files):
        dataset = DATASETS.build(files[0].val_dataloader.dataset)
        (sample,) = take_samples(dataset, [0], 0, crops=False)
        panel = draw_sample(inferencer.model, sample, dataset.metainfo)
        assert panel.shape[0] < 3 * 260  # tiles of classes, and of labels
        row = draw_summary(inferencer.model, sample, dataset.metainfo)
        assert row.shape[1] == 5 * 192 + 4 * 4

    def test_it_trains_validates_and_draws(self, files, tmp_path):
        config, _ = files
        config = config.copy()
        config.work_dir = str(tmp_path)
        config.visualizer.name = str(tmp_path)  # mmengine keeps visualizers by name
        assert [hook.type for hook in config.custom_hooks] == ['WeakSegVisualizationHook']
        runner = Runner.from_cfg(config)
        before = runner.model.decode_head.conv_seg.weight.clone()
        runner.train()
        assert not torch.equal(runner.model.decode_head.conv_seg.weight, before)
        lines = [json.loads(line) for line in next(tmp_path.rglob('scalars.json')).read_text().splitlines()]
        logged = {key: value for line in lines for key, value in line.items()}
        assert {'cam/mIoU', 'refined_cam/mIoU'} <= set(logged)
        assert all(math.isfinite(value) for value in logged.values())
        (image,) = tmp_path.rglob('vis_image/*.png')
        assert image.name == 'val_val_000000_2.png'

    def test_the_page_shows_three_steps_and_no_maps_of_a_pixel(self, inferencer, data):
        page = build_page(inferencer, [], Limits())
        hidden = [block for block in page.blocks.values() if isinstance(block, gr.Column) and not block.visible]
        assert len(hidden) == 3  # propagated CAM, affinity, attention
        handlers = Handlers(inferencer, Limits())
        visit, _, _, cam, propagated, refined, prediction, *_ = handlers.look(str(next(data.glob('JPEGImages/*'))), 0.4)
        assert propagated is None
        assert cam.shape == refined.shape == prediction.shape == visit.canvas.shape
        assert handlers.slide(visit, 0.6)[0] is None
        event = gr.SelectData(None, dict(index=[20, 10], value=None))
        sentence, _, affinity, heads, numbers = handlers.click(visit, event)
        assert 'Row 1, column 2.' in sentence
        assert (affinity, heads) == (None, [])
        with np.load(numbers) as saved:
            assert sorted(saved.files) == ['cell', 'point']
