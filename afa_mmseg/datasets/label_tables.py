"""Tables of image-level labels as spreadsheet programs save them: names in each row, or a column for each class."""

import csv
import io
import re
from collections.abc import Collection, Iterable, Sequence
from itertools import compress, islice
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
    """A line of a table: its number in the file, its first cell, and the others; without blanks around them."""

    line: int
    img_id: str
    cells: list[str]


class _Texts(dict[str, str]):
    """Texts of cells without blanks around them, by the texts as they are: few for many cells."""

    def __init__(self) -> None:
        self.short: set[str] = set()  # those of one character, which Python has once only

    def __missing__(self, text: str) -> str:
        bare = self[text] = text.strip()
        if len(text) < 2 and text == bare:
            self.short.add(text)
        return bare

    def share(self, cells: list[str]) -> list[str]:
        """Give the cells without blanks, and each text once: millions of them would fill the memory."""
        return cells if self.short.issuperset(cells) else [*map(self.__getitem__, cells)]


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
    rows, texts = _read_rows(path, where)
    if not rows:
        return LabelTable({}, None)
    header, body = rows[0], rows[1:]
    first = header.img_id.lower()
    headed, plain = first in ID_HEADERS, all(map(PLAIN_HEADER.fullmatch, header.cells))
    marked = any(texts) and all(text.lower() in MARKS for text in texts)
    if marked and not headed:
        cells = ', '.join((header.img_id, *header.cells))
        raise ValueError(
            f'{where}: all cells are 1 or 0, but line {header.line} ({cells}) is no header.\n'
            '  Start with a line id,cat,dog that names the classes, or with id,label if 1 and 0 are their names.'
        )
    if marked and not plain:
        return _parse_columns(header, body, texts, where)
    if headed and not plain and any(text.lower() in MARKS for text in texts if text):
        _check_unmixed(header, body, where)
    body = body if first == 'id' or (headed and plain) else rows
    return LabelTable({i: list(filter(None, cells)) for i, cells in _by_id(body, where).items()}, None)


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


def _read_rows(path: Path, where: str) -> tuple[list[Row], set[str]]:
    """Read the rows that hold something, and the few texts that the cells below the first row have, ids aside."""
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
        lines = ((reader.line_num, cells) for cells in reader if any(map(str.strip, cells)))
        rows = [Row(line, cells[0].strip(), [*map(str.strip, cells[1:])]) for line, cells in islice(lines, 1)]
        texts = _Texts()
        rows += [Row(line, cells[0].strip(), texts.share(cells[1:])) for line, cells in lines]
    except csv.Error as error:
        raise ValueError(f'{where}, line {reader.line_num}: {error}; is this a table?') from error
    _check_rows(rows, separator, where)
    return rows, set(texts.values())


def _find_separator(text: str, where: str) -> str:
    """Take the separator from the first line that has one outside quotation marks."""
    number = 1
    found: set[str] = set()
    for token in re.finditer('"[^"]*"|\r\n|[\n\r,;\t]', text):
        if token[0] in SEPARATORS:
            found.add(token[0])
        elif token[0][0] != '"':
            if found:
                break
            number += 1
    if len(found) > 1:
        names = ' and '.join(name for separator, name in SEPARATORS.items() if separator in found)
        raise ValueError(
            f'{where}: line {number} holds {names}; which of them separates cells?\n'
            '  Put cells that hold one into quotation marks, or save the table with another separator.'
        )
    return found.pop() if found else ','


def _check_rows(rows: Sequence[Row], separator: str, where: str) -> None:
    line = 0
    for row in rows:
        spans, line = row.line > line + 1, row.line  # or blank lines lie before it
        broken = [cell for cell in (row.img_id, *row.cells) if '\n' in cell or '\r' in cell] if spans else []
        if broken:
            raise ValueError(f'{where}, line {line}: the cell {broken[0]!r} spans lines; write one label in a cell')
        if not any(row.cells) and any(other != separator and other in row.img_id for other in SEPARATORS):
            raise ValueError(
                f'{where}, line {line}: {row.img_id!r} is one cell, because lines before it are separated by '
                f'{SEPARATORS[separator]}; use the same separator in all lines'
            )


def _check_unmixed(header: Row, rows: Sequence[Row], where: str) -> None:
    """Raise a `ValueError`: some cells under the names of a header are marks, and some are not."""
    cells = [(row.line, i, cell) for row in rows for i, cell in enumerate(row.cells) if cell]
    marks = [item for item in cells if item[2].lower() in MARKS]
    line, i, cell = next(item for item in cells if item[2].lower() not in MARKS)
    column = header.cells[i] if i < len(header.cells) else ''
    raise ValueError(
        f'{where}, line {line}, column {column!r}: {cell!r} is neither 1 nor 0 (nor empty, true, false, yes, no, x), '
        f'but line {marks[0][0]} holds {marks[0][2]!r}\n  {FORMS_REMEDY}'
    )


def _parse_columns(header: Row, rows: Sequence[Row], texts: Collection[str], where: str) -> LabelTable:
    columns = [name for name in header.cells if name]
    for name in columns:
        if columns.count(name) > 1:
            raise ValueError(f'{where}, line {header.line}: two columns are named {name!r}; keep one, or rename it')
    _check_nameless(header, rows, where)
    marks = {text: MARKS[text.lower()] for text in texts}
    labels = {
        img_id: list(compress(header.cells, map(marks.__getitem__, cells)))
        for img_id, cells in _by_id(rows, where).items()
    }
    return LabelTable(labels, columns)


def _check_nameless(header: Row, rows: Sequence[Row], where: str) -> None:
    """Raise a `ValueError` if a cell is filled whose column has no name."""
    width = len(header.cells)
    gaps = [i for i, name in enumerate(header.cells) if not name]
    for row in rows:
        filled = [i for i in (*gaps, *range(width, len(row.cells))) if any(row.cells[i : i + 1])]
        if filled:
            raise ValueError(
                f'{where}, line {row.line}: cell {filled[0] + 2} is {row.cells[filled[0]]!r}, in a column without '
                f'a name; name it in line {header.line}, or empty it'
            )


def _by_id(rows: Sequence[Row], where: str) -> dict[str, list[str]]:
    for row in rows:
        if not row.img_id:
            raise ValueError(f'{where}, line {row.line}: no id in the first cell; write it, or delete the line')
    check_unique([row.img_id for row in rows], where)
    return {row.img_id: row.cells for row in rows}
