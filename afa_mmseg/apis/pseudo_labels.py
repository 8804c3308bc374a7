"""The pseudo-labels of a whole training list as files, for a second stage."""

import multiprocessing
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple, Optional, Union

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
from ..utils import remove_leftovers, run_parallel, save_mask
from ..utils.checks import check_class_count
from ..utils.parallel import count_cpus
from .export_settings import check_settings, describe_settings
from .loading import check_device, load_segmentor, read_config

#: A process that starts afresh takes neither GPU nor threads of this one along.
START_METHOD = 'spawn'


class Job(NamedTuple):
    """A picture, as its data set describes it, and the file of its pseudo-label."""

    info: dict
    file: Path


class Exported(NamedTuple):
    """What an export did.

    Args:
        classes: Names, background first.
        jobs: The pictures and the files of their pseudo-labels.
        num_written: Files that were written; others were there.
        faults: Why a picture has no pseudo-label, by id.
    """

    classes: Sequence[str]
    jobs: list[Job]
    num_written: int
    faults: dict[str, str]


@dataclass(frozen=True)
class Recipe:
    """What a process needs to know to label pictures.

    Args:
        digest: Of all that labels depend on; recipes with the same one are the same.
        device: 'cpu', 'cuda' (all GPUs, in turn), 'cuda:1', ...
        num_threads: Of each process but the main one.
        config: Of the segmentor.
        checkpoint: Its weights.
        palette: Colours of the files.
    """

    digest: str
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
    """Write the pseudo-label of each training picture of a config as `{out}/{id}.png`, 255 where it is unsure.

    Labels are those that segmentation learns from, of the whole picture as validation loads it: multi-scale CAMs
    of the classes in its image-level label, spread along the affinity, refined. Files that are there are kept, so
    that an interrupted export goes on; `settings.json` among them says what they were made with.

    Args:
        config: Of the segmentor; the pictures are those of `train_dataloader`.
        checkpoint: Its weights.
        out: Folder.
        device: 'cpu', 'cuda' (all GPUs, in turn), 'cuda:1', ...; by default GPUs, if there are any.
        num_workers: Processes; 0: none but this one; by default one for each GPU, or for each CPU.

    Raises:
        ChildProcessError: A process was killed.
        FileNotFoundError: The checkpoint is not there, or something that the config names.
        ValueError: Config, checkpoint and data set do not fit each other, `out` holds labels of other settings, or
            there is no such device.
    """
    config, out, device = read_config(config), Path(out), device or get_device()
    check_device(device)
    dataset = training_pictures(config)
    model = load_segmentor(config, checkpoint)  # says what is wrong with it before there are processes
    check_class_count(model.decode_head.num_classes, dataset.metainfo['classes'], 'the data set of train_dataloader')
    jobs = [Job(info, out / f'{info["img_id"]}.png') for info in map(dataset.get_data_info, range(len(dataset)))]
    num_workers = _count_devices(device) if num_workers is None else num_workers
    recipe = Recipe(
        digest=check_settings(out, describe_settings(config, dataset, checkpoint), [job.file for job in jobs]),
        device=device,
        num_threads=max(1, count_cpus() // max(1, num_workers)),
        config=config,
        checkpoint=str(checkpoint),
        palette=dataset.metainfo['palette'],
    )
    for folder in {job.file.parent for job in jobs}:
        remove_leftovers(folder)
    todo = [job for job in jobs if not job.file.is_file()]
    try:
        reasons = run_parallel(partial(write_label, recipe), todo, 'Pseudo-labels', num_workers, START_METHOD)
    finally:
        _load.cache_clear()
    faults = {job.info['img_id']: reason for job, reason in zip(todo, reasons) if reason}
    return Exported(dataset.metainfo['classes'], jobs, len(todo) - len(faults), faults)


def training_pictures(config: Config) -> ImageLevelDataset:
    """Build the training set of a config for looking pictures up, without its pipeline.

    Raises:
        FileNotFoundError: Something that it names is not there.
        ValueError: There is none, it is not an `ImageLevelDataset`, or as that raises.
    """
    dataset = (config.get('train_dataloader') or {}).get('dataset') or {}
    if 'type' not in dataset:
        raise ValueError(
            'train_dataloader.dataset is missing in the config: it says which pictures get pseudo-labels; '
            'give the config that was trained with'
        )
    settings = {**dataset, 'pipeline': [], 'test_mode': True}
    kind = DATASETS.get(settings['type']) if isinstance(settings['type'], str) else settings['type']
    if kind is None or not issubclass(kind, ImageLevelDataset):
        raise ValueError(
            f'train_dataloader.dataset is a {settings["type"]}; pseudo-labels are made of image-level labels: '
            'give the config of an ImageLevelDataset or a subclass'
        )
    return DATASETS.build(settings)


def prediction_pipeline(config: Config) -> list[dict]:
    """Say how the config loads whole pictures for validation, or for testing where it has no validation."""
    loader = config.get('val_dataloader') or config.test_dataloader
    return list(loader.dataset.pipeline)


@torch.no_grad()
def pseudo_label(model: ImageLevelSegmentor, sample: dict) -> np.ndarray:
    """Make the pseudo-label of one picture, as its `pred_pseudo_label` is made in prediction.

    Args:
        model: In evaluation mode.
        sample: What a pipeline packed, with `gt_label`.

    Shape:
        output (H, W), uint8, at the size of the picture's file.
    """
    data = model.data_preprocessor(pseudo_collate([sample]), False)
    (steps,) = model.explain(data['inputs'], data['data_samples'])
    return steps.to_original(steps.pseudo_label()).cpu().numpy().astype(np.uint8)


def write_label(recipe: Recipe, job: Job) -> str:
    """Write the pseudo-label of one picture; give the reason if that cannot be, else nothing."""
    model, pipeline = _load(recipe)
    try:
        sample = pipeline(dict(job.info))
    except Exception as reason:  # decoders raise whatever they like
        return f'cannot be read: {_first_line(reason)}'
    # The list's own label, whatever the pipeline packs.
    sample['data_samples'].set_data(dict(gt_label=torch.from_numpy(job.info['gt_label'])))
    try:
        label = pseudo_label(model, sample)
    except (ValueError, MemoryError, torch.cuda.OutOfMemoryError) as reason:
        return _first_line(reason)
    save_mask(label, recipe.palette, job.file)
    return ''


@lru_cache(maxsize=1)
def _load(recipe: Recipe) -> tuple[ImageLevelSegmentor, Compose]:
    """Make this process ready: network and pipeline, the latter without masks, which there need not be."""
    if multiprocessing.parent_process() is not None:
        torch.set_num_threads(recipe.num_threads)
    model = load_segmentor(recipe.config, recipe.checkpoint, _own_device(recipe.device))
    pipeline = Compose(prediction_pipeline(recipe.config))
    pipeline.transforms = [step for step in pipeline.transforms if not isinstance(step, LoadAnnotations)]
    return model, pipeline


def _own_device(device: str) -> str:
    """Deal GPUs out to the processes in turn."""
    if device != 'cuda' or torch.cuda.device_count() == 0:
        return device
    number = getattr(multiprocessing.current_process(), '_identity', ()) or (1,)
    return f'cuda:{(number[0] - 1) % torch.cuda.device_count()}'


def _count_devices(device: str) -> int:
    if device == 'cpu':
        return count_cpus()
    return max(1, torch.cuda.device_count()) if device == 'cuda' else 1


def _first_line(reason: Exception) -> str:
    return (str(reason).strip().splitlines() or [type(reason).__name__])[0]
