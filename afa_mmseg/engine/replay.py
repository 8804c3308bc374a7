"""Replay of a dumped training step, to find the first module whose output is not finite."""

import math
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from mmengine.logging import MessageHub
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves  # the only name for it

from ..utils.checks import first_few
from .finite import add_up

#: Modules that are named. The first may do no harm, such as an infinity that is masked afterwards.
MOST_MODULES = 3


def replay(dump: dict, model: nn.Module) -> list[str]:
    """Repeat a training step, forward and backward, and return lines about what is not finite.

    Args:
        dump: From `read_dump`.
        model: The network of the run's config, on any device; it gets weights, mode and random numbers of the step.

    Raises:
        ValueError: The network is not that of the dump.
    """
    _restore(dump, model)
    bad = [name for name, x in dump['state_dict'].items() if not x.isfinite().all()]
    lines = [f'not finite before the step: {first_few(bad)}'] if bad else []
    for one in dump['passes']:
        found: list[str] = []
        handles = [
            module.register_forward_hook(partial(_check_module, found, name)) for name, module in model.named_modules()
        ]
        results = list(_repeat(model, one, getattr(torch, dump['dtype'])))
        for handle in handles:
            handle.remove()
        lines += [*found[:MOST_MODULES], *results]
    gradients = [name for name, p in model.named_parameters() if p.grad is not None and not _is_finite(p.grad)]
    return [*lines, f'gradients are not finite: {first_few(gradients)}' if gradients else 'all gradients are finite']


def _restore(dump: dict, model: nn.Module) -> None:
    try:
        model.load_state_dict(dump['state_dict'])
    except RuntimeError as error:
        raise ValueError(f'the dump is of another network, use the config of its run: {error}') from error
    for name, module in model.named_modules():
        module.training = name not in dump['evaluating']
    model.zero_grad()
    MessageHub.get_current_instance().update_info('iter', dump['iteration'])


def _repeat(model: nn.Module, one: dict, dtype: torch.dtype) -> Iterator[str]:
    """Repeat a pass; describe images, losses that differ, and an operation whose gradient is NaN."""
    device = next(model.parameters()).device
    torch.set_rng_state(one['random']['cpu'])
    if device.type != 'cpu' and 'device' in one['random']:
        getattr(torch, device.type).set_rng_state(one['random']['device'], device)
    inputs, samples = one['inputs'].to(device), [_sample(plain).to(device) for plain in one['samples']]
    for image, sample in zip(inputs, samples):
        if not _is_finite(image):
            yield f'NaN or infinity in the image {sample.get("img_path", "")}, before the network'
    with torch.autograd.set_detect_anomaly(True):  # prints where the operation was called
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            losses = model(inputs=inputs, data_samples=samples, mode='loss')
        yield from _compare(one['losses'], losses)
        try:
            model.parse_losses(losses)[0].backward()  # type: ignore[operator]
        except RuntimeError as error:
            yield f'backward: {error}'


def _sample(plain: dict) -> SegDataSample:
    sample = SegDataSample(metainfo=plain['meta'])
    sample.set_data({**plain['data'], **{name: PixelData(data=x) for name, x in plain['maps'].items()}})
    return sample


def _check_module(found: list[str], name: str, module: nn.Module, args: tuple, output: Any) -> None:
    """Record a module whose output is not finite although its inputs are."""
    if not _is_finite(output) and _is_finite(args):
        kind = 'NaN' if any(x.isnan().any() for x in tree_leaves(output) if isinstance(x, Tensor)) else 'infinity'
        found.append(f'{kind} from finite inputs: {name or "the losses"} ({type(module).__name__})')


def _is_finite(values: Any) -> bool:
    return all(bool(x.isfinite().all()) for x in tree_leaves(values) if isinstance(x, Tensor))


def _compare(before: dict[str, float], losses: dict) -> Iterator[str]:
    for name, value in before.items():
        again = add_up(losses[name]).item() if name in losses else math.nan
        same = math.isclose(value, again, rel_tol=1e-3) or (math.isnan(value) and math.isnan(again))
        yield f'{name} = {again:.6g}' + ('' if same else f', which was {value:.6g} in training')
