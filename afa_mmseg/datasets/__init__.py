"""Data sets with image-level labels and their transforms; registered in mmseg's `DATASETS` and `TRANSFORMS`."""

from .coco import COCOImageLevelDataset
from .image_level import ImageLevelDataset
from .label_files import read_classes, read_label_file
from .seeding import SequenceSampler
from .transforms import PackImageLevelInputs, RandomCropWithBox, RandomScale
from .voc import ShapesVOCDataset, VOCImageLevelDataset, read_voc_xml

__all__ = [
    'COCOImageLevelDataset',
    'ImageLevelDataset',
    'PackImageLevelInputs',
    'RandomCropWithBox',
    'RandomScale',
    'SequenceSampler',
    'ShapesVOCDataset',
    'VOCImageLevelDataset',
    'read_classes',
    'read_label_file',
    'read_voc_xml',
]
