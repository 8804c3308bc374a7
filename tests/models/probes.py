"""What a training step does: calls of a method, and copies between devices."""

from contextlib import nullcontext

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class Calls:
    """Record the positional arguments of a method's calls, and let them pass."""

    def __init__(self, monkeypatch, owner, name):
        self.arguments, original = [], getattr(owner, name)

        def recorded(*args, **kwargs):
            self.arguments.append(args)
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, name, recorded)

    @property
    def count(self):
        return len(self.arguments)


class Copies(TorchDispatchMode):
    """Record the blocking copies from and to another device than the CPU, for which the host of a GPU would wait."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        waits = not (kwargs or {}).get('non_blocking', False)
        if waits and function.overloadpacket.__name__ in ('_to_copy', 'copy_'):
            devices = {x.device.type for x in (result, *args) if isinstance(x, torch.Tensor)}
            if len(devices) > 1:
                self.found.append(f'{function} {tuple(result.shape)}')
        return result


def blocking_copies(monkeypatch, model, inputs, samples):
    """List the blocking copies of a training step.

    The step runs on a device that has no data: reading a number, or a shape that depends on data, is an error there.
    """
    monkeypatch.setattr(torch, 'autocast', lambda *args, **kwargs: nullcontext())  # knows no such device
    inputs, samples = inputs.to('meta'), [sample.to('meta') for sample in samples]
    model.to('meta')

    def step():
        model.parse_losses(model.loss(inputs, samples))[0].backward()

    step()  # makes what is kept for all further steps
    with Copies() as copies:
        step()
    return copies.found
