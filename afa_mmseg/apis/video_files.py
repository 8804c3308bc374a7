"""Frames in: video file, folder of images or camera. Frames out: mp4 or GIF."""

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple, Optional, Union

import cv2
import numpy as np
from PIL import Image as PILImage

from ..datasets.images import IMAGE_SUFFIXES
from ..visualization.overlays import Image
from .images import read_image, shrink

#: Frames per second of a folder (as in DAVIS), and of a camera, whose frames are read as fast as they are processed.
FOLDER_FPS, CAMERA_FPS = 24.0, 10.0
#: Codecs of mp4 files, the first one that OpenCV can write: VP9, which browsers support, or MPEG-4.
CODECS = ('vp09', 'mp4v')
#: Largest frame rate and longer side in pixels of a GIF.
GIF_FPS, GIF_SIDE = 10, 640


class Frames(NamedTuple):
    """A stream of frames: BGR (H, W, 3), frames per second, and their number if known."""

    images: Iterator[np.ndarray]
    fps: float
    total: Optional[int]


def open_frames(source: Union[str, int, Path], every: int = 1, max_frames: Optional[int] = None) -> Frames:
    """Open a video file, a folder of frames (`JPEGImages/480p/bear/00000.jpg`, ...) or a camera.

    Args:
        source: File, folder, or index of a camera.
        every: Keep each n-th frame; the speed stays.
        max_frames: Stop after so many.

    Raises:
        FileNotFoundError: There is no such file or folder.
        ValueError: It cannot be decoded, holds no frames, or is not a camera; or a number is not positive.
    """
    if every < 1 or (max_frames is not None and max_frames < 1):
        raise ValueError(f'every={every} and max_frames={max_frames} must be positive')
    images, fps, total = _open_folder(Path(str(source))) if Path(str(source)).is_dir() else _open_capture(str(source))
    total = total and -(-total // every)
    if max_frames is not None and total is not None:
        total = min(total, max_frames)
    return Frames(islice(images, 0, max_frames and max_frames * every, every), fps / every, total)


def _open_folder(folder: Path) -> Frames:
    files = [path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES and path.name[0] != '.']
    if not files:
        raise ValueError(f'no frames in {folder}: none of its files is an image; name another folder')
    files.sort(key=lambda path: [int(x) if x.isdigit() else x for x in re.split(r'(\d+)', path.name)])  # 2 before 10
    return Frames(map(read_image, files), FOLDER_FPS, len(files))


def _open_capture(source: str) -> Frames:
    is_file = Path(source).is_file()
    if not is_file and not source.isdigit():
        raise FileNotFoundError(f'video, folder of frames or camera index not found: {source}')
    capture = cv2.VideoCapture(source if is_file else int(source))
    if not capture.isOpened():
        raise ValueError(
            f'video cannot be read: {source}: OpenCV has no decoder for it; convert it to an mp4 with H.264'
            if is_file
            else f'no camera with index {source}: the first one is 0'
        )
    if not is_file:
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # the newest frame rather than the next one
        return Frames(_read(capture), CAMERA_FPS, None)
    fps, count = capture.get(cv2.CAP_PROP_FPS), int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    return Frames(_read(capture), fps if 0 < fps < 1000 else FOLDER_FPS, count if count > 0 else None)


def _read(capture: cv2.VideoCapture) -> Iterator[np.ndarray]:
    try:
        while (frame := capture.read())[0]:
            yield frame[1]
    finally:
        capture.release()


class Mp4Writer:
    """An mp4 file of the size of its first frame, made even."""

    def __init__(self, path: Path, fps: float) -> None:
        self.path, self.fps = path, fps
        self._writer: Optional[cv2.VideoWriter] = None

    def write(self, frame: Image) -> None:
        """Append a frame, RGB (H, W, 3)."""
        height, width = (length - length % 2 for length in frame.shape[:2])
        if self._writer is None:
            self._writer = self._open((width, height))
        self._writer.write(cv2.cvtColor(np.ascontiguousarray(frame[:height, :width]), cv2.COLOR_RGB2BGR))

    def close(self) -> None:
        """Finish the file; an `OSError` if it cannot be read back."""
        if self._writer is None:
            return
        self._writer.release()
        written = cv2.VideoCapture(str(self.path))
        is_whole = written.read()[0]  # OpenCV reports no error, of a full disk for example
        written.release()
        if not is_whole:
            raise OSError(f'the video could not be written: {self.path}; is the disk full?')

    def _open(self, size: tuple[int, int]) -> cv2.VideoWriter:
        for codec in CODECS:
            writer = cv2.VideoWriter(str(self.path), cv2.VideoWriter.fourcc(*codec), self.fps, size)
            if writer.isOpened():
                return writer
        raise ValueError(f'this OpenCV cannot write mp4 files: it has none of the codecs {", ".join(CODECS)}')


class GifWriter:
    """An endless GIF, reduced in frame rate and size; frames are kept in memory until it is closed."""

    def __init__(self, path: Path, fps: float) -> None:
        self.path = path
        self.step = max(1, round(fps / GIF_FPS))
        self.milliseconds = max(round(1000 * self.step / fps), 20)  # viewers ignore shorter durations
        self._frames: list[PILImage.Image] = []
        self._count = 0

    def write(self, frame: Image) -> None:
        """Append a frame, RGB (H, W, 3), or skip it to reduce the frame rate."""
        if self._count % self.step == 0:
            image = PILImage.fromarray(shrink(frame, GIF_SIDE))
            self._frames.append(image.quantize(256, method=PILImage.Quantize.FASTOCTREE))
        self._count += 1

    def close(self) -> None:
        """Write the file."""
        if self._frames:
            first, *rest = self._frames
            first.save(self.path, save_all=True, append_images=rest, duration=self.milliseconds, loop=0)


Writer = Union[Mp4Writer, GifWriter]
#: Destinations of frames by the suffix of the file.
WRITERS: dict[str, type[Writer]] = {'.mp4': Mp4Writer, '.gif': GifWriter}
