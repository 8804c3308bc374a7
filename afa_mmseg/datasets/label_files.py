"""Image-level labels from files: JSON, tables, and what other tools export."""

import json
import reprlib
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import compress
from numbers import Real
from pathlib import Path
from typing import Any, Union

from ..utils.checks import CONTROL, closest
from .label_exports import is_coco, labels_of_coco, labels_of_folders, labels_of_label_studio
from .label_tables import Labels, read_table, read_utf8

LabelDict = dict[str, list[str]]
_CONVERT = 'Convert it: python tools/dataset_converters/convert_labels.py {} labels.json --classes ...'
_SPREADSHEET = 'Save the spreadsheet as CSV in UTF-8.'
#: Remedies for other formats that people keep labels in.
OTHER_FORMATS = {
    **dict.fromkeys(('.xlsx', '.xls', '.ods', '.numbers'), _SPREADSHEET),
    **dict.fromkeys(('.npy', '.pkl', '.pickle'), _CONVERT),
    '.txt': f'Rename it to .csv if it holds a table. {_CONVERT}',
}
#: Share of the images below which a class is rare.
RARE = 0.01


def read_label_file(path: Union[str, Path], classes: Sequence[str]) -> LabelDict:
    """Read which classes each image shows, from JSON, a table or a folder.

    - JSON: an object, `{"id": ["cat", "dog"], ...}`; a one-hot list of 0 and 1 in the order of `classes` may replace
      the names. Annotations in COCO's form and exports of Label Studio are JSON, too (see `label_exports`).
    - CSV or TSV, in UTF-8: an image in each line. Its labels follow the id, `id,label,label,...` (or in one cell,
      `id,"label, label"`), with a header or without; or the header names the classes, `id,cat,dog`, and each cell is
      1, true, yes or x, or else 0, false, no or empty, also in other languages (see `label_tables`).
    - A folder with a subfolder of images for each class.

    Args:
        path: File that ends in `.json`, `.csv` or `.tsv`, or folder. Pickled files are not read.
        classes: Foreground classes, without the background.

    Returns:
        Class names by image id, in the order of the file.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file is of another kind or malformed, holds an id twice, names a class that is not
            in `classes`, or lists classes and not all of them.

    Example:
        >>> file = getfixture('tmp_path') / 'labels.csv'
        >>> _ = file.write_text('id,label\\na,cat,dog\\nb\\n')
        >>> read_label_file(file, ['cat', 'dog'])
        {'a': ['cat', 'dog'], 'b': []}
    """
    where = f'label file {path}'
    entries, listed = read_labels(path, classes)
    if listed is None:
        return {img_id: class_names(entry, classes, f'{where}, id {img_id!r}') for img_id, entry in entries.items()}
    check_classes(listed, classes, f'{where}, header')
    missing = [name for name in classes if name not in listed]
    if missing:
        raise ValueError(
            f'{where}, header: no column {", ".join(map(repr, missing))}\n'
            '  Add it, with zeros where no image shows the class: columns are those of all classes.'
        )
    return entries


def read_classes(path: Union[str, Path]) -> tuple[str, ...]:
    """Read the foreground classes that a label file names: columns in their order, or else all names, sorted.

    Args:
        path: See `read_label_file`.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file is malformed, names no class or the background, or two names differ in case or spaces
            only.

    Example:
        >>> file = getfixture('tmp_path') / 'labels.csv'
        >>> _ = file.write_text('id,label\\na,dog,cat\\nb\\n')
        >>> read_classes(file)
        ('cat', 'dog')
    """
    where = f'label file {path}'
    entries, listed = read_labels(path)
    for img_id, entry in entries.items():
        if not isinstance(entry, list) or not all(isinstance(name, str) for name in entry):
            raise ValueError(
                f'{where}, id {img_id!r}: {entry!r} holds no class names; write ["cat", "dog"], or name '
                'the classes in `metainfo=dict(classes=[...])`'
            )
    names = sorted({name for entry in entries.values() for name in entry}) if listed is None else listed
    return _check_new_names(names, where)


def read_labels(path: Union[str, Path], classes: Sequence[str] = ()) -> Labels:
    """Read a label file or folder without checking class names; for `classes` see `read_table`."""
    path = Path(path)
    if path.is_dir():
        return labels_of_folders(path)
    suffix = path.suffix.lower()
    if suffix not in ('.json', '.csv', '.tsv'):
        raise ValueError(
            f'label file {path}: cannot read {path.suffix!r} files. {OTHER_FORMATS.get(suffix, "").format(path)}\n'
            '  `label_file` requires .json ({"id": ["cat", "dog"], ...}), .csv or .tsv (id,label,label,...).'
        )
    if not path.is_file():
        raise FileNotFoundError(f'label file not found: {path}')
    return _read_json(path) if suffix == '.json' else read_table(path, classes)


def class_names(entry: Any, classes: Sequence[str], where: str) -> list[str]:
    """Return the class names of an entry, a list of names or of zeros and ones for all classes.

    Args:
        entry: From a file.
        classes: Foreground classes.
        where: Place of the entry, for messages.

    Raises:
        ValueError: The entry is neither, or names another class.
    """
    if isinstance(entry, list) and all(isinstance(item, str) for item in entry):
        check_classes(entry, classes, where)
        return list(dict.fromkeys(entry))
    if not isinstance(entry, list) or not all(isinstance(item, Real) and item in (0, 1) for item in entry):
        raise ValueError(
            f'{where}: {reprlib.repr(entry)} is neither a list of class names, ["cat", "dog"], nor of zeros and ones'
        )
    if len(entry) != len(classes):
        raise ValueError(
            f'{where}: {len(entry)} numbers, expected {len(classes)} zeros and ones, one for each class without '
            f'background: {", ".join(classes)}\n  Name the right classes in that order (convert_labels.py: --classes).'
        )
    return list(compress(classes, entry))


def label_text(labels: LabelDict) -> str:
    """Format labels as the JSON that `read_label_file` reads, one image a line, sorted by id.

    Example:
        >>> print(label_text({'b': [], 'a': ['cat', 'dog']}), end='')
        {
        "a": ["cat", "dog"],
        "b": []
        }
    """
    entries = ((json.dumps(x, ensure_ascii=False) for x in item) for item in sorted(labels.items()))
    lines = (f'{img_id}: {names}' for img_id, names in entries)
    return '{\n' + ',\n'.join(lines) + '\n}\n'


def check_classes(names: Iterable[str], classes: Sequence[str], where: str) -> None:
    """Raise a `ValueError` for the first of `names` that is not among `classes`; `where` is its source."""
    for name in names:
        if name not in classes:
            raise ValueError(
                f'{where}: unknown class {name!r}; {closest(name, classes)}\n'
                f'  Known classes (without background): {", ".join(classes)}.\n'
                '  Correct the name, or add the class through `metainfo=dict(classes=[...])`.'
            )


def rare_classes(labels: LabelDict, classes: Sequence[str]) -> dict[str, str]:
    """Return the classes that one image or under 1 % of them show, and for each the common one of similar name.

    Example:
        >>> rare_classes({'a': ['dog'], 'b': ['dog'], 'c': ['dgo', 'cat']}, ['cat', 'dgo', 'dog'])
        {'cat': '', 'dgo': "did you mean 'dog'?"}
    """
    counts = Counter(name for names in labels.values() for name in names)
    few = max(1, RARE * len(labels))
    common = [name for name in classes if counts[name] > few]
    return {name: closest(name, common) for name in classes if 0 < counts[name] <= few}


def _read_json(path: Path) -> Labels:
    where = f'label file {path}'
    text = read_utf8(path, where)
    try:
        content = json.loads(text, object_pairs_hook=_to_dict)
    except (ValueError, RecursionError) as error:  # of numbers with thousands of digits, and lists nested too deeply
        raise ValueError(f'{where}: not valid JSON ({error})') from error
    if is_coco(content):
        return labels_of_coco(content, where)
    if isinstance(content, list) and content and all(isinstance(task, dict) for task in content):
        return labels_of_label_studio(content, where)
    if not isinstance(content, dict):
        raise ValueError(f'{where}: holds a {type(content).__name__}, not an object {{"id": ["cat", "dog"], ...}}')
    return Labels(content)


def _to_dict(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for i, (key, _) in enumerate(pairs) if key in dict(pairs[:i]))
        raise ValueError(f'id {twice!r} occurs twice; write all its labels in one entry')
    return found


def _check_new_names(names: Sequence[str], where: str) -> tuple[str, ...]:
    """Check class names that nothing but the label file confirms."""
    if not names:
        raise ValueError(f'{where}: names no class; label at least one image')
    seen: dict[str, str] = {}
    for name in names:
        key = ' '.join(name.casefold().split())
        if not key or CONTROL.search(name):
            raise ValueError(
                f'{where}: the class {name!r} is empty or holds characters that cannot be shown; correct it'
            )
        if key == 'background':
            raise ValueError(f'{where}: names the class {name!r}; delete it, every image has a background')
        if key in seen:
            raise ValueError(f'{where}: names {seen[key]!r} and {name!r}; write a class in the same way everywhere')
        seen[key] = name
    return tuple(names)
