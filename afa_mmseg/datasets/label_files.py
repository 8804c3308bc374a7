"""Image-level labels from files: JSON, CSV and the XML of PASCAL VOC."""

import gc
import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import compress
from pathlib import Path
from typing import Any, Callable, Optional, Union

from ..utils.checks import CONTROL, closest
from .label_tables import check_unique, read_table, read_utf8

LabelDict = dict[str, list[str]]
#: What one-hot lists hold; 0.0, 1.0, false and true are the same.
BITS = frozenset((0, 1))

#: What else people keep labels in, and what to do with it.
OTHER_FORMATS = {
    **dict.fromkeys(('.xlsx', '.xls', '.ods', '.numbers'), 'Save the spreadsheet as CSV in UTF-8.'),
    '.txt': 'Rename it to .csv if it holds a table.',
}


#: How JSON writes one of the two halves of a character; alone it is none, and can be neither written nor shown.
HALF_CHARACTER = re.compile(r'\\u[dD][89a-fA-F]')


@contextmanager
def _uncollected() -> Iterator[None]:
    """Keep Python from looking for garbage: it goes through all lists that a file becomes, again and again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@_uncollected()
def read_label_file(path: Union[str, Path], classes: Sequence[str]) -> LabelDict:
    """Read which classes each picture shows, from JSON or a table.

    JSON holds an object, `{"id": ["cat", "dog"], ...}`; in place of the names a one-hot list of 0 and 1 in
    the order of `classes` will do. A CSV or TSV file, in UTF-8 with or without byte-order mark and separated by
    commas, semicolons or tabs, holds a picture in each line. Either its labels follow the id,
    `id,label,label,...`, after a header that starts with `id` or without one; or the header names the classes,
    `id,cat,dog`, and each cell is 1, true, yes or x, or else 0, false, no or empty. Pickled files are never
    read: loading one runs whatever code it holds.

    Args:
        path: File that ends in `.json`, `.csv` or `.tsv`.
        classes: Foreground classes, without the background.

    Returns:
        Class names by picture id, in the order of the file.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is of another kind or malformed, holds an id twice, names a class that is not
            in `classes`, or is one-hot and does not have all of them.

    Example:
        >>> file = getfixture('tmp_path') / 'labels.csv'
        >>> _ = file.write_text('id,label\\na,cat,dog\\nb\\n')
        >>> read_label_file(file, ['cat', 'dog'])
        {'a': ['cat', 'dog'], 'b': []}
        >>> _ = file.write_text('id;cat;dog\\na;1;1\\nb;0;\\n')
        >>> read_label_file(file, ['cat', 'dog'])
        {'a': ['cat', 'dog'], 'b': []}
    """
    path = Path(path)
    where = f'label file {path}'
    if _suffix(path) == '.json':
        return _check_labels(_read_json(path), classes, where)
    table = read_table(path)
    if table.columns is None:
        return _check_labels(table.labels, classes, where)
    _check_columns(table.columns, classes, where)
    return table.labels


@_uncollected()
def read_classes(path: Union[str, Path]) -> tuple[str, ...]:
    """Read the foreground classes that a label file names: columns in their order, or else all names, sorted.

    Args:
        path: As for `read_label_file`.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is malformed, names no class, or a name can hardly be meant: several in one cell,
            two that differ in case or spaces only, or the background, which needs no label.

    Example:
        >>> file = getfixture('tmp_path') / 'labels.csv'
        >>> _ = file.write_text('id,label\\na,dog,cat\\nb\\n')
        >>> read_classes(file)
        ('cat', 'dog')
    """
    path = Path(path)
    where = f'label file {path}'
    if _suffix(path) == '.json':
        labels, columns = _read_json(path), None
    else:
        labels, columns = read_table(path)
    for img_id, names in labels.items():
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError(
                f'{where}, id {img_id!r}: {names!r} names no classes; write names, ["cat", "dog"], or give '
                'the classes through `metainfo=dict(classes=[...])`'
            )
    classes = sorted({name for names in labels.values() for name in names}) if columns is None else columns
    _check_new_names(classes, where, columns=columns is not None)
    return tuple(classes)


def label_text(labels: LabelDict) -> str:
    """Write labels as the JSON that `read_label_file` takes, one picture a line, sorted by id.

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

    Parts of objects (`object/part/name`, such as a person's head) are left out.

    Raises:
        ValueError: The file is not XML, or an object has no name.
    """
    objects = parse_xml(path).findall('object')
    names = [(item.findtext('name') or '').strip() for item in objects]
    if '' in names:
        raise ValueError(
            f'annotation file {path}: object {names.index("") + 1} has no <name>; add it or take the object out'
        )
    return names


def parse_xml(path: Union[str, Path]) -> ET.Element:
    """Parse a VOC annotation file; give its root.

    Raises:
        ValueError: The file is not XML, or declares a document type: its entities may be made to fill the memory.
    """
    try:
        return ET.parse(path, ET.XMLParser(target=_PlainBuilder())).getroot()
    # The latter ones: encodings that are not read; tags that do not fit each other in pieces of a broken file.
    except (ET.ParseError, LookupError, ValueError, AssertionError) as error:
        raise ValueError(f'annotation file {path}: not valid XML ({error}); fetch it again') from error


class _PlainBuilder(ET.TreeBuilder):
    """Builds the tree of a file without a document type."""

    def doctype(self, name: str, pubid: Optional[str], system: Optional[str]) -> None:
        raise ValueError(f'it declares the document type {name!r}, which no annotation needs')


def check_classes(names: Iterable[str], classes: Sequence[str], where: str) -> None:
    """Raise a `ValueError` for the first of `names` that is not among `classes`; `where` says whence it came."""
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
            f'label file {path}: cannot read {path.suffix!r} files. {OTHER_FORMATS.get(suffix, "")}\n'
            '  `label_file` takes .json ({"id": ["cat", "dog"], ...}), .csv or .tsv (id,label,label,...); '
            'pickled files (.npy, .pkl) are not read, because loading one runs whatever code it holds.'
        )
    if not path.is_file():
        raise FileNotFoundError(f'label file not found: {path}')
    return suffix


def _read_json(path: Path) -> dict[str, Any]:
    where = f'label file {path}'

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        check_unique([key for key, _ in pairs], where)
        return dict(pairs)

    text = read_utf8(path, where)
    try:
        labels = _load_json(text, unique)
        if '\\u' in text and HALF_CHARACTER.search(text):
            json.dumps(labels, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise ValueError(f'{where}: holds {error.object[error.start]!r}, half of a character') from error
    except RecursionError as error:
        raise ValueError(f'{where}: not valid JSON (lists in lists, too deep)') from error
    except json.JSONDecodeError as error:
        raise ValueError(f'{where}: not valid JSON ({error})') from error
    if not isinstance(labels, dict):
        raise ValueError(f'{where}: holds a {type(labels).__name__}, not an object {{"id": ["cat", "dog"], ...}}')
    return labels


def _load_json(text: str, unique: Callable[[list[tuple[str, Any]]], Any]) -> Any:
    try:
        return json.loads(text, object_pairs_hook=unique)
    except json.JSONDecodeError:
        raise
    except ValueError:  # a number too long for Python, or what `unique` raises
        return json.loads(text, object_pairs_hook=unique, parse_int=_parse_int)


def _parse_int(digits: str) -> Union[int, float]:
    """Read a whole number; one of thousands of digits, which Python refuses, is as good as infinite."""
    return int(digits) if len(digits) < 20 else float('inf')


def _check_columns(columns: Sequence[str], classes: Sequence[str], where: str) -> None:
    check_classes(columns, classes, f'{where}, header')
    missing = [name for name in classes if name not in columns]
    if missing:
        raise ValueError(
            f'{where}, header: no column {", ".join(map(repr, missing))}\n'
            f'  One-hot columns are those of all classes (without background): {", ".join(classes)}. '
            'Add the column, with zeros where no picture shows the class.'
        )


def _check_new_names(names: Sequence[str], where: str, *, columns: bool) -> None:
    """Check class names that nothing but the label file vouches for."""
    if not names:
        raise ValueError(f'{where}: names no class; label at least one picture')
    plain: dict[str, str] = {}
    for name in names:
        if not name.strip():
            raise ValueError(f'{where}: names a class without a name; take it out')
        if CONTROL.search(name):
            raise ValueError(f'{where}: the class {name!r} holds characters that cannot be shown; delete them')
        if not columns and re.search(r'[,;|\n\t]', name):
            raise ValueError(f'{where}: {name!r} looks like several classes; put each into a cell of its own')
        key = ' '.join(name.casefold().split())
        if key == 'background':
            raise ValueError(f'{where}: names the class {name!r}; take it out, every picture has a background')
        if key in plain:
            raise ValueError(f'{where}: names {plain[key]!r} and {name!r}; write a class in the same way everywhere')
        plain[key] = name


def _check_labels(entries: dict[str, Any], classes: Sequence[str], where: str) -> LabelDict:
    known = frozenset(classes)
    return {i: _class_names(labels, classes, known, f'{where}, id {i!r}') for i, labels in entries.items()}


def _class_names(labels: Any, classes: Sequence[str], known: frozenset[str], where: str) -> list[str]:
    """Turn one entry, names or one-hot, into checked class names without repeats; `known` are the classes as a set."""
    if isinstance(labels, list) and _all_in(labels, known):
        return list(dict.fromkeys(labels))
    if isinstance(labels, list) and all(isinstance(label, str) for label in labels):
        check_classes(labels, classes, where)
    if not isinstance(labels, list) or not _all_in(labels, BITS):
        raise ValueError(
            f'{where}: {labels!r} is neither a list of class names, ["cat", "dog"], '
            f'nor a one-hot list of {len(classes)} zeros and ones'
        )
    if len(labels) != len(classes):
        raise ValueError(
            f'{where}: one-hot label of length {len(labels)}, expected {len(classes)}, '
            f'one per class without background: {", ".join(classes)}'
        )
    return list(compress(classes, labels))


def _all_in(labels: list, known: frozenset) -> bool:
    try:
        return known.issuperset(labels)
    except TypeError:  # lists in the list
        return False
