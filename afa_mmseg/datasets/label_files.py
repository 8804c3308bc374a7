"""Image-level labels from files: JSON, CSV and the XML of PASCAL VOC."""

import json
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence
from itertools import compress
from pathlib import Path
from typing import Any, Union

from ..utils.checks import CONTROL, closest
from .label_tables import read_table, read_utf8, split_names

LabelDict = dict[str, list[str]]
_CONVERT = 'Convert it: python tools/dataset_converters/convert_labels.py {} labels.json --classes ...'
_SPREADSHEET = 'Save the spreadsheet as CSV in UTF-8.'
#: Remedies for other formats that people keep labels in.
OTHER_FORMATS = {
    **dict.fromkeys(('.xlsx', '.xls', '.ods', '.numbers'), _SPREADSHEET),
    **dict.fromkeys(('.npy', '.pkl', '.pickle'), _CONVERT),
    '.txt': f'Rename it to .csv if it holds a table. {_CONVERT}',
}


def read_label_file(path: Union[str, Path], classes: Sequence[str]) -> LabelDict:
    """Read which classes each image shows, from JSON or a table.

    JSON holds an object, `{"id": ["cat", "dog"], ...}`; a one-hot list of 0 and 1 in the order of `classes` may
    replace the names. A CSV or TSV file, in UTF-8 with or without byte-order mark and separated by commas, semicolons
    or tabs, holds an image in each line. Either its labels follow the id, `id,label,label,...` (or in one cell,
    `id,"label, label"`), after a header that starts with `id` or without one; or the header names the classes,
    `id,cat,dog`, and each cell is 1, true, yes or x, or else 0, false, no or empty, also in other languages (see
    `label_tables.MARKS`). Pickled files are not read; `convert_labels.py` converts them.

    Args:
        path: File that ends in `.json`, `.csv` or `.tsv`.
        classes: Foreground classes, without the background.

    Returns:
        Class names by image id, in the order of the file.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file is of another kind or malformed, holds an id twice, names a class that is not
            in `classes`, or is one-hot and does not have all of them.

    Example:
        >>> file = getfixture('tmp_path') / 'labels.csv'
        >>> _ = file.write_text('id,label\\na,cat,dog\\nb\\n')
        >>> read_label_file(file, ['cat', 'dog'])
        {'a': ['cat', 'dog'], 'b': []}
        >>> _ = file.write_text('id;cat;dog\\na;1;WAHR\\nb;0;\\n')
        >>> read_label_file(file, ['cat', 'dog'])
        {'a': ['cat', 'dog'], 'b': []}
    """
    path = Path(path)
    where = f'label file {path}'
    if _suffix(path) == '.json':
        known = frozenset(classes)
        return {i: _class_names(x, classes, known, f'{where}, id {i!r}') for i, x in _read_json(path, where).items()}
    labels, columns = read_table(path)
    if columns is None:
        return {i: _names_of_cells(cells, classes, f'{where}, id {i!r}') for i, cells in labels.items()}
    check_classes(columns, classes, f'{where}, header')
    missing = [name for name in classes if name not in columns]
    if missing:
        raise ValueError(
            f'{where}, header: no column {", ".join(map(repr, missing))}\n'
            '  Add it, with zeros where no image shows the class: one-hot columns are those of all classes.'
        )
    return labels


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
    path = Path(path)
    where = f'label file {path}'
    if _suffix(path) != '.json':
        cells, columns = read_table(path)
        names = columns or sorted({name for row in cells.values() for cell in row for name in split_names(cell)})
        return _check_new_names(names, where)
    labels = _read_json(path, where)
    for img_id, entry in labels.items():
        if not isinstance(entry, list) or not all(isinstance(name, str) for name in entry):
            raise ValueError(
                f'{where}, id {img_id!r}: {entry!r} holds no class names; write ["cat", "dog"], or name '
                'the classes in `metainfo=dict(classes=[...])`'
            )
    return _check_new_names(sorted({name for entry in labels.values() for name in entry}), where)


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


def parse_xml(path: Union[str, Path]) -> ET.Element:
    """Parse a VOC annotation file and return its root.

    Raises:
        ValueError: The file is not XML.
    """
    try:
        return ET.parse(path).getroot()
    except (ET.ParseError, LookupError, ValueError) as error:  # the latter two: encodings that are not supported
        raise ValueError(f'annotation file {path}: not valid XML ({error}); fetch it again') from error


def check_classes(names: Iterable[str], classes: Sequence[str], where: str) -> None:
    """Raise a `ValueError` for the first of `names` that is not among `classes`; `where` is its source."""
    for name in names:
        if name not in classes:
            raise ValueError(
                f'{where}: unknown class {name!r}; {closest(name, classes)}\n'
                f'  Known classes (without background): {", ".join(classes)}.\n'
                '  Correct the name, or add the class through `metainfo=dict(classes=[...])`.'
            )


def _suffix(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in ('.json', '.csv', '.tsv'):
        raise ValueError(
            f'label file {path}: cannot read {path.suffix!r} files. {OTHER_FORMATS.get(suffix, "").format(path)}\n'
            '  `label_file` requires .json ({"id": ["cat", "dog"], ...}), .csv or .tsv (id,label,label,...).'
        )
    if not path.is_file():
        raise FileNotFoundError(f'label file not found: {path}')
    return suffix


def _read_json(path: Path, where: str) -> dict[str, Any]:
    text = read_utf8(path, where)
    try:
        labels = json.loads(text, object_pairs_hook=_to_dict)
    except (ValueError, RecursionError) as error:  # of numbers with thousands of digits, and lists nested too deeply
        raise ValueError(f'{where}: not valid JSON ({error})') from error
    if not isinstance(labels, dict):
        raise ValueError(f'{where}: holds a {type(labels).__name__}, not an object {{"id": ["cat", "dog"], ...}}')
    return labels


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
        if not name.strip() or CONTROL.search(name):
            raise ValueError(
                f'{where}: the class {name!r} is empty or holds characters that cannot be shown; correct it'
            )
        key = ' '.join(name.casefold().split())
        if key == 'background':
            raise ValueError(f'{where}: names the class {name!r}; delete it, every image has a background')
        if key in seen:
            raise ValueError(f'{where}: names {seen[key]!r} and {name!r}; write a class in the same way everywhere')
        seen[key] = name
    return tuple(names)


def _names_of_cells(cells: list[str], classes: Sequence[str], where: str) -> list[str]:
    """Check the names in a row; a cell that is not a class may hold several."""
    names = [name for cell in cells for name in ([cell] if cell in classes else split_names(cell))]
    check_classes(names, classes, where)
    return list(dict.fromkeys(names))


def _class_names(entry: Any, classes: Sequence[str], known: frozenset[str], where: str) -> list[str]:
    """Check one entry of JSON, names or one-hot; `known` are the classes as a set."""
    if isinstance(entry, list) and all(isinstance(label, str) for label in entry):
        if not known.issuperset(entry):
            check_classes(entry, classes, where)
        return list(dict.fromkeys(entry))
    if not isinstance(entry, list) or not all(isinstance(bit, (int, float)) and bit in (0, 1) for bit in entry):
        raise ValueError(
            f'{where}: {entry!r} is neither a list of class names, ["cat", "dog"], '
            f'nor a one-hot list of {len(classes)} zeros and ones'
        )
    if len(entry) != len(classes):
        raise ValueError(
            f'{where}: one-hot label of length {len(entry)}, expected {len(classes)}, one for each class without '
            f'background: {", ".join(classes)}'
        )
    return list(compress(classes, entry))
