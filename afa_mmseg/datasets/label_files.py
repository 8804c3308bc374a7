"""Image-level labels from files: JSON, CSV and the XML of PASCAL VOC."""

import csv
import difflib
import json
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Union

LabelDict = dict[str, list[str]]


def read_label_file(path: Union[str, Path], classes: Sequence[str]) -> LabelDict:
    """Read which classes each picture shows, from JSON or CSV.

    JSON holds an object, `{"id": ["cat", "dog"], ...}`; in place of the names a one-hot list of 0 and 1 in
    the order of `classes` will do. CSV holds one picture a line, `id,label,label,...`, in UTF-8 with or
    without byte-order mark; a first line whose first cell is `id` is a header. Pickled files are never read:
    loading one runs whatever code it holds.

    Args:
        path: File that ends in `.json` or `.csv`.
        classes: Foreground classes, without the background.

    Returns:
        Class names by picture id, in the order of the file.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is of another kind or malformed, holds an id twice, names a class that is not
            in `classes`, or holds a one-hot list of the wrong length.

    Example:
        >>> file = getfixture('tmp_path') / 'labels.csv'
        >>> _ = file.write_text('id,label\\na,cat,dog\\nb\\n')
        >>> read_label_file(file, ['cat', 'dog'])
        {'a': ['cat', 'dog'], 'b': []}
    """
    path = Path(path)
    readers = {'.json': _read_json, '.csv': _read_csv}
    if path.suffix.lower() not in readers:
        raise ValueError(
            f'label file {path}: cannot read {path.suffix!r} files.\n'
            '  `label_file` takes .json ({"id": ["cat", "dog"], ...}) or .csv (id,label,label,...); '
            'pickled files (.npy, .pkl) are not read, because loading one runs whatever code it holds.'
        )
    if not path.is_file():
        raise FileNotFoundError(f'label file not found: {path}')
    return {
        img_id: _class_names(labels, classes, f'label file {path}, id {img_id!r}')
        for img_id, labels in readers[path.suffix.lower()](path).items()
    }


def read_voc_xml(path: Union[str, Path]) -> list[str]:
    """Read the class name of every object of a VOC annotation file, objects marked difficult included.

    Parts of objects (`object/part/name`, such as a person's head) are left out.

    Raises:
        ValueError: The file is not XML, or an object has no name.
    """
    try:
        objects = ET.parse(path).getroot().findall('object')
    except ET.ParseError as error:
        raise ValueError(f'annotation file {path}: not valid XML ({error}); fetch it again') from error
    names = [(item.findtext('name') or '').strip() for item in objects]
    if '' in names:
        raise ValueError(
            f'annotation file {path}: object {names.index("") + 1} has no <name>; add it or take the object out'
        )
    return names


def check_classes(names: Iterable[str], classes: Sequence[str], where: str) -> None:
    """Raise a `ValueError` for the first of `names` that is not among `classes`; `where` says whence it came."""
    for name in names:
        if name not in classes:
            close = difflib.get_close_matches(name, classes, n=1, cutoff=0.6)
            hint = f'did you mean {close[0]!r}? ' if close else ''
            raise ValueError(
                f'{where}: unknown class {name!r}; {hint}\n'
                f'  Known classes (without background): {", ".join(classes)}.\n'
                '  Correct the name, or add the class through `metainfo=dict(classes=[...])`.'
            )


def _read_json(path: Path) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        _check_unique([key for key, _ in pairs], path)
        return dict(pairs)

    try:
        labels = json.loads(path.read_text(encoding='utf-8-sig'), object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        raise ValueError(f'label file {path}: not valid JSON ({error})') from error
    if not isinstance(labels, dict):
        raise ValueError(
            f'label file {path}: holds a {type(labels).__name__}, not an object {{"id": ["cat", "dog"], ...}}'
        )
    return labels


def _read_csv(path: Path) -> dict[str, list[str]]:
    with path.open(encoding='utf-8-sig', newline='') as file:
        rows = [[cell.strip() for cell in row] for row in csv.reader(file, skipinitialspace=True)]
    rows = [row for row in rows if any(row)]
    if rows and rows[0][0].lower() == 'id':
        rows = rows[1:]
    _check_unique([row[0] for row in rows], path)
    return {row[0]: [cell for cell in row[1:] if cell] for row in rows}


def _check_unique(ids: list[str], path: Path) -> None:
    seen: set[str] = set()
    for img_id in ids:
        if img_id in seen:
            raise ValueError(
                f'label file {path}: id {img_id!r} is there twice; put all labels of a picture in one entry'
            )
        seen.add(img_id)


def _class_names(labels: Any, classes: Sequence[str], where: str) -> list[str]:
    """Turn one entry, names or one-hot, into checked class names without repeats."""
    if isinstance(labels, list) and all(isinstance(label, str) for label in labels):
        check_classes(labels, classes, where)
        return list(dict.fromkeys(labels))
    if not isinstance(labels, list) or not all(label in (0, 1) for label in labels):
        raise ValueError(
            f'{where}: {labels!r} is neither a list of class names, ["cat", "dog"], '
            f'nor a one-hot list of {len(classes)} zeros and ones'
        )
    if len(labels) != len(classes):
        raise ValueError(
            f'{where}: one-hot label of length {len(labels)}, expected {len(classes)}, '
            f'one per class without background: {", ".join(classes)}'
        )
    return [name for name, value in zip(classes, labels) if value]
