"""ShapesVOC, the embedded data set: drawn shapes in the layout of PASCAL VOC."""

from mmseg.registry import DATASETS

from .voc import VOCImageLevelDataset


@DATASETS.register_module()
class ShapesVOCDataset(VOCImageLevelDataset):
    """ShapesVOC: textured, lit, partly overlapping shapes on cluttered backgrounds.

    A VOC folder (see `VOCImageLevelDataset`) written by `tools/dataset_converters/make_shapes_voc.py`; the
    generator takes the classes and their order from here.
    """

    METAINFO = dict(
        classes=('background', 'disc', 'square', 'triangle', 'star', 'ring', 'cross'),
        palette=[
            [0, 0, 0],
            [214, 69, 65],
            [222, 184, 45],
            [72, 178, 76],
            [44, 182, 190],
            [70, 92, 214],
            [190, 76, 196],
        ],
    )
    DATA_ROOT_REMEDY = (
        'Create it: python tools/dataset_converters/make_shapes_voc.py data/ShapesVOC\n'
        '  or say where it is: --cfg-options train_dataloader.dataset.data_root=... '
        'val_dataloader.dataset.data_root=... test_dataloader.dataset.data_root=...'
    )
