"""Copies between devices that a training step makes."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class Copies(TorchDispatchMode):
    """Notes the blocking copies from and to another device than the CPU, for which the host of a GPU would wait."""

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
