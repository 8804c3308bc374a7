"""Inference on many images, with results in files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Optional

import cv2
import numpy as np
from mmseg.structures import SegDataSample
from PIL import Image as PILImage

from ..utils import atomic_path, save_mask, show_progress, write_text
from ..utils.checks import lacks_memory
from ..visualization.overlays import Image
from .images import NamedImage, read_image, shrink
from .inferencer import WeakSegInferencer, class_indices, to_array
from .label_files import CLASSES_FILE
from .views import CAPTIONS, Painter, Prediction

#: Folders of results.
FOLDERS = ('panel', 'overlay', 'mask', 'scores')
#: Errors of one image that do not stop the others.
FAILURES = (ValueError, OSError)


class Outcome(NamedTuple):
    """Result of one image: an error message if it failed, else the number of its classes if CAMs were requested."""

    image: NamedImage
    error: str = ''
    num_classes: Optional[int] = None


class Request(NamedTuple):
    """Results to write for each image."""

    what: Sequence[str] = tuple(CAPTIONS)  # those that the method lacks are left out
    classes: Optional[Sequence[str]] = None  # names of the classes in the images; None: decided by the classifier
    side: int = 1024  # larger images are downscaled for the network, and their masks scaled back
    npz: bool = False  # whether to write `scores`, in the size of the network's input


def infer_images(
    inferencer: WeakSegInferencer, images: Sequence[NamedImage], out: Path, request: Request
) -> list[Outcome]:
    """Predict images one by one and write the requested results, with progress; errors of single images are returned.

    ```
    out
    ├── panel/{name}.jpg            # image and results side by side, with a legend
    ├── overlay/{what}/{name}.jpg   # each result over the image, with a legend
    ├── mask/{what}/{name}.png      # class indices with a palette, except for 'cam'; 255: ignored
    ├── mask/classes.txt            # names of the classes from index 1, one a line
    └── scores/{name}.npz           # see `scores_of`
    ```

    Files of the same names are replaced.

    Raises:
        ValueError: `request` is invalid, or `out` holds masks of other classes.
    """
    if not request.what or any(name not in CAPTIONS for name in request.what):
        raise ValueError(f'what={",".join(request.what)}: choose from {", ".join(CAPTIONS)}')
    if request.side < 1:
        raise ValueError(f'side={request.side} must be a positive number of pixels')
    class_indices(request.classes or (), inferencer.class_names)
    file, names = out / 'mask' / CLASSES_FILE, ''.join(f'{name}\n' for name in inferencer.class_names)
    if file.is_file() and file.read_text(encoding='utf-8') != names:
        raise ValueError(f'masks in {file.parent} are of other classes ({file.name}): delete it, or name another --out')
    write_text(file, names)
    outcomes = (_infer_image(inferencer, image, out, request) for image in images)
    return list(show_progress(outcomes, len(images), 'Images'))


def scores_of(sample: SegDataSample, what: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the content of a `.npz` file; maps are float16.

    `probability` (C + 1, H, W) of the segmentation, before a CRF; `score` (C,) of the classifier; `classes` (K,),
    numbers of the foreground classes in the image, from 1; `cam` (K, H, W) and `propagated` (K + 1, H, W) of these.
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


def _infer_image(inferencer: WeakSegInferencer, named: NamedImage, out: Path, request: Request) -> Outcome:
    try:
        image = read_image(named.path)
        sample = inferencer(
            shrink(image, request.side),
            classes=request.classes,
            return_datasamples=True,
            with_cam=set(request.what) != {'pred'},
            with_pseudo_label='pseudo' in request.what,
        )
        painter = Painter(inferencer.model.dataset_meta['classes'], inferencer.palette)
        _write(painter, sample, np.ascontiguousarray(image[..., ::-1]), out, named.name, request)
    except Exception as error:
        if not (isinstance(error, FAILURES) or lacks_memory(error)):
            raise
        return Outcome(named, str(error) or type(error).__name__)
    prediction = Prediction.of(sample)
    return Outcome(named, num_classes=None if prediction.score is None else len(prediction.classes))


def _write(painter: Painter, sample: SegDataSample, image: Image, out: Path, name: str, request: Request) -> None:
    prediction = Prediction.of(sample)
    what = [result for result in request.what if getattr(prediction, result) is not None]
    _save(painter.panel(image, prediction, what), out / 'panel' / f'{name}.jpg')
    for result in what:
        _save(painter.overlay_with_legend(image, prediction, result), out / 'overlay' / result / f'{name}.jpg')
        label = prediction.label(result)
        if label is not None:
            mask = cv2.resize(label, image.shape[1::-1], interpolation=cv2.INTER_NEAREST)
            save_mask(mask, painter.palette, out / 'mask' / result / f'{name}.png')
    if request.npz:
        scores: dict[str, Any] = scores_of(sample, what)
        with atomic_path(out / 'scores' / f'{name}.npz') as temporary:
            np.savez_compressed(temporary, **scores)


def _save(image: Image, path: Path) -> None:
    with atomic_path(path) as temporary:
        PILImage.fromarray(image).save(temporary, quality=92, subsampling=0)
