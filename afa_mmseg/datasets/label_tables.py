"""Tables of image-level labels as spreadsheet programs save them: names in each row, or a column for each class."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from itertools import chain, compress
from pathlib import Path
from typing import NamedTuple, Optional

#: Words of one-hot cells, in either case: English, German, French, Spanish, Italian, Dutch.
YES = '1|1.0|1,0|true|yes|y|x|wahr|ja|j|vrai|oui|verdadero|s\u00ed|si|vero|waar|\u2713|\u2714|\u2705'
NO = '0|0.0|0,0|false|no|n|falsch|nein|faux|non|falso|nee|onwaar|-|\u2717|\u2718|\u274c|'
MARKS = {word: words is YES for words in (YES, NO) for word in words.split('|')}
#: First cell of a header; empty in the corner that pandas writes.
ID_HEADER = re.compile(
    '(img|image|picture|photo|file|bild|foto|imagen|datei|path|nom|fichier|archivo)?[ _]?(id|name|path)?',
    re.IGNORECASE,
)
#: Headers that name no class, as in `id,label,label` or `id,label1,label2`.
PLAIN_HEADER = re.compile(r'(label|labels|class|classes|category|categories|tag|tags)?[ _.-]?\d*', re.IGNORECASE)
SEPARATORS = {',': 'comma', ';': 'semicolon', '\t': 'tab'}
#: What separates several names in one cell.
NAMES_IN_A_CELL = re.compile(r'\s*[,;|\t]\s*')
UTF8_REMEDY = (
    'Save it as UTF-8: in Excel as type "CSV UTF-8", in LibreOffice with "Edit filter settings" and the character set '
    '"Unicode (UTF-8)".'
)
FORMS_REMEDY = 'Write names under a header id,label,label, or a column for each class, id,cat,dog, with cells 1 and 0.'


class Row(NamedTuple):
    """A line of a table: its number in the file, its first cell, and the others, stripped only in the first line."""

    line: int
    img_id: str
    cells: list[str]


class LabelTable(NamedTuple):
    """Class names by image id, in the order of the file; `columns` are the classes of one-hot columns."""

    labels: dict[str, list[str]]
    columns: Optional[list[str]]


class _Marks(dict[str, bool]):
    """Values of one-hot cells by their text; each text is looked up in `MARKS` once."""

    def __missing__(self, text: str) -> bool:
        value = self[text] = MARKS[text.strip().lower()]
        return value


def read_table(path: Path) -> LabelTable:
    """Read a CSV or TSV file of names or of one-hot columns.

    Columns are one-hot below a header that starts with one of `ID_HEADER` and names classes. A single column below
    such a header may also hold names. Without a header, or with one such as `id,label,label`, all cells are names.

    Raises:
        ValueError: The file is not UTF-8 or malformed, a cell of a one-hot column is none of `MARKS`, a line has no
            id, an id occurs twice, or a column has no name.
    """
    where = f'label file {path}'
    rows = _read_rows(path, where)
    header = next(rows, None)
    if header is None:
        return LabelTable({}, None)
    headed = bool(ID_HEADER.fullmatch(header.img_id))
    classes = [name for name in header.cells if not PLAIN_HEADER.fullmatch(name)]
    if headed and len(classes) > 1:
        return _read_columns(header, rows, where)
    if headed and classes:
        body = list(rows)
        words = {cell.strip().lower() for row in body for cell in row.cells}
        if words <= {''} or words & MARKS.keys() - {''}:
            return _read_columns(header, iter(body), where)
        rows = iter(body)
    elif not headed:
        rows = chain([header], rows)
    labels = {row.img_id: [*filter(None, map(str.strip, row.cells))] for row in _check_rows(rows, where)}
    words = {name.lower() for names in list(labels.values())[1:] for name in names}
    if not headed and words and words <= MARKS.keys():
        raise ValueError(
            f'{where}: cells are 1 or 0, but line {header.line} ({", ".join((header.img_id, *header.cells))}) is not a '
            'header.\n  Start with a line id,cat,dog that names the classes, or id,label if 1 and 0 are their names.'
        )
    return LabelTable(labels, None)


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


def _read_rows(path: Path, where: str) -> Iterator[Row]:
    """Read the rows that hold something."""
    text = read_utf8(path, where)
    named = re.match(r'sep=([,;\t])\r?\n', text)  # a line for Excel
    if named:
        text, separator = text[named.end() - 1 :], named[1]
    else:
        separator = '\t' if path.suffix.lower() == '.tsv' else _find_separator(text, where)
    others = ''.join(set(SEPARATORS) - {separator})
    reader = csv.reader(io.StringIO(text, newline=''), delimiter=separator, skipinitialspace=True, strict=True)
    first = True
    try:
        for cells in reader:
            joined = ''.join(cells)
            if not joined.strip():
                continue
            img_id, line = cells[0].strip(), reader.line_num
            if '\n' in joined or '\r' in joined:
                raise ValueError(
                    f'{where}, line {line}: a cell spans lines ({joined!r:.60}); write one label in a cell'
                )
            if not any(map(str.strip, cells[1:])) and any(other in img_id for other in others):
                raise ValueError(
                    f'{where}, line {line}: {img_id!r} is one cell, because lines before it are separated by '
                    f'{SEPARATORS[separator]}; use the same separator in all lines'
                )
            yield Row(line, img_id, [cell.strip() for cell in cells[1:]] if first else cells[1:])
            first = False
    except csv.Error as error:
        raise ValueError(f'{where}, line {reader.line_num}: {error}; check its quotation marks') from error


def _find_separator(text: str, where: str) -> str:
    """Return the first separator outside quotation marks (`csv.Sniffer` fails on lists of names of varying length)."""
    found: list[str] = []
    line, start = 1, 0
    for token in re.finditer('"[^"]*"|\r\n|[\n\r,;\t]', text):
        if token[0] in SEPARATORS:
            found.append(token[0])
        elif token[0][0] != '"':
            if found:
                break
            line, start = line + 1, token.end()
    others = set(found) - set(found[:1])
    if others and ID_HEADER.fullmatch(text[start:].split(found[0], 1)[0].strip(' "')):
        raise ValueError(
            f'{where}: line {line} is separated by {SEPARATORS[found[0]]}, but also holds '
            f'{" and ".join(SEPARATORS[other] for other in others)}; use one separator, or quotation marks'
        )
    return found[0] if found else ','


def _read_columns(header: Row, rows: Iterator[Row], where: str) -> LabelTable:
    names = header.cells
    columns = [name for name in names if name]
    for name in columns:
        if columns.count(name) > 1:
            raise ValueError(f'{where}, line {header.line}: two columns are named {name!r}; keep one, or rename it')
    value_of, labels = _Marks().__getitem__, {}
    for row in _check_rows(rows, where):
        try:
            labels[row.img_id] = list(compress(names, map(value_of, row.cells)))
        except KeyError:
            _raise_for_cell(row, names, where)
        if '' in labels[row.img_id] or any(map(str.strip, row.cells[len(names) :])):
            place = next(i for i, cell in enumerate(row.cells) if cell.strip() and not any(names[i : i + 1]))
            raise ValueError(
                f'{where}, line {row.line}: cell {place + 2} is {row.cells[place]!r}, in a column without a name; '
                f'name it in line {header.line}, or empty it'
            )
    return LabelTable(labels, columns)


def _raise_for_cell(row: Row, names: Sequence[str], where: str) -> None:
    place = next(i for i, cell in enumerate(row.cells) if cell.strip().lower() not in MARKS)
    column = names[place] if place < len(names) else ''
    raise ValueError(
        f'{where}, line {row.line}, column {column!r}: {row.cells[place].strip()!r} is neither 1 nor 0 (nor yes, no, '
        f'true, false, x or empty)\n  {FORMS_REMEDY}'
    ) from None


def _check_rows(rows: Iterator[Row], where: str) -> Iterator[Row]:
    """Pass rows on that have an id of their own; raise a `ValueError` for others."""
    seen: set[str] = set()
    for row in rows:
        if not row.img_id:
            raise ValueError(f'{where}, line {row.line}: no id in the first cell; write it, or delete the line')
        if row.img_id in seen:
            raise ValueError(
                f'{where}, line {row.line}: id {row.img_id!r} occurs twice; write all its labels in one line'
            )
        seen.add(row.img_id)
        yield row
