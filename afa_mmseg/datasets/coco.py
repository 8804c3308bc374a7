"""COCO 2014 with image-level labels."""

import os.path as osp

from mmseg.datasets import COCOStuffDataset
from mmseg.registry import DATASETS

from ..utils.checks import require_file
from .image_level import ImageLevelDataset

NUM_OBJECTS = 80


@DATASETS.register_module()
class COCOImageLevelDataset(ImageLevelDataset):
    """COCO 2014: background and 80 classes of objects, in the order of their category ids.

    ```
    data_root                          # .../coco2014
    ├── train2014/COCO_train2014_000000000009.jpg ...
    ├── val2014/COCO_val2014_000000000042.jpg ...
    ├── annotations/instances_{train,val}2014.json    # read by the converter only
    │                                  # from here on written by it:
    ├── SegmentationClass/{train,val}2014/COCO_val2014_000000000042.png ...    # class indices; validation only
    ├── labels_{train,val}2014.json    # {"COCO_train2014_000000000009": ["bowl", "orange"], ...}
    └── ImageSets/{train,val}2014.txt
    ```

    `tools/dataset_converters/prepare_coco.py` writes these from COCO's own folders; docs/data.md lists the rules.
    Arguments and errors are those of `ImageLevelDataset`.
    """

    METAINFO = dict(
        classes=('background', *COCOStuffDataset.METAINFO['classes'][:NUM_OBJECTS]),
        palette=[[0, 0, 0], *COCOStuffDataset.METAINFO['palette'][:NUM_OBJECTS]],
    )
    exif_orientation = False  # masks are of the stored pixels
    DATA_ROOT_REMEDY = (
        'Get COCO 2014 from https://cocodataset.org and prepare it: '
        'python tools/dataset_converters/prepare_coco.py data/coco2014'
    )
    LABEL_REMEDY = 'Create it: python tools/dataset_converters/prepare_coco.py data/coco2014'

    def _check_folders(self) -> None:
        if self.ann_file and osp.isdir(self.data_root):  # images exist, but are not prepared
            require_file(self.ann_file, self._field('ann_file'), self.LABEL_REMEDY)
        super()._check_folders()
