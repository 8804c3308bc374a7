"""The hook draws what validation gives it, whatever the pipeline did to the picture."""

from types import SimpleNamespace

import numpy as np
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from PIL import Image

from afa_mmseg.visualization import CAMPanelHook, panel_of_sample


def test_a_resized_picture_is_drawn_at_the_size_of_its_prediction(tmp_path):
    hook = CAMPanelHook(str(tmp_path / 'panels'))
    runner = SimpleNamespace(
        val_dataloader=SimpleNamespace(dataset=SimpleNamespace(metainfo=dict(palette=[[0, 0, 0], [250, 0, 0]])))
    )
    sample = SegDataSample(metainfo=dict(img_id='a/b', ori_shape=(40, 60)))
    sample.pred_sem_seg = PixelData(data=torch.ones(1, 40, 60, dtype=torch.int64))
    hook.before_val(runner)
    inputs = torch.full((3, 20, 30), 100, dtype=torch.uint8)
    hook.after_val_iter(runner, 0, dict(inputs=[inputs]), [sample])
    label = sample.pred_sem_seg.data[0].numpy()
    whole = panel_of_sample(
        np.full((40, 60, 3), 100, np.uint8), dict(pred_sem_seg=label), [[0, 0, 0], [250, 0, 0]], None
    )
    assert np.array_equal(Image.open(tmp_path / 'panels/a_b.png'), whole)
