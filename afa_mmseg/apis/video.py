"""Inference on videos: CAM and segmentation side by side."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import NamedTuple, Optional, Union

import cv2
import numpy as np

from ..utils import atomic_path, refuse_same, show_progress
from ..visualization import draw_grid, draw_legend
from ..visualization.overlays import Image
from ..visualization.panel import PAPER, enlarge
from .images import shrink
from .inferencer import WeakSegInferencer, class_indices
from .video_files import WRITERS, Writer, open_frames
from .views import CAPTIONS, Painter, Prediction, occurring

#: Tiles of a frame.
SHOWN = ('cam', 'pred')
#: Rows of the legend; further classes are left out.
LEGEND_ROWS = 2


class VideoReport(NamedTuple):
    """Number of frames written, and whether Ctrl-C ended it."""

    num_frames: int
    interrupted: bool


def infer_video(
    inferencer: WeakSegInferencer,
    source: Union[str, int, Path],
    outputs: Sequence[Union[str, Path]],
    classes: Optional[Sequence[str]] = None,
    *,
    fps: Optional[float] = None,
    every: int = 1,
    max_frames: Optional[int] = None,
    side: int = 512,
) -> VideoReport:
    """Write a video of CAM and segmentation side by side, frame by frame, and show progress.

    After Ctrl-C the files hold the frames so far. After an error no video is written. For `every` and `max_frames`
    see `open_frames`.

    Args:
        source: Video file, folder of frames or camera index; see `open_frames`.
        outputs: Files to write: `.mp4`, `.gif` (at most 10 frames per second and 640 pixels).
        classes: Names of the classes in all frames; default: decided by the classifier for each.
        fps: Frames per second; default: those of `source`, divided by `every`.
        side: Longer side of a frame in pixels; larger frames are downscaled.

    Raises:
        FileNotFoundError: `source` does not exist.
        ValueError: It holds no frames; a class is unknown; a number or the suffix of an output is invalid.
    """
    paths = _checked_outputs(outputs, source)
    if side < 1 or (fps is not None and fps <= 0):
        raise ValueError(f'side={side} and fps={fps} must be positive')
    class_indices(classes or (), inferencer.class_names)
    frames = open_frames(source, every, max_frames)
    drawn = draw_frames(inferencer, frames.images, classes, side)
    if frames.total is not None:
        drawn = show_progress(drawn, frames.total, 'Frames')
    with ExitStack() as stack:
        temporary = [stack.enter_context(atomic_path(path)) for path in paths]
        writers = [WRITERS[path.suffix.lower()](path, fps or frames.fps) for path in temporary]
        return _write(drawn, [stack.enter_context(closing(writer)) for writer in writers], source)


def _checked_outputs(outputs: Sequence[Union[str, Path]], source: Union[str, int, Path]) -> list[Path]:
    paths = [*dict.fromkeys(map(Path, outputs))]
    for path in paths:
        refuse_same(path, str(source))
        if path.suffix.lower() not in WRITERS:
            raise ValueError(f'output {path}: must end in {" or ".join(WRITERS)}')
    return paths


def draw_frames(
    inferencer: WeakSegInferencer, images: Iterable[np.ndarray], classes: Optional[Sequence[str]], side: int
) -> Iterator[Image]:
    """Draw CAM and segmentation of each frame side by side above a legend, all in the size of the first.

    Shape:
        images (H, W, 3), BGR; results (H', W', 3), RGB.
    """
    painter = Painter(inferencer.model.dataset_meta['classes'], inferencer.palette)
    size: Optional[tuple[int, int]] = None
    for image in images:
        image = shrink(image, side)
        size = size or (image.shape[1], image.shape[0])
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        prediction = Prediction.of(inferencer(image, classes=classes, return_datasamples=True, with_pseudo_label=False))
        rgb = np.ascontiguousarray(image[..., ::-1])
        tiles = [(CAPTIONS[what], enlarge(painter.overlay(rgb, prediction, what))) for what in SHOWN]
        grid = draw_grid([tiles])
        yield np.concatenate([grid, _legend(painter, occurring(prediction, SHOWN), grid.shape[1])])


def _legend(painter: Painter, indices: Sequence[int], width: int) -> Image:
    """Draw a legend of constant height, leaving out classes without room."""
    height = LEGEND_ROWS * len(draw_legend(painter.names, painter.palette, [1], width))
    while len(legend := draw_legend(painter.names, painter.palette, indices, width)) > height:
        indices = indices[:-1]
    return np.pad(legend, ((0, height - len(legend)), (0, 0), (0, 0)), constant_values=PAPER)


def _write(frames: Iterable[Image], writers: Sequence[Writer], source: Union[str, int, Path]) -> VideoReport:
    count = 0
    try:
        for frame in frames:
            for writer in writers:
                writer.write(frame)
            count += 1
    except (KeyboardInterrupt, SystemExit):  # the latter is raised on SIGTERM
        if count == 0:
            raise
        return VideoReport(count, interrupted=True)
    if count == 0:
        raise ValueError(f'no frames in {source}: OpenCV decodes none of it; name another video or a folder')
    return VideoReport(count, interrupted=False)
