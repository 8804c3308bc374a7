"""Data set of images with image-level labels."""

import os
import os.path as osp
from collections.abc import Mapping
from typing import Any, Optional, Union

import numpy as np
from mmengine import fileio
from mmengine.config import Config
from mmengine.fileio import LocalBackend
from mmseg.datasets import BaseSegDataset
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.registry import DATASETS

from ..utils.checks import check_keys, first_few, require_dir, require_file, require_files
from ..utils.masks import IGNORE_INDEX, voc_palette
from .images import (
    LOADING_ERRORS,
    BrokenImageError,
    ImageFiles,
    Suffixes,
    WrongMaskError,
    check_whole,
    describe_suffixes,
    find_images,
    match_ids,
    read_ids,
)
from .label_files import LabelDict, read_classes, read_label_file

#: Second half of the remedy for a missing `data_root`.
SET_ROOT = '\n  or set its place: --cfg-options data_root=...'
IMG_DIR = "data_prefix['img_path']"
CLASSES_REMEDY = "Write metainfo=dict(classes=['background', 'cat', 'dog'])."


@DATASETS.register_module()
class ImageLevelDataset(BaseSegDataset):
    """Images with image-level labels; masks are optional and read in evaluation only.

    ```
    data_root
    ├── JPEGImages              # data_prefix['img_path']
    │   ├── 000001.jpg          # {id}{img_suffix}
    │   └── ...
    ├── labels.csv              # label_file: 000001,cat,dog; or labels.json: {"000001": ["cat", "dog"], ...}
    ├── train.txt               # ann_file: one id a line; without it, all images of the folder
    └── SegmentationClass       # data_prefix['seg_map_path'], optional
        ├── 000001.png          # {id}{seg_map_suffix}
        └── ...
    ```

    `classes` come from `METAINFO` or `metainfo=dict(classes=[...])`, or else from the label file (see
    `read_classes`); the first one is the background, the C others are the foreground classes. Without a `palette`
    they get the colours of VOC. A sample holds what mmseg's data sets return, `img_id`, and `gt_label`, a float32
    multi-hot vector (C,). No mask is opened unless the pipeline has `LoadMask`.

    Where `metainfo` picks a subset of `METAINFO['classes']`, label files are still written in terms of the full list:
    labels outside the subset are dropped, as mmseg sets their pixels to ignore.

    Split lists and labels are local files, whose ids may carry the image's suffix (`IMG_1.JPG`); images and masks are
    read through `backend_args`. Missing files are reported when the data set is built.

    Args:
        ann_file: Split list, relative to `data_root`.
        label_file: JSON, CSV or TSV file of labels, or folder of folders (see `read_label_file`), relative to
            `data_root`.
        data_prefix: Folders `img_path` and, optionally, `seg_map_path`, relative to `data_root`.
        img_suffix: Suffix of images after the id, as it stands; or several, then in either case.
        broken_images: Policy in training for an image that is missing or cannot be decoded: `'stop'` raises an error
            that names it; `'skip'` loads the next one of the data set instead, and lists the skipped ones as
            `left_out` in the sample's meta information. With `test_mode` it always stops, since metrics would be those
            of other images.
        kwargs: Arguments of mmseg's `BaseSegDataset`: `data_root`, `pipeline`, `metainfo`, ...

    Raises:
        FileNotFoundError: A file or folder that a field names does not exist.
        ValueError: A field, a split list or a label file is invalid.
        BrokenImageError: An image cannot be loaded, when a sample is requested.
        WrongMaskError: A mask has another size than its image, or holds values that are not classes.
    """

    #: Keys of `data_prefix`; a subclass may add others.
    PREFIXES = ('img_path', 'seg_map_path')
    #: Whether images are turned by their EXIF orientation, and masks by theirs; False reads the stored pixels.
    exif_orientation = True
    #: Remedy for a missing `data_root`; `SET_ROOT` follows.
    DATA_ROOT_REMEDY = 'Put the data there,'
    #: Remedy for missing labels.
    LABEL_REMEDY = (
        'Write one, JSON ({"id": ["cat", "dog"], ...}) or CSV (id,label,label,...), and name it in `label_file`; '
        'tools/dataset_converters/convert_labels.py converts label files of other projects.'
    )

    def __init__(
        self,
        ann_file: str = '',
        label_file: Optional[str] = None,
        data_prefix: Optional[dict] = None,
        img_suffix: Suffixes = '.jpg',
        broken_images: str = 'stop',
        **kwargs: Any,
    ) -> None:
        if broken_images not in ('stop', 'skip'):
            raise ValueError(f'{self._field("broken_images")} is {broken_images!r}; choose "stop" or "skip"')
        prefix = dict(data_prefix or dict(img_path=''))
        check_keys(prefix, self.PREFIXES, f'{type(self).__name__}.data_prefix')
        if prefix.get('img_path') is None:
            raise ValueError(f"{self._field('data_prefix')} is {data_prefix}; add the folder of images: img_path='...'")
        if not prefix.get('seg_map_path'):
            prefix.pop('seg_map_path', None)
        prefix = {name: os.fspath(path) for name, path in prefix.items() if path is not None}
        self.broken_images = broken_images
        self.label_file = label_file
        super().__init__(ann_file=os.fspath(ann_file or ''), data_prefix=prefix, img_suffix=img_suffix, **kwargs)

    @property
    def label_classes(self) -> tuple[str, ...]:
        """Foreground classes of label files: all of `METAINFO`, also for a subset."""
        return tuple(self.METAINFO.get('classes') or self._metainfo.get('classes', ()))[1:]

    @property
    def loads_masks(self) -> bool:
        """Whether samples hold masks: a folder is named, and the pipeline loads masks."""
        loads = any(isinstance(step, LoadAnnotations) for step in self.pipeline.transforms)
        return 'seg_map_path' in self.data_prefix and loads

    def prepare_data(self, idx: int) -> Any:
        """Load a sample, or, with `broken_images='skip'` in training, the next one that can be loaded."""
        left_out: list[tuple[str, str]] = []
        for place in range(idx, idx + self.max_refetch + 1):
            info = self.get_data_info(place % len(self))
            try:
                sample = self._load(info)
            except BrokenImageError as error:
                if self.test_mode or isinstance(error, WrongMaskError):
                    raise
                if self.broken_images == 'stop':
                    remedy = (
                        'Replace it, remove its id from the list, or set train_dataloader.dataset.broken_images=skip'
                    )
                    raise BrokenImageError(f'{error}\n  {remedy}') from error
                left_out.append((info['img_path'], str(error)))
                continue
            if left_out:
                sample['data_samples'].set_metainfo(dict(left_out=left_out))
            return sample
        raise BrokenImageError(
            f'{len(left_out)} images in a row cannot be loaded; the first: {left_out[0][1]}\n'
            '  Check that the disk is still mounted.'
        )

    def load_data_list(self) -> list[dict]:
        """Check the files, then list the samples of the split."""
        self.check_fields()
        ids, images = self.list_images()
        self._check_files(ids, images)
        labels = self.load_labels(ids)
        return [self._data_info(img_id, images.files[img_id], labels[img_id]) for img_id in ids]

    def check_fields(self) -> None:
        """Check that the files of all fields exist, and read the classes from the label file if none are set."""
        self._check_folders()
        if not self._metainfo.get('classes'):
            self._metainfo['classes'] = ('background', *read_classes(self._require_label_file()))
            self._metainfo['palette'] = self._update_palette()
        classes = list(self._metainfo['classes'])
        if len(classes) > IGNORE_INDEX:
            raise ValueError(
                f'{self._field("metainfo")}: `classes` has {len(classes)} names with the background; at most '
                f'{IGNORE_INDEX} are supported: masks have 8 bits, and {IGNORE_INDEX} is ignored.\n  Merge some, or '
                'leave them out.'
            )
        background = (self.METAINFO.get('classes') or classes)[0]
        if len(classes) < 2 or classes[0] != background:
            raise ValueError(
                f'{self._field("metainfo")}: `classes` is {classes}; it needs the background ({background!r}) first '
                f'and at least one class after it.\n  {CLASSES_REMEDY}'
            )

    def is_local(self, path: str) -> bool:
        """Whether a path is on the local disk, according to `backend_args` and its prefix."""
        return isinstance(fileio.get_file_backend(path, backend_args=self.backend_args), LocalBackend)

    def lists_folder(self) -> bool:
        """Whether to list the image folder: not if it is remote and a split list names its files."""
        names_files = isinstance(self.img_suffix, str) and bool(self.ann_file)
        return not names_files or self.is_local(self.data_prefix['img_path'])

    def list_images(self) -> tuple[list[str], ImageFiles]:
        """Return the ids of the split list, or of all images of the folder; and the files of the folder."""
        img_dir = self.data_prefix['img_path']
        if self.lists_folder():
            images = find_images(img_dir, self.img_suffix, self.backend_args)
            ids = self._read_list(images.files) if self.ann_file else list(images.files)
        else:
            ids = self._read_list({})
            images = ImageFiles({i: f'{i}{self.img_suffix}' for i in ids}, {})
        if not ids:
            raise ValueError(
                f'{self._field("img_suffix")}: no images in {img_dir} that end in {self.img_suffix!r}; it holds '
                f'{describe_suffixes(images.others) or "no files"}.\n  Add some, or correct the field.'
            )
        return ids, images

    def load_labels(self, ids: list[str]) -> LabelDict:
        """Read the labels of the split's images; subclasses may have other sources than a label file."""
        labels = self.read_labels(ids)
        missing = [i for i in ids if i not in labels]
        if missing:
            raise ValueError(
                f'{self._field("label_file")}: {self.label_file} lacks {len(missing)} of {len(ids)} ids of the '
                f'split {self.ann_file or self.data_prefix["img_path"]}: {first_few(missing)}\n'
                f'  Its ids look like {first_few(list(labels))}. Add the ids (with an empty list where a '
                'image shows none of the classes), or take them out of the split.'
            )
        return labels

    def read_labels(self, ids: list[str]) -> LabelDict:
        """Read the whole label file, its ids replaced by those of `ids` that they match."""
        labels = read_label_file(self._require_label_file(), self.label_classes)
        matched = match_ids(labels, set(ids), self.img_suffix, f'label file {self.label_file}')
        return {matched[name]: classes for name, classes in labels.items()}

    @classmethod
    def _load_metainfo(cls, metainfo: Union[Mapping, Config, None] = None) -> dict:
        """Check the classes; mmengine would read a string as the name of a file that lists them."""
        classes = (metainfo or {}).get('classes') or []
        if isinstance(classes, str) or len(set(classes)) < len(classes):
            raise ValueError(f'`metainfo` of {cls.__name__}: `classes` is {classes!r}; {CLASSES_REMEDY}')
        return super()._load_metainfo(metainfo)  # mmengine's, without a public name

    def _join_prefix(self) -> None:
        super()._join_prefix()  # mmengine's, without a public name
        if self.label_file is not None:
            self.label_file = osp.join(self.data_root, self.label_file)

    def _update_palette(self) -> list:  # called by mmseg, without a public name
        """Return the given palette, or VOC's colours rather than mmseg's random ones."""
        classes = self._metainfo.get('classes') or ()
        if not self._metainfo.get('palette'):
            return voc_palette(len(classes))
        return super()._update_palette() if classes else self._metainfo['palette']

    def _field(self, name: str) -> str:
        return f'`{name}` of {type(self).__name__}'

    def _load(self, info: dict) -> Any:
        paths = [info['img_path'], *([info['seg_map_path']] if self.loads_masks else [])]
        try:
            if self.is_local(info['img_path']):
                check_whole(info['img_path'])
            return self.pipeline(info)
        except BrokenImageError:
            raise
        except LOADING_ERRORS as error:
            reason = str(error).strip() or type(error).__name__
            raise BrokenImageError(f'{" with ".join(paths)} cannot be loaded: {reason}') from error

    def _check_folders(self) -> None:
        if self.data_root and self.is_local(self.data_root):
            require_dir(self.data_root, self._field('data_root'), self.DATA_ROOT_REMEDY + SET_ROOT)
        img_dir = self.data_prefix['img_path']
        if self.is_local(img_dir):
            require_dir(img_dir, self._field(IMG_DIR), 'Correct it; it is relative to `data_root`.')
        if self.ann_file:
            remedy = 'Correct it; it is relative to `data_root`. Without it, all images of the folder are used.'
            require_file(self.ann_file, self._field('ann_file'), remedy)

    def _require_label_file(self) -> str:
        if self.label_file is None:
            raise ValueError(f'{self._field("label_file")} is not set.\n  {self.LABEL_REMEDY}')
        if not osp.isdir(self.label_file):
            require_file(self.label_file, self._field('label_file'), self.LABEL_REMEDY)
        return self.label_file

    def _check_files(self, ids: list[str], images: ImageFiles) -> None:
        img_dir, mask_dir = self.data_prefix['img_path'], self.data_prefix.get('seg_map_path')
        missing = [i for i in ids if i not in images.files]
        if missing:
            others = f'; it also holds {describe_suffixes(images.others)}' if images.others else ''
            raise FileNotFoundError(
                f'{self._field(IMG_DIR)}: {len(missing)} of {len(ids)} ids have no {self.img_suffix} '
                f'file in {img_dir}: {first_few(missing)}{others}\n'
                f'  Add the images, take the ids out of {self.ann_file}, or set `img_suffix`.'
            )
        if mask_dir and self.loads_masks and self.is_local(mask_dir):
            remedy = 'Add the masks, or remove `LoadMask` from the pipeline: training needs none.'
            require_files(mask_dir, ids, self.seg_map_suffix, self._field("data_prefix['seg_map_path']"), remedy)

    def _read_list(self, known: dict[str, str]) -> list[str]:
        source = f'{self._field("ann_file")}, {self.ann_file}'
        return list(match_ids(read_ids(self.ann_file, source), known, self.img_suffix, source).values())

    def _data_info(self, img_id: str, file: str, names: list[str]) -> dict:
        foreground = self._metainfo['classes'][1:]
        info = dict(
            img_id=img_id,
            img_path=osp.join(self.data_prefix['img_path'], file),
            gt_label=np.array([name in names for name in foreground], dtype=np.float32),
            label_map=self.label_map,
            reduce_zero_label=self.reduce_zero_label,
            num_values=len(self.METAINFO.get('classes') or self._metainfo['classes']),
            ignore_index=self.ignore_index,
            exif_orientation=self.exif_orientation,
            seg_fields=[],
        )
        if 'seg_map_path' in self.data_prefix:
            info['seg_map_path'] = osp.join(self.data_prefix['seg_map_path'], img_id + self.seg_map_suffix)
        return info
