"""The files that a config, or a folder with a label file, consists of."""

import os
import os.path as osp
from collections.abc import Sequence
from pathlib import Path
from textwrap import indent
from typing import Any, NamedTuple, Optional

from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS

from ...utils.checks import check_class_count
from ..image_level import ImageLevelDataset
from ..images import IMAGE_SUFFIXES, describe_suffixes, strip_suffix

ERROR, WARNING = 'error', 'warning'
WRAPPERS = {'RepeatDataset': 'dataset', 'ClassBalancedDataset': 'dataset', 'ConcatDataset': 'datasets'}


class Finding(NamedTuple):
    """An error, which stops training or makes its metrics wrong, or a warning, which needs a look.

    Args:
        level: `ERROR` or `WARNING`.
        title: What is wrong.
        items: Where: image ids, files or classes, with details; without any, there is nothing to report.
        remedy: What to do.
    """

    level: str
    title: str
    items: Sequence[str] = ()
    remedy: str = ''

    def lines(self, shown: Optional[int] = None) -> list[str]:
        """Format it, with `shown` items or all."""
        details = [*self.items[:shown]]
        if len(details) < len(self.items):
            details.append(f'... and {len(self.items) - len(details)} more')
        if self.remedy:
            details.append(f'-> {self.remedy}')
        return [f'{self.level}: {self.title} ({len(self.items)})', *(indent(text, '    ') for text in details)]


class Source(NamedTuple):
    """A data set to inspect, not read yet.

    Args:
        name: Of the split.
        dataset: Built with `lazy_init`.
        needs_masks: Whether an image without a mask is an error.
        num_classes: Of the network, background included, if there is one.
    """

    name: str
    dataset: ImageLevelDataset
    needs_masks: bool = False
    num_classes: Optional[int] = None


class Split(NamedTuple):
    """The existing files of a split, by image id.

    Args:
        name: Of the split.
        classes: Background first.
        num_values: Masks hold 0 to `num_values - 1`, and 255.
        paths: Images.
        masks: Masks to read.
        labels: Class names.
        unlisted: Images of the folder that are not in the split.
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
    backend_args: Optional[dict] = None
    exif_orientation: bool = True


def sources_of_config(cfg: Config) -> list[Source]:
    """Build the training and validation data sets of a config without reading them.

    Raises:
        ValueError: Their class has no image-level labels.
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
                    f'{name}_dataloader.dataset.type is {kind.__name__}; only ImageLevelDataset and its subclasses can '
                    'be checked'
                )
            dataset = DATASETS.build({**setting, 'lazy_init': True})
            title = name if len(settings) == 1 else f'{name} {number}'
            sources.append(Source(title, dataset, dataset.loads_masks, num_classes))
    return sources


def sources_of_folder(
    img_dir: str, label_file: str, mask_dir: Optional[str] = None, lists: Sequence[str] = ()
) -> list[Source]:
    """Build data sets of the images of a folder, all of them or those of split lists, with the labels of a file."""
    settings: dict[str, Any] = dict(
        label_file=label_file,
        data_prefix=dict(img_path=img_dir, seg_map_path=mask_dir),
        img_suffix=IMAGE_SUFFIXES,
        lazy_init=True,
    )
    names = {Path(file).stem: file for file in lists} or {'all': ''}
    return [Source(name, ImageLevelDataset(ann_file=file, **settings)) for name, file in names.items()]


def gather(source: Source) -> tuple[Optional[Split], list[Finding]]:
    """List the files of a split, and findings about the lists themselves.

    Returns:
        The split, or None where it cannot be listed at all.
    """
    name, dataset = source.name, source.dataset
    try:
        dataset.check_fields()
        images = dataset.find_images() if dataset.lists_folder() else None
        ids = dataset.list_ids(images)
    except (ValueError, OSError) as reason:
        return None, [Finding(ERROR, f'{name}: cannot be listed', [str(reason)])]
    img_dir = dataset.data_prefix['img_path']
    classes = tuple(dataset.metainfo['classes'])
    files = {i: f'{i}{dataset.img_suffix}' for i in ids} if images is None else images.files
    present = [i for i in ids if i in files]
    labels, label_findings = _gather_labels(source, ids, files, listed=images is not None)
    masks, mask_findings = _gather_masks(source, present, files)
    findings = [
        *label_findings,
        *mask_findings,
        *_check_num_classes(source, classes),
        Finding(
            ERROR,
            f'{name}: ids of the split list without an image in {img_dir}',
            [i for i in ids if i not in files],
            'add the images, or take the ids out',
        ),
        Finding(
            WARNING,
            f'files in {img_dir} that are not read',
            [describe_suffixes(images.others)] if images is not None and images.others else [],
            'convert them if they are images, or set `img_suffix`',
        ),
    ]
    split = Split(
        name=name,
        classes=classes,
        num_values=len(dataset.label_classes) + 1,
        paths={i: osp.join(img_dir, files[i]) for i in present},
        masks=masks,
        labels={i: [c for c in labels[i] if c in classes] for i in ids if i in labels},
        unlisted=frozenset(files) - set(ids),
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
        return {}, [Finding(ERROR, f'{source.name}: labels cannot be read', [str(reason)])]
    return labels, [
        Finding(
            ERROR,
            f'ids of {dataset.label_file} without an image in {dataset.data_prefix["img_path"]}',
            [i for i in labels if i not in files] if listed else [],
            'correct the ids, add the images, or take the lines out',
        ),
        Finding(
            ERROR,
            f'{source.name}: images without labels in {dataset.label_file}',
            [i for i in ids if i in files and i not in labels],
            'add a line with the id, and no label where an image shows none of the classes',
        ),
    ]


def _gather_masks(source: Source, ids: list[str], files: dict[str, str]) -> tuple[dict[str, str], list[Finding]]:
    dataset, suffix = source.dataset, source.dataset.seg_map_suffix
    mask_dir = dataset.data_prefix.get('seg_map_path')
    folder_only = not dataset.pipeline.transforms
    if not mask_dir or not (dataset.loads_masks or folder_only):
        return {}, []
    if not dataset.is_local(mask_dir):
        return {i: f'{mask_dir}/{i}{suffix}' for i in ids}, []
    if not osp.isdir(mask_dir):
        return {}, [Finding(ERROR, f'{source.name}: no such folder of masks', [mask_dir], 'correct it')]
    found = {osp.relpath(osp.join(folder, file), mask_dir) for folder, _, names in os.walk(mask_dir) for file in names}
    findings = [
        Finding(
            ERROR if source.needs_masks else WARNING,
            f'{source.name}: images without a {suffix} mask in {mask_dir}',
            [i for i in ids if i + suffix not in found],
            'validation requires a mask for each of its images, training needs none',
        ),
        Finding(
            WARNING,
            f'masks in {mask_dir} without an image',
            sorted(file for file in found if strip_suffix(file, suffix) not in (*files, None)),
            'correct their names, or leave them',
        ),
    ]
    return {i: osp.join(mask_dir, i + suffix) for i in ids if i + suffix in found}, findings


def _check_num_classes(source: Source, classes: tuple[str, ...]) -> list[Finding]:
    if source.num_classes is None:
        return []
    try:
        check_class_count(source.num_classes, classes, f'the data set of {source.name}')
    except ValueError as reason:
        return [Finding(ERROR, 'the network does not fit the data', [str(reason)])]
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
