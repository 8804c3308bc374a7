"""NaN protection: stop before the update that a non-finite loss or gradient would spoil."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, NoReturn, Optional, Union

import torch
import torch.distributed as torch_dist
from mmengine.dist import get_dist_info
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from torch import Tensor, nn

from ..utils.checks import first_few
from .data_hooks import unwrap


class TrainingPass(NamedTuple):
    """A forward pass in training: paths of its images, scalar losses."""

    images: list[str]
    losses: dict[str, Tensor]


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Stop training on all ranks at a loss, gradient or weight that is not finite.

    Losses and gradients are checked before the update, weights before they are saved, so the last checkpoint is
    good. With loss scaling only losses are checked: the scaler skips updates with infinite gradients.

    Raises:
        FloatingPointError: Something is not finite. The message names iteration, rank, images and loss or weight.
    """

    priority = 'VERY_HIGH'  # before what logs or saves the iteration

    def __init__(self) -> None:
        self._runner: Any = None
        self._passes: list[TrainingPass] = []
        self._handles: list[Any] = []

    def before_train(self, runner: Any) -> None:
        """Register hooks of PyTorch on network and optimisers."""
        self._runner = runner
        model = unwrap(runner.model)
        self._handles = [
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

    def _after_forward(self, model: nn.Module, args: tuple, kwargs: dict, losses: dict) -> None:
        if kwargs.get('mode') == 'loss':
            terms = {name: add_up(value) for name, value in losses.items() if 'loss' in name}
            samples = kwargs['data_samples'] if 'data_samples' in kwargs else args[1]
            self._passes.append(TrainingPass([str(x.get('img_path', 'without a path')) for x in samples], terms))

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
        """Raise the error, which every rank does after the same reduction."""
        rank, world = get_dist_info()
        where = f'iteration {self._runner.iter + 1}' + (f', rank {rank} of {world}' if world > 1 else '')
        message = self._describe_losses(bad_rank) if bad_rank < world else self._describe_gradients()
        raise FloatingPointError(f'stopped before the update of {where}: {message}\n  Earlier checkpoints are good.')

    def _describe_losses(self, bad_rank: int) -> str:
        """Describe the batches of this rank whose loss is not finite."""
        bad = [one for one in self._passes if not all(value.isfinite() for value in one.losses.values())]
        if not bad:
            return f'a loss is not finite on rank {bad_rank} of {get_dist_info()[1]}, whose message names it'
        losses = [{name: value.item() for name, value in one.losses.items()} for one in bad]
        names = dict.fromkeys(name for terms in losses for name, value in terms.items() if not math.isfinite(value))
        listed = ', '.join(f'{name}={value:.4g}' for terms in losses for name, value in terms.items())
        return f'{", ".join(names)} is not finite ({listed})\n  {_list_images(bad)}'

    def _describe_gradients(self) -> str:
        """Name the parameters."""
        named = unwrap(self._runner.model).named_parameters()
        bad = [name for name, p in named if p.grad is not None and not p.grad.isfinite().all()]
        reason = first_few(bad) or 'their sum is too large'
        return f'losses are finite, gradients are not: {reason}\n  {_list_images(self._passes)}'


def add_up(loss: Union[Tensor, Sequence[Tensor]]) -> Tensor:
    """Return a loss, or the sum of several under one name, as a scalar without gradient."""
    parts = [loss] if isinstance(loss, Tensor) else loss
    return torch.stack([part.detach().float().mean() for part in parts]).sum()


def _list_images(passes: Sequence[TrainingPass]) -> str:
    return 'Images:\n    ' + '\n    '.join(image for one in passes for image in one.images)
