"""Pure tensor functions of the method: torch only, batched, on any device.

Nothing here knows of registries, configs or mmseg.
"""

from .affinity import affinity_label, propagate_cam, radius_mask
from .cam import multi_scale_cam, normalize_cam
from .crf import dense_crf
from .dense_energy import dense_energy_loss
from .losses import affinity_loss, balanced_cross_entropy
from .pamr import pamr
from .par import par
from .permutohedral import PermutohedralLattice, bilateral_filter, permutohedral_filter
from .pseudo_label import fuse_labels

__all__ = [
    'PermutohedralLattice',
    'affinity_label',
    'affinity_loss',
    'balanced_cross_entropy',
    'bilateral_filter',
    'dense_crf',
    'dense_energy_loss',
    'fuse_labels',
    'multi_scale_cam',
    'normalize_cam',
    'pamr',
    'par',
    'permutohedral_filter',
    'propagate_cam',
    'radius_mask',
]
