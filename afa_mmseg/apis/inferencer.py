"""Inference with CAMs: an extension of mmseg's inferencer."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from difflib import get_close_matches
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Callable, Optional, Union

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.structures import PixelData
from mmseg.apis import MMSegInferencer
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.datasets.transforms.loading import InferencerLoader
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from mmseg.utils import get_classes, get_palette
from mmseg.visualization import SegLocalVisualizer
from torch import Tensor

from ..datasets.images import check_array
from ..datasets.transforms import LoadImage
from ..models import ImageLevelSegmentor, MaxScaleTTAModel
from ..utils.json_config import CONFIG_FILE
from ..utils.masks import voc_palette
from .images import find_images
from .loading import init_model, read_config
from .publishing import WEIGHTS_FILE, download, upload, write_folder

if TYPE_CHECKING:
    from ..models.segmentors.explanation import Explanation

#: A path, or BGR pixel values 0..255 (H, W, 3) as OpenCV reads them.
Image = Union[str, Path, np.ndarray]

#: Fields of data samples, and keys of the dict, in addition to those of mmseg.
CAM_FIELDS = ('pred_score', 'pred_cam', 'pred_propagated_cam', 'pred_pseudo_label')


class WeakSegInferencer(MMSegInferencer):
    """`MMSegInferencer` for segmentors trained on image-level labels, with CAMs in its results.

    Inputs are those of mmseg (a path, a BGR array, a list of these, or a folder, here with its subfolders), and so
    are the results. A call also accepts `classes`, names of the foreground classes in the images (default: decided by
    the classifier for each), `with_cam=False` and `with_pseudo_label=False`.

    Additional fields of the data samples, or keys of the dict, in the size of the image: `pred_score` (C,), the
    classifier's probabilities; `pred_cam` (C, H, W) in [0, 1], absent classes 0; `pred_propagated_cam`
    (C + 1, H, W), background first, where the method has an affinity (that of `test_cfg.affinity_scale`; `explain`
    uses that of the largest scale); `pred_pseudo_label` (H, W), 255 where ignored. As `predictions`, each is an
    array for one image and a list for several.

    Args:
        model: Config file, or a loaded config.
        weights: Checkpoint of that config; loading it executes no code.
        classes: Names of all classes, background first; default: those of the checkpoint.
        palette: RGB of all classes; default: that of the checkpoint.
        device: Default: a GPU, if available.
        tta: Segment by the config's `tta_model`. CAMs are always multi-scale.
        crf: Post-process segmentation with a dense CRF: `test_cfg.crf` of the config, or the published settings.
        requires_cams: Refuse segmentors without CAMs, such as mmseg's of a second stage; these are called with
            `with_cam=False`.

    Note:
        Images enter the network in their own size, as in testing. The memory for CAMs grows with the fourth power of
        the side of an image: downscale photographs of many megapixels first.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: The checkpoint does not match the config; the segmentor has no CAMs; `tta_model` is missing; a
            class is unknown; an image cannot be read.
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
        requires_cams: bool = True,
    ) -> None:
        cfg = read_config(model)
        self.requires_cams = requires_cams or crf  # mmseg's segmentors have no `test_cfg.crf`
        if tta:
            _check_tta(cfg.get('tta_model') or {})
        if crf:
            cfg.merge_from_dict({'model.test_cfg.crf': cfg.model.get('test_cfg', {}).get('crf') or {}})
        super().__init__(cfg, str(weights), device=device, scope=scope)
        self.show_progress = show_progress  # mmengine's; mmsegmentation 1.2.2 has no argument for it
        if dataset_name is not None:
            classes, palette = classes or get_classes(dataset_name), palette or get_palette(dataset_name)
        self._rename(classes, palette)
        self.tta_model = MODELS.build(dict(cfg.tta_model, module=self.model)) if tta else None

    @classmethod
    def from_pretrained(
        cls,
        name: Union[str, Path],
        *,
        revision: Optional[str] = None,
        cache_dir: Union[str, Path, None] = None,
        token: Union[str, bool, None] = None,
        **kwargs: Any,
    ) -> 'WeakSegInferencer':
        """Load a published model from a folder or from Hugging Face's hub; nothing in it is executed.

        Args:
            name: Folder, or id on the hub, such as 'user/afa_mit-b1_voc'.
            revision: Branch, tag or commit on the hub.
            cache_dir: Of downloads; default: Hugging Face's.
            token: Of a private model.
            kwargs: Passed to the constructor.

        Raises:
            FileNotFoundError: The folder lacks `config.json` or `model.safetensors`.
            ModuleNotFoundError: huggingface_hub or safetensors is missing.
            ValueError: The config names code to execute or an unknown type, or the weights do not match.
        """
        folder = Path(name)
        if not folder.is_dir():
            folder = download(str(name), revision=revision, cache_dir=cache_dir, token=token)
        return cls(folder / CONFIG_FILE, folder / WEIGHTS_FILE, **kwargs)

    def save_pretrained(
        self, folder: Union[str, Path], *, license: str, figures: Optional[Mapping] = None, name: Optional[str] = None
    ) -> None:
        """Write weights, config and model card to a folder that `from_pretrained` loads; see `publish`."""
        options: dict[str, Any] = dict(license=license, figures=figures, name=name)
        write_folder(folder, self.model.state_dict(), self.model.cfg, self.model.dataset_meta, **options)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        license: str,
        figures: Optional[Mapping] = None,
        private: bool = False,
        token: Optional[str] = None,
    ) -> str:
        """Upload the files of `save_pretrained` to Hugging Face's hub; return the address of the commit."""
        with TemporaryDirectory() as folder:
            self.save_pretrained(folder, license=license, figures=figures, name=repo_id)
            return upload(folder, repo_id, private=private, token=token)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the foreground classes."""
        return tuple(self.model.dataset_meta['classes'][1:])

    @property
    def palette(self) -> list[list[int]]:
        """RGB colours of all classes, background first."""
        return self.model.dataset_meta['palette']

    @torch.no_grad()
    def explain(self, image: Image, classes: Optional[Sequence[str]] = None) -> 'Explanation':
        """Return the steps between an image and its pseudo-labels; see `Explanation`.

        Args:
            image: Path, or BGR array as OpenCV reads it.
            classes: Names of its foreground classes; default: decided by the classifier.

        Raises:
            ValueError: A class is unknown, or the image cannot be read or is too small for CAMs.
        """
        (batch,) = self.preprocess([image], classes=classes)
        return self.model.explain(**self.model.data_preprocessor(batch, False))[0]

    # Steps of mmseg's inferencer

    def preprocess(self, inputs: Iterable, batch_size: int = 1, classes: Optional[Sequence[str]] = None) -> Iterator:
        """Load images, with the image-level label of `classes`."""
        label = torch.zeros(len(self.class_names))
        if classes is not None:
            label[class_indices([classes] if isinstance(classes, str) else classes, self.class_names)] = 1
        loaded = (self._load(image, None if classes is None else label) for image in inputs)
        return map(self.collate_fn, self._get_chunk_data(loaded, batch_size))

    @torch.no_grad()
    def forward(
        self, inputs: dict, with_cam: bool = True, with_pseudo_label: bool = True, **kwargs: Any
    ) -> list[SegDataSample]:
        """Predict a batch."""
        with self.model.predicting_cams(pseudo_label=with_pseudo_label) if with_cam else nullcontext():
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
        """Pack the results as mmseg does, and add the fields of CAMs."""
        results = super().postprocess(preds, visualization, return_datasample, pred_out_dir)
        if not return_datasample:
            for field in CAM_FIELDS:
                values = [to_array(pred.get(field)) for pred in preds if field in pred]
                if values:
                    results[field] = values[0] if len(preds) == 1 else values
        return results

    # The methods that mmengine's inferencer calls to list inputs and to load: private, but what subclasses override.
    def _inputs_to_list(self, inputs: Any) -> list:
        """List images; of a folder, also those in its subfolders."""
        if isinstance(inputs, (str, Path)):
            return [str(path) for path, _ in find_images([inputs])] if Path(inputs).is_dir() else [str(inputs)]
        return [str(item) if isinstance(item, Path) else item for item in super()._inputs_to_list(inputs)]

    def _init_model(self, cfg: Config, weights: str, device: str = 'cpu') -> ImageLevelSegmentor:
        return init_model(cfg, weights, device, requires_cams=self.requires_cams)

    def _init_collate(self, cfg: Config) -> Callable:
        return super()._init_collate(cfg) if 'collate_fn' in cfg.test_dataloader else pseudo_collate

    def _init_pipeline(self, cfg: Config) -> Compose:
        """Build the test pipeline for paths, turned by EXIF orientation, and arrays; without masks."""
        pipeline = Compose(cfg.test_dataloader.dataset.pipeline)
        first, *steps = [step for step in pipeline.transforms if not isinstance(step, LoadAnnotations)]
        loader = InferencerLoader()
        loader.from_file = LoadImage(imdecode_backend=first.imdecode_backend)
        pipeline.transforms = [loader, *steps]
        return pipeline

    def _init_visualizer(self, cfg: Config) -> SegLocalVisualizer:
        """Build a separate visualizer: that of the config may log training."""
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

    def _load(self, image: Image, label: Optional[Tensor]) -> dict:
        if isinstance(image, np.ndarray):
            check_array(image)
        data = self.pipeline(image)
        if label is not None:
            data['data_samples'].gt_label = label
        return data


def class_indices(names: Sequence[str], known: Sequence[str]) -> list[int]:
    """Return the indices of class names among the foreground classes, each once, in the order of `names`.

    Raises:
        ValueError: A name is unknown.

    Example:
        >>> class_indices(['dog', 'cat', 'dog'], ('bird', 'cat', 'dog'))
        [2, 1]
    """
    for name in names:
        if name not in known:
            near = get_close_matches(name.lower(), {other.lower(): other for other in known}, n=1)
            hint = f' (did you mean {next(x for x in known if x.lower() == near[0])!r}?)' if near else ''
            raise ValueError(f'classes (--classes): unknown class {name!r}{hint}; known classes: {", ".join(known)}')
    return list(dict.fromkeys(map(list(known).index, names)))


def to_array(data: Any) -> np.ndarray:
    """Convert a field of a prediction to an array, label maps (1, H, W) to (H, W)."""
    array = (data.data if isinstance(data, PixelData) else data).cpu().numpy()
    return array[0] if array.ndim == 3 and array.dtype.kind != 'f' else array


def _check_tta(tta_model: dict) -> None:
    kind = MODELS.get(tta_model['type']) if 'type' in tta_model else None
    if not (isinstance(kind, type) and issubclass(kind, MaxScaleTTAModel)):
        raise ValueError(
            f"tta requires tta_model=dict(type='MaxScaleTTAModel') or a subclass in the config, got {tta_model}"
        )
