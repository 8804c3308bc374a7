"""PASCAL VOC 2012 with image-level labels, and ShapesVOC, which has its layout."""

import os.path as osp
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any, Optional, Union

from mmseg.datasets import PascalVOCDataset
from mmseg.registry import DATASETS

from ..utils.checks import require_files
from .image_level import ImageLevelDataset
from .label_files import LabelDict, check_classes


def parse_xml(path: Union[str, Path]) -> ET.Element:
    """Parse a VOC annotation file and return its root.

    Raises:
        ValueError: The file is not XML.
    """
    try:
        return ET.parse(path).getroot()
    except (ET.ParseError, LookupError, ValueError) as error:  # the latter two: encodings that are not supported
        raise ValueError(f'annotation file {path}: not valid XML ({error}); fetch it again') from error


def read_voc_xml(path: Union[str, Path]) -> list[str]:
    """Read the class name of every object of a VOC annotation file, objects marked difficult included.

    Parts of objects (`object/part/name`, such as a person's head) are skipped.

    Raises:
        ValueError: The file is not XML, or an object has no name.
    """
    names = [(item.findtext('name') or '').strip() for item in parse_xml(path).findall('object')]
    if '' in names:
        raise ValueError(f'annotation file {path}: object {names.index("") + 1} has no <name>; add it, or delete it')
    return names


@DATASETS.register_module()
class VOCImageLevelDataset(ImageLevelDataset):
    """PASCAL VOC 2012; the labels are the objects in the XML annotation of each image.

    ```
    data_root                          # .../VOCdevkit/VOC2012
    ├── JPEGImages/2007_000027.jpg ...
    ├── Annotations/2007_000027.xml ...
    ├── SegmentationClassAug/2007_000027.png ...    # validation only
    └── ImageSets/Segmentation/{train_aug,val}.txt
    ```

    All objects of an XML file count, those marked difficult too. With a `label_file` no XML is read.

    Args:
        ann_file: Split list, relative to `data_root`.
        xml_dir: Folder of the XML annotations, relative to `data_root`.
        data_prefix: Folders that differ from `JPEGImages` (`img_path`) and `SegmentationClassAug`
            (`seg_map_path`; `None`: no masks).
        kwargs: See `ImageLevelDataset`.

    Raises:
        FileNotFoundError: A file or folder that a field names does not exist, or an image has no XML file.
        ValueError: An XML file names an unknown class; otherwise as `ImageLevelDataset`.
    """

    METAINFO = PascalVOCDataset.METAINFO
    exif_orientation = False  # masks are of the stored pixels
    DATA_ROOT_REMEDY = (
        'Get VOC 2012 from http://host.robots.ox.ac.uk/pascal/VOC/voc2012/ and SBD (see docs/data.md), then run\n'
        '    python tools/dataset_converters/prepare_voc.py data/VOCdevkit --sbd data/benchmark_RELEASE'
    )

    def __init__(
        self,
        ann_file: str = '',
        xml_dir: str = 'Annotations',
        data_prefix: Optional[dict] = None,
        **kwargs: Any,
    ) -> None:
        self.xml_dir = xml_dir
        prefix = {**dict(img_path='JPEGImages', seg_map_path='SegmentationClassAug'), **(data_prefix or {})}
        super().__init__(ann_file=ann_file, data_prefix=prefix, **kwargs)

    def load_labels(self, ids: list[str]) -> LabelDict:
        """Read the labels from the label file if there is one, otherwise from the XML files."""
        if self.label_file is not None:
            return super().load_labels(ids)
        remedy = (
            'Add the XML files, correct `xml_dir`, or set `label_file` (JSON or CSV); '
            'tools/dataset_converters/convert_labels.py converts label files such as cls_labels_onehot.npy.'
        )
        require_files(self.xml_dir, ids, '.xml', self._field('xml_dir'), remedy)
        return {img_id: self._read_xml(img_id) for img_id in ids}

    def _join_prefix(self) -> None:
        super()._join_prefix()  # mmengine's, without a public name
        self.xml_dir = osp.join(self.data_root, self.xml_dir)

    def _read_xml(self, img_id: str) -> list[str]:
        path = osp.join(self.xml_dir, img_id + '.xml')
        names = read_voc_xml(path)
        check_classes(names, self.label_classes, f'annotation file {path}')
        return names


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
            [44, 182, 190],
            [222, 184, 45],
            [72, 178, 76],
            [214, 69, 65],
            [70, 92, 214],
            [190, 76, 196],
        ],
    )
    DATA_ROOT_REMEDY = 'Create it: python tools/dataset_converters/make_shapes_voc.py data/ShapesVOC'
