"""What stands in, on a machine without GPUs, for what runs on GPUs only."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Optional

import torch
from mmengine.config import Config
from mmengine.dist import all_reduce_params
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.registry import HOOKS, OPTIM_WRAPPERS
from torch import nn

SYNC_NORMS = ('SyncBN', 'MMSyncBN')


@OPTIM_WRAPPERS.register_module()
class CPUAmpOptimWrapper(OptimWrapper):
    """Mixed precision on the CPU: bfloat16 autocast, which needs no loss scaling.

    mmengine's ``AmpOptimWrapper`` refuses to be built without an accelerator. Checkpoints of the two can
    be resumed from in both directions.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        with super().optim_context(model), torch.autocast('cpu', torch.bfloat16):
            yield


@HOOKS.register_module()
class AverageNormStatsHook(Hook):
    """Average batch-norm statistics over the processes after every iteration.

    Where SyncBN does not run, every process collects statistics of its own batches. Averaged, all of them
    validate the same network, and it is the one that the checkpoint holds.
    """

    priority = 'NORMAL'  # before CheckpointHook

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Optional[dict] = None
    ) -> None:
        norms = [m for m in runner.model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        stats = [stat for norm in norms for stat in (norm.running_mean, norm.running_var)]
        all_reduce_params([stat for stat in stats if stat is not None], op='mean')


def revert_sync_bn(cfg: Config) -> bool:
    """Replace SyncBN by BN everywhere in ``cfg.model``; say whether there was any.

    mmengine does so by itself where training is not distributed, and never otherwise.
    """
    wanted = cfg.pop('sync_bn', None) is not None
    return _revert(cfg.model) or wanted


def _revert(node: Any) -> bool:
    found = False
    if isinstance(node, dict):
        kind = node.get('type')
        if kind is nn.SyncBatchNorm or str(kind).rsplit('.', 1)[-1] in SYNC_NORMS:
            node['type'] = 'BN'
            found = True
        node = list(node.values())
    if isinstance(node, (list, tuple)):
        for item in node:
            found = _revert(item) or found
    return found
