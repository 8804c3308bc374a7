"""Lists of pictures and labels in plain text, one picture a line."""

import re
from pathlib import Path
from typing import Union

from ..label_tables import ID_HEADERS, check_unique, read_utf8
from .pickled_labels import Entries

PICTURE_SUFFIX = re.compile(r'\.(jpe?g|png|bmp|tiff?|webp)$', re.IGNORECASE)
#: What may stand between cells; blanks where a file has none of these.
SEPARATORS = '\t,;'


def read_lines(path: Union[str, Path], what: str) -> list[str]:
    """Read the lines of a UTF-8 file, without blank ones and blanks at their ends; `what` begins messages.

    Raises:
        ValueError: The file is not UTF-8, or empty.
    """
    return [line.strip() for line in _filled_lines(path, what)]


def has_no_header(path: Path) -> bool:
    """Tell whether a table begins with a picture and numbers, without a line that names the columns."""
    img_id, *cells = _read_rows(path)[0]
    return bool(cells) and all(map(_is_number, cells)) and img_id.lower() not in ID_HEADERS


def read_text(path: Path) -> Entries:
    """Read `id label label ...` or `id 0 1 0 ...`: names or numbers by picture id, neither checked yet.

    Cells are separated by tabs if the file has any, else by commas, semicolons or blanks, in this order.

    Raises:
        ValueError: The file is not UTF-8 or empty, has no labels at all, mixes names and numbers, holds paths in
            the place of labels, or an id twice, or a line without id.
    """
    where = f'label file {path}'
    rows = _read_rows(path)
    for row in rows:
        if not row[0]:
            raise ValueError(f'{where}: no id before {", ".join(row[1:]) or "the separator"}; write one in each line')
    _check_cells({cell: row[0] for row in rows for cell in row[1:]}, where)
    check_unique([row[0] for row in rows], where)
    return {row[0]: [float(cell) if _is_number(cell) else cell for cell in row[1:]] for row in rows}


def _filled_lines(path: Union[str, Path], what: str) -> list[str]:
    lines = [line for line in read_utf8(Path(path), f'{what} {path}').splitlines() if line.strip()]
    if not lines:
        raise ValueError(f'{what} {path}: empty; expected one entry a line')
    return lines


def _read_rows(path: Path) -> list[list[str]]:
    """Split a file into the cells of each line; empty ones after the first are left out."""
    lines = _filled_lines(path, 'label file')
    separator = next((s for s in SEPARATORS if any(s in line for line in lines)), None)
    rows = [[cell.strip() for cell in line.split(separator)] for line in lines]
    return [[row[0], *filter(None, row[1:])] for row in rows]


def _check_cells(cells: dict[str, str], where: str) -> None:
    """Check that cells are names or numbers, not both; `cells` has an id for each, for messages."""
    if not cells:
        raise ValueError(f'{where}: every line is a single entry; a list of pictures holds no labels')
    paths = [cell for cell in cells if PICTURE_SUFFIX.search(cell)]
    if paths:
        raise ValueError(
            f'{where}: {paths[0]!r} is the name of a picture; a list of pictures and masks holds no labels'
        )
    numbers = [cell for cell in cells if _is_number(cell)]
    names = [cell for cell in cells if not _is_number(cell)]
    if numbers and names:
        raise ValueError(
            f'{where}: {numbers[0]!r} (id {cells[numbers[0]]!r}) is a number, {names[0]!r} (id {cells[names[0]]!r}) is '
            'none.\n  Write either names or numbers; where the first line names the columns, rename the file to .csv.'
        )


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
