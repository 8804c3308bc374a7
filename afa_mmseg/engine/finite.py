"""A training stops before the update that would spoil its weights, and says where to look."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Optional

import torch
import torch.distributed as torch_dist
from mmengine.dist import get_dist_info
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.registry import HOOKS
from torch import Tensor, nn

from ..utils.checks import first_few
from .step_dump import TrainingPass, add_up, random_states, write_dump

#: What finds the cause in a dump.
SCRIPT = 'tools/analysis_tools/replay_nonfinite.py'


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Stop a training at a loss, a gradient or a weight that is not finite, all ranks together.

    Losses and gradients are looked at before the update, weights before they are saved: whatever happens, the last
    checkpoint is good. What reproduces the iteration is written to the work directory; see `replay`.

    Two numbers are read from the device, at once, when the optimiser is about to step: by then the losses and the
    ranks' agreement on them have long been there, and mmengine reads every loss of every iteration anyway, for its
    log. With loss scaling, the scaler skips updates with infinite gradients, as it should; then only losses count.

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
        """Begin to watch the network and its optimisers."""
        self._runner = runner
        model = _unwrapped(runner.model)
        self._handles = [
            model.register_forward_pre_hook(self._before_forward, with_kwargs=True),
            model.register_forward_hook(self._after_forward, with_kwargs=True),
            *(w.optimizer.register_step_pre_hook(self._before_update) for w in _wrappers(runner)),
        ]

    def after_train(self, runner: Any) -> None:
        """Leave the network alone."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Optional[dict] = None
    ) -> None:
        """Look at the losses of an iteration without an update: one of several, or skipped by the scaler."""
        self._check([])

    def before_save_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        """Refuse to save weights that are not finite."""
        bad = [name for name, x in checkpoint['state_dict'].items() if not x.isfinite().all()]
        if bad:
            raise FloatingPointError(
                f'weights are not finite after iteration {runner.iter + 1}: {first_few(bad)}.\n'
                '  They are not saved; checkpoints from before are good.'
            )

    # While an iteration runs

    def _before_forward(self, model: nn.Module, args: tuple, kwargs: dict) -> None:
        if kwargs.get('mode') == 'loss':
            self._random = random_states(next(model.parameters()).device)

    def _after_forward(self, model: nn.Module, args: tuple, kwargs: dict, losses: dict) -> None:
        if kwargs.get('mode') == 'loss':
            terms = {name: add_up(value) for name, value in losses.items() if 'loss' in name}
            bad_rank, agreement = _agree(torch.stack([*terms.values()]).sum())
            inputs, samples = (*args, *(kwargs[name] for name in ('inputs', 'data_samples') if name in kwargs))
            self._passes.append(TrainingPass(inputs, samples, self._random, terms, bad_rank, agreement))

    def _before_update(self, optimizer: torch.optim.Optimizer, args: tuple, kwargs: dict) -> None:
        left_to_scaler = getattr(optimizer, 'found_inf', None) is not None
        parameters = [p for group in optimizer.param_groups for p in group['params']]
        self._check([] if left_to_scaler else [p.grad for p in parameters if p.grad is not None])

    def _check(self, gradients: Sequence[Tensor]) -> None:
        """Look at the losses since the last time, and at gradients."""
        if not self._passes:
            return
        for one in self._passes:
            if one.agreement is not None:
                one.agreement.wait()
        bad_rank = torch.stack([one.bad_rank for one in self._passes]).amin()
        numbers = torch.stack([bad_rank.float(), *(x.sum(dtype=torch.float32) for x in gradients)])
        rank, gradient = torch.stack([numbers[0], numbers[1:].sum()]).tolist()
        world = get_dist_info()[1]
        if rank < world:
            self._stop(self._losses_to_blame(int(rank), world))
        if not math.isfinite(gradient):
            self._stop(self._gradients_to_blame())
        self._passes.clear()

    # Once something is not finite

    def _losses_to_blame(self, bad_rank: int, world: int) -> Iterator[str]:
        """Dump this rank's batches whose loss is not finite, and describe them."""
        found = False
        for number, one in enumerate(self._passes):
            values = {name: value.item() for name, value in one.losses.items()}
            if math.isfinite(sum(values.values())):
                continue
            found = True
            bad = [name for name, value in values.items() if not math.isfinite(value)] or ['the sum of all losses']
            listed = ', '.join(f'{name}={value:.4g}' for name, value in values.items())
            yield f'{", ".join(bad)} is not finite ({listed})'
            yield self._dump(number)
        if not found:
            yield f'a loss is not finite on rank {bad_rank} of {world}, whose message names it'

    def _gradients_to_blame(self) -> Iterator[str]:
        """Dump the batches of this rank; any of them, or another rank's, may be the cause."""
        named = _unwrapped(self._runner.model).named_parameters()
        bad = [name for name, p in named if p.grad is not None and not p.grad.isfinite().all()]
        yield f'losses are finite, gradients are not: {first_few(bad) or "their sum is too large"}'
        for number in range(len(self._passes)):
            yield self._dump(number)

    def _stop(self, lines: Iterator[str]) -> None:
        """Raise when all ranks have written what they have to write: the first to end would have the others killed."""
        runner = self._runner
        rank, world = get_dist_info()
        where = f'iteration {runner.iter + 1}' + (f', rank {rank} of {world}' if world > 1 else '')
        try:
            message = f'stopped before the update of {where}: ' + '\n  '.join(lines)
        finally:
            if world > 1:
                torch_dist.barrier()
        raise FloatingPointError(f'{message}\n  Checkpoints from before are good.')

    def _dump(self, number: int) -> str:
        """Write what reproduces a batch of this iteration and say how to; gives lines of the message."""
        runner, one = self._runner, self._passes[number]
        part = f'_batch_{number}' if len(self._passes) > 1 else ''
        path = Path(runner.work_dir, f'not_finite_iter_{runner.iter + 1}_rank_{get_dist_info()[0]}{part}.pth')
        images = '\n    '.join(str(sample.get('img_path', 'without a path')) for sample in one.samples)
        try:
            write_dump(
                path,
                _unwrapped(runner.model),
                one,
                iteration=runner.iter,
                dtype=_product_type(next(_wrappers(runner)), runner.model),
                config=runner.cfg.pretty_text,
            )
        except (OSError, RuntimeError) as error:  # torch raises the latter where the disk is full
            return f'Images:\n    {images}\n  What reproduces it could not be written: {error}'
        config = Path(runner.work_dir, Path(runner.cfg.filename or f'{runner.timestamp}.py').name)
        return f'Images:\n    {images}\n  Find the cause: python {SCRIPT} {config} {path}'


def _unwrapped(model: Any) -> nn.Module:
    return model.module if is_model_wrapper(model) else model


def _wrappers(runner: Any) -> Iterator[OptimWrapper]:
    wrapper = runner.optim_wrapper
    yield from wrapper.values() if isinstance(wrapper, OptimWrapperDict) else [wrapper]


def _agree(loss: Tensor) -> tuple[Tensor, Optional[Any]]:
    """Give the first rank whose loss is not finite, or the number of ranks; nobody waits for it here."""
    rank, world = get_dist_info()
    bad_rank = torch.where(loss.isfinite(), world, rank)
    if world == 1:
        return bad_rank, None
    return bad_rank, torch_dist.all_reduce(bad_rank, torch_dist.ReduceOp.MIN, async_op=True)


def _product_type(wrapper: OptimWrapper, model: nn.Module) -> str:
    """Name the type that a training step computes products of matrices in: that of mixed precision, or float32."""
    one = next(_unwrapped(model).parameters()).new_ones(1, 1)
    with wrapper.optim_context(model):
        return str((one @ one).dtype).split('.')[-1]
