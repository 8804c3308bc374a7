"""Pure tensor functions of the method: torch only, batched, on any device.

Nothing here knows of registries, configs or mmseg.
"""

from .affinity import affinity_label, propagate_cam, radius_mask
from .cam import multi_scale_cam, normalize_cam
from .losses import affinity_loss, balanced_cross_entropy
from .pamr import pamr
from .par import par
from .pseudo_label import fuse_labels

__all__ = [
    'affinity_label',
    'affinity_loss',
    'balanced_cross_entropy',
    'fuse_labels',
    'multi_scale_cam',
    'normalize_cam',
    'pamr',
    'par',
    'propagate_cam',
    'radius_mask',
]
