"""Settings of testing, `test_cfg`: mmseg's and those of segmentors that learn from image-level labels."""

import inspect
from collections.abc import Mapping
from typing import Any

from ...utils.checks import check_keys
from ..refiners import DenseCRF

#: Image scales whose affinity may propagate `pred_propagated_cam`: that of the image itself, or the largest of CAMs.
AFFINITY_SCALES = ('image', 'largest')
#: Background score of propagated and refined CAMs in predictions, as published.
BKG_SCORE = 0.35
#: Keys of `test_cfg`: mmseg's, then ours.
TEST_KEYS = ('mode', 'crop_size', 'stride', 'crf', 'with_cam', 'with_pseudo_label', 'bkg_score', 'affinity_scale')


def check_test_cfg(test_cfg: Mapping[str, Any]) -> None:
    """Raise a `ValueError` for an unexpected key or an invalid value of a segmentor's `test_cfg`."""
    check_keys(test_cfg, TEST_KEYS, 'model.test_cfg')
    missing = [key for key in ('crop_size', 'stride') if test_cfg.get('mode') == 'slide' and not test_cfg.get(key)]
    if missing:
        raise ValueError(f"model.test_cfg.{missing[0]} is missing: mode='slide' requires crop_size and stride")
    crf, score = test_cfg.get('crf'), test_cfg.get('bkg_score', BKG_SCORE)
    scale = test_cfg.get('affinity_scale', 'image')
    if crf is not None:
        if not isinstance(crf, Mapping):
            raise ValueError(f'model.test_cfg.crf={crf!r} must be a dict of settings, such as dict(num_iters=10)')
        check_keys(crf, list(inspect.signature(DenseCRF).parameters), 'model.test_cfg.crf')
    if not isinstance(score, (int, float)) or not 0 <= score <= 1:
        raise ValueError(f'model.test_cfg.bkg_score={score!r} must be a score from 0 to 1')
    if scale not in AFFINITY_SCALES:
        raise ValueError(
            f'model.test_cfg.affinity_scale={scale!r} is unknown: choose from {", ".join(AFFINITY_SCALES)}'
        )
