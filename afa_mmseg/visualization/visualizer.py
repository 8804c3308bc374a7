"""Visualizer of `tools/test.py --show-dir`: ground truth and segmentation as overlays, above a legend."""

from typing import Any, Optional

import mmcv
import numpy as np
from mmseg.registry import VISUALIZERS
from mmseg.structures import SegDataSample
from mmseg.visualization import SegLocalVisualizer

from .overlays import Image, overlay_label
from .panel import draw_grid, enlarge, with_legend


@VISUALIZERS.register_module()
class OverlayVisualizer(SegLocalVisualizer):
    """mmseg's `SegLocalVisualizer` with this package's overlays, which dim the background and have a legend."""

    def add_datasample(
        self,
        name: str,
        image: np.ndarray,
        data_sample: Optional[SegDataSample] = None,
        draw_gt: bool = True,
        draw_pred: bool = True,
        show: bool = False,
        wait_time: float = 0,
        out_file: Optional[str] = None,
        step: int = 0,
        **kwargs: Any,
    ) -> None:
        """Draw an image's ground truth, if there is any, and its segmentation side by side.

        Arguments are those of mmseg's method; labels are always drawn, the image itself never.
        """
        wanted = [('ground truth', 'gt_sem_seg', draw_gt), ('segmentation', 'pred_sem_seg', draw_pred)]
        drawn = self._draw(image, {text: field for text, field, draw in wanted if draw}, data_sample or SegDataSample())
        if show:
            self.show(drawn, win_name=name, wait_time=wait_time)
        if out_file is None:
            self.add_image(name, drawn, step)
        else:
            mmcv.imwrite(mmcv.rgb2bgr(drawn), out_file)

    def _draw(self, image: Image, fields: dict[str, str], sample: SegDataSample) -> Image:
        names, palette = self.dataset_meta['classes'], self.dataset_meta['palette']
        if image.shape[:2] != tuple(sample.get('ori_shape', image.shape[:2])):  # mmseg's hook turns it by EXIF
            image = mmcv.imread(sample.img_path, flag='color_ignore_orientation', channel_order='rgb')
        labels = {
            text: sample.get(field).data.squeeze(0).cpu().numpy().astype(np.uint8)
            for text, field in fields.items()
            if field in sample
        }
        tiles = [(text, enlarge(overlay_label(image, label, palette))) for text, label in labels.items()]
        occurring = {int(index) for label in labels.values() for index in np.unique(label)} - {0}
        return with_legend(draw_grid([tiles or [('image', image)]]), names, palette, occurring)
