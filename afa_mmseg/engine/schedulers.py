"""Learning-rate schedule: warm-up and polynomial decay."""

from typing import Any, Optional

from mmengine.optim import _ParamScheduler  # the base class of schedulers, without a public name
from mmengine.registry import PARAM_SCHEDULERS


@PARAM_SCHEDULERS.register_module()
class WarmupPolyLR(_ParamScheduler):
    """Linear warm-up, then polynomial decay counted from iteration 0 (Ru et al., CVPR 2022).

    Step t has the learning rate times

        1 - (1 - t / warmup_iters) (1 - warmup_ratio)    for t < warmup_iters,
        (1 - t / max_iters) ** power                     from then on, 0 after max_iters.

    mmengine's `LinearLR` and `PolyLR` in a row start the decay where the warm-up ends; here it is under
    way already, so the rate drops a little at the end of the warm-up, as in the published run.

    Args:
        optimizer: Its learning rates are set.
        max_iters: Length of the run.
        warmup_iters: Length of the warm-up.
        warmup_ratio: Multiplier of step 0.
        power: Exponent of the decay.
        last_step: Step to resume from; -1 to start.
        verbose: Print each change.
        end: Ignored: mmengine's Runner fills it in, this schedule ends at `max_iters`.

    Raises:
        ValueError: not 0 <= warmup_iters <= max_iters, or max_iters is 0.

    Example:
        >>> import torch
        >>> optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        >>> scheduler = WarmupPolyLR(optimizer, max_iters=4, warmup_iters=2, warmup_ratio=0.5)
        >>> [scheduler.multiplier(step) for step in range(5)]
        [0.5, 0.75, 0.5, 0.25, 0.0]
    """

    def __init__(
        self,
        optimizer: Any,
        max_iters: int,
        warmup_iters: int = 1500,
        warmup_ratio: float = 1e-6,
        power: float = 1.0,
        last_step: int = -1,
        verbose: bool = False,
        end: Optional[int] = None,
    ) -> None:
        if not 0 <= warmup_iters <= max_iters or max_iters == 0:
            raise ValueError(
                f'warmup_iters={warmup_iters} must lie between 0 and max_iters={max_iters} (`param_scheduler` of the '
                'config); for a short run lower both'
            )
        self.max_iters = max_iters
        self.warmup_iters = warmup_iters
        self.warmup_ratio = warmup_ratio
        self.power = power
        super().__init__(optimizer, 'lr', by_epoch=False, last_step=last_step, verbose=verbose)

    def multiplier(self, step: int) -> float:
        """Return the factor on the learning rate of a step."""
        if step < self.warmup_iters:
            return 1 - (1 - step / self.warmup_iters) * (1 - self.warmup_ratio)
        return max(1 - step / self.max_iters, 0.0) ** self.power

    def _get_value(self) -> list[float]:  # what mmengine has a schedule define
        return [base * self.multiplier(self.last_step) for base in self.base_values]
