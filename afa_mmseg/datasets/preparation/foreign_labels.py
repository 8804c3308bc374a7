"""Image-level labels of other projects, whose form follows from the file.

| source | holds |
|---|---|
| `.npy` | a pickled dict `{id: one-hot vector}`, or a plain array with one row an image |
| `.pkl`, `.pickle` | such a dict |
| `.txt`, `.csv` without header | `id 0 1 0 ...`, or `id cat dog` |
| `.json`, `.csv`, `.tsv`, folder | what `read_label_file` reads: COCO's form and Label Studio's export, too |
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Optional, Union

import numpy as np

from ...utils.checks import check_ids, require_file
from ..coco import COCOImageLevelDataset
from ..images import IMAGE_SUFFIXES, read_ids, strip_suffix
from ..label_exports import BACKGROUND_NAMES
from ..label_files import LabelDict, check_classes, class_names, read_classes, read_labels
from ..label_tables import ID_HEADER, Row, check_rows, read_rows, read_utf8
from ..voc import VOCImageLevelDataset
from .pickled_labels import read_npy, read_pickle

#: Foreground classes of data sets by name.
CLASS_LISTS: dict[str, tuple[str, ...]] = dict(
    voc=tuple(VOCImageLevelDataset.METAINFO['classes'][1:]),
    coco=tuple(COCOImageLevelDataset.METAINFO['classes'][1:]),
)
#: Files whose form follows from their suffix; `.csv` and `.tsv` without a header may hold numbers, too.
ARRAYS = {'.npy': read_npy, '.pkl': read_pickle, '.pickle': read_pickle}
TABLES = ('.txt', '.csv', '.tsv')


def find_classes(name: Optional[str], source: Union[str, Path]) -> tuple[str, ...]:
    """Return the foreground classes of a label file.

    Args:
        name: `voc`, `coco` or a text file with one class a line; None: those that the source names itself.
        source: The label file or folder.

    Raises:
        FileNotFoundError: The list or the source does not exist.
        ValueError: No list is named, and the source holds numbers; or the list is empty, or holds a class twice or the
            background.
    """
    if name in CLASS_LISTS:
        return CLASS_LISTS[name]
    choices = f'{", ".join(CLASS_LISTS)} or a text file with one class a line'
    if name is not None:
        require_file(name, 'class list', f'--classes requires {choices}.')
        lines = read_utf8(Path(name), f'class list {name}').splitlines()
        classes = tuple(line.strip() for line in lines if line.strip())
        wrong = [c for c in classes if c.lower() in BACKGROUND_NAMES or classes.count(c) > 1]
        if wrong or not classes:
            fault = repr(wrong[0]) if wrong else 'empty'
            raise ValueError(f'class list {name}: {fault}; list each class once, without the background')
        return classes
    path = _require(source)
    suffix = path.suffix.lower()
    if path.is_dir() or suffix == '.json' or (suffix in TABLES[1:] and not _holds_numbers(path)):
        return read_classes(path)
    raise ValueError(
        f'label file {path}: does not name its classes.\n'
        f'  List them in the order of its numbers: --classes, followed by {choices}.'
    )


def read_foreign_labels(
    path: Union[str, Path],
    classes: Sequence[str],
    *,
    ids: Optional[str] = None,
    id_format: Optional[str] = None,
    base_names: bool = False,
) -> LabelDict:
    """Read the labels of a file from another project; suffixes of images are removed from ids.

    Args:
        path: The file.
        classes: Foreground classes in the order of its vectors.
        ids: File that lists the ids of a plain array's rows, one a line.
        id_format: Names of images whose ids are whole numbers, such as `COCO_train2014_{:012d}`.
        base_names: Whether to remove folders from ids.

    Returns:
        Class names by image id; ids in the order of the file, names in the order of `classes`.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file cannot be read, or holds anything but labels; the message names file, id and value.
    """
    path = _require(path)
    where = f'label file {path}'
    content = _read_content(path, classes)
    if isinstance(content, np.ndarray):
        content = _pair_rows(content, where, ids)
    elif ids is not None:
        raise ValueError(f'{where}: has ids of its own; omit --ids {ids}')
    if not content:
        raise ValueError(f'{where}: holds no images')
    names = [_image_id(key, id_format, base_names, where) for key in content]
    check_ids(names, where)
    found = [class_names(entry, classes, f'{where}, id {key!r}') for key, entry in content.items()]
    return {img_id: [name for name in classes if name in shown] for img_id, shown in zip(names, found)}


def _require(source: Union[str, Path]) -> Path:
    if not Path(source).is_dir():
        require_file(str(source), 'label file', 'Correct the name.')
    return Path(source)


def _read_content(path: Path, classes: Sequence[str]) -> Union[Mapping[Any, list], np.ndarray]:
    suffix = path.suffix.lower()
    if suffix in ARRAYS:
        return ARRAYS[suffix](path)
    if suffix == '.txt' or (suffix in TABLES and _holds_numbers(path)):
        return _convert_rows(read_rows(path, f'label file {path}'), f'label file {path}')
    entries, listed = read_labels(path, classes)
    check_classes(listed or (), classes, f'label file {path}, header')
    return entries


def _holds_numbers(path: Path) -> bool:
    """Return whether a table has numbers in its first row, so neither a header nor names."""
    first = read_rows(path, f'label file {path}')[:1]
    cells = [cell for row in first for cell in row.cells if cell]
    return bool(cells) and not ID_HEADER.fullmatch(first[0].img_id) and all(map(_is_number, cells))


def _convert_rows(rows: Sequence[Row], where: str) -> dict[str, list]:
    """Convert rows `id label label ...` or `id 0 1 0 ...`."""
    check_rows(rows, where)
    entries = {row.img_id: [cell for cell in row.cells if cell] for row in rows}
    cells = [cell for entry in entries.values() for cell in entry]
    if not cells:
        raise ValueError(f'{where}: holds no labels, but ids alone')
    if not all(map(_is_number, cells)):
        return entries
    return {img_id: [float(cell) for cell in entry] for img_id, entry in entries.items()}


def _pair_rows(array: np.ndarray, where: str, ids_file: Optional[str]) -> dict[str, list]:
    """Pair the rows of an array (N, C) with their ids."""
    if ids_file is None:
        raise ValueError(
            f'{where}: an array of shape {array.shape}, without ids.\n'
            '  Name the list of its images with --ids: one id a line, in the order of the rows.'
        )
    require_file(ids_file, 'list of ids', 'Correct --ids.')
    ids = read_ids(ids_file, f'list of ids {ids_file}')
    if array.ndim != 2 or len(array) != len(ids):
        raise ValueError(f'{where}: an array of shape {array.shape}, but {ids_file} lists {len(ids)} ids, one a row')
    return dict(zip(ids, array.tolist()))


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _image_id(key: Union[str, int], id_format: Optional[str], base_names: bool, where: str) -> str:
    """Return the name of an image in a data set."""
    if id_format is not None:
        try:
            return id_format.format(int(key))
        except (ValueError, LookupError, AttributeError) as error:
            raise ValueError(f'{where}: --id-format {id_format} does not fit id {key!r} ({error})') from error
    if isinstance(key, int):
        raise ValueError(
            f'{where}: id {key} is a number.\n  Name images with --id-format, such as "COCO_train2014_{{:012d}}".'
        )
    name = strip_suffix(key, IMAGE_SUFFIXES) or key
    return re.split(r'[\\/]', name)[-1] if base_names else name
