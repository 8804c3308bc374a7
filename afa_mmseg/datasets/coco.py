"""COCO 2014 with image-level labels."""

from mmseg.datasets import COCOStuffDataset
from mmseg.registry import DATASETS

from .image_level import ImageLevelDataset

NUM_OBJECTS = 80


@DATASETS.register_module()
class COCOImageLevelDataset(ImageLevelDataset):
    """COCO 2014: background and its 80 kinds of objects, in the order of their category ids.

    ```
    data_root                          # .../coco2014
    ├── train2014/COCO_train2014_000000000009.jpg ...
    ├── val2014/COCO_val2014_000000000042.jpg ...
    ├── SegmentationClass/val2014/COCO_val2014_000000000042.png ...    # class indices; validation only
    └── labels_train2014.json, labels_val2014.json    # {"COCO_train2014_000000000009": ["bowl", "orange"], ...}
    ```

    Arguments and errors are those of `ImageLevelDataset`.
    """

    METAINFO = dict(
        classes=('background', *COCOStuffDataset.METAINFO['classes'][:NUM_OBJECTS]),
        palette=[[0, 0, 0], *COCOStuffDataset.METAINFO['palette'][:NUM_OBJECTS]],
    )
    DATA_ROOT_REMEDY = (
        'Get the pictures of COCO 2014 from https://cocodataset.org, or say where they are:\n'
        '  --cfg-options train_dataloader.dataset.data_root=... val_dataloader.dataset.data_root=... '
        'test_dataloader.dataset.data_root=...'
    )
