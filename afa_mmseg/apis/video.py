"""Predictions of a video, as a video."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import NamedTuple, Optional, Union

import cv2
import numpy as np

from ..utils import atomic_path, show_progress
from ..visualization import draw_grid, draw_legend
from ..visualization.overlays import Image
from ..visualization.panel import PAPER, enlarge
from .class_names import class_indices
from .frames import open_frames
from .inferencer import WeakSegInferencer
from .video_files import GifFile, Mp4File
from .views import CAPTIONS, Painter, Prediction, occurring, shrink

#: What a video shows, side by side.
SHOWN = ('cam', 'pred')
#: Rows of names for which there is room below a video, if all classes need more; what is seen changes.
LEGEND_ROWS = 2


class VideoReport(NamedTuple):
    """What was written.

    Args:
        num_frames: How many frames.
        interrupted: Whether Ctrl-C ended it.
    """

    num_frames: int
    interrupted: bool


def infer_video(
    inferencer: WeakSegInferencer,
    source: Union[str, int, Path],
    out: Union[str, Path],
    gif: Union[str, Path, None] = None,
    classes: Optional[Sequence[str]] = None,
    *,
    fps: Optional[float] = None,
    every: int = 1,
    max_frames: Optional[int] = None,
    side: int = 512,
) -> VideoReport:
    """Write a video of CAM and segmentation side by side, frame by frame in constant memory, and show progress.

    Ctrl-C ends it early: the files then hold the frames that were done. After an error there are none.

    Args:
        inferencer: Does the work.
        source: Video file, folder of frames or number of a camera; see `open_frames`.
        out: File to write, `.mp4`.
        gif: The same as GIF, with at most ten frames a second and 640 pixels wide.
        classes: Names of the classes that all frames hold; by default the classifier decides for each.
        fps: Frames a second of the video; by default those of `source`, divided by `every`.
        every: Take each n-th frame only.
        max_frames: Stop after so many.
        side: Longer side of a frame in pixels; larger ones are made smaller first.

    Raises:
        FileNotFoundError: `source` is not there.
        ValueError: It holds no frames; a class is unknown; a number or a file name is wrong.
    """
    for path, suffix in ((out, '.mp4'), (gif, '.gif')):
        if path is not None and Path(path).suffix.lower() != suffix:
            raise ValueError(f'{path}: the name of this file must end in {suffix}')
    if side < 1 or (fps is not None and fps <= 0):
        raise ValueError(f'side={side} and fps={fps} must be positive')
    if classes is not None:
        class_indices(classes, inferencer.class_names)
    frames = open_frames(source, every, max_frames)
    painted = paint_frames(inferencer, frames.images, classes, side)
    if frames.total is not None:
        painted = show_progress(painted, frames.total, 'Frames')
    with ExitStack() as stack:
        video = stack.enter_context(closing(Mp4File(stack.enter_context(atomic_path(out)), fps or frames.fps)))
        animation = None
        if gif is not None:
            temporary = stack.enter_context(atomic_path(gif))
            animation = stack.enter_context(closing(GifFile(temporary, fps or frames.fps)))
        report = _write(painted, video, animation)
        if report.num_frames == 0:
            raise ValueError(f'no frames in {source}: OpenCV decodes none of it; name another video or a folder')
        return report


def paint_frames(
    inferencer: WeakSegInferencer, images: Iterable[np.ndarray], classes: Optional[Sequence[str]], side: int
) -> Iterator[Image]:
    """Put CAM and segmentation of each frame side by side above a legend; all results have one size.

    Args:
        inferencer: Does the work.
        images: BGR.
        classes: Names of the classes that all frames hold; None lets the classifier decide.
        side: Longer side of a frame in pixels.

    Shape:
        images and results (H, W, 3).
    """
    painter = Painter(inferencer.model.dataset_meta['classes'], inferencer.palette)
    size, legend_height = None, None
    for image in images:
        image = shrink(image, side)
        size = size or image.shape[1::-1]
        if image.shape[1::-1] != size:  # pictures of a folder
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        sample = inferencer(image, classes=classes, return_datasamples=True, with_pseudo_label=False)
        prediction = Prediction.of(sample)
        grid = _grid(painter, np.ascontiguousarray(image[..., ::-1]), prediction)
        if legend_height is None:
            one, of_all = _legend(painter, [1], grid.shape[1]), range(1, len(painter.names))
            legend_height = min(LEGEND_ROWS * len(one), len(_legend(painter, of_all, grid.shape[1])))
        seen = occurring(prediction, SHOWN)
        while len(legend := _legend(painter, seen, grid.shape[1])) > legend_height:
            seen.pop()
        below = ((0, legend_height - len(legend)), (0, 0), (0, 0))
        yield np.concatenate([grid, np.pad(legend, below, constant_values=PAPER)])


def _grid(painter: Painter, image: Image, prediction: Prediction) -> Image:
    tiles = [(CAPTIONS[what], enlarge(painter.overlay(image, prediction, what))) for what in SHOWN]
    return draw_grid([tiles])


def _legend(painter: Painter, indices: Sequence[int], width: int) -> Image:
    names, colours = [painter.names[i] for i in indices], [painter.palette[i] for i in indices]
    return draw_legend(names, colours, width, indices=indices)


def _write(frames: Iterable[Image], video: Mp4File, animation: Optional[GifFile]) -> VideoReport:
    count = 0
    try:
        for frame in frames:
            video.write(frame)
            if animation is not None:
                animation.write(frame)
            count += 1
    except (KeyboardInterrupt, SystemExit):  # the latter is what SIGTERM becomes
        if count == 0:
            raise
        return VideoReport(count, interrupted=True)
    return VideoReport(count, interrupted=False)
