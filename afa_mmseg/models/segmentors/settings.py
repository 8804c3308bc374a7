"""The settings of a segmentor that stand in plain dicts of a config, and which of them are read."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, Callable, Optional

from ...utils.checks import check_keys
from ...utils.value_types import type_faults
from ..refiners import DenseCRF
from .pseudo_labeler import PseudoLabeler

Settings = Optional[Mapping[str, Any]]


def check_settings(pseudo_label: Settings, train_cfg: Settings, test_cfg: Settings, phases: type) -> None:
    """Raise a `ValueError` for a setting of a `WeaklySupervisedSegmentor` that nothing reads or that cannot be.

    Args:
        pseudo_label: Settings of `PseudoLabeler` without its refiner, which stands beside them.
        train_cfg: Settings of `Phases`.
        test_cfg: See `_test_cfg`; its `crf` holds settings of `DenseCRF`.
        phases: The class `Phases`.
    """
    crf = test_cfg.get('crf') if isinstance(test_cfg, Mapping) else None
    _check('model.pseudo_label', pseudo_label, PseudoLabeler.__init__, without=('self', 'refiner'))
    _check('model.train_cfg', train_cfg, phases)
    _check('model.test_cfg', test_cfg, _test_cfg)
    _check('model.test_cfg.crf', crf, DenseCRF.__init__, without=('self',))
    score = (test_cfg or {}).get('bkg_score', 0)
    if not 0 <= score <= 1:
        raise ValueError(f'model.test_cfg.bkg_score is {score!r}; write a score from 0 to 1, as CAMs have')


def _check(path: str, given: Settings, function: Callable[..., Any], without: tuple[str, ...] = ()) -> None:
    """Check the settings that are arguments of a function, by name and by type."""
    known = [name for name in inspect.signature(function).parameters if name not in without]
    if given is not None and not isinstance(given, Mapping):
        raise ValueError(f'{path} is {given!r}; write a dict of settings: {", ".join(known)}')
    check_keys(given or (), known, path)
    faults = list(type_faults(function, given or {}, path))
    if faults:
        raise ValueError('; '.join(faults))


def _test_cfg(
    mode: str,
    crop_size: Sequence[int],
    stride: Sequence[int],
    crf: Optional[dict],
    with_cam: bool,
    with_pseudo_label: bool,
    bkg_score: float,
    affinity_scale: str,
) -> None:
    """Declare what `model.test_cfg` may hold: mmseg's settings, then ours."""
