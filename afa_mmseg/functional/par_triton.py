"""PAR in two Triton kernels: the weights of all neighbours, and one kernel for each iteration.

Triton comes with torch on CUDA and is imported when the kernels are first used. Both kernels assign a block of pixels
to each program and hold its neighbours in registers; the weights are read once per iteration for all channels.
"""

from __future__ import annotations  # `tl` is not there yet when Python reads the kernels

import inspect
import math
import warnings
from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from .neighbours import neighbour_offsets

#: Pixels of one program: with 64 neighbour slots, 16 values of each tile for each of 128 threads.
PIXELS = 32
#: Sizes change from batch to batch: kernels are compiled once, not for every divisibility of a size.
SIZES = ('height', 'width', 'channels', 'neighbours')

tl: Any = None  # `triton.language`, set by `_kernels`


def is_available() -> bool:
    """Return whether Triton is installed."""
    return find_spec('triton') is not None


@lru_cache
def works_on(device: torch.device) -> bool:
    """Run both kernels once on one pixel of a device; warn and return False if that fails."""
    if device.type != 'cuda' or not is_available():
        return False
    try:
        pixel = torch.zeros(1, 3, 1, 1, device=device)
        diffuse(pixel, weigh(pixel, (1,), bandwidth=1.0, prior=torch.zeros(8, device=device)), (1,), 1)
    except Exception as error:  # of many types: no C compiler for the launcher, an unsupported card, ...
        warnings.warn(f'PAR falls back to its eager implementation, Triton failed on {device}: {error}', stacklevel=2)
        return False
    return True


@torch.no_grad()
def weigh(image: Tensor, dilations: Sequence[int], *, bandwidth: float, prior: Tensor) -> Tensor:
    """Compute the weights of each pixel's neighbours, as `par.par_kernel` does.

    Args:
        image: RGB, float32.
        dilations: Neighbour distances in pixels.
        bandwidth: Kernel width, in local standard deviations.
        prior: Weight added to each neighbour's colour weight.

    Shape:
        image (B, 3, H, W); prior K values; output (B, K, H, W), K = 8 neighbours at each dilation.
    """
    image = image.contiguous()
    offsets = _offsets(image.device, tuple(dilations))  # (2, K)
    batch, _, height, width = image.shape
    weights = image.new_empty(batch, offsets.shape[1], height, width)
    _launch('weigh', (image, prior.contiguous(), weights, offsets, height, width, offsets.shape[1], bandwidth), weights)
    return weights


@torch.no_grad()
def diffuse(cam: Tensor, weights: Tensor, dilations: Sequence[int], num_iters: int) -> Tensor:
    """Replace each pixel by the weighted sum of its neighbours, `num_iters` times; forward only.

    Shape:
        cam (B, C, H, W); weights (B, K, H, W); output (B, C, H, W). All float32.
    """
    cam, weights = cam.contiguous(), weights.contiguous()
    offsets = _offsets(cam.device, tuple(dilations))
    channels, height, width = cam.shape[1:]
    # The result never overwrites the caller's CAM: two buffers in turn.
    buffers = [torch.empty_like(cam) for _ in range(min(num_iters, 2))]
    for i in range(num_iters):
        out = buffers[i % 2]
        _launch('diffuse', (cam, weights, out, offsets, height, width, channels, offsets.shape[1]), weights)
        cam = out
    return cam


def _launch(name: str, arguments: tuple, weights: Tensor) -> None:
    """Start a kernel with a program for each block of pixels of each image of weights (B, K, H, W)."""
    batch, neighbours, height, width = weights.shape
    grid = (math.ceil(height * width / PIXELS), batch)
    slots = 1 << (neighbours - 1).bit_length()  # Triton's blocks have sizes of powers of two
    with torch.cuda.device(weights.device if weights.is_cuda else -1):  # -1: no change
        _kernels()[name][grid](*arguments, SLOTS=slots, PIXELS=PIXELS)


@lru_cache(maxsize=8)  # a copy to the GPU waits for it: once for each device
def _offsets(device: torch.device, dilations: tuple[int, ...]) -> Tensor:
    """Make the rows and the columns of all neighbours' offsets, int32 (2, K)."""
    return torch.tensor(neighbour_offsets(dilations), dtype=torch.int32).t().contiguous().to(device)


@lru_cache
def _kernels() -> dict[str, Any]:
    global tl
    import triton
    import triton.language as tl

    kernels = {}
    for name, function in dict(weigh=_weigh, diffuse=_diffuse).items():
        names = inspect.signature(function).parameters
        kernels[name] = triton.jit(function, do_not_specialize=[size for size in SIZES if size in names])
    return kernels


# What follows is compiled by Triton, and not run as Python.


def _weigh(  # type: ignore[no-untyped-def]
    image,
    prior,
    weights,
    offsets,
    height,
    width,
    neighbours,
    bandwidth,
    SLOTS: tl.constexpr,
    PIXELS: tl.constexpr,
):
    pixels = height * width
    batch = tl.program_id(1).to(tl.int64)
    here = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    slot = tl.arange(0, SLOTS)
    used = (slot < neighbours)[:, None]
    down = tl.load(offsets + slot, mask=slot < neighbours, other=0)
    right = tl.load(offsets + neighbours + slot, mask=slot < neighbours, other=0)
    row = tl.minimum(tl.maximum((here // width)[None, :] + down[:, None], 0), height - 1)
    column = tl.minimum(tl.maximum((here % width)[None, :] + right[:, None], 0), width - 1)
    near = row * width + column  # (SLOTS, PIXELS), clamped to the image
    distance = tl.zeros((SLOTS, PIXELS), dtype=tl.float32)
    for channel in tl.static_range(3):
        plane = image + (batch * 3 + channel) * pixels
        sample = tl.load(plane + near)
        centre = tl.load(plane + tl.minimum(here, pixels - 1))
        mean = tl.sum(tl.where(used, sample, 0.0), axis=0) / neighbours
        deviation = tl.where(used, sample - mean[None, :], 0.0)
        std = tl.sqrt(tl.sum(deviation * deviation, axis=0) / (neighbours - 1))
        scaled = (sample - centre[None, :]) / ((std + 1e-8) * bandwidth)[None, :]
        distance += scaled * scaled
    logits = tl.where(used, distance / -3.0, float('-inf'))
    colour = tl.exp(logits - tl.max(logits, axis=0)[None, :])
    colour = colour / tl.sum(colour, axis=0)[None, :]
    colour += tl.load(prior + slot, mask=slot < neighbours, other=0.0)[:, None]
    out = weights + (batch * neighbours + slot[:, None]) * pixels + here[None, :]
    tl.store(out, colour, mask=used & (here < pixels)[None, :])


def _diffuse(  # type: ignore[no-untyped-def]
    cam,
    weights,
    out,
    offsets,
    height,
    width,
    channels,
    neighbours,
    SLOTS: tl.constexpr,
    PIXELS: tl.constexpr,
):
    pixels = height * width
    batch = tl.program_id(1).to(tl.int64)
    here = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    inside = here < pixels
    slot = tl.arange(0, SLOTS)
    used = slot < neighbours
    down = tl.load(offsets + slot, mask=used, other=0)
    right = tl.load(offsets + neighbours + slot, mask=used, other=0)
    row = tl.minimum(tl.maximum((here // width)[None, :] + down[:, None], 0), height - 1)
    column = tl.minimum(tl.maximum((here % width)[None, :] + right[:, None], 0), width - 1)
    near = row * width + column  # (SLOTS, PIXELS), clamped to the image
    source = weights + (batch * neighbours + slot[:, None]) * pixels + here[None, :]
    weight = tl.load(source, mask=used[:, None] & inside[None, :], other=0.0)
    for channel in range(channels):
        plane = (batch * channels + channel) * pixels
        sample = tl.load(cam + plane + near)
        tl.store(out + plane + here, tl.sum(sample * weight, axis=0), mask=inside)
