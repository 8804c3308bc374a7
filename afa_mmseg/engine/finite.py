"""NaN protection: stop before the update that a non-finite loss or gradient would spoil, with a dump of the step."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, Optional, Union

import torch
import torch.distributed as torch_dist
from mmengine.dist import get_dist_info
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from ..utils import atomic_path
from ..utils.checkpoints import read_checkpoint
from ..utils.checks import first_few
from .data_hooks import unwrap
from .resume import make_plain

#: Tool that finds the cause in a dump, and the mark of a dump.
SCRIPT = 'tools/analysis_tools/replay_nonfinite.py'
FORMAT = 'training step'


class TrainingPass(NamedTuple):
    """A forward pass in training: normalised images, their samples, random states before it, scalar losses."""

    inputs: Tensor
    samples: Sequence[SegDataSample]
    random: dict[str, Tensor]
    losses: dict[str, Tensor]


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Stop training on all ranks at a loss, gradient or weight that is not finite.

    Losses and gradients are checked before the update, weights before they are saved, so the last checkpoint is
    good. The step is dumped to the work directory; see `replay`. With loss scaling only losses are checked: the
    scaler skips updates with infinite gradients.

    Raises:
        FloatingPointError: Something is not finite. The message names iteration, rank, images and loss or weight.
    """

    priority = 'VERY_HIGH'  # before what logs or saves the iteration

    def __init__(self) -> None:
        self._runner: Any = None
        self._random: dict[str, Tensor] = {}
        self._passes: list[TrainingPass] = []
        self._handles: list[Any] = []

    def before_train(self, runner: Any) -> None:
        """Register hooks of PyTorch on network and optimisers."""
        self._runner = runner
        model = unwrap(runner.model)
        self._handles = [
            model.register_forward_pre_hook(self._before_forward, with_kwargs=True),
            model.register_forward_hook(self._after_forward, with_kwargs=True),
            runner.optim_wrapper.optimizer.register_step_pre_hook(self._before_update),
        ]

    def after_train(self, runner: Any) -> None:
        """Remove them."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Optional[dict] = None
    ) -> None:
        """Check the losses of an iteration whose update the scaler skipped."""
        self._check([])

    def before_save_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        """Raise an error before weights that are not finite are saved."""
        bad = [name for name, x in checkpoint['state_dict'].items() if not x.isfinite().all()]
        if bad:
            raise FloatingPointError(
                f'weights are not finite after iteration {runner.iter + 1}: {first_few(bad)}.\n'
                '  They are not saved; earlier checkpoints are good.'
            )

    def _before_forward(self, model: nn.Module, args: tuple, kwargs: dict) -> None:
        if kwargs.get('mode') == 'loss':
            self._random = _random_states(next(model.parameters()).device)

    def _after_forward(self, model: nn.Module, args: tuple, kwargs: dict, losses: dict) -> None:
        if kwargs.get('mode') == 'loss':
            terms = {name: add_up(value) for name, value in losses.items() if 'loss' in name}
            inputs, samples = (*args, *(kwargs[name] for name in ('inputs', 'data_samples') if name in kwargs))
            self._passes.append(TrainingPass(inputs, samples, self._random, terms))

    def _before_update(self, optimizer: torch.optim.Optimizer, args: tuple, kwargs: dict) -> None:
        is_scaled = getattr(optimizer, 'found_inf', None) is not None
        parameters = [p for group in optimizer.param_groups for p in group['params']]
        self._check([] if is_scaled else [p.grad for p in parameters if p.grad is not None])

    def _check(self, gradients: Sequence[Tensor]) -> None:
        """Check the losses since the last call on all ranks, and gradients; one read of the device."""
        if not self._passes:
            return
        rank, world = get_dist_info()
        loss = torch.stack([term for one in self._passes for term in one.losses.values()]).sum()
        bad_rank = torch.where(loss.isfinite(), world, rank)
        if world > 1:
            torch_dist.all_reduce(bad_rank, torch_dist.ReduceOp.MIN)
        sums = [x.sum(dtype=torch.float32) for x in gradients] or [loss.new_zeros(())]
        first_bad, gradient = torch.stack([bad_rank.float(), torch.stack(sums).sum()]).tolist()
        if first_bad < world or not math.isfinite(gradient):
            self._stop(int(first_bad))
        self._passes.clear()

    def _stop(self, bad_rank: int) -> NoReturn:
        """Raise the error when all ranks have written their dumps: a launcher ends the others at the first exit."""
        rank, world = get_dist_info()
        where = f'iteration {self._runner.iter + 1}' + (f', rank {rank} of {world}' if world > 1 else '')
        try:
            message = self._describe_losses(bad_rank) if bad_rank < world else self._describe_gradients()
        finally:
            if world > 1:
                torch_dist.barrier()
        raise FloatingPointError(f'stopped before the update of {where}: {message}\n  Earlier checkpoints are good.')

    def _describe_losses(self, bad_rank: int) -> str:
        """Dump this rank's batches whose loss is not finite, and describe them."""
        bad = [one for one in self._passes if not all(value.isfinite() for value in one.losses.values())]
        if not bad:
            return f'a loss is not finite on rank {bad_rank} of {get_dist_info()[1]}, whose message names it'
        losses = [{name: value.item() for name, value in one.losses.items()} for one in bad]
        names = dict.fromkeys(name for terms in losses for name, value in terms.items() if not math.isfinite(value))
        listed = ', '.join(f'{name}={value:.4g}' for terms in losses for name, value in terms.items())
        return f'{", ".join(names)} is not finite ({listed})\n  {self._dump(bad)}'

    def _describe_gradients(self) -> str:
        """Dump all batches of this rank, and name the parameters."""
        named = unwrap(self._runner.model).named_parameters()
        bad = [name for name, p in named if p.grad is not None and not p.grad.isfinite().all()]
        reason = first_few(bad) or 'their sum is too large'
        return f'losses are finite, gradients are not: {reason}\n  {self._dump(self._passes)}'

    def _dump(self, passes: Sequence[TrainingPass]) -> str:
        """Write what reproduces batches of this iteration; return lines of the message."""
        runner = self._runner
        path = Path(runner.work_dir, f'not_finite_iter_{runner.iter + 1}_rank_{get_dist_info()[0]}.pth')
        samples = [sample for one in passes for sample in one.samples]
        images = '\n    '.join(str(sample.get('img_path', 'without a path')) for sample in samples)
        try:
            write_dump(path, runner, passes)
        except (OSError, RuntimeError) as error:  # torch raises the latter where the disk is full
            return f'Images:\n    {images}\n  The dump could not be written: {error}'
        config = Path(runner.work_dir, Path(runner.cfg.filename or f'{runner.timestamp}.py').name)
        return f'Images:\n    {images}\n  Find the cause: python {SCRIPT} {config} {path}'


def add_up(loss: Union[Tensor, Sequence[Tensor]]) -> Tensor:
    """Return a loss, or the sum of several under one name, as a scalar without gradient."""
    parts = [loss] if isinstance(loss, Tensor) else loss
    return torch.stack([part.detach().float().mean() for part in parts]).sum()


def write_dump(path: Path, runner: Any, passes: Sequence[TrainingPass]) -> None:
    """Write a file with what reproduces a training step, in tensors and plain values; see `read_dump`."""
    model = unwrap(runner.model)
    content = dict(
        format=FORMAT,
        iteration=runner.iter,
        dtype=_product_type(runner.optim_wrapper, model),
        passes=[_plain_pass(one) for one in passes],
        state_dict={name: x.cpu() for name, x in model.state_dict().items()},
        evaluating=[name for name, module in model.named_modules() if not module.training],
    )
    with atomic_path(path) as temporary:
        torch.save(content, temporary)


def read_dump(path: Union[str, Path]) -> dict:
    """Read what `write_dump` wrote.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no dump of a training step.
    """
    dump = read_checkpoint(path)
    if not isinstance(dump, dict) or dump.get('format') != FORMAT:
        raise ValueError(f'{path} is no dump of a training step: those are called not_finite_iter_*.pth')
    return dump


def _random_states(device: torch.device) -> dict[str, Tensor]:
    states = dict(cpu=torch.get_rng_state())
    if device.type != 'cpu':
        states['device'] = getattr(torch, device.type).get_rng_state(device)
    return states


def _plain_pass(one: TrainingPass) -> dict:
    """Return a pass as tensors and plain values; of samples, the data that can take part in losses."""
    samples = [
        dict(
            meta={key: str(x) if isinstance(x, Path) else make_plain(x) for key, x in sample.metainfo_items()},
            data={name: x.cpu() for name, x in sample.items() if isinstance(x, Tensor)},
            maps={name: x.data.cpu() for name, x in sample.items() if isinstance(x, PixelData)},
        )
        for sample in one.samples
    ]
    losses = {name: value.item() for name, value in one.losses.items()}
    return dict(inputs=one.inputs.cpu(), samples=samples, random=one.random, losses=losses)


def _product_type(wrapper: Any, model: nn.Module) -> str:
    """Return the type that matrix products of a training step have: that of mixed precision, or float32."""
    one = next(model.parameters()).new_ones(1, 1)
    with wrapper.optim_context(model):
        return str((one @ one).dtype).split('.')[-1]
