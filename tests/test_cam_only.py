"""A method without affinity and attention goes through training, inference, video, export, panels and the page."""

import json
import math

import torch
from mmengine.runner import Runner

from tests.any_method import AnyMethod
from tests.cam_only import cam_only_config


class TestCAMOnly(AnyMethod):
    config = staticmethod(cam_only_config)

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
