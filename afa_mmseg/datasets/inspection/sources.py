"""The files that a config, or a folder with a label file, is made of."""

import math
import os
import os.path as osp
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Optional

import mmcv
from mmcv.transforms import Resize
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.datasets.transforms import Resize as SegResize
from mmseg.registry import DATASETS, MODELS

from ...utils.checks import check_class_count
from ..image_level import ImageLevelDataset
from ..picture_files import PICTURE_SUFFIXES, describe_suffixes, strip_suffix
from ..transforms import RandomCropWithBox
from .findings import Finding, error, warning

WRAPPERS = {'RepeatDataset': 'dataset', 'ClassBalancedDataset': 'dataset', 'ConcatDataset': 'datasets'}


class Source(NamedTuple):
    """A data set to look at, not yet read.

    Args:
        name: Of the split.
        dataset: Built with `lazy_init`.
        needs_masks: Whether a picture without a mask is an error.
        min_side: Smallest side, in pixels, of what the pipeline makes of a picture; 0: any.
        num_classes: Of the network, background included, if there is one.
    """

    name: str
    dataset: ImageLevelDataset
    needs_masks: bool = False
    min_side: int = 0
    num_classes: Optional[int] = None


class Split(NamedTuple):
    """The files of a split, by picture id, as far as they are there.

    Args:
        name: Of the split.
        classes: Background first.
        num_values: Masks hold 0 to this, less one, and 255.
        paths: Pictures.
        masks: Masks that are to be read.
        labels: Class names.
        unlisted: Pictures of the folder that the split leaves out.
        min_side: See `Source`.
        resizes: Transforms that give all pictures their size.
        crop: Height and width of random crops.
        backend_args: Of mmengine's file backends.
        exif_orientation: Whether images and masks are turned as their EXIF orientations say.
    """

    name: str
    classes: tuple[str, ...]
    num_values: int
    paths: dict[str, str]
    masks: dict[str, str]
    labels: dict[str, list[str]]
    unlisted: frozenset[str] = frozenset()
    min_side: int = 0
    resizes: tuple[Resize, ...] = ()
    crop: Optional[tuple[int, int]] = None
    backend_args: Optional[dict] = None
    exif_orientation: bool = True

    def input_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Tell what height and width the pipeline gives a picture, before anything random."""
        for step in self.resizes:
            scale = step.scale or step.scale_factor
            kept = step.keep_ratio or not step.scale
            size = tuple((mmcv.rescale_size(size[::-1], scale) if kept else scale)[::-1])
        return size


def sources_of_config(cfg: Config) -> list[Source]:
    """Build the training and validation data sets of a config without reading them.

    Raises:
        ValueError: They are of a class without image-level labels.
    """
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    num_classes = cfg.get('model', {}).get('decode_head', {}).get('num_classes')
    sources = []
    for name in ('train', 'val'):
        settings = _unwrap((cfg.get(f'{name}_dataloader') or {}).get('dataset'))
        for number, setting in enumerate(settings, 1):
            kind = DATASETS.get(setting['type']) if isinstance(setting['type'], str) else setting['type']
            if kind is not None and not issubclass(kind, ImageLevelDataset):
                raise ValueError(
                    f'{name}_dataloader.dataset.type is {kind.__name__}; ImageLevelDataset and its subclasses can be '
                    'checked'
                )
            dataset = DATASETS.build({**setting, 'lazy_init': True})
            min_side = _min_side(cfg) if name == 'val' else 0
            title = name if len(settings) == 1 else f'{name} {number}'
            sources.append(Source(title, dataset, dataset.loads_masks, min_side, num_classes))
    return sources


def sources_of_folder(
    img_dir: str, label_file: str, mask_dir: Optional[str] = None, lists: Sequence[str] = ()
) -> list[Source]:
    """Prepare the pictures of a folder, all of them or those of split lists, with the labels of a file."""

    def source(name: str, ann_file: str) -> Source:
        prefix = dict(img_path=img_dir, seg_map_path=mask_dir)
        dataset = ImageLevelDataset(
            ann_file=ann_file,
            label_file=label_file,
            data_prefix=prefix,
            img_suffix=PICTURE_SUFFIXES,
            lazy_init=True,
        )
        return Source(name, dataset)

    return [source(Path(file).stem, file) for file in lists] or [source('all', '')]


def gather(source: Source) -> tuple[Optional[Split], list[Finding]]:
    """List the files of a split, and what is amiss with the lists themselves.

    Returns:
        The split, or None where it cannot be listed at all.
    """
    name, dataset = source.name, source.dataset
    try:
        dataset.check_fields()
        pictures = dataset.find_pictures() if dataset.lists_folder() else None
        ids = dataset.list_ids(pictures)
    except (ValueError, OSError) as reason:
        return None, [error(f'{name}: cannot be listed', [str(reason)])]
    img_dir = dataset.data_prefix['img_path']
    classes = tuple(dataset.metainfo['classes'])
    files = {i: f'{i}{dataset.img_suffix}' for i in ids} if pictures is None else pictures.files
    others = {} if pictures is None else pictures.others
    labels, findings = _gather_labels(source, ids, files, listed=pictures is not None)
    masks, mask_findings = _gather_masks(source, [i for i in ids if i in files], files)
    findings += [
        *mask_findings,
        *_check_num_classes(source, classes),
        error(
            f'{name}: ids of the split list without a picture in {img_dir}',
            [i for i in ids if i not in files],
            'add the pictures, or take the ids out',
        ),
        warning(
            f'files in {img_dir} that are not read',
            [describe_suffixes(others)] if others else [],
            'convert them if they are pictures, or set `img_suffix`',
        ),
    ]
    steps = dataset.pipeline.transforms
    split = Split(
        name=name,
        classes=classes,
        num_values=len(dataset.label_classes) + 1,
        paths={i: osp.join(img_dir, files[i]) for i in ids if i in files},
        masks=masks,
        labels={i: [c for c in labels[i] if c in classes] for i in ids if i in labels},
        unlisted=frozenset(files) - set(ids),
        min_side=source.min_side,
        resizes=tuple(step for step in steps if type(step) in (Resize, SegResize)),
        crop=next((step.crop_size for step in steps if isinstance(step, RandomCropWithBox)), None),
        backend_args=dataset.backend_args,
        exif_orientation=dataset.exif_orientation,
    )
    return split, findings


def _gather_labels(
    source: Source, ids: list[str], files: dict[str, str], *, listed: bool
) -> tuple[dict[str, list[str]], list[Finding]]:
    dataset = source.dataset
    try:
        if dataset.label_file is None:  # XML
            return dataset.load_labels(ids), []
        labels = dataset.read_labels([*files, *(i for i in ids if i not in files)])
    except (ValueError, OSError) as reason:
        return {}, [error(f'{source.name}: labels cannot be read', [str(reason)])]
    img_dir = dataset.data_prefix['img_path']
    return labels, [
        error(
            f'ids of {dataset.label_file} without a picture in {img_dir}',
            [i for i in labels if i not in files] if listed else [],
            'correct the ids, add the pictures, or take the lines out',
        ),
        error(
            f'{source.name}: pictures without labels in {dataset.label_file}',
            [i for i in ids if i in files and i not in labels],
            'add a line with the id, and no label where a picture shows none of the classes',
        ),
    ]


def _gather_masks(source: Source, ids: list[str], files: dict[str, str]) -> tuple[dict[str, str], list[Finding]]:
    dataset = source.dataset
    mask_dir = dataset.data_prefix.get('seg_map_path')
    folder_only = not dataset.pipeline.transforms
    if not mask_dir or not (dataset.loads_masks or folder_only):
        return {}, []
    suffix = dataset.seg_map_suffix
    if not dataset.is_local(mask_dir):
        return {i: f'{mask_dir}/{i}{suffix}' for i in ids}, []
    if not osp.isdir(mask_dir):
        return {}, [error(f'{source.name}: no such folder of masks', [mask_dir], 'correct it')]
    there = {osp.relpath(osp.join(folder, file), mask_dir) for folder, _, names in os.walk(mask_dir) for file in names}
    missing = [i for i in ids if i + suffix not in there]
    report = error if source.needs_masks else warning
    findings = [
        report(
            f'{source.name}: pictures without a {suffix} mask in {mask_dir}',
            missing,
            'validation needs a mask for each of its pictures, training needs none',
        ),
        warning(
            f'masks in {mask_dir} without a picture',
            sorted(file for file in there if strip_suffix(file, suffix) not in (*files, None)),
            'correct their names, or leave them',
        ),
    ]
    return {i: osp.join(mask_dir, i + suffix) for i in ids if i + suffix in there}, findings


def _check_num_classes(source: Source, classes: tuple[str, ...]) -> list[Finding]:
    if source.num_classes is None:
        return []
    try:
        check_class_count(source.num_classes, classes, f'the data set of {source.name}')
    except ValueError as reason:
        return [error('the network does not fit the data', [str(reason)])]
    return []


def _unwrap(settings: Any) -> list[dict]:
    """List the data sets inside wrappers such as RepeatDataset."""
    if not settings:
        return []
    key = WRAPPERS.get(str(settings['type']).rsplit('.', 1)[-1])
    if key is None:
        return [settings]
    inner = settings[key] if key == 'datasets' else [settings[key]]
    return [data for item in inner for data in _unwrap(item)]


def _min_side(cfg: Config) -> int:
    """Tell the smallest side that validation can take, in pixels."""
    backbone = MODELS.build({**cfg.model.backbone, 'init_cfg': None})
    scales = cfg.model.get('pseudo_labeler', {}).get('cam_scales', (1.0,))
    smallest = min(1.0, *scales) if 'CAM' in str(cfg.val_cfg.type) else 1.0
    return math.ceil(getattr(backbone, 'min_size', 0) / smallest)
