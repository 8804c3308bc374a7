"""mmseg's inferencer, with CAMs."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Callable, Optional, Union

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.structures import PixelData
from mmseg.apis import MMSegInferencer
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from mmseg.utils import get_classes, get_palette
from mmseg.visualization import SegLocalVisualizer
from torch import Tensor

from ..datasets.decoding import check_array
from ..datasets.palette import voc_palette
from ..models import ImageLevelSegmentor, MaxScaleTTAModel
from ..models.segmentors.explanation import Explanation
from .class_names import class_indices
from .loading import load_segmentor, read_config
from .pictures import find_pictures

#: A file's path, or BGR values 0..255 (H, W, 3) as OpenCV reads them.
Picture = Union[str, Path, np.ndarray]

#: What CAMs add to mmseg's results: fields of the data samples, and keys of the dict.
CAM_FIELDS = ('pred_score', 'pred_cam', 'pred_propagated_cam', 'pred_pseudo_label')


class WeakSegInferencer(MMSegInferencer):
    """mmseg's `MMSegInferencer` for a segmentor learned from image-level labels, which also gives its CAMs.

    A call takes what mmseg's takes (a path, an array, BGR as OpenCV reads it, or a list of these; a folder, with its
    subfolders) and returns what mmseg's returns, in the same form. It takes besides:

    - `classes`: names of the foreground classes that the pictures hold; by default the classifier decides for each.
    - `with_cam=False`: leave CAMs out, and the work for them.
    - `with_pseudo_label=False`: leave pseudo-labels out.

    To the data samples, or to the dict beside `predictions` and `visualization`, it adds, at the size of the picture:
    `pred_score` (C,), the classifier's probabilities; `pred_cam` (C, H, W) in [0, 1], absent classes 0;
    `pred_propagated_cam` (C + 1, H, W) with the background first (along the affinity that `test_cfg.affinity_scale`
    names; `explain` takes that of the largest scale); `pred_pseudo_label` (H, W), 255 where undecided.
    As `predictions`, each is an array for one picture and a list for several.

    Args:
        model: Config file, or what was read from it.
        weights: Checkpoint of that config. It is read without running anything that it holds.
        classes: Names of all classes, background first, in place of the checkpoint's.
        palette: RGB colours of all classes, in place of the checkpoint's.
        device: Where to predict; by default a GPU, if there is one.
        tta: Segment by the config's `tta_model`. CAMs are multi-scale in any case.
        crf: Post-process segmentation with a dense CRF: `test_cfg.crf` of the config, or the published settings.

    Note:
        Pictures enter the network in their own size, as in testing. The memory for CAMs grows with the fourth power of
        a picture's side: make photographs of many megapixels smaller first.

    Raises:
        FileNotFoundError: One of the files is not there.
        ValueError: The checkpoint is of another config, the config of another kind of segmentor, or without
            `tta_model`; a class is unknown; a picture cannot be read.

    Example:
        >>> from afa_mmseg.apis import WeakSegInferencer
        >>> inferencer = WeakSegInferencer('config.py', 'checkpoint.pth')  # doctest: +SKIP
        >>> result = inferencer('picture.jpg', classes=['cat'])  # doctest: +SKIP
    """

    preprocess_kwargs: set = {'classes'}
    forward_kwargs: set = {*MMSegInferencer.forward_kwargs, 'with_cam', 'with_pseudo_label'}

    def __init__(
        self,
        model: Union[str, Path, Config, dict],
        weights: Union[str, Path],
        classes: Optional[Sequence[str]] = None,
        palette: Optional[Sequence] = None,
        dataset_name: Optional[str] = None,
        device: Optional[str] = None,
        scope: str = 'mmseg',
        show_progress: bool = True,
        *,
        tta: bool = False,
        crf: bool = False,
    ) -> None:
        cfg = read_config(model)
        if crf:
            cfg.merge_from_dict({'model.test_cfg.crf': cfg.model.get('test_cfg', {}).get('crf') or {}})
        super().__init__(cfg, str(weights), device=device, scope=scope, show_progress=show_progress)
        if dataset_name is not None:
            classes, palette = classes or get_classes(dataset_name), palette or get_palette(dataset_name)
        self._rename(classes, palette)
        self.tta_model = _build_tta(cfg, self.model) if tta else None

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the foreground classes."""
        return tuple(self.model.dataset_meta['classes'][1:])

    @property
    def palette(self) -> list[list[int]]:
        """RGB colours of all classes, background first."""
        return self.model.dataset_meta['palette']

    @torch.no_grad()
    def explain(self, image: Picture, classes: Optional[Sequence[str]] = None) -> Explanation:
        """Show the steps between a picture and its pseudo-labels; see `Explanation`.

        Args:
            image: Path, or BGR array as OpenCV reads it.
            classes: Names of the foreground classes that it holds; by default the classifier decides.

        Raises:
            ValueError: A class is unknown, or the picture cannot be read or is too small for CAMs.
        """
        (batch,) = self.preprocess([image], classes=classes)
        data = self.model.data_preprocessor(batch, False)
        return self.model.explain(data['inputs'], data['data_samples'])[0]

    # What mmseg's inferencer is made of

    def preprocess(self, inputs: Iterable, batch_size: int = 1, classes: Optional[Sequence[str]] = None) -> Iterator:
        """Load pictures, and label them where `classes` says what they hold."""
        label = None if classes is None else self._multi_hot(classes)
        loaded = (self._load_picture(picture, label) for picture in inputs)
        return map(self.collate_fn, self._get_chunk_data(loaded, batch_size))

    @torch.no_grad()
    def forward(
        self, inputs: dict, with_cam: bool = True, with_pseudo_label: bool = True, **kwargs: Any
    ) -> list[SegDataSample]:
        """Predict a batch."""
        with self._predicting(with_cam, with_pseudo_label):
            if self.tta_model is None:
                return super().forward(inputs, **kwargs)
            results = self.tta_model.test_step(inputs)
            if with_cam:
                data = self.model.data_preprocessor(inputs, False)
                self.model.add_cams(data['inputs'], results)
            return results

    def postprocess(
        self, preds: list[SegDataSample], visualization: Any, return_datasample: bool = False, pred_out_dir: str = ''
    ) -> Any:
        """Pack the results as mmseg does, and add what CAMs gave."""
        results = super().postprocess(preds, visualization, return_datasample, pred_out_dir)
        if not return_datasample:
            for field in CAM_FIELDS:
                values = [to_array(pred.get(field)) for pred in preds if field in pred]
                if values:
                    results[field] = values[0] if len(preds) == 1 else values
        return results

    def _inputs_to_list(self, inputs: Any) -> list:
        """List pictures; of a folder, those in it and its subfolders."""
        if isinstance(inputs, (str, Path)):
            return [str(path) for path, _ in find_pictures([inputs])] if Path(inputs).is_dir() else [str(inputs)]
        return [str(item) if isinstance(item, Path) else item for item in super()._inputs_to_list(inputs)]

    def _init_model(self, cfg: Config, weights: str, device: str = 'cpu') -> ImageLevelSegmentor:
        return load_segmentor(cfg, weights, device)

    def _init_collate(self, cfg: Config) -> Callable:
        return super()._init_collate(cfg) if 'collate_fn' in cfg.test_dataloader else pseudo_collate

    def _init_visualizer(self, cfg: Config) -> SegLocalVisualizer:
        """Make a visualizer of our own: that of the config may log to where training logged."""
        return SegLocalVisualizer(name=f'{type(self).__name__}_{id(self)}')

    def _rename(self, classes: Optional[Sequence[str]], palette: Optional[Sequence]) -> None:
        meta = self.model.dataset_meta
        count = len(meta['classes'])
        for name, given in (('classes', classes), ('palette', palette)):
            if given is not None and len(given) != count:
                raise ValueError(f'{name} has {len(given)} entries, the network {count} classes, background included')
        colours = palette or meta.get('palette') or voc_palette(count)
        self.model.dataset_meta = dict(classes=tuple(classes or meta['classes']), palette=[list(c) for c in colours])
        self.visualizer.set_dataset_meta(**self.model.dataset_meta)

    def _multi_hot(self, classes: Sequence[str]) -> Tensor:
        label = torch.zeros(len(self.class_names))
        label[class_indices([classes] if isinstance(classes, str) else classes, self.class_names)] = 1
        return label

    def _load_picture(self, picture: Picture, label: Optional[Tensor]) -> dict:
        if isinstance(picture, np.ndarray):
            check_array(picture)
        data = self.pipeline(picture)
        if label is not None:
            data['data_samples'].gt_label = label
        return data

    def _predicting(self, with_cam: bool, with_pseudo_label: bool) -> AbstractContextManager:
        return self.model.predicting_cams(pseudo_label=with_pseudo_label) if with_cam else nullcontext()


def to_array(data: Any) -> np.ndarray:
    """Turn a field of a prediction into an array, label maps (1, H, W) into (H, W)."""
    array = (data.data if isinstance(data, PixelData) else data).cpu().numpy()
    return array[0] if array.ndim == 3 and array.dtype.kind != 'f' else array


def _build_tta(cfg: Config, model: ImageLevelSegmentor) -> MaxScaleTTAModel:
    settings = cfg.get('tta_model')
    tta_model = None if settings is None else MODELS.build(dict(settings, module=model))
    if not isinstance(tta_model, MaxScaleTTAModel):
        raise ValueError("tta needs tta_model=dict(type='MaxScaleTTAModel') in the config")
    return tta_model
