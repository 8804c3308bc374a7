"""The folder of PASCAL VOC 2012: paths, required files, and split lists."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Union

from PIL import Image

from ...utils import remove_leftovers, write_text
from ...utils.checks import first_few, require_files
from .. import images

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
        """Find VOC2012 in VOCdevkit, or as the folder itself.

        Raises:
            FileNotFoundError: The folder does not exist.
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
        """Return the path of a split list."""
        return self.root / 'ImageSets' / 'Segmentation' / f'{name}.txt'

    def require(self, *paths: Path) -> None:
        """Raise a `FileNotFoundError` that lists all of `paths` that are missing, and their source."""
        missing = [str(path.relative_to(self.root)) for path in paths if not path.exists()]
        if missing:
            raise FileNotFoundError(
                f'{self.root} lacks {", ".join(missing)}, which {VOC_SOURCE} contains.\n'
                '  Unpack it so that VOCdevkit/VOC2012/JPEGImages exists, then run the same command again.\n'
                '  To convert a label file of another project, see tools/dataset_converters/convert_labels.py.'
            )

    def require_images(self, ids: Sequence[str]) -> None:
        """Raise a `FileNotFoundError` unless each id has its image and its XML file."""
        remedy = f'It is part of {VOC_SOURCE}; or take the ids out of the list.'
        require_files(str(self.images), ids, '.jpg', 'images', remedy)
        require_files(str(self.annotations), ids, '.xml', 'annotations', remedy)

    def image_size(self, img_id: str) -> tuple[int, int]:
        """Read (height, width) of an image from its header.

        Raises:
            ValueError: The file is not an image.
        """
        path = self.images / f'{img_id}.jpg'
        try:
            with Image.open(path) as image:
                return image.height, image.width
        except FileNotFoundError:
            raise
        except (OSError, SyntaxError, Image.DecompressionBombError) as error:
            raise ValueError(f'image {path}: cannot be read ({error}); fetch it again') from error

    def remove_leftovers(self) -> None:
        """Delete the temporary files of killed runs."""
        for folder in (self.root, self.aug_masks, self.split('train_aug').parent):
            remove_leftovers(folder)


def read_ids(path: Path) -> list[str]:
    """Read a split list: one id a line.

    Raises:
        ValueError: The list is empty, holds an id twice, or something that is not an id.
    """
    ids = images.read_ids(path)
    if not ids:
        raise ValueError(f'{path}: lists no ids; fetch it again')
    return ids


def write_train_list(path: Path, ids: Sequence[str], source: str) -> bool:
    """Write the split list `train_aug` unless it exists with the same ids; return whether it was written.

    Args:
        path: The list.
        ids: Its content.
        source: Where the ids come from, for the message.

    Raises:
        ValueError: A list with other ids exists.
    """
    if not path.is_file():
        return write_text(path, ''.join(f'{i}\n' for i in sorted(ids)))
    listed, wanted = set(read_ids(path)), set(ids)
    if listed == wanted:
        return False
    raise ValueError(
        f'{path}: differs from {source}: {first_few(sorted(listed ^ wanted))} are in one of them only.\n'
        '  Delete or move the list, and run the same command again to write it anew.'
    )
