"""Data set whose training signal is a list of the classes in each picture."""

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

from ..utils.checks import first_few, require_dir, require_file, require_files
from .broken_pictures import BrokenPictureError, WrongMaskError, check_policy, naming_pictures
from .decoding import check_whole
from .fields import METAINFO_REMEDY, check_class_list, check_paths, check_prefix, check_suffixes
from .label_files import LabelDict, read_classes, read_label_file
from .palette import voc_palette
from .picture_files import PictureFiles, Suffixes, describe_suffixes, find_pictures, match_ids, read_ids


@DATASETS.register_module()
class ImageLevelDataset(BaseSegDataset):
    """Pictures with image-level labels; masks are optional and read in evaluation only.

    ```
    data_root
    ├── JPEGImages              # data_prefix['img_path']
    │   ├── 000001.jpg          # {id}{img_suffix}
    │   └── ...
    ├── labels.csv              # label_file: 000001,cat,dog; or labels.json: {"000001": ["cat", "dog"], ...}
    ├── train.txt               # ann_file: one id a line; without it, all pictures of the folder
    └── SegmentationClass       # data_prefix['seg_map_path'], optional
        ├── 000001.png          # {id}{seg_map_suffix}
        └── ...
    ```

    `classes` come from `METAINFO` or `metainfo=dict(classes=[...])`, or else from the label file (see
    `read_classes`); the first one is the background, the C others are the foreground classes. Without a `palette`
    they get the colours of VOC. A sample holds what mmseg's data sets give, `img_id`, and `gt_label`,
    a float32 multi-hot vector (C,); a picture with none of the classes has zeros only. `seg_map_path` is
    there if `data_prefix` names a mask folder. No mask is opened unless the pipeline has `LoadMask`.

    Where `metainfo` picks a subset of `METAINFO['classes']`, label files are still written in terms of the
    full list: labels outside the subset are dropped (as mmseg sets their pixels to ignore), and a one-hot
    list has one entry for each foreground class of `METAINFO`. The background stays the first class.

    Ids in split lists and label files may carry the picture's suffix (`IMG_1.JPG`).

    Split lists and labels are local files; pictures and masks come through `backend_args`. What is missing
    is reported when the data set is built: folders, pictures of the split, ids that the label file lacks,
    and masks if the pipeline loads them.

    Args:
        ann_file: Split list, relative to `data_root`.
        label_file: JSON, CSV or TSV file of labels (see `read_label_file`), relative to `data_root`.
        data_prefix: Folders `img_path` and, optionally, `seg_map_path`, relative to `data_root`.
        img_suffix: What follows the id in the name of a picture, as it is; or several, then in either case.
        broken_pictures: What to do in training about a picture that is gone or cannot be decoded: `'stop'` and name it,
            or `'skip'`: the next one of the data set takes its place, and `left_out` of the sample's meta information
            tells. With `test_mode` it always stops, since figures would be those of other pictures.
        kwargs: What mmseg's `BaseSegDataset` takes: `data_root`, `pipeline`, `metainfo`, ...

    Raises:
        FileNotFoundError: Something that a field names is not there.
        ValueError: A split list or a label file holds something that cannot be used.
        BrokenPictureError: A picture cannot be loaded, when a sample is asked for.
        WrongMaskError: A mask has another size than its picture, or holds what is no class.
    """

    #: Folders that `data_prefix` may name; a subclass that reads others says so.
    PREFIXES = ('img_path', 'seg_map_path')
    #: Whether images are turned as their EXIF orientation says, and masks as theirs; False reads the stored pixels.
    exif_orientation = True
    #: What to do when `data_root` is not there.
    DATA_ROOT_REMEDY = (
        'Put the data there, or say where it is: --cfg-options train_dataloader.dataset.data_root=... '
        'val_dataloader.dataset.data_root=... test_dataloader.dataset.data_root=...'
    )
    #: What to do when there are no labels.
    LABEL_REMEDY = (
        'Write one, JSON ({"id": ["cat", "dog"], ...}) or CSV (id,label,label,...), and name it in `label_file`.'
    )

    def __init__(
        self,
        ann_file: str = '',
        label_file: Optional[str] = None,
        data_prefix: Optional[dict] = None,
        img_suffix: Suffixes = '.jpg',
        broken_pictures: str = 'stop',
        **kwargs: Any,
    ) -> None:
        owner = type(self).__name__
        check_policy(broken_pictures, self._field('broken_pictures'))
        check_paths(owner, ann_file=ann_file, label_file=label_file, data_root=kwargs.get('data_root'))
        check_suffixes(owner, img_suffix, kwargs.get('seg_map_suffix', '.png'))
        self.broken_pictures = broken_pictures
        self.label_file = label_file
        prefix = check_prefix(owner, data_prefix, self.PREFIXES) or dict(img_path='')
        if not prefix.get('seg_map_path'):
            prefix.pop('seg_map_path', None)
        if prefix.get('img_path') is None:
            raise ValueError(
                f"{self._field('data_prefix')} is {data_prefix}; add the folder of pictures: img_path='...'"
            )
        super().__init__(ann_file=os.fspath(ann_file or ''), data_prefix=prefix, img_suffix=img_suffix, **kwargs)

    @property
    def label_classes(self) -> tuple[str, ...]:
        """Foreground classes that label files are written in: all of `METAINFO`'s, also for a subset."""
        return tuple(self.METAINFO.get('classes') or self._metainfo.get('classes', ()))[1:]

    @property
    def loads_masks(self) -> bool:
        """Whether samples hold masks: there is a folder of them, and the pipeline loads them."""
        loads = any(isinstance(step, LoadAnnotations) for step in self.pipeline.transforms)
        return 'seg_map_path' in self.data_prefix and loads

    def prepare_data(self, idx: int) -> Any:
        """Load a sample, or, with `broken_pictures='skip'` in training, the next one that can be loaded."""
        left_out: list[tuple[str, str]] = []
        for place in range(idx, idx + self.max_refetch + 1):
            info = self.get_data_info(place % len(self))
            try:
                sample = self._load(info)
            except BrokenPictureError as error:
                if self.test_mode or self.broken_pictures == 'stop' or isinstance(error, WrongMaskError):
                    raise
                left_out.append((info['img_path'], str(error)))
                continue
            if left_out:
                sample['data_samples'].set_metainfo(dict(left_out=left_out))
            return sample
        raise BrokenPictureError(
            f'{len(left_out)} pictures in a row cannot be loaded; the first: {left_out[0][1]}\n'
            '  Is the disk still there?'
        )

    def load_data_list(self) -> list[dict]:
        """Check the files, then list the samples of the split."""
        self.check_fields()
        pictures = self.find_pictures() if self.lists_folder() else None
        ids = self.list_ids(pictures)
        self._check_files(ids, pictures)
        labels = self.load_labels(ids)
        files = {i: i + str(self.img_suffix) for i in ids} if pictures is None else pictures.files
        return [self._data_info(img_id, files[img_id], labels[img_id]) for img_id in ids]

    def check_fields(self) -> None:
        """Check that what the fields name is there, and take the classes from the label file if need be."""
        self._check_folders()
        if not self._metainfo.get('classes'):
            self._metainfo['classes'] = ('background', *read_classes(self._require_label_file()))
            self._metainfo['palette'] = self._update_palette()
        self._check_classes()

    def is_local(self, path: str) -> bool:
        """Whether a path is one of this machine's, and not one that `backend_args` or its prefix takes elsewhere."""
        return isinstance(fileio.get_file_backend(path, backend_args=self.backend_args), LocalBackend)

    def lists_folder(self) -> bool:
        """Whether to list the folder: always, but for a remote one whose files the split list names."""
        plain = isinstance(self.img_suffix, str)
        return not (plain and self.ann_file) or self.is_local(self.data_prefix['img_path'])

    def find_pictures(self) -> PictureFiles:
        """List the picture folder."""
        return find_pictures(self.data_prefix['img_path'], self.img_suffix, self.backend_args)

    def list_ids(self, pictures: Optional[PictureFiles] = None) -> list[str]:
        """Read the split list; without one, all `pictures` of the folder count."""
        known = {} if pictures is None else pictures.files
        ids = self._read_list(known) if self.ann_file else list(known)
        if not ids:
            others = '' if pictures is None else describe_suffixes(pictures.others)
            raise ValueError(
                f'{self._field("ann_file" if self.ann_file else "img_suffix")}: no pictures: '
                f'{self.ann_file or self.data_prefix["img_path"]} lists none'
                + ('.' if self.ann_file else f' that end in {self.img_suffix!r}; it holds {others or "no files"}.')
                + '\n  Add some, or correct the field.'
            )
        return ids

    def load_labels(self, ids: list[str]) -> LabelDict:
        """Read the labels of the split's pictures; subclasses may have other sources than a label file."""
        labels = self.read_labels(ids)
        missing = [i for i in ids if i not in labels]
        if missing:
            raise ValueError(
                f'{self._field("label_file")}: {self.label_file} lacks {len(missing)} of {len(ids)} ids of the '
                f'split {self.ann_file or self.data_prefix["img_path"]}: {first_few(missing)}\n'
                f'  Its ids look like {first_few(list(labels))}. Add the ids (with an empty list where a '
                'picture shows none of the classes), or take them out of the split.'
            )
        return labels

    def read_labels(self, ids: list[str]) -> LabelDict:
        """Read all of the label file, with the names that `ids` have for its pictures."""
        labels = read_label_file(self._require_label_file(), self.label_classes)
        meant = match_ids(labels, set(ids), self.img_suffix, f'label file {self.label_file}')
        return {meant[name]: classes for name, classes in labels.items()}

    @classmethod
    def _load_metainfo(cls, metainfo: Union[Mapping, Config, None] = None) -> dict:
        """Check the classes; mmengine takes a text for the name of a file that lists them."""
        if not isinstance(metainfo, (Mapping, Config, type(None))):
            raise ValueError(f'`metainfo` of {cls.__name__} is {metainfo!r}; {METAINFO_REMEDY}')
        try:
            loaded = super()._load_metainfo(metainfo)
        except OSError:  # a text too long for the name of a file
            loaded = dict(metainfo or {})
        check_class_list(cls.__name__, loaded.get('classes') or [])
        return loaded

    def _join_prefix(self) -> None:
        super()._join_prefix()
        if self.label_file is not None:
            self.label_file = osp.join(self.data_root, self.label_file)

    def _update_palette(self) -> list:
        """Take the given palette, or VOC's colours rather than mmseg's random ones."""
        classes = self._metainfo.get('classes') or ()
        if not self._metainfo.get('palette'):
            return voc_palette(len(classes))
        return super()._update_palette() if classes else self._metainfo['palette']

    def _field(self, name: str) -> str:
        return f'`{name}` of {type(self).__name__}'

    def _load(self, info: dict) -> Any:
        paths = [info['img_path'], *([info['seg_map_path']] if self.loads_masks else [])]
        with naming_pictures(*paths):
            if self.is_local(info['img_path']):
                check_whole(info['img_path'])
            return self.pipeline(info)

    def _check_classes(self) -> None:
        classes = list(self._metainfo['classes'])
        full = list(self.METAINFO.get('classes') or classes)
        if len(classes) < 2 or classes[0] != full[0]:
            raise ValueError(
                f'{self._field("metainfo")}: `classes` is {classes}; it needs the background '
                f'({full[0]!r}) first and at least one class after it.\n'
                "  Write metainfo=dict(classes=['background', 'cat', 'dog'])."
            )

    def _check_folders(self) -> None:
        if self.data_root and self.is_local(self.data_root):
            require_dir(self.data_root, self._field('data_root'), self.DATA_ROOT_REMEDY)
        img_dir = self.data_prefix['img_path']
        if self.is_local(img_dir):
            require_dir(img_dir, self._field("data_prefix['img_path']"), 'Correct it; it is relative to `data_root`.')
        if self.ann_file:
            remedy = 'Correct it; it is relative to `data_root`. Without it, all pictures of the folder are used.'
            require_file(self.ann_file, self._field('ann_file'), remedy)

    def _require_label_file(self) -> str:
        if self.label_file is None:
            raise ValueError(f'{self._field("label_file")} is not set.\n  {self.LABEL_REMEDY}')
        require_file(self.label_file, self._field('label_file'), self.LABEL_REMEDY)
        return self.label_file

    def _check_files(self, ids: list[str], pictures: Optional[PictureFiles]) -> None:
        img_dir, mask_dir = self.data_prefix['img_path'], self.data_prefix.get('seg_map_path')
        missing = [] if pictures is None else [i for i in ids if i not in pictures.files]
        if pictures is not None and missing:
            field = self._field("data_prefix['img_path']")
            others = f'; it also holds {describe_suffixes(pictures.others)}' if pictures.others else ''
            raise FileNotFoundError(
                f'{field}: {len(missing)} of {len(ids)} ids have no {self.img_suffix} file in '
                f'{img_dir}: {first_few(missing)}{others}\n'
                f'  Add the pictures, take the ids out of {self.ann_file}, or set `img_suffix`.'
            )
        if mask_dir and self.loads_masks and self.is_local(mask_dir):
            remedy = 'Add the masks, or take `LoadMask` out of the pipeline: training needs none.'
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
