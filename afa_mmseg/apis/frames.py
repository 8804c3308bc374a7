"""Frames of a video, a folder or a camera, one after another."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Optional, Union

import cv2
import numpy as np

from ..datasets.picture_files import PICTURE_SUFFIXES
from .pictures import read_picture

#: Frames a second of a folder (DAVIS is filmed so), and of a camera, whose frames are taken as fast as they are used.
FOLDER_FPS, CAMERA_FPS = 24.0, 10.0


class Frames(NamedTuple):
    """Frames to come.

    Args:
        images: BGR (H, W, 3), as OpenCV reads them; read when asked for.
        fps: Frames a second at which they are to be played.
        total: How many there will be; None if nobody knows.
    """

    images: Iterator[np.ndarray]
    fps: float
    total: Optional[int]


def open_frames(source: Union[str, int, Path], every: int = 1, max_frames: Optional[int] = None) -> Frames:
    """Open a video file, a folder of frames (`JPEGImages/480p/bear/00000.jpg`, ...) or a camera.

    Args:
        source: File or folder; or the number of a camera, from 0.
        every: Take each n-th frame only; they are played as long as all of them would be.
        max_frames: Stop after so many.

    Raises:
        FileNotFoundError: There is no such file or folder.
        ValueError: It is no video, holds no frames, or is no camera; or a number is not positive.
    """
    if every < 1 or (max_frames is not None and max_frames < 1):
        raise ValueError(f'every={every} and max_frames={max_frames} must be positive')
    path = Path(source) if isinstance(source, (str, Path)) else None
    if path is not None and path.is_dir():
        frames = _open_folder(path, every)
    elif path is not None and not str(source).isdigit() and not path.is_file():
        raise FileNotFoundError(f'video, folder of frames or number of a camera not found: {source}')
    else:
        frames = _open_capture(source, every)
    return frames if max_frames is None else _cut(frames, max_frames)


def _open_folder(folder: Path, every: int) -> Frames:
    files = [path for path in folder.iterdir() if path.suffix.lower() in PICTURE_SUFFIXES and path.name[0] != '.']
    if not files:
        inside = sorted(path.name for path in folder.iterdir() if path.is_dir())
        hint = f'it has the folders {", ".join(inside[:3])}: name one of them' if inside else 'name another folder'
        raise ValueError(f'no frames in {folder}: none of its files is a picture; {hint}')
    files = sorted(files, key=_natural)[::every]
    return Frames(map(read_picture, files), FOLDER_FPS / every, len(files))


def _natural(path: Path) -> list:
    """Sort frame_2 before frame_10."""
    return [int(part) if part.isdigit() else part for part in re.split(r'(\d+)', path.name)]


def _open_capture(source: Union[str, int, Path], every: int) -> Frames:
    is_camera = str(source).isdigit() and not Path(str(source)).is_file()
    with _quiet():  # we say ourselves what is wrong
        capture = cv2.VideoCapture(int(str(source)) if is_camera else str(source))
    if not capture.isOpened():
        raise ValueError(
            f'no camera has the number {source}: the first one is 0; or name a video file or a folder of frames'
            if is_camera
            else f'video cannot be read: {source}: no video file, or of a kind that OpenCV cannot decode; '
            'make an mp4 with H.264 of it, or a folder of frames'
        )
    if is_camera:
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # the newest frame rather than the next one
        return Frames(_grab(capture, every), CAMERA_FPS, None)
    fps, count = capture.get(cv2.CAP_PROP_FPS), int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    return Frames(_grab(capture, every), (fps if 0 < fps < 1000 else FOLDER_FPS) / every, -(-count // every) or None)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep OpenCV from writing on standard error."""
    os.environ.setdefault('OPENCV_FFMPEG_LOGLEVEL', '-8')
    log = cv2.utils.logging
    before = log.setLogLevel(log.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        log.setLogLevel(before)


def _grab(capture: cv2.VideoCapture, every: int) -> Iterator[np.ndarray]:
    index = 0
    try:
        while capture.grab():
            if index % every == 0:
                found, image = capture.retrieve()
                if not found:
                    return
                yield image
            index += 1
    finally:
        capture.release()


def _cut(frames: Frames, max_frames: int) -> Frames:
    images = (image for _, image in zip(range(max_frames), frames.images))
    return Frames(images, frames.fps, max_frames if frames.total is None else min(frames.total, max_frames))
