"""Video files written frame by frame, in constant memory."""

from pathlib import Path
from typing import BinaryIO, Optional, Union

import cv2
import numpy as np
from PIL import GifImagePlugin
from PIL import Image as PILImage

from ..visualization.overlays import Image
from .views import shrink

#: Codecs of mp4 files, the first that OpenCV can write: VP9, which browsers and most players show, or MPEG-4, which
#: browsers do not. H.264 is not in OpenCV's wheels.
CODECS = ('vp09', 'mp4v')
#: A GIF has at most so many frames a second, and is made smaller to a longer side in pixels.
GIF_FPS, GIF_SIDE = 10, 640


class Mp4File:
    """An mp4 file to add frames to; its size is that of the first one, made even.

    Args:
        path: File; the name ends in `.mp4`.
        fps: Frames a second.
    """

    def __init__(self, path: Union[str, Path], fps: float) -> None:
        self.path, self.fps = str(path), fps
        self._writer: Optional[cv2.VideoWriter] = None

    def write(self, frame: Image) -> None:
        """Add a frame.

        Shape:
            frame (H, W, 3), RGB.

        Raises:
            ValueError: OpenCV can write no mp4 files here.
        """
        height, width = (length - length % 2 for length in frame.shape[:2])
        if self._writer is None:
            self._writer = self._open((width, height))
        self._writer.write(cv2.cvtColor(np.ascontiguousarray(frame[:height, :width]), cv2.COLOR_RGB2BGR))

    def close(self) -> None:
        """Finish the file."""
        if self._writer is not None:
            self._writer.release()

    def _open(self, size: tuple[int, int]) -> cv2.VideoWriter:
        for codec in CODECS:
            writer = cv2.VideoWriter(self.path, cv2.VideoWriter.fourcc(*codec), self.fps, size)
            if writer.isOpened():
                return writer
        raise ValueError(f'this OpenCV can write no mp4 file: it has none of the codecs {", ".join(CODECS)}')


class GifFile:
    """An endless GIF to add the frames of a video to; it leaves some out and makes them smaller, or it would be huge.

    Pillow's own `save_all` would keep all frames in memory until the end.

    Args:
        path: File.
        fps: Frames a second of the video.
    """

    def __init__(self, path: Union[str, Path], fps: float) -> None:
        self.path = Path(path)
        self.step = max(1, round(fps / GIF_FPS))
        self.milliseconds = max(round(1000 * self.step / fps), 20)  # what is shorter is shown at any speed
        self._file: Optional[BinaryIO] = None
        self._count = 0

    def write(self, frame: Image) -> None:
        """Add a frame, if it is its turn.

        Shape:
            frame (H, W, 3), RGB.
        """
        if self._count % self.step == 0:
            self._append(shrink(frame, GIF_SIDE))
        self._count += 1

    def close(self) -> None:
        """Finish the file."""
        if self._file is not None:
            self._file.write(b';')
            self._file.close()

    def _append(self, frame: Image) -> None:
        # Median cut would look a little better and take fifty times as long.
        image = PILImage.fromarray(frame).quantize(256, method=PILImage.Quantize.FASTOCTREE)
        blocks: list[bytes] = []
        is_first = self._file is None
        if self._file is None:
            self._file = self.path.open('wb')
            blocks += GifImagePlugin.getheader(image, info=dict(loop=0))[0]
        blocks += GifImagePlugin.getdata(image, duration=self.milliseconds, include_color_table=not is_first)
        self._file.write(b''.join(blocks))
