"""Replay of a dumped training step, to find the first operation whose result is not finite."""

import math
import re
import traceback
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from mmengine.logging import MessageHub
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode  # the only name for it
from torch.utils._pytree import tree_leaves  # the only name for it

from ..utils.checks import first_few
from .finite import add_up

#: Operations whose result is uninitialised, infinite on purpose, or nothing new.
NOT_COMPUTED = re.compile(r'(new_)?(empty|full)|(masked_)?fill|set_|detach|clone|_to_copy')
#: Packages whose lines of code are shown, the innermost one.
OWN_CODE = re.compile(r'.*?((?:afa_mmseg|mmseg|mmcv|mmengine|mmpretrain)[/\\].*)')


def replay(dump: dict, model: nn.Module) -> list[str]:
    """Repeat a training step, forward and backward, and return lines about what is not finite.

    Args:
        dump: From `read_dump`.
        model: The network of the run's config, on any device; it gets weights, mode and random numbers of the step.

    Raises:
        ValueError: The network is not that of the dump.
    """
    inputs, samples = _restore(dump, model)
    watch, dtype = FirstNotFinite(model), getattr(torch, dump['dtype'])
    with warnings.catch_warnings(record=True) as notes, torch.autograd.set_detect_anomaly(True):
        warnings.simplefilter('always')
        with torch.autocast(inputs.device.type, dtype, enabled=dtype != torch.float32), watch:
            losses = model(inputs=inputs, data_samples=samples, mode='loss')
        backward = list(_backward(model, losses, notes))
    images = [
        f'NaN or infinity in the image {sample.get("img_path", "")}, before the network'
        for image, sample in zip(inputs, samples)
        if not image.isfinite().all()
    ]
    bad = [name for name, x in dump['state_dict'].items() if not x.isfinite().all()]
    weights = [f'not finite before the step: {first_few(bad)}'] if bad else []
    return [*images, *weights, *watch.found, *_compare(dump['losses'], losses), *backward]


class FirstNotFinite(TorchDispatchMode):
    """Record the first operations with a non-finite result of finite inputs, and where they are called.

    Args:
        model: Its modules are named.
        most: Number of operations. The first may do no harm, such as an infinity that is masked afterwards.
    """

    def __init__(self, model: nn.Module, most: int = 3) -> None:
        super().__init__()
        self.found: list[str] = []
        self._most = most
        self._model = model
        self._inside: list[str] = []
        self._handles: list[Any] = []

    def __enter__(self) -> 'FirstNotFinite':
        for name, module in self._model.named_modules():
            self._handles.append(module.register_forward_pre_hook(lambda *_, name=name: self._inside.append(name)))
            self._handles.append(module.register_forward_hook(self._leave))
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        for handle in self._handles:
            handle.remove()

    def _leave(self, *call: Any) -> None:
        self._inside.pop()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function.overloadpacket.__name__
        is_watched = len(self.found) < self._most and not NOT_COMPUTED.match(name)
        is_sane = is_watched and _all_finite((args, kwargs))
        result = function(*args, **(kwargs or {}))
        if is_sane and not _all_finite(result):
            module = f' in {self._inside[-1]}' if self._inside and self._inside[-1] else ''
            kind = 'NaN' if any(x.isnan().any() for x in _floats(result)) else 'infinity'
            self.found.append(f'{kind} from finite numbers: {name}{module}{_place()}')
        return result


def _restore(dump: dict, model: nn.Module) -> tuple[Tensor, list[SegDataSample]]:
    """Restore network, iteration and random generators; return images and samples."""
    device = next(model.parameters()).device
    try:
        model.load_state_dict(dump['state_dict'])
    except RuntimeError as error:
        raise ValueError(f'the dump is of another network, use the config of its run: {error}') from error
    for name, module in model.named_modules():
        module.training = name not in dump['evaluating']
    MessageHub.get_current_instance().update_info('iter', dump['iteration'])
    torch.set_rng_state(dump['random']['cpu'])
    if device.type != 'cpu' and 'device' in dump['random']:
        getattr(torch, device.type).set_rng_state(dump['random']['device'], device)
    return dump['inputs'].to(device), [_sample(plain).to(device) for plain in dump['samples']]


def _sample(plain: dict) -> SegDataSample:
    sample = SegDataSample(metainfo=plain['meta'])
    sample.set_data({**plain['data'], **{name: PixelData(data=x) for name, x in plain['maps'].items()}})
    return sample


def _compare(before: dict[str, float], losses: dict) -> Iterator[str]:
    after = {name: add_up(value).item() for name, value in losses.items() if 'loss' in name}
    for name, value in before.items():
        again = after.get(name, math.nan)
        same = math.isclose(value, again, rel_tol=1e-3) or (math.isnan(value) and math.isnan(again))
        yield f'{name} = {again:.6g}' + ('' if same else f', which was {value:.6g} in training')


def _backward(model: nn.Module, losses: dict, notes: list) -> Iterator[str]:
    """Run the backward pass and name gradients that are not finite, with the place of the forward operation."""
    model.zero_grad()
    try:
        model.parse_losses(losses)[0].backward()  # type: ignore[operator]
    except RuntimeError as error:  # of anomaly detection
        places = [place for note in notes for place in re.findall(r'File "(.*)", line (\d+)', str(note.message))]
        own = [f'{found[1]}:{line}' for path, line in places if (found := OWN_CODE.match(path))]
        yield f'backward: {error}' + (f' (forward at {own[-1]})' if own else '')
        return
    bad = [name for name, p in model.named_parameters() if p.grad is not None and not p.grad.isfinite().all()]
    yield f'gradients are not finite: {first_few(bad)}' if bad else 'all gradients are finite'


def _floats(values: Any) -> list[Tensor]:
    return [x for x in tree_leaves(values) if isinstance(x, Tensor) and x.is_floating_point()]


def _all_finite(values: Any) -> bool:
    return all(bool(x.isfinite().all()) for x in _floats(values) if x.layout == torch.strided)


def _place() -> str:
    """Return the line of code that is being run, the innermost outside PyTorch."""
    frames = [(OWN_CODE.match(f.filename), f.lineno) for f in traceback.extract_stack() if f.filename != __file__]
    own = [f'{found[1]}:{line}' for found, line in frames if found]
    return f' at {own[-1]}' if own else ''
