"""A file with what reproduces a training step: images, labels, weights, random states; plain values and tensors."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Optional, Union

import numpy as np
import torch
from mmengine.logging import MessageHub
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from ..models.checkpoints.reading import read_checkpoint
from ..utils import atomic_path

#: How a file says that it is a dump.
FORMAT = 'training step'


class TrainingPass(NamedTuple):
    """What a batch went into the network with, and what came out.

    Args:
        inputs: Normalised images.
        samples: Of these images.
        random: States of the random generators before; see `random_states`.
        losses: The scalars that are learned from, without gradients.
        bad_rank: The first rank whose loss is not finite, or the number of ranks; on the device.
        agreement: All ranks coming to agree on `bad_rank`, if there are several.
    """

    inputs: Tensor
    samples: Sequence[SegDataSample]
    random: dict[str, Tensor]
    losses: dict[str, Tensor]
    bad_rank: Tensor
    agreement: Optional[Any] = None


def add_up(loss: Union[Tensor, Sequence[Tensor]]) -> Tensor:
    """Give a loss, or the sum of several under one name, as a scalar without gradient, as mmengine adds them up."""
    parts = [loss] if isinstance(loss, Tensor) else loss
    return torch.stack([part.detach().float().mean() for part in parts]).sum()


def random_states(device: torch.device) -> dict[str, Tensor]:
    """Give the states of PyTorch's random generators of CPU and device."""
    states = dict(cpu=torch.get_rng_state())
    if device.type != 'cpu':
        states['device'] = getattr(torch, device.type).get_rng_state(device)
    return states


def write_dump(path: Path, model: nn.Module, one: TrainingPass, **facts: Any) -> None:
    """Write what reproduces a training step.

    Args:
        path: The file; read it with `read_dump`.
        model: With the weights from before the update.
        one: The step.
        facts: Plain values: `iteration` (index), `dtype` (what products of matrices are computed in), and others.
    """
    content = dict(
        format=FORMAT,
        inputs=one.inputs.cpu(),
        samples=[_plain_sample(sample) for sample in one.samples],
        random=one.random,
        losses={name: value.item() for name, value in one.losses.items()},
        state_dict={name: x.cpu() for name, x in model.state_dict().items()},
        evaluating=[name for name, module in model.named_modules() if not module.training],
        **facts,
    )
    with atomic_path(path) as temporary:
        torch.save(content, temporary)


def read_dump(path: Union[str, Path]) -> dict:
    """Read what `write_dump` wrote; nothing that the file names is run.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no dump of a training step.
    """
    dump = read_checkpoint(path)
    if not isinstance(dump, dict) or dump.get('format') != FORMAT:
        raise ValueError(f'{path} is no dump of a training step: those are called not_finite_iter_*.pth')
    return dump


def restore(dump: dict, model: nn.Module) -> tuple[Tensor, list[SegDataSample]]:
    """Bring network, iteration and random generators to where the step began; gives its images and samples.

    Random numbers are those of the step on the kind of device that it ran on.

    Raises:
        ValueError: The network is not that of the dump.
    """
    device = next(model.parameters()).device
    try:
        model.load_state_dict(dump['state_dict'])
    except RuntimeError as error:
        raise ValueError(f'this is the step of another network; give the config of its run: {error}') from error
    for name, module in model.named_modules():
        module.training = name not in dump['evaluating']
    MessageHub.get_current_instance().update_info('iter', dump['iteration'])
    torch.set_rng_state(dump['random']['cpu'])
    if device.type != 'cpu' and 'device' in dump['random']:
        getattr(torch, device.type).set_rng_state(dump['random']['device'], device)
    return dump['inputs'].to(device), [_sample(plain).to(device) for plain in dump['samples']]


def _plain_sample(sample: SegDataSample) -> dict:
    """Take what a sample holds: meta information, tensors, maps; other kinds of data do not take part in losses."""
    data = {name: value for name, value in sample.items() if isinstance(value, Tensor)}
    maps = {name: value.data.cpu() for name, value in sample.items() if isinstance(value, PixelData)}
    return dict(
        meta=_plain(dict(sample.metainfo_items())),
        data={name: value.cpu() for name, value in data.items()},
        maps=maps,
    )


def _sample(plain: dict) -> SegDataSample:
    sample = SegDataSample(metainfo=plain['meta'])
    sample.set_data({**plain['data'], **{name: PixelData(data=x) for name, x in plain['maps'].items()}})
    return sample


def _plain(value: Any) -> Any:
    """Make plain values of NumPy's; what is neither becomes text."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)([_plain(item) for item in value]) if type(value) in (list, tuple) else str(value)
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    return value if value is None or isinstance(value, (str, int, float, bool, Tensor)) else str(value)
