"""The settings of a segmentor that stand in plain dicts of a config, and which of them are read."""

import inspect
from collections.abc import Mapping
from typing import Any, Callable, Optional

from ...datasets.checks import check_keys
from ..refiners import DenseCRF
from .pseudo_labeler import PseudoLabeler

Settings = Optional[Mapping[str, Any]]

#: Of `model.test_cfg`: mmseg's, then ours.
TEST_KEYS = ('mode', 'crop_size', 'stride', 'crf', 'with_cam', 'with_pseudo_label', 'bkg_score', 'affinity_scale')


def check_settings(pseudo_label: Settings, train_cfg: Settings, test_cfg: Settings, phases: tuple[str, ...]) -> None:
    """Raise a `ValueError` for a setting of a `WeaklySupervisedSegmentor` that nothing reads, or that is no dict.

    Args:
        pseudo_label: Settings of `PseudoLabeler` without its refiner, which stands beside them.
        train_cfg: Settings of `Phases`.
        test_cfg: See `TEST_KEYS`; its `crf` holds settings of `DenseCRF`.
        phases: Fields of `Phases`.
    """
    labels = tuple(name for name in _arguments(PseudoLabeler) if name != 'refiner')
    crf = test_cfg.get('crf') if isinstance(test_cfg, Mapping) else None
    for where, given, known in (
        ('pseudo_label', pseudo_label, labels),
        ('train_cfg', train_cfg, phases),
        ('test_cfg', test_cfg, TEST_KEYS),
        ('test_cfg.crf', crf, _arguments(DenseCRF)),
    ):
        if given is not None and not isinstance(given, Mapping):
            raise ValueError(f'model.{where} is {given!r}; write a dict of settings: {", ".join(known)}')
        check_keys(given or (), known, f'model.{where}')


def _arguments(function: Callable[..., Any]) -> tuple[str, ...]:
    return tuple(inspect.signature(function).parameters)
