"""Pure tensor functions of the method: torch only, batched, on any device.

Nothing here depends on registries, configs or mmseg.
"""

from .affinity import affinity_label, propagate_cam, radius_mask
from .cam import multi_scale_cam, normalize_cam
from .cam_label import cam_to_label
from .crf import dense_crf
from .dense_energy import dense_energy_loss
from .local_crops import local_crop_flags, sample_local_crops, uncertain_regions
from .losses import affinity_loss, balanced_cross_entropy
from .pamr import pamr
from .par import par
from .permutohedral import PermutohedralLattice, bilateral_filter, permutohedral_filter
from .pseudo_label import ClassPacking, ScoreStack, cam_scores, fuse_labels
from .token_contrast import class_token_contrast, patch_token_contrast

__all__ = [
    'ClassPacking',
    'PermutohedralLattice',
    'ScoreStack',
    'affinity_label',
    'affinity_loss',
    'balanced_cross_entropy',
    'bilateral_filter',
    'cam_scores',
    'cam_to_label',
    'class_token_contrast',
    'dense_crf',
    'dense_energy_loss',
    'fuse_labels',
    'local_crop_flags',
    'multi_scale_cam',
    'normalize_cam',
    'pamr',
    'par',
    'patch_token_contrast',
    'permutohedral_filter',
    'propagate_cam',
    'radius_mask',
    'sample_local_crops',
    'uncertain_regions',
]
