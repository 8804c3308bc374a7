"""Predictions of many pictures, as files to look at and to work with."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Optional

import cv2
import numpy as np
import torch
from mmseg.structures import SegDataSample
from PIL import Image as PILImage

from ..utils import atomic_path, save_mask, show_progress
from ..visualization.overlays import Image
from .class_names import class_indices
from .inferencer import WeakSegInferencer, to_array
from .pictures import NamedPicture, read_picture
from .views import CAPTIONS, Painter, Prediction, shrink

#: Folders of results.
FOLDERS = ('panel', 'overlay', 'mask', 'scores')
#: What makes one picture fail, and leaves the others alone.
FAILURES = (ValueError, OSError, torch.cuda.OutOfMemoryError)


class Outcome(NamedTuple):
    """What became of a picture.

    Args:
        picture: The picture.
        error: Why there are no results; empty if there are.
        num_classes: How many classes it is taken to hold; None if nobody asked.
    """

    picture: NamedPicture
    error: str = ''
    num_classes: Optional[int] = None


class Request(NamedTuple):
    """What to write of a picture.

    Args:
        what: Some of 'pred', 'cam', 'propagated', 'pseudo'; CAMs cost nothing if only 'pred' is asked for.
        classes: Names of the classes that the picture holds; None lets the classifier decide.
        side: Longer side, in pixels, at which a picture enters the network; a larger one is made smaller, and its
            masks brought back to its size.
        npz: Whether to write `scores`, in the size that the network saw.
    """

    what: Sequence[str] = tuple(CAPTIONS)
    classes: Optional[Sequence[str]] = None
    side: int = 1024
    npz: bool = False

    def check(self, class_names: Sequence[str]) -> None:
        """Raise a `ValueError` for what is unknown, or a side that cannot be."""
        if not self.what or any(name not in CAPTIONS for name in self.what):
            raise ValueError(f'what={",".join(self.what)}: choose from {", ".join(CAPTIONS)}')
        if self.side < 1:
            raise ValueError(f'side={self.side} must be a positive number of pixels')
        class_indices(self.classes or (), class_names)


def infer_pictures(
    inferencer: WeakSegInferencer, pictures: Sequence[NamedPicture], out: Path, request: Request
) -> list[Outcome]:
    """Predict pictures one by one, write what was asked for, and show progress; a broken picture stops nothing.

    ```
    out
    ├── panel/{name}.jpg            # the picture and everything asked for, side by side, with a legend
    ├── overlay/{what}/{name}.jpg   # each painted over the picture, with a legend
    ├── mask/{what}/{name}.png      # class indices with a palette, for all but 'cam'; 255: undecided
    └── scores/{name}.npz           # see `scores_of`
    ```

    Args:
        inferencer: Does the work.
        pictures: See `find_pictures`.
        out: Folder, made if need be. Files of the same names are replaced.
        request: What to write.

    Raises:
        ValueError: Something in `request` is unknown or cannot be.
    """
    request.check(inferencer.class_names)
    outcomes = (_infer_picture(inferencer, picture, out, request) for picture in pictures)
    return list(show_progress(outcomes, len(pictures), 'Pictures'))


def scores_of(sample: SegDataSample, what: Sequence[str]) -> dict[str, np.ndarray]:
    """Name what a `.npz` holds: maps are float16 and start with the background, but for `cam`, which has none.

    `probability` (C + 1, H, W) of the segmentation, before a CRF; `score` (C,) of the classifier; `classes` (K,),
    numbers of the foreground classes, from 1, that the picture is taken to hold; `cam` (K, H, W) and `propagated`
    (K + 1, H, W) of these.
    """
    prediction = Prediction.of(sample)
    held = np.array(prediction.classes, np.int64) + 1
    arrays: dict[str, np.ndarray] = {}
    if 'pred' in what:
        arrays['probability'] = to_array(sample.seg_logits.data.float().softmax(dim=0)).astype(np.float16)
    if prediction.score is not None:
        arrays.update(score=prediction.score, classes=held)
    if 'cam' in what and prediction.cam is not None:
        arrays['cam'] = prediction.cam[held - 1].astype(np.float16)
    if 'propagated' in what and prediction.propagated is not None:
        arrays['propagated'] = prediction.propagated[[0, *held]].astype(np.float16)
    return arrays


def _infer_picture(inferencer: WeakSegInferencer, picture: NamedPicture, out: Path, request: Request) -> Outcome:
    try:
        image = read_picture(picture.path)
        sample = inferencer(
            shrink(image, request.side),
            classes=request.classes,
            return_datasamples=True,
            with_cam=set(request.what) != {'pred'},
            with_pseudo_label='pseudo' in request.what,
        )
        painter = Painter(inferencer.model.dataset_meta['classes'], inferencer.palette)
        _write(painter, sample, np.ascontiguousarray(image[..., ::-1]), out, picture.name, request)
    except FAILURES as error:
        return Outcome(picture, str(error) or type(error).__name__)
    return Outcome(picture, num_classes=Prediction.of(sample).num_classes)


def _write(painter: Painter, sample: SegDataSample, image: Image, out: Path, name: str, request: Request) -> None:
    prediction = Prediction.of(sample)
    _save(painter.panel(image, prediction, request.what), out / 'panel' / f'{name}.jpg')
    for what in request.what:
        _save(painter.overlay_with_legend(image, prediction, what), out / 'overlay' / what / f'{name}.jpg')
        label = prediction.label(what)
        if label is not None:
            mask = cv2.resize(label, image.shape[1::-1], interpolation=cv2.INTER_NEAREST)
            save_mask(mask, painter.palette, out / 'mask' / what / f'{name}.png')
    if request.npz:
        with atomic_path(out / 'scores' / f'{name}.npz') as temporary:
            np.savez_compressed(temporary, allow_pickle=False, **scores_of(sample, request.what))


def _save(image: Image, path: Path) -> None:
    with atomic_path(path) as temporary:
        PILImage.fromarray(image).save(temporary, quality=92, subsampling=0)
