"""Image-level labels in the forms that other projects pass round, made into ours."""

import re
import reprlib
from collections.abc import Sequence
from pathlib import Path
from typing import Optional, Union

import numpy as np

from ...utils.checks import check_ids, first_few, require_file
from ..coco import COCOImageLevelDataset
from ..label_files import LabelDict, check_classes, read_classes, read_label_file
from ..voc import VOCImageLevelDataset
from .pickled_labels import Entries, read_npy, read_pickle
from .text_labels import PICTURE_SUFFIX, has_no_header, read_lines, read_text

#: Foreground classes of data sets that go by a name.
CLASS_LISTS: dict[str, tuple[str, ...]] = dict(
    voc=tuple(VOCImageLevelDataset.METAINFO['classes'][1:]),
    coco=tuple(COCOImageLevelDataset.METAINFO['classes'][1:]),
)
BACKGROUND_NAMES = ('background', '__background__', '_background_')
TABLE_SUFFIXES = ('.csv', '.tsv')


def find_classes(name: Optional[str], source: Union[str, Path]) -> tuple[str, ...]:
    """Give the foreground classes that a label file is written in.

    Args:
        name: `voc`, `coco` or a text file with one class a line; None: those that a table names itself.
        source: The label file.

    Raises:
        FileNotFoundError: There is no such list or table.
        ValueError: No list is named, and the label file is no table with a header; or the list is empty, or holds
            a class twice or the background.
    """
    choices = f'{", ".join(CLASS_LISTS)} or a text file with one class a line'
    if name in CLASS_LISTS:
        return CLASS_LISTS[name]
    if name is not None:
        require_file(name, 'class list', f'--classes takes {choices}.')
        return _read_class_list(name)
    _require_source(source)
    if Path(source).suffix.lower() == '.json' or not _is_our_form(Path(source)):
        raise ValueError(
            f'label file {source}: does not tell its classes.\n  Name them, in the order of its numbers: '
            f'--classes, followed by {choices}.'
        )
    return read_classes(source)


def _read_class_list(path: str) -> tuple[str, ...]:
    classes = read_lines(path, 'class list')
    background = [name for name in classes if name.lower() in BACKGROUND_NAMES]
    twice = [name for name in classes if classes.count(name) > 1]
    if background or twice:
        raise ValueError(
            f'class list {path}: holds {(background + twice)[0]!r}{"" if background else " twice"}; '
            'write each class once, in the order of the labels, without the background'
        )
    return tuple(classes)


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
    | `.npy` | a pickled dict `{id: one-hot vector}`, read without running it, or a plain array with one row a picture |
    | `.pkl`, `.pickle` | such a dict |
    | `.txt`, `.csv` without header | `id 0 1 0 ...`, or `id cat dog`, or, with `index_base`, `id 3 11` |
    | `.json`, `.csv`, `.tsv` | what `read_label_file` reads |

    Suffixes of pictures are taken off ids.

    Args:
        path: The file.
        classes: Foreground classes in the order of its vectors.
        ids: File that lists the ids of a plain array's rows, one a line.
        index_base: Number of the first class, where numbers are class indices; without it they are one-hot.
        id_format: Names of pictures whose ids are whole numbers, such as `COCO_train2014_{:012d}`.
        base_names: Whether to take folders off ids.

    Returns:
        Class names by picture id; ids in the order of the file, names in the order of `classes`.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file cannot be read, or holds anything but labels; the message names file, id and value.
    """
    where = f'label file {path}'
    _require_source(path)
    labels = _read_labels(Path(path), classes, ids, index_base)
    if not labels:
        raise ValueError(f'{where}: holds no pictures')
    names = [_picture_id(key, id_format, base_names, where) for key in labels]
    check_ids(names, where)
    return dict(zip(names, labels.values()))


def count_labels(labels: LabelDict, classes: Sequence[str]) -> dict[str, int]:
    """Count the pictures of each class."""
    return {cls: sum(cls in names for names in labels.values()) for cls in classes}


def compare_labels(ours: LabelDict, theirs: LabelDict, our_name: str, their_name: str) -> list[str]:
    """Describe, a line for each kind and for each picture, where two sets of labels differ; nothing if they agree."""
    lines = []
    for name, one, other in ((our_name, ours, theirs), (their_name, theirs, ours)):
        only = sorted(set(one) - set(other))
        if only:
            lines.append(f'{len(only)} ids only in {name}: {first_few(only)}')
    both = [i for i in ours if i in theirs]
    differing = [i for i in both if set(ours[i]) != set(theirs[i])]
    if differing:
        lines.append(f'{len(differing)} of the {len(both)} ids in both have different labels:')
    for i in differing:
        sides = ((our_name, ours, theirs), (their_name, theirs, ours))
        extra = (
            f'{", ".join(n for n in one[i] if n not in other[i])} only in {name}'
            for name, one, other in sides
            if set(one[i]) - set(other[i])
        )
        lines.append(f'  {i}: {"; ".join(extra)}')
    return lines


def _require_source(path: Union[str, Path]) -> None:
    require_file(str(path), 'label file', 'Correct the name.')


def _read_labels(
    path: Path, classes: Sequence[str], ids: Optional[str], index_base: Optional[int]
) -> dict[Union[str, int], list[str]]:
    """Read a file of any kind; ids are as it has them."""
    content = _read_content(path, classes, index_base)
    if isinstance(content, np.ndarray):
        content = _rows(content, path, ids)
    elif ids is not None:
        raise ValueError(f'label file {path}: has ids of its own; leave --ids {ids} out')
    has_names = _is_our_form(path) or any(isinstance(item, str) for row in content.values() for item in row)
    labels = {}
    for key, entry in content.items():
        where = f'label file {path}, id {key!r}'
        if has_names:
            labels[key] = _from_names(entry, classes, where)
        elif index_base is not None:
            labels[key] = _from_indices(entry, classes, index_base, where)
        else:
            labels[key] = _from_one_hot(entry, classes, where)
    return labels


def _is_our_form(path: Path) -> bool:
    """Tell whether a file is JSON, or a table whose header says what it holds."""
    suffix = path.suffix.lower()
    return suffix == '.json' or (suffix in TABLE_SUFFIXES and not has_no_header(path))


def _read_content(
    path: Path, classes: Sequence[str], index_base: Optional[int]
) -> Union[Entries, LabelDict, np.ndarray]:
    suffix = path.suffix.lower()
    if suffix == '.npy':
        return read_npy(path)
    if suffix in ('.pkl', '.pickle'):
        return read_pickle(path)
    if _is_our_form(path):
        if index_base is not None:
            raise ValueError(f'label file {path}: --index-base needs numbers; here, classes have their names')
        return read_label_file(path, classes)
    if suffix in ('.txt', *TABLE_SUFFIXES):
        return read_text(path)
    remedy = 'save one array (N, classes) as .npy and its ids as text' if suffix == '.npz' else 'choose another form'
    raise ValueError(
        f'label file {path}: cannot read {suffix!r} files, but .npy, .pkl, .txt, .csv, .tsv and .json; {remedy}'
    )


def _rows(array: np.ndarray, path: Path, ids_file: Optional[str]) -> Entries:
    """Give each row of an array (N, C) its id."""
    if ids_file is None:
        raise ValueError(
            f'label file {path}: an array of shape {array.shape}, without ids.\n'
            '  Name the list of its pictures with --ids: one id a line, in the order of the rows.'
        )
    ids = read_lines(ids_file, 'list of ids')
    check_ids(ids, f'list of ids {ids_file}')
    if array.ndim != 2 or len(array) != len(ids):
        raise ValueError(
            f'label file {path}: an array of shape {array.shape}, but {ids_file} lists {len(ids)} ids; '
            'there must be a row for each'
        )
    return dict(zip(ids, array.tolist()))


def _from_names(entry: list, classes: Sequence[str], where: str) -> list[str]:
    if not all(isinstance(item, str) for item in entry):
        raise ValueError(f'{where}: {reprlib.repr(entry)} are no names of classes, which other pictures have')
    check_classes(entry, classes, where)
    return [name for name in classes if name in entry]


def _from_indices(entry: list, classes: Sequence[str], base: int, where: str) -> list[str]:
    indices = range(base, base + len(classes))
    wrong = [item for item in _numbers(entry, where) if item not in indices]
    if wrong:
        raise ValueError(f'{where}: {wrong[0]:g} is no class index; expected {indices[0]} to {indices[-1]}')
    return [name for i, name in zip(indices, classes) if i in entry]


def _from_one_hot(entry: list, classes: Sequence[str], where: str) -> list[str]:
    vector = _numbers(entry, where)
    if len(vector) != len(classes):
        raise ValueError(
            f'{where}: {len(vector)} numbers, expected {len(classes)} zeros and ones, one for each class without '
            'background.\n  Name the right --classes, or, if these are class indices, the --index-base, 0 or 1.'
        )
    wrong = [value for value in vector if value not in (0, 1)]
    if wrong:
        raise ValueError(
            f'{where}: value {wrong[0]:g}; a one-hot label holds zeros and ones only.\n'
            '  If these are scores, decide first which of them count as 1.'
        )
    return [name for name, value in zip(classes, vector) if value]


def _numbers(entry: list, where: str) -> list[Union[int, float]]:
    if not all(isinstance(item, (bool, int, float)) for item in entry):
        raise ValueError(f'{where}: {reprlib.repr(entry)} are neither numbers nor names of classes')
    return entry


def _picture_id(key: Union[str, int], id_format: Optional[str], base_names: bool, where: str) -> str:
    """Give the name that a data set knows a picture by."""
    if id_format is not None:
        try:
            return id_format.format(int(key))
        except (ValueError, LookupError, AttributeError) as error:
            raise ValueError(f'{where}: --id-format {id_format} does not fit id {key!r} ({error})') from error
    if isinstance(key, int):
        raise ValueError(
            f'{where}: id {key} is a number.\n'
            '  Say how the picture is called, such as --id-format "COCO_train2014_{:012d}".'
        )
    name = PICTURE_SUFFIX.sub('', key)
    return re.split(r'[\\/]', name)[-1] if base_names else name
