"""Tables of image-level labels as spreadsheet programs save them: names in each row, or a column for each class."""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, Optional

#: What a cell of a one-hot column may hold, in either case.
MARKS = {
    **dict.fromkeys(('1', '1.0', 'true', 'yes', 'x'), True),
    **dict.fromkeys(('', '0', '0.0', 'false', 'no'), False),
}
#: First cells of a header; '' is the empty corner that pandas writes.
ID_HEADERS = ('id', 'img_id', 'image_id', 'image', 'img', 'picture', 'photo', 'file', 'filename', 'file_name', '')
#: Headers that name no class, as in `id,label,label` or `id,label1,label2`.
PLAIN_HEADER = re.compile(r'(label|labels|class|classes|category|categories|tag|tags)?[ _.-]?\d*', re.IGNORECASE)
SEPARATORS = {',': 'comma', ';': 'semicolon', '\t': 'tab'}
UTF8_REMEDY = (
    'Save it as UTF-8: in Excel as type "CSV UTF-8", in LibreOffice with "Edit filter settings" and the character set '
    '"Unicode (UTF-8)".'
)
FORMS_REMEDY = 'Write names under a header id,label,label, or a column for each class, id,cat,dog, with cells 1 and 0.'


class Row(NamedTuple):
    """The cells of a line, stripped, and its number in the file."""

    line: int
    cells: list[str]


class LabelTable(NamedTuple):
    """Class names by picture id, in the order of the file; `columns` are the classes of one-hot columns."""

    labels: dict[str, list[str]]
    columns: Optional[list[str]]


def read_table(path: Path) -> LabelTable:
    """Read a CSV or TSV file of names or of one-hot columns.

    Columns are one-hot where the first line starts with one of `ID_HEADERS` and names classes, and all other
    cells are `MARKS`. Cells are names otherwise, and the first line is a header if it starts with `id`.

    Raises:
        ValueError: The file is not UTF-8, separator or form is ambiguous, a line has no id, an id is there
            twice, or a column has no name.
    """
    where = f'label file {path}'
    rows = _read_rows(path, where)
    if not rows:
        return LabelTable({}, None)
    (first, names), body = (rows[0].cells[0].lower(), rows[0].cells[1:]), rows[1:]
    headed, plain = first in ID_HEADERS, all(map(PLAIN_HEADER.fullmatch, names))
    marked = _holds_only_marks(body)
    if marked and not headed:
        raise ValueError(
            f'{where}: all cells are 1 or 0, but line {rows[0].line} ({", ".join(rows[0].cells)}) is no header.\n'
            '  Start with a line id,cat,dog that names the classes, or with id,label if 1 and 0 are their names.'
        )
    if marked and not plain:
        return _parse_columns(rows[0], body, where)
    if headed and not plain:
        _check_unmixed(rows[0], body, where)
    body = body if first == 'id' or (headed and plain) else rows
    return LabelTable({i: [cell for cell in cells if cell] for i, cells in _by_id(body, where).items()}, None)


def check_unique(ids: Iterable[str], where: str) -> None:
    """Raise a `ValueError` if an id is there twice."""
    seen: set[str] = set()
    for img_id in ids:
        if img_id in seen:
            raise ValueError(f'{where}: id {img_id!r} is there twice; put all labels of a picture in one entry')
        seen.add(img_id)


def read_utf8(path: Path, where: str, remedy: str = UTF8_REMEDY) -> str:
    """Read a text file in UTF-8, with or without byte-order mark; `where` and `remedy` are for the message.

    Raises:
        ValueError: It is in another encoding.
    """
    data = path.read_bytes()
    try:
        return data.decode('utf-8-sig')
    except UnicodeDecodeError as error:
        line = data.count(b'\n', 0, error.start) + 1
        raise ValueError(f'{where}: line {line} is not UTF-8 (byte 0x{data[error.start]:02x})\n  {remedy}') from error


def _read_rows(path: Path, where: str) -> list[Row]:
    text = read_utf8(path, where)
    if text.count('"') % 2:
        raise ValueError(f'{where}: a quotation mark is not closed; each cell has two or none')
    told = re.match(r'sep=([,;\t])\r?\n', text)  # a line for Excel
    if told:
        text, separator = text[told.end() - 1 :], told[1]
    else:
        separator = '\t' if path.suffix.lower() == '.tsv' else _find_separator(text, where)
    reader = csv.reader(io.StringIO(text, newline=''), delimiter=separator, skipinitialspace=True)
    try:
        rows = [Row(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except csv.Error as error:
        raise ValueError(f'{where}, line {reader.line_num}: {error}; is this a table?') from error
    rows = [row for row in rows if any(row.cells)]
    for row in rows:
        _check_cells(row, separator, where)
    return rows


def _find_separator(text: str, where: str) -> str:
    """Take the separator from the first line that has one outside quotation marks."""
    for number, line in enumerate(re.sub('"[^"]*"', '', text).splitlines(), 1):
        found = [separator for separator in SEPARATORS if separator in line]
        if len(found) > 1:
            names = ' and '.join(SEPARATORS[separator] for separator in found)
            raise ValueError(
                f'{where}: line {number} holds {names}; which of them separates cells?\n'
                '  Put cells that hold one into quotation marks, or save the table with another separator.'
            )
        if found:
            return found[0]
    return ','


def _check_cells(row: Row, separator: str, where: str) -> None:
    where = f'{where}, line {row.line}'
    broken = [cell for cell in row.cells if '\n' in cell or '\r' in cell]
    if broken:
        raise ValueError(f'{where}: the cell {broken[0]!r} spans lines; write one label in a cell')
    others = [other for other in SEPARATORS if other != separator and other in row.cells[0]]
    if others and not any(row.cells[1:]):
        raise ValueError(
            f'{where}: {row.cells[0]!r} is one cell, because lines before it are separated by {SEPARATORS[separator]}; '
            'use the same separator in all lines'
        )


def _holds_only_marks(rows: Sequence[Row]) -> bool:
    cells = [cell for row in rows for cell in row.cells[1:]]
    return any(cells) and all(cell.lower() in MARKS for cell in cells)


def _check_unmixed(header: Row, rows: Sequence[Row], where: str) -> None:
    """Raise a `ValueError` if some cells under the names of a header are marks and some are not."""
    cells = [(row.line, i, cell) for row in rows for i, cell in enumerate(row.cells) if i and cell]
    marks = [item for item in cells if item[2].lower() in MARKS]
    if not marks:
        return
    line, i, cell = next(item for item in cells if item[2].lower() not in MARKS)
    column = header.cells[i] if i < len(header.cells) else ''
    raise ValueError(
        f'{where}, line {line}, column {column!r}: {cell!r} is neither 1 nor 0 (nor empty, true, false, yes, no, x), '
        f'but line {marks[0][0]} holds {marks[0][2]!r}\n  {FORMS_REMEDY}'
    )


def _parse_columns(header: Row, rows: Sequence[Row], where: str) -> LabelTable:
    columns = {i: name for i, name in enumerate(header.cells) if i and name}
    for name in columns.values():
        if list(columns.values()).count(name) > 1:
            raise ValueError(f'{where}, line {header.line}: two columns are named {name!r}; keep one, or rename it')
    for row in rows:
        nameless = [i for i, cell in enumerate(row.cells) if i and cell and i not in columns]
        if nameless:
            raise ValueError(
                f'{where}, line {row.line}: cell {nameless[0] + 1} is {row.cells[nameless[0]]!r}, in a column without '
                f'a name; name it in line {header.line}, or empty it'
            )
    labels = {
        img_id: [columns[i] for i, cell in enumerate(cells, 1) if MARKS[cell.lower()]]
        for img_id, cells in _by_id(rows, where).items()
    }
    return LabelTable(labels, list(columns.values()))


def _by_id(rows: Sequence[Row], where: str) -> dict[str, list[str]]:
    for row in rows:
        if not row.cells[0]:
            raise ValueError(f'{where}, line {row.line}: no id in the first cell; write it, or delete the line')
    check_unique([row.cells[0] for row in rows], where)
    return {row.cells[0]: row.cells[1:] for row in rows}
