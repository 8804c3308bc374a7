"""Image-level labels of other projects: pickled or plain arrays, text, tables and JSON."""

import re
import reprlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional, Union

import numpy as np

from ...utils.checks import check_ids, first_few, require_file
from ..coco import COCOImageLevelDataset
from ..images import IMAGE_SUFFIXES, read_ids, strip_suffix
from ..label_files import LabelDict, check_classes, read_classes, read_label_file
from ..label_tables import ID_HEADER, Row, check_rows, read_rows, read_utf8
from ..voc import VOCImageLevelDataset
from .pickled_labels import Entries, read_npy, read_pickle

#: Foreground classes of data sets by name.
CLASS_LISTS: dict[str, tuple[str, ...]] = dict(
    voc=tuple(VOCImageLevelDataset.METAINFO['classes'][1:]),
    coco=tuple(COCOImageLevelDataset.METAINFO['classes'][1:]),
)
BACKGROUND_NAMES = ('background', '__background__', '_background_')
TABLE_SUFFIXES = ('.csv', '.tsv')


def find_classes(name: Optional[str], source: Union[str, Path]) -> tuple[str, ...]:
    """Return the foreground classes of a label file.

    Args:
        name: `voc`, `coco` or a text file with one class a line; None: those that a table names itself.
        source: The label file.

    Raises:
        FileNotFoundError: The list or the table does not exist.
        ValueError: No list is named, and the label file is not a table with a header; or the list is empty, or holds
            a class twice or the background.
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
    path = Path(source)
    require_file(str(path), 'label file', 'Correct the name.')
    if path.suffix.lower() not in TABLE_SUFFIXES or not _names_classes(read_rows(path, f'label file {path}')):
        raise ValueError(
            f'label file {path}: does not name its classes.\n'
            f'  List them in the order of its numbers: --classes, followed by {choices}.'
        )
    return read_classes(path)


def read_foreign_labels(
    path: Union[str, Path],
    classes: Sequence[str],
    *,
    ids: Optional[str] = None,
    index_base: Optional[int] = None,
    id_format: Optional[str] = None,
    base_names: bool = False,
) -> LabelDict:
    """Read the labels of a file from another project.

    | file | holds |
    |---|---|
    | `.npy` | a pickled dict `{id: one-hot vector}`, or a plain array with one row an image |
    | `.pkl`, `.pickle` | such a dict |
    | `.txt`, `.csv` without header | `id 0 1 0 ...`, or `id cat dog`, or, with `index_base`, `id 3 11` |
    | `.json`, `.csv`, `.tsv` | what `read_label_file` reads |

    Suffixes of images are removed from ids.

    Args:
        path: The file.
        classes: Foreground classes in the order of its vectors.
        ids: File that lists the ids of a plain array's rows, one a line.
        index_base: Number of the first class, where numbers are class indices; without it they are one-hot.
        id_format: Names of images whose ids are whole numbers, such as `COCO_train2014_{:012d}`.
        base_names: Whether to remove folders from ids.

    Returns:
        Class names by image id; ids in the order of the file, names in the order of `classes`.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file cannot be read, or holds anything but labels; the message names file, id and value.
    """
    path = Path(path)
    where = f'label file {path}'
    require_file(str(path), 'label file', 'Correct the name.')
    content = _read_content(path, where, classes, index_base)
    if isinstance(content, np.ndarray):
        content = _pair_rows(content, where, ids)
    elif ids is not None:
        raise ValueError(f'{where}: has ids of its own; omit --ids {ids}')
    if not content:
        raise ValueError(f'{where}: holds no images')
    names = [_image_id(key, id_format, base_names, where) for key in content]
    check_ids(names, where)
    items = [item for entry in content.values() for item in entry]
    if not items or any(isinstance(item, str) for item in items):
        labels = [_from_names(entry, classes, f'{where}, id {key!r}') for key, entry in content.items()]
    else:
        labels = [_from_numbers(entry, classes, index_base, f'{where}, id {key!r}') for key, entry in content.items()]
    return dict(zip(names, labels))


def compare_labels(ours: LabelDict, theirs: LabelDict, our_name: str, their_name: str) -> list[str]:
    """Describe where two sets of labels differ, in lines; none if they agree."""
    sides = ((our_name, ours, theirs), (their_name, theirs, ours))
    only = [(name, sorted(one.keys() - other.keys())) for name, one, other in sides]
    lines = [f'{len(ids)} ids only in {name}: {first_few(ids)}' for name, ids in only if ids]
    both = [i for i in ours if i in theirs]
    differing = [i for i in both if set(ours[i]) != set(theirs[i])]
    if differing:
        lines.append(f'{len(differing)} of the {len(both)} ids in both have different labels:')
    for i in differing:
        extra = [(name, [n for n in one[i] if n not in other[i]]) for name, one, other in sides]
        lines.append(f'  {i}: ' + '; '.join(f'{", ".join(names)} only in {name}' for name, names in extra if names))
    return lines


def _read_content(
    path: Path, where: str, classes: Sequence[str], index_base: Optional[int]
) -> Union[Entries, LabelDict, np.ndarray]:
    suffix = path.suffix.lower()
    if suffix == '.npy':
        return read_npy(path)
    if suffix in ('.pkl', '.pickle'):
        return read_pickle(path)
    if suffix not in ('.txt', '.json', *TABLE_SUFFIXES):
        raise ValueError(f'{where}: cannot read {suffix!r} files, but .npy, .pkl, .txt, .csv, .tsv and .json')
    rows = [] if suffix == '.json' else read_rows(path, where)
    if suffix == '.txt' or (rows and not _names_classes(rows)):
        return _convert_rows(rows, where)
    if index_base is not None:
        raise ValueError(f'{where}: --index-base requires numbers, but the file names its classes')
    return read_label_file(path, classes)


def _names_classes(rows: Sequence[Row]) -> bool:
    """Whether the first row of a table is a header, or holds names."""
    cells = [cell for cell in rows[0].cells if cell] if rows else []
    return not cells or bool(ID_HEADER.fullmatch(rows[0].img_id)) or not all(map(_is_number, cells))


def _convert_rows(rows: Sequence[Row], where: str) -> Entries:
    """Convert rows `id label label ...` or `id 0 1 0 ...`."""
    check_rows(rows, where)
    entries: Entries = {row.img_id: [cell for cell in row.cells if cell] for row in rows}
    cells = [cell for entry in entries.values() for cell in entry]
    images = [cell for cell in cells if strip_suffix(cell, IMAGE_SUFFIXES)]
    if images or not cells:
        raise ValueError(f'{where}: holds no labels, but {f"the image {images[0]!r}" if images else "ids alone"}')
    numbers = [cell for cell in cells if _is_number(cell)]
    if len(numbers) < len(cells):
        if numbers:
            name = next(cell for cell in cells if not _is_number(cell))
            raise ValueError(
                f'{where}: {numbers[0]!r} is a number, {name!r} is not.\n'
                '  Write either names or numbers; if the first line names the columns, rename the file to .csv.'
            )
        return entries
    return {img_id: [float(cell) for cell in entry] for img_id, entry in entries.items()}


def _pair_rows(array: np.ndarray, where: str, ids_file: Optional[str]) -> Entries:
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


def _from_names(entry: list, classes: Sequence[str], where: str) -> list[str]:
    if not all(isinstance(item, str) for item in entry):
        raise ValueError(f'{where}: {reprlib.repr(entry)} holds no class names, unlike other images')
    check_classes(entry, classes, where)
    return [name for name in classes if name in entry]


def _from_numbers(entry: list, classes: Sequence[str], index_base: Optional[int], where: str) -> list[str]:
    """Read class indices, or without `index_base` a one-hot vector."""
    if not all(isinstance(item, (bool, int, float, np.number, np.bool_)) for item in entry):
        raise ValueError(f'{where}: {reprlib.repr(entry)} holds neither numbers nor class names')
    if index_base is None and len(entry) != len(classes):
        raise ValueError(
            f'{where}: {len(entry)} numbers, expected {len(classes)} zeros and ones, one for each class without '
            'background.\n  Name the right --classes, or, if these are class indices, the --index-base, 0 or 1.'
        )
    allowed: Any = (0, 1) if index_base is None else range(index_base, index_base + len(classes))
    wrong = [value for value in entry if value not in allowed]
    if wrong:
        what = 'zeros and ones' if index_base is None else f'class indices from {allowed[0]} to {allowed[-1]}'
        raise ValueError(f'{where}: value {wrong[0]:g}; expected {what}')
    if index_base is None:
        return [name for name, value in zip(classes, entry) if value]
    return [name for index, name in enumerate(classes, index_base) if index in entry]


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
