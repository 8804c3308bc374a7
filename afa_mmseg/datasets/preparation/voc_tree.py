"""The folder of PASCAL VOC 2012: where things are, what is missing, and where to get it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Union

from PIL import Image

from ...utils import remove_leftovers, write_text
from ...utils.checks import first_few, require_files
from .. import picture_files

SCRIPT = 'python tools/dataset_converters/prepare_voc.py'
VOC_SOURCE = 'VOC 2012 (VOCtrainval_11-May-2012.tar), http://host.robots.ox.ac.uk/pascal/VOC/voc2012/'
SBD_SOURCE = 'SBD (benchmark.tgz), http://home.bharathh.info/pubs/codes/SBD/download.html'


@dataclass(frozen=True)
class VOCTree:
    """Paths in a VOC2012 folder.

    Args:
        root: The folder that holds `JPEGImages`.
    """

    root: Path

    @classmethod
    def find(cls, folder: Union[str, Path]) -> 'VOCTree':
        """Take VOCdevkit/VOC2012, or VOCdevkit alone.

        Raises:
            FileNotFoundError: There is no such folder.
        """
        folder = Path(folder)
        root = folder / 'VOC2012' if (folder / 'VOC2012').is_dir() else folder
        if not root.is_dir():
            raise FileNotFoundError(
                f'no such folder: {folder}\n  Get {VOC_SOURCE}, unpack it, and name its VOCdevkit folder.'
            )
        return cls(root)

    @property
    def images(self) -> Path:
        return self.root / 'JPEGImages'

    @property
    def annotations(self) -> Path:
        return self.root / 'Annotations'

    @property
    def voc_masks(self) -> Path:
        return self.root / 'SegmentationClass'

    @property
    def aug_masks(self) -> Path:
        return self.root / 'SegmentationClassAug'

    @property
    def labels(self) -> Path:
        return self.root / 'cls_labels.json'

    @property
    def report(self) -> Path:
        return self.root / 'cls_labels_report.json'

    def split(self, name: str) -> Path:
        """Give the path of a split list."""
        return self.root / 'ImageSets' / 'Segmentation' / f'{name}.txt'

    def require(self, *paths: Path) -> None:
        """Raise a `FileNotFoundError` that names all of `paths` that are missing, and says where to get them."""
        missing = [str(path.relative_to(self.root)) for path in paths if not path.exists()]
        if missing:
            raise FileNotFoundError(
                f'{self.root} lacks {", ".join(missing)}.\n'
                f'  What is missing is part of {VOC_SOURCE}.\n'
                '  Unpack it so that VOCdevkit/VOC2012/JPEGImages is there, then run the same command again.'
            )

    def require_pictures(self, ids: Sequence[str]) -> None:
        """Raise a `FileNotFoundError` unless each id has its picture and its XML file."""
        remedy = f'It is part of {VOC_SOURCE}; or take the ids out of the list.'
        require_files(str(self.images), ids, '.jpg', 'pictures', remedy)
        require_files(str(self.annotations), ids, '.xml', 'annotations', remedy)

    def picture_size(self, img_id: str) -> tuple[int, int]:
        """Read (width, height) of a picture from its header."""
        path = self.images / f'{img_id}.jpg'
        return picture_size(path, f'picture {path}')

    def remove_leftovers(self) -> None:
        """Delete what killed runs left half-written."""
        for folder in (self.root, self.aug_masks, self.split('train_aug').parent):
            remove_leftovers(folder)


def picture_size(file: Union[Path, BinaryIO], name: str) -> tuple[int, int]:
    """Read (width, height) of a picture from its header.

    Args:
        file: The picture, by its path or opened.
        name: How messages call it.

    Raises:
        ValueError: The file is no picture.
    """
    try:
        with Image.open(file) as picture:
            return picture.size
    except FileNotFoundError:
        raise
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f'{name}: cannot be read ({error}); fetch or make it again') from error


def read_ids(path: Path) -> list[str]:
    """Read a split list: one id a line.

    Raises:
        ValueError: The list is empty, holds an id twice, or something that is no id.
    """
    ids = picture_files.read_ids(path)
    if not ids:
        raise ValueError(f'{path}: lists no ids; fetch it again')
    return ids


def write_train_list(path: Path, ids: Sequence[str], source: str) -> bool:
    """Write the split list `train_aug`, unless there is one with the same ids; tell whether it was written.

    Args:
        path: The list.
        ids: What it has to hold.
        source: Where the ids come from, for the message.

    Raises:
        ValueError: There is a list with other ids.
    """
    if not path.is_file():
        return write_text(path, ''.join(f'{i}\n' for i in sorted(ids)))
    there, wanted = set(read_ids(path)), set(ids)
    if there == wanted:
        return False
    differences = [
        f'{len(extra)} only in {where} ({first_few(sorted(extra))})'
        for extra, where in ((there - wanted, 'the list'), (wanted - there, source))
        if extra
    ]
    raise ValueError(
        f'{path}: holds {len(there)} ids, {source} {len(wanted)}: {", ".join(differences)}.\n'
        '  Delete or move the list to have it made anew.'
    )
