"""Tables of image-level labels as spreadsheet programs save them: names in each row, or a column for each class."""

import csv
import io
import re
from collections.abc import Sequence
from itertools import compress
from pathlib import Path
from typing import Any, NamedTuple, Optional

#: Words of one-hot cells, in either case: English, German, French, Spanish, Italian, Dutch.
YES = '1|1.0|1,0|true|yes|y|x|wahr|ja|j|vrai|oui|verdadero|s\u00ed|si|vero|waar|\u2713|\u2714|\u2705'
NO = '0|0.0|0,0|false|no|n|falsch|nein|faux|non|falso|nee|onwaar|-|\u2717|\u2718|\u274c|'
MARKS = {word: words is YES for words in (YES, NO) for word in words.split('|')}
#: First cell of a header; empty in the corner that pandas writes.
ID_HEADER = re.compile(
    '(img|image|index|picture|photo|file|bild|foto|imagen|datei|path|nom|fichier|archivo)?[ _]?(id|name|path)?',
    re.IGNORECASE,
)
#: Headers that name no class, as in `id,label,label` or `id,label1,label2`.
PLAIN_HEADER = re.compile(r'(label|labels|class|classes|category|categories|tag|tags)?[ _.-]?\d*', re.IGNORECASE)
SEPARATORS = ',;\t'
#: What separates several names in one cell.
NAMES_IN_A_CELL = re.compile(r'\s*[,;|\t]\s*')
UTF8_REMEDY = (
    'Save it as UTF-8: in Excel as type "CSV UTF-8", in LibreOffice with "Edit filter settings" and the character set '
    '"Unicode (UTF-8)".'
)
FORMS_REMEDY = 'Write names under a header id,label,label, or a column for each class, id,cat,dog, with cells 1 and 0.'


class Labels(NamedTuple):
    """Entries by image id, in the order of their source, and the classes that the source lists, if it does.

    Entries are class names; in JSON they may be one-hot lists. Where classes are listed, names are among them.
    """

    entries: dict[str, list[Any]]
    classes: Optional[Sequence[str]] = None


class Row(NamedTuple):
    """A line of a table: its number in the file, its first cell, and the others, all stripped."""

    line: int
    img_id: str
    cells: list[str]


def read_table(path: Path, classes: Sequence[str] = ()) -> Labels:
    """Read a CSV or TSV file of names or of one-hot columns.

    Columns are one-hot below a header that starts with one of `ID_HEADER` and names classes. A single column below
    such a header may also hold names. Without a header, or with one such as `id,label,label`, all cells are names; a
    cell that is none of `classes` may hold several; `-` stands for none. Columns such as `id,0,1` or `id,class1,class2`
    are one-hot if their names are among `classes` and all cells are `MARKS`.

    Raises:
        ValueError: The file is not UTF-8 or malformed, a cell of a one-hot column is none of `MARKS`, cells are
            `MARKS` below a header that may or may not name classes, one of several columns of names has another header
            than `PLAIN_HEADER`, a line has no id, an id occurs twice, or a column has no name.
    """
    where = f'label file {path}'
    rows = read_rows(path, where)
    if not rows:
        return Labels({})
    header, body = rows[0], rows[1:]
    words = {cell.lower() for row in body for cell in row.cells}
    is_headed = bool(ID_HEADER.fullmatch(header.img_id))
    is_marked = bool(words - {''}) and words <= MARKS.keys()
    named = [n for n in header.cells if (is_marked and n in classes) or not PLAIN_HEADER.fullmatch(n)]
    if is_headed and (len(named) > 1 or (named and (words <= {''} or words & MARKS.keys() - {''}))):
        check_rows(body, where)
        return _read_columns(header, body, where)
    are_names = words - {''} <= {name.lower() for name in classes}  # of classes such as x and y
    if is_marked and not are_names and (not is_headed or len({*header.cells} - {''}) > 1):
        raise ValueError(
            f'{where}: cells are 1 or 0, but line {header.line} ({", ".join((header.img_id, *header.cells))}) is not a '
            'header that names the classes.\n  Start with a line id,cat,dog that does, or with id,label,label if 1 and '
            '0 are names. Columns 0,1 or class1,class2 require these names in `metainfo=dict(classes=[...])`.'
        )
    if is_headed and named:
        _check_columns(header, named[0], where)
    rows = body if is_headed else rows
    check_rows(rows, where)
    return _read_names(rows, classes)


def _read_names(rows: Sequence[Row], classes: Sequence[str]) -> Labels:
    known, none = {'', *classes}, {'', '-'} - {*classes}
    parts = ((row, [n for c in row.cells for n in ([c] if c in known else split_names(c))]) for row in rows)
    return Labels({row.img_id: [name for name in names if name not in none] for row, names in parts})


def _check_columns(header: Row, named: str, where: str) -> None:
    """Raise a `ValueError` where a column beside those of names has a header of its own."""
    others = [repr(cell) for cell in header.cells if cell and cell != named]
    if others:
        raise ValueError(
            f'{where}: column {named!r} would be read as class names, beside {", ".join(others)}\n'
            "  Delete it, or name it 'label' if it holds classes."
        )


def read_rows(path: Path, where: str) -> list[Row]:
    """Read the rows of a table or, in a `.txt` file, of lines separated by blanks, that hold something.

    The first comma, semicolon or tab outside quotation marks is the separator (`csv.Sniffer` fails on lists of names
    of varying length), in a `.tsv` file the tab, and below a line `sep=;`, which is for Excel, the one that it names.

    Args:
        path: The file.
        where: Its name in messages.
    """
    text = read_utf8(path, where)
    named = re.match(r'sep=([,;\t])\r?\n', text)
    found = named or re.search(f'([{SEPARATORS}])', re.sub('"[^"]*"', '', text))
    if path.suffix.lower() == '.txt' and not found:
        lines = ((number, line.split()) for number, line in enumerate(text.split('\n'), 1))
        return [Row(number, cells[0], cells[1:]) for number, cells in lines if cells]
    separator = '\t' if path.suffix.lower() == '.tsv' else found[1] if found else ','
    content = io.StringIO(text[named.end() - 1 :] if named else text, newline='')
    reader = csv.reader(content, delimiter=separator, skipinitialspace=True, strict=True)
    try:
        lines = ((reader.line_num, [cell.strip() for cell in cells]) for cells in reader)
        rows = [Row(number, cells[0], cells[1:]) for number, cells in lines if any(cells)]
    except csv.Error as error:
        raise ValueError(f'{where}, line {reader.line_num}: {error}; check its quotation marks') from error
    for row in rows:
        if not any(row.cells) and re.search(f'[{SEPARATORS}]', row.img_id):
            raise ValueError(
                f'{where}, line {row.line}: {row.img_id!r} is one cell; separate all lines by {separator!r}'
            )
    return rows


def check_rows(rows: Sequence[Row], where: str) -> None:
    """Raise a `ValueError` unless each row has an id of its own."""
    seen: set[str] = set()
    for row in rows:
        if not row.img_id:
            raise ValueError(f'{where}, line {row.line}: no id; write it, or delete the line')
        if row.img_id in seen:
            raise ValueError(f'{where}, line {row.line}: id {row.img_id!r} occurs twice; write all its labels in one')
        seen.add(row.img_id)


def split_names(cell: str) -> list[str]:
    """Split several names in one cell.

    Example:
        >>> split_names('cat, dog'), split_names('dining table')
        (['cat', 'dog'], ['dining table'])
    """
    return [name for name in NAMES_IN_A_CELL.split(cell) if name]


def read_utf8(path: Path, where: str, remedy: str = UTF8_REMEDY) -> str:
    """Read a text file in UTF-8, with or without byte-order mark; `where` and `remedy` are for the message.

    Raises:
        ValueError: The file is in another encoding.
    """
    data = path.read_bytes()
    try:
        return data.decode('utf-8-sig')
    except UnicodeDecodeError as error:
        line = data.count(b'\n', 0, error.start) + 1
        raise ValueError(f'{where}: line {line} is not UTF-8 (byte 0x{data[error.start]:02x})\n  {remedy}') from error


def _read_columns(header: Row, body: Sequence[Row], where: str) -> Labels:
    names, entries = header.cells, {}
    columns = [name for name in names if name]
    twice = [name for name in columns if columns.count(name) > 1]
    if twice:
        raise ValueError(f'{where}, line {header.line}: two columns are named {twice[0]!r}; keep one, or rename it')
    for row in body:
        marks = [MARKS.get(cell.lower()) for cell in row.cells]
        entries[row.img_id] = list(compress(names, marks))
        if None in marks or '' in entries[row.img_id] or any(row.cells[len(names) :]):
            _raise_for_cell(row, names, where)
    return Labels(entries, columns)


def _raise_for_cell(row: Row, names: Sequence[str], where: str) -> None:
    """Raise a `ValueError` for the first cell that is no mark, or is in a column without a name."""
    for place, cell in enumerate(row.cells):
        column = names[place] if place < len(names) else ''
        if cell.lower() not in MARKS:
            fault = f'column {column!r}: {cell!r} is neither 1 nor 0 (nor yes, no, true, false, x or empty)'
            raise ValueError(f'{where}, line {row.line}, {fault}\n  {FORMS_REMEDY}')
        if cell and not column:
            fault = f'cell {place + 2} is {cell!r}, in a column without a name; name it, or empty the cell'
            raise ValueError(f'{where}, line {row.line}: {fault}')
