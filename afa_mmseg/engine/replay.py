"""Take a dumped training step again and find out where it first is not finite."""

import math
import re
import traceback
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from ..utils.checks import first_few
from .step_dump import add_up, restore

#: What gives memory as it happens to be, infinities on purpose, or nothing new.
NOT_COMPUTED = re.compile(r'(new_)?(empty|full)|(masked_)?fill|set_|detach|clone|_to_copy')
#: Whose lines of code are shown, the last one on the stack.
OWN_CODE = re.compile(r'.*?((?:afa_mmseg|mmseg|mmcv|mmengine|mmpretrain)[/\\].*)')


def replay(dump: dict, model: nn.Module) -> list[str]:
    """Take a step again, forwards and backwards, and tell what is not finite.

    Args:
        dump: What `read_dump` gave.
        model: The network of the run's config, on any device. It is given the weights, phase and random numbers of
            the step.

    Returns:
        Lines to print, in the order of the computation.

    Raises:
        ValueError: The network is not that of the dump.
    """
    inputs, samples = restore(dump, model)
    watch, dtype = FirstNotFinite(model), getattr(torch, dump['dtype'])
    with warnings.catch_warnings(record=True) as notes, torch.autograd.set_detect_anomaly(True):
        warnings.simplefilter('always')
        with torch.autocast(inputs.device.type, dtype, enabled=dtype != torch.float32), watch:
            losses = model(inputs=inputs, data_samples=samples, mode='loss')
        backwards = list(_backwards(model, losses, notes))
    return [*_given(inputs, samples, dump['state_dict']), *watch.found, *_compare(dump['losses'], losses), *backwards]


class FirstNotFinite(TorchDispatchMode):
    """Notes the first operations that make something not finite of finite numbers, and where they stand.

    Args:
        model: Whose modules are named.
        most: How many to note. The first one may do no harm, such as an infinity that is masked afterwards.
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
        watching = len(self.found) < self._most and not NOT_COMPUTED.match(name)
        sane = watching and _all_finite((args, kwargs))
        result = function(*args, **(kwargs or {}))
        if sane and not _all_finite(result):
            module = f' in {self._inside[-1]}' if self._inside and self._inside[-1] else ''
            self.found.append(f'{_kind(result)} from finite numbers: {name}{module}{_place()}')
        return result


def _given(inputs: Tensor, samples: Sequence[Any], weights: dict[str, Tensor]) -> Iterator[str]:
    """Name images and weights that were not finite to begin with."""
    for image, sample in zip(inputs, samples):
        if not image.isfinite().all():
            yield f'{_kind(image)} in the image {sample.get("img_path", "")}, before the network'
    bad = [name for name, x in weights.items() if not x.isfinite().all()]
    if bad:
        yield f'not finite before the step: {first_few(bad)} (running statistics may have become so in it)'


def _compare(before: dict[str, float], losses: dict) -> Iterator[str]:
    after = {name: add_up(value).item() for name, value in losses.items() if 'loss' in name}
    for name, value in before.items():
        again = after.get(name, math.nan)
        same = math.isclose(value, again, rel_tol=1e-3) or (math.isnan(value) and math.isnan(again))
        yield f'{name} = {again:.6g}' + ('' if same else f', which was {value:.6g} in training')


def _backwards(model: nn.Module, losses: dict, notes: list) -> Iterator[str]:
    """Go backwards and name what has a gradient that is not finite; the place is that of the way forwards."""
    model.zero_grad()
    try:
        model.parse_losses(losses)[0].backward()  # type: ignore[operator]
    except RuntimeError as error:  # that of anomaly detection
        places = [place for note in notes for place in re.findall(r'File "(.*)", line (\d+)', str(note.message))]
        own = [f'{found[1]}:{line}' for path, line in places if (found := OWN_CODE.match(path))]
        yield f'going backwards: {error}' + (f' (forwards at {own[-1]})' if own else '')
        return
    bad = [name for name, p in model.named_parameters() if p.grad is not None and not p.grad.isfinite().all()]
    yield f'gradients are not finite: {first_few(bad)}' if bad else 'all gradients are finite'


def _tensors(values: Any) -> Iterator[Tensor]:
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, dict):
        yield from _tensors(list(values.values()))
    elif isinstance(values, (list, tuple)):
        for value in values:
            yield from _tensors(value)


def _all_finite(values: Any) -> bool:
    floating = (x for x in _tensors(values) if x.is_floating_point() and x.layout == torch.strided)
    return all(bool(x.isfinite().all()) for x in floating)


def _kind(values: Any) -> str:
    return 'NaN' if any(x.isnan().any() for x in _tensors(values) if x.is_floating_point()) else 'infinity'


def _place() -> str:
    """Name the line of code that is being run, the innermost outside PyTorch."""
    frames = [(OWN_CODE.match(f.filename), f.lineno) for f in traceback.extract_stack() if f.filename != __file__]
    own = [f'{found[1]}:{line}' for found, line in frames if found]
    return f' at {own[-1]}' if own else ''
