"""CPU counterparts of what mmengine has for GPUs only: mixed precision, distributed data parallel, SyncBN."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Optional

import torch
from mmengine.dist import all_reduce_params
from mmengine.hooks import Hook
from mmengine.model import MMDistributedDataParallel, revert_sync_batchnorm
from mmengine.optim import OptimWrapper
from mmengine.registry import HOOKS, MODEL_WRAPPERS, OPTIM_WRAPPERS
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm  # the only name for batch norms of all dimensions


@OPTIM_WRAPPERS.register_module()
class CPUAmpOptimWrapper(OptimWrapper):
    """Mixed precision on the CPU: bfloat16 autocast, which needs no loss scaling.

    mmengine's `AmpOptimWrapper` requires an accelerator. Checkpoints of each can be resumed with the other.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        with super().optim_context(model), torch.autocast('cpu', torch.bfloat16):
            yield


@MODEL_WRAPPERS.register_module()
class CPUDistributedDataParallel(MMDistributedDataParallel):
    """mmengine's `MMDistributedDataParallel` on CPUs, with SyncBN replaced by BN.

    Args:
        module: The network.
        device_ids: Ignored: mmengine's Runner fills it in.
        kwargs: Of `MMDistributedDataParallel`.
    """

    def __init__(self, module: nn.Module, device_ids: Any = None, **kwargs: Any) -> None:
        super().__init__(module=revert_sync_batchnorm(module), **kwargs)


@HOOKS.register_module()
class AverageNormStatsHook(Hook):
    """Average the statistics of batch norms over the ranks after every iteration, except those of SyncBN.

    Otherwise each rank has statistics of its own batches, and the checkpoint holds those of the main process.
    """

    priority = 'NORMAL'  # before CheckpointHook

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Optional[dict] = None
    ) -> None:
        synced = nn.SyncBatchNorm
        norms = [m for m in runner.model.modules() if isinstance(m, _BatchNorm) and not isinstance(m, synced)]
        stats = [stat for norm in norms for stat in (norm.running_mean, norm.running_var)]
        all_reduce_params([stat for stat in stats if stat is not None], op='mean')
