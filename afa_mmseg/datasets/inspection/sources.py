"""The files that a config, or a folder with a label file, consists of."""

import os.path as osp
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from textwrap import indent
from typing import Any, NamedTuple, Optional

from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS

from ...engine.settings import inner_datasets
from ..image_level import ImageLevelDataset
from ..images import IMAGE_SUFFIXES, ImageFiles, describe_suffixes, find_images

ERROR, WARNING = 'error', 'warning'


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
    """A data set, built with `lazy_init`, and the number of classes of the network if there is one."""

    name: str
    dataset: ImageLevelDataset
    num_classes: Optional[int] = None


class Facts(NamedTuple):
    """Properties of an image and its mask: errors of reading, (height, width) as training reads them, pixels.

    Args:
        is_turned: Whether the image's EXIF orientation is another than upright, and is applied.
        digest: Hash of the image's pixels.
        mask_values: Values that occur in the mask.
    """

    error: str = ''
    size: tuple[int, int] = (0, 0)
    is_turned: bool = False
    digest: str = ''
    mask_error: str = ''
    mask_size: Optional[tuple[int, int]] = None
    mask_values: tuple[int, ...] = ()


class Split(NamedTuple):
    """The existing files of a split and its class names, by image id; classes have the background first."""

    name: str
    dataset: ImageLevelDataset
    classes: tuple[str, ...]
    paths: dict[str, str]
    masks: dict[str, str]
    labels: dict[str, list[str]]
    unlisted: int = 0  # images of the folder that are not in the split

    def count_classes(self) -> dict[str, int]:
        """Count the images that show each foreground class."""
        return {name: sum(name in names for names in self.labels.values()) for name in self.classes[1:]}


class Inspection(NamedTuple):
    """Inspected splits, properties of their images by path, and findings, errors first."""

    splits: list[Split]
    facts: dict[str, Facts]
    findings: list[Finding]

    @property
    def num_errors(self) -> int:
        """Number of findings that are errors."""
        return sum(finding.level == ERROR for finding in self.findings)


def sources_of_config(cfg: Config) -> list[Source]:
    """Build the training and validation data sets of a config without reading them.

    Raises:
        ValueError: Their class has no image-level labels.
    """
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    num_classes = cfg.get('model', {}).get('decode_head', {}).get('num_classes')
    sources = []
    for name in ('train', 'val'):
        settings = inner_datasets((cfg.get(f'{name}_dataloader') or {}).get('dataset'))
        for number, setting in enumerate(settings, 1):
            kind = DATASETS.get(setting['type']) if isinstance(setting['type'], str) else setting['type']
            if kind is not None and not issubclass(kind, ImageLevelDataset):
                raise ValueError(
                    f'{name}_dataloader.dataset.type is {kind.__name__}; only ImageLevelDataset and its subclasses can '
                    'be checked'
                )
            dataset = DATASETS.build({**setting, 'lazy_init': True})
            sources.append(Source(name if len(settings) == 1 else f'{name} {number}', dataset, num_classes))
    return sources


def sources_of_folder(
    img_dir: str, label_file: str, mask_dir: Optional[str] = None, lists: Sequence[str] = ()
) -> list[Source]:
    """Build data sets of the images of a folder, all of them or those of split lists, with the labels of a file.

    The name of a split is that of its list, or the path where two lists have the same name.
    """
    settings: dict[str, Any] = dict(
        label_file=label_file,
        data_prefix=dict(img_path=img_dir, seg_map_path=mask_dir),
        img_suffix=IMAGE_SUFFIXES,
        lazy_init=True,
    )
    times = Counter(Path(file).stem for file in lists)
    names = {file: file if times[Path(file).stem] > 1 else Path(file).stem for file in lists} or {'': 'all'}
    return [Source(name, ImageLevelDataset(ann_file=file, **settings)) for file, name in names.items()]


def gather(source: Source) -> tuple[Optional[Split], list[Finding]]:
    """List the files of a split, and findings about the lists themselves.

    Returns:
        The split, or None where it cannot be listed at all.
    """
    name, dataset = source.name, source.dataset
    try:
        dataset.check_fields()
        ids, images = dataset.list_images()
    except (ValueError, OSError) as reason:
        return None, [Finding(ERROR, f'{name}: cannot be listed', [str(reason)])]
    img_dir, classes, files = dataset.data_prefix['img_path'], tuple(dataset.metainfo['classes']), images.files
    present = [i for i in ids if i in files]
    labels, label_findings = _gather_labels(source, ids, files)
    masks, mask_findings = _gather_masks(source, present)
    findings = [*label_findings, *mask_findings, *_check_lists(source, ids, images, classes)]
    paths = {i: osp.join(img_dir, files[i]) for i in present}
    shown = {i: [c for c in classes if c in labels[i]] for i in ids if i in labels}
    return Split(name, dataset, classes, paths, masks, shown, len(files) - len(present)), findings


def _check_lists(source: Source, ids: list[str], images: ImageFiles, classes: tuple[str, ...]) -> list[Finding]:
    name, img_dir = source.name, source.dataset.data_prefix['img_path']
    fits = source.num_classes in (None, len(classes))
    misfit = [] if fits else [f'num_classes is {source.num_classes}, but {name} has {len(classes)} classes']
    remedy = f'set num_classes={len(classes)}, or correct the classes: {", ".join(classes)}'
    gone = [i for i in ids if i not in images.files]
    other = [describe_suffixes(images.others)] if images.others else []
    return [
        Finding(ERROR, f'{name}: the network does not fit the data', misfit, remedy),
        Finding(ERROR, f'{name}: ids of the split list without an image in {img_dir}', gone, 'add the images'),
        Finding(WARNING, f'files in {img_dir} that are not read', other, 'convert them if they are images'),
    ]


def _gather_labels(source: Source, ids: list[str], files: dict[str, str]) -> tuple[dict[str, list[str]], list[Finding]]:
    dataset = source.dataset
    try:
        if dataset.label_file is None:  # XML
            return dataset.load_labels(ids), []
        labels = dataset.read_labels([*files, *(i for i in ids if i not in files)])
    except (ValueError, OSError) as reason:
        return {}, [Finding(ERROR, f'{source.name}: labels cannot be read', [str(reason)])]
    img_dir = dataset.data_prefix['img_path']
    unknown = [i for i in labels if i not in files] if dataset.lists_folder() else []
    bare = [i for i in ids if i in files and i not in labels]
    remedy = 'add a line with the id, and no label where an image shows none of the classes'
    return labels, [
        Finding(ERROR, f'ids of {dataset.label_file} without an image in {img_dir}', unknown, 'correct the ids'),
        Finding(ERROR, f'{source.name}: images without labels in {dataset.label_file}', bare, remedy),
    ]


def _gather_masks(source: Source, ids: list[str]) -> tuple[dict[str, str], list[Finding]]:
    dataset, suffix = source.dataset, source.dataset.seg_map_suffix
    mask_dir = dataset.data_prefix.get('seg_map_path')
    if not mask_dir or not (dataset.loads_masks or not dataset.pipeline.transforms):
        return {}, []
    if not dataset.is_local(mask_dir):
        return {i: f'{mask_dir}/{i}{suffix}' for i in ids}, []
    if not osp.isdir(mask_dir):
        return {}, [Finding(ERROR, f'{source.name}: no such folder of masks', [mask_dir], 'correct it')]
    found = find_images(mask_dir, suffix).files
    bare = [i for i in ids if i not in found]
    level, remedy = ERROR if dataset.loads_masks else WARNING, 'validation requires a mask for each of its images'
    findings = [Finding(level, f'{source.name}: images without a {suffix} mask in {mask_dir}', bare, remedy)]
    return {i: osp.join(mask_dir, found[i]) for i in ids if i in found}, findings
