"""Export of the pseudo-labels of a training set, for a second stage."""

import hashlib
import json
import multiprocessing
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple, Optional, Union

import numpy as np
import torch
from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.device import get_device
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.registry import DATASETS

from ..datasets import ImageLevelDataset
from ..models import ImageLevelSegmentor
from ..utils import remove_leftovers, run_parallel, save_mask, write_text
from ..utils.checkpoints import checkpoint_file
from ..utils.checks import check_class_count, check_class_order, lacks_memory
from ..utils.parallel import count_cpus
from ..version import __version__
from .loading import check_device, init_model, read_config

SETTINGS_FILE = 'settings.json'
#: Forked processes would inherit the state of GPU and threads.
START_METHOD = 'spawn'


class Job(NamedTuple):
    """An image, as described by its data set, and the file of its pseudo-label."""

    info: dict
    file: Path


class Exported(NamedTuple):
    """Result of an export."""

    classes: Sequence[str]  # names, background first
    jobs: list[Job]
    num_written: int  # the other files existed
    faults: dict[str, str]  # errors by image id


@dataclass(frozen=True)
class Recipe:
    """Input of a process that exports pseudo-labels; compared by `settings`, the text of the record."""

    settings: str
    device: str
    num_threads: int
    config: Config = field(compare=False)
    checkpoint: str = field(compare=False)
    palette: Sequence[Sequence[int]] = field(compare=False)


def export_pseudo_labels(
    config: Union[str, Path, Config],
    checkpoint: Union[str, Path],
    out: Union[str, Path],
    *,
    device: Optional[str] = None,
    num_workers: Optional[int] = None,
) -> Exported:
    """Write the pseudo-label of each training image as `{out}/{id}.png`, 255 where ignored.

    Pseudo-labels are those of training, on whole images as validation loads them, for the classes of the image-level
    labels. Existing files are kept, so that an interrupted export resumes; `settings.json` records the settings.

    Args:
        config: Of the segmentor, with the images in `train_dataloader`.
        device: 'cpu', 'cuda' (all GPUs, in turn), 'cuda:1', ...; default: GPUs, if available.
        num_workers: Processes; 0: this one only; default: one for each GPU, or for each CPU.

    Raises:
        ChildProcessError: A process was killed.
        FileNotFoundError: The checkpoint or a file of the data set is missing.
        ValueError: Config, checkpoint and data do not match, `out` holds labels of other settings, or no such device.
    """
    config, out, device = read_config(config), Path(out), device or get_device()
    check_device(device)
    dataset = training_set(config)
    model = init_model(config, checkpoint, requires_cams=True)  # errors of the model are raised before processes start
    _check_classes(model, dataset.metainfo['classes'], 'the data set of train_dataloader')
    jobs = [Job(info, out / f'{info["img_id"]}.png') for info in map(dataset.get_data_info, range(len(dataset)))]
    settings = record_settings(out, describe_settings(config, dataset, checkpoint), [job.file for job in jobs])
    num_workers = _count_devices(device) if num_workers is None else num_workers
    threads = max(1, count_cpus() // max(1, num_workers))
    recipe = Recipe(settings, device, threads, config, str(checkpoint), dataset.metainfo['palette'])
    todo = [job for job in jobs if not job.file.is_file()]
    try:
        errors = run_parallel(partial(write_label, recipe), todo, 'Pseudo-labels', num_workers, START_METHOD)
    finally:
        _load.cache_clear()
    faults = {job.info['img_id']: error for job, error in zip(todo, errors) if error}
    return Exported(dataset.metainfo['classes'], jobs, len(todo) - len(faults), faults)


def _check_classes(model: Any, classes: Sequence[str], source: str) -> None:
    check_class_count(model.decode_head.num_classes, classes, source)
    check_class_order(model.dataset_meta['classes'], classes, source)


def training_set(config: Config) -> ImageLevelDataset:
    """Build the training set of a config, without its pipeline.

    Raises:
        FileNotFoundError: A file of the data set is missing.
        ValueError: There is none, it is not an `ImageLevelDataset`, or its settings are invalid.
    """
    settings = {**((config.get('train_dataloader') or {}).get('dataset') or {}), 'pipeline': [], 'test_mode': True}
    kind = settings.get('type')
    kind = DATASETS.get(kind) if isinstance(kind, str) else kind
    if kind is None or not issubclass(kind, ImageLevelDataset):
        raise ValueError(
            f'train_dataloader.dataset.type is {settings.get("type")}: pseudo-labels require image-level labels; '
            'use the config of an ImageLevelDataset or a subclass'
        )
    return DATASETS.build(settings)


# Settings


def describe_settings(config: Config, dataset: ImageLevelDataset, checkpoint: Union[str, Path]) -> dict[str, Any]:
    """Return what pseudo-labels depend on: model, pipeline, digests of the weights and of the image-level labels."""
    labels = [(info['img_id'], info['gt_label'].tolist()) for info in map(dataset.get_data_info, range(len(dataset)))]
    backbone = config.model.backbone.to_dict()
    for part in (backbone, backbone.get('stem', {})):
        part.pop('init_cfg', None)
    settings = dict(
        afa_mmseg=__version__,
        checkpoint=_digest(checkpoint_file(Path(checkpoint)).read_bytes()),
        classes=dataset.metainfo['classes'],
        labels=_digest(json.dumps(labels).encode()),
        model={**config.model, 'backbone': backbone},
        pipeline=_validation(config).pipeline,
    )
    return json.loads(json.dumps(settings, default=str))


def record_settings(folder: Path, settings: dict[str, Any], files: Sequence[Path]) -> str:
    """Write the settings to a folder, which is created, or compare them with its record; return them as text.

    Temporary files of killed programs are deleted.

    Raises:
        ValueError: The record differs, or some of `files` exist without a record.
    """
    for parent in {file.parent for file in files}:
        remove_leftovers(parent)
    record = folder / SETTINGS_FILE
    text = json.dumps(settings, indent=1, sort_keys=True) + '\n'
    if record.is_file():
        changed = differences(json.loads(record.read_text(encoding='utf-8')), settings)
        if changed:
            raise ValueError(
                f'{folder} holds files of other settings: {"; ".join(changed[:3])}\n'
                '  Choose another folder, or delete this one.'
            )
    elif any(file.exists() for file in files):
        raise ValueError(f'{folder} holds files of these images without {SETTINGS_FILE}.\n  Choose another folder.')
    else:
        write_text(record, text)
    return text


def differences(before: Any, now: Any, name: str = '') -> list[str]:
    """List the fields in which nested settings differ.

    Example:
        >>> differences(dict(model=dict(radius=8, refiner=None)), dict(model=dict(radius=4, refiner=None)))
        ['model.radius: 8 before, 4 now']
    """
    if not (isinstance(before, dict) and isinstance(now, dict)):
        return [] if before == now else [f'{name}: {before} before, {now} now']
    keys = sorted({**before, **now})
    return [
        line for key in keys for line in differences(before.get(key), now.get(key), f'{name}.{key}' if name else key)
    ]


# Processes


def write_label(recipe: Recipe, job: Job) -> str:
    """Write the pseudo-label of one image; return an error message, or an empty string."""
    model, pipeline = _load(recipe)
    try:
        sample = pipeline(dict(job.info))
    except Exception as error:  # any exception of a decoder
        return f'cannot be read: {_first_line(error)}'
    # The label of the data set, whatever the pipeline packs.
    sample['data_samples'].set_data(dict(gt_label=torch.from_numpy(job.info['gt_label'])))
    try:
        with torch.no_grad():
            data = model.data_preprocessor(pseudo_collate([sample]), False)
            (steps,) = model.explain(data['inputs'], data['data_samples'])
            label = steps.to_original(steps.pseudo_label()).cpu().numpy()
    except Exception as error:
        if not (isinstance(error, ValueError) or lacks_memory(error)):
            raise
        return _first_line(error)
    save_mask(label.astype(np.uint8), recipe.palette, job.file)
    return ''


@lru_cache(maxsize=1)
def _load(recipe: Recipe) -> tuple[ImageLevelSegmentor, Compose]:
    """Load model and validation pipeline once for each process; masks are not loaded, and need not exist."""
    device = recipe.device
    if multiprocessing.parent_process() is not None:
        torch.set_num_threads(recipe.num_threads)
        if device == 'cuda':
            (number,) = multiprocessing.current_process()._identity  # 1, 2, ...; there is no public counter
            device = f'cuda:{(number - 1) % torch.cuda.device_count()}'
    model = init_model(recipe.config, recipe.checkpoint, device, requires_cams=True)
    pipeline = Compose(_validation(recipe.config).pipeline)
    pipeline.transforms = [step for step in pipeline.transforms if not isinstance(step, LoadAnnotations)]
    return model, pipeline


def _validation(config: Config) -> Config:
    return (config.get('val_dataloader') or config.test_dataloader).dataset


def _count_devices(device: str) -> int:
    if device == 'cpu':
        return count_cpus()
    return max(1, torch.cuda.device_count()) if device == 'cuda' else 1


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
