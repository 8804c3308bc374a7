"""Inputs that are made on the spot: images, maps, and a segmentor with a batch."""

import math
from pathlib import Path
from typing import Any, Union

import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.logging import MessageHub
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from afa_mmseg.models.segmentors.toco import VIEWS

ROOT = Path(__file__).resolve().parents[1]
#: Index of an iteration after the last bound of every config's phases.
LAST_PHASE = 10**6


def smooth_noise(batch: int, channels: int, size: tuple[int, int], cell: float, generator: torch.Generator) -> Tensor:
    """Draw maps (B, C, H, W) that vary over distances of about `cell` pixels, with unit variance at the nodes."""
    height, width = (math.ceil(side / cell) + 2 for side in size)
    nodes = torch.randn(batch, channels, height, width, generator=generator)
    return F.interpolate(nodes, size=size, mode='bicubic', align_corners=False)


def make_scene(batch: int, size: tuple[int, int], num_regions: int = 21, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Make images with smooth surfaces, texture and edges, and the scores of their regions.

    Of the regions, the one of the highest score shows: in a colour of its own, shaded over long distances,
    textured over short ones, with a little noise. White noise would not do: each of its pixels has lattice
    vertices of its own, which no photograph's have.

    Shape:
        outputs images (B, 3, H, W) of whole numbers in 0..255; scores (B, num_regions, H, W), smooth.
    """
    generator = torch.Generator().manual_seed(seed)
    scores = smooth_noise(batch, num_regions, size, max(size) / 6, generator)
    region = scores.argmax(dim=1).flatten(1)  # (B, H W)
    colour = 40 + 175 * torch.rand(batch, 3, num_regions, generator=generator)
    strength = 12 * torch.rand(batch, 1, num_regions, generator=generator)
    surface, texture = (
        table.gather(2, region[:, None].expand(-1, table.shape[1], -1)).unflatten(2, size)
        for table in (colour, strength)
    )
    shading = smooth_noise(batch, 1, size, max(size) / 3, generator)
    grain = smooth_noise(batch, 3, size, 6, generator)
    noise = torch.randn(batch, 3, *size, generator=generator)
    image = surface + 15 * shading + texture * grain + noise
    return image.round().clamp(0, 255), scores


def make_prob(scores: Tensor, cell: int = 16) -> Tensor:
    """Make class probabilities like those of a network: those of the regions, but coarse; (B, C, H, W)."""
    size = scores.shape[-2:]
    coarse = F.adaptive_avg_pool2d(scores, tuple(max(side // cell, 1) for side in size))
    return F.interpolate(4 * coarse, size=size, mode='bilinear', align_corners=False).softmax(dim=1)


def build_segmentor(config: Union[str, Config], device: torch.device) -> nn.Module:
    """Build the segmentor of a config for training on one device, with random weights, in its last phase.

    Args:
        config: The config, or its path from the root of the project or an absolute one.
        device: Where it goes; SyncBN becomes plain batch norm.
    """
    init_default_scope('mmseg')
    torch.manual_seed(0)
    if not isinstance(config, Config):
        config = Config.fromfile(ROOT / config)
    config.model.backbone.init_cfg = None
    model = revert_sync_batchnorm(MODELS.build(config.model)).to(device)
    MessageHub.get_current_instance().update_info('iter', LAST_PHASE)
    return model.train()


def make_batch(model: nn.Module, batch: int, crop: int) -> dict[str, Any]:
    """Make normalised images with the labels of two classes each, without padding, on the model's device.

    For a method that learns from several views, each view is the image.
    """
    device = next(model.parameters()).device
    image, _ = make_scene(batch, (crop, crop))
    inputs = (image.to(device) - model.data_preprocessor.mean) / model.data_preprocessor.std
    samples = []
    for i in range(batch):
        sample = SegDataSample(metainfo=dict(img_box=(0, crop, 0, crop), img_shape=(crop, crop)))
        sample.gt_label = torch.zeros(model.decode_head.num_foreground, device=device)
        sample.gt_label[[2 * i % len(sample.gt_label), (2 * i + 1) % len(sample.gt_label)]] = 1
        sample.set_metainfo(dict(num_labels=2))
        sample.set_data({view: image[i].to(device, torch.uint8) for view in VIEWS})
        samples.append(sample)
    return dict(inputs=inputs, data_samples=samples)
