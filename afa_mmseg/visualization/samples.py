"""Fixed samples of a data set, drawn repeatedly while a network trains."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional

import numpy as np
import torch
from mmseg.structures import SegDataSample
from torch import Tensor

from ..datasets.seeding import own_randomness
from .explanation_panel import image_of, panel_of_explanation, row_of_explanation, salient_points
from .overlays import Image

if TYPE_CHECKING:
    from ..models.segmentors.explanation import Explanation


@dataclass(frozen=True, eq=False)
class FixedSample:
    """A sample as its pipeline returned it once: image id, input of the data preprocessor, meta information, labels.

    Shape:
        inputs uint8 (3, H, W); gt_label (C,); ground_truth (H', W').
    """

    name: str
    inputs: Tensor
    meta: dict
    gt_label: Optional[Tensor]
    ground_truth: Optional[np.ndarray]

    def batch(self) -> dict:
        """Return a batch of this image alone; a new one for each call, because models write into samples."""
        sample = SegDataSample(metainfo=self.meta)
        if self.gt_label is not None:
            sample.gt_label = self.gt_label
        return dict(inputs=[self.inputs], data_samples=[sample])


def take_samples(dataset: Any, indices: Sequence[int], seed: int, *, crops: bool) -> list[FixedSample]:
    """Load samples through their pipeline with a fixed seed, without changing the state of random generators.

    Args:
        dataset: An mmseg data set.
        indices: Of the samples.
        seed: Of the pipeline's random numbers.
        crops: Draw the output of the pipeline, as in training, instead of the whole file.
    """
    samples = []
    for index in indices:
        with own_randomness(seed + index):
            packed = dataset[index]
        sample, size = packed['data_samples'], tuple(packed['inputs'].shape[-2:])
        kept = dict(ori_shape=size, img_shape=size) if crops else sample.metainfo
        if 'img_box' in sample:
            kept = dict(kept, img_box=sample.img_box)
        truth = sample.gt_sem_seg.data[0].numpy() if 'gt_sem_seg' in sample else None
        name = str(dataset.get_data_info(index).get('img_id', index))
        samples.append(FixedSample(name, packed['inputs'], kept, sample.get('gt_label'), truth))
    return samples


def indices_of(dataset: Any, sample_ids: Sequence[str]) -> list[int]:
    """Return the indices of ids, in the order given, skipping those that the data set lacks."""
    places = {dataset.get_data_info(index).get('img_id'): index for index in range(len(dataset))}
    return [places[name] for name in sample_ids if name in places]


def draw_sample(model: Any, sample: FixedSample, metainfo: dict, *, num_points: int = 2) -> Image:
    """Draw all steps of a segmentor, whose mode is kept, on a sample; see `panel_of_explanation`.

    Args:
        model: A segmentor with `explain`.
        sample: Returned by `take_samples`.
        metainfo: Of the data set: `classes` and `palette`.
        num_points: Pixels whose affinity and attention are drawn, at most 2.
    """
    explanation, prediction = explain_sample(model, sample)
    return panel_of_explanation(
        image_of(explanation),
        explanation,
        metainfo['palette'],
        metainfo['classes'],
        prediction=prediction,
        ground_truth=sample.ground_truth,
        points=salient_points(explanation)[:num_points],
    )


def draw_summary(model: Any, sample: FixedSample, metainfo: dict) -> Image:
    """Draw the main steps of a segmentor on a sample; see `row_of_explanation`."""
    explanation, prediction = explain_sample(model, sample)
    return row_of_explanation(image_of(explanation), explanation, metainfo['palette'], prediction, sample.ground_truth)


@torch.no_grad()
def explain_sample(model: Any, sample: FixedSample) -> tuple['Explanation', np.ndarray]:
    """Explain and segment a sample; the label map has the size of the file."""
    with evaluating(model):
        data = model.data_preprocessor(sample.batch(), False)
        (explanation,) = model.explain(**data)
        (result,) = model.predict(**data)
    return explanation, result.pred_sem_seg.data[0].cpu().numpy()


@contextmanager
def evaluating(model: torch.nn.Module) -> Iterator[None]:
    """Set a model to evaluation mode inside a `with` block, then restore the mode of each module."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
