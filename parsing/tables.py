"""Tables as people's programs write them: CSV of any dialect, aligned text, and Excel workbooks.

Rows are numbered from 1, as in spreadsheet programs.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from errors import UserError, printable
from parsing.files import read_file
from parsing.text_tables import MAX_BYTES, decode_text, split_cells
from parsing.workbooks import is_workbook, read_workbook

_NO_NUMBER = re.compile(r"[+-]?(nan(\(.*\))?|1[.,]#(qnan|snan|ind)\w*|#?n/?a|null|none|-|)", re.IGNORECASE)
_INFINITE = re.compile(r"([+-]?)(inf(inity)?|1[.,]#inf\w*)", re.IGNORECASE)
_MAX_SHOWN = 60


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        number: as in spreadsheet programs, from 1.
        cells: text without surrounding blanks.
    """

    number: int
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A table with a header.

    Attributes:
        path: of the file, for messages.
        header: names of the columns; empty for columns without a name.
        rows: with as many cells as the header; blank rows and comments are left out.
    """

    path: Path
    header: tuple[str, ...]
    rows: tuple[Row, ...]


def read_tabs(path: Path) -> dict[str, list[list[str]]]:
    """Read all cells of a table, blank rows included, so that item 0 is row 1; blank rows at the end are left out.

    The format is recognised by content, whatever the file's name: an Excel workbook, else text (see `split_cells`).

    Returns:
        Text of the cells without surrounding blanks, by name of the workbook's sheet; a text has one, without a name,
        and its rows may have different lengths.
    Raises:
        UserError: unreadable, no table, or larger than makes sense.
    """
    data = read_file(path, max_bytes=MAX_BYTES)
    if is_workbook(data):
        return read_workbook(data, path)
    cells = split_cells(decode_text(data, path), path)
    while cells and not any(cells[-1]):
        cells.pop()
    return {"": cells}


def read_cells(path: Path) -> list[list[str]]:
    """Read all cells of a text or of the first sheet of a workbook, as `read_tabs`."""
    return next(iter(read_tabs(path).values()))


def read_rows(path: Path) -> list[Row]:
    """Read the rows of a table that may have no header, without blank rows, comments (`#`) and empty last columns.

    Raises:
        UserError: as `read_cells`, or there are no rows.
    """
    cells = read_cells(path)
    kept = [(n, row) for n, row in enumerate(cells, 1) if any(row) and not _is_comment(row[0])]
    if not kept:
        raise UserError(f"{path}: expected a table, found an empty file")
    width = max(len(_without_end(row)) for _, row in kept)
    return [Row(n, tuple(row[:width])) for n, row in kept]


def read_table(path: Path, *, short_rows: bool = False) -> Table:
    """Read a table whose first row holds the names of its columns; see `read_rows` and `make_table`."""
    return make_table(path, read_rows(path), short_rows=short_rows)


def make_table(path: Path, rows: Sequence[Row], *, short_rows: bool = False) -> Table:
    """Take the first of several rows as the names of the columns.

    Args:
        path: for messages.
        short_rows: rows that end early are filled with empty cells; otherwise they are an error.
    Raises:
        UserError: a row has more or fewer cells than the header.
    """
    first, *others = rows
    header = _without_end(first.cells)
    filled = []
    for row in _without_index(header, others):
        width = len(_without_end(row.cells))
        if width > len(header) or (len(row.cells) < len(header) and not short_rows):
            got = max(width, min(len(row.cells), len(header)))
            raise UserError(
                f"{path}: row {row.number}: expected {len(header)} cells as in the header, got {got}; is a separator "
                "missing, or a cell with a comma not quoted?"
            )
        missing = ("",) * (len(header) - len(row.cells))
        filled.append(Row(row.number, row.cells[: len(header)] + missing))
    return Table(path, header, tuple(filled))


def to_number(cell: str | float) -> float:
    """Convert a cell, with a decimal point or comma.

    Returns:
        NaN for the signs of a missing value, such as an empty cell, `NaN`, `-nan(ind)`, `1.#QNAN`, `NA` and `#N/A`.
    Raises:
        ValueError: something else.
    """
    if not isinstance(cell, str):
        return float(cell)
    text = cell.strip()
    if _NO_NUMBER.fullmatch(text):
        return math.nan
    if infinite := _INFINITE.fullmatch(text):
        return -math.inf if infinite[1] == "-" else math.inf
    if "." not in text and text.count(",") == 1:
        text = text.replace(",", ".")
    try:
        if "_" in text:  # a digit separator of Python alone
            raise ValueError
        return float(text)
    except ValueError as error:
        raise ValueError(f"expected a number, got {quote_cell(cell)}") from error


def quote_cell(cell: str | float) -> str:
    """Return a cell as it is shown in messages: quoted, on one line, and shortened."""
    text = printable(str(cell))
    return repr(text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}...")


def _is_comment(cell: str) -> bool:
    return cell.startswith("#") and not _NO_NUMBER.fullmatch(cell)


def _without_end(cells: Sequence[str]) -> tuple[str, ...]:
    """Cells without the empty ones at the end."""
    end = len(cells)
    while end and not cells[end - 1]:
        end -= 1
    return tuple(cells[:end])


def _without_index(header: tuple[str, ...], rows: list[Row]) -> list[Row]:
    """Rows without the numbers that R writes in front of them without a name in the header."""
    first = [row.cells[0] for row in rows]
    numbered = first in ([str(i) for i in range(start, start + len(rows))] for start in (0, 1))
    if len(rows) < 2 or not numbered or any(len(_without_end(row.cells)) != len(header) + 1 for row in rows):
        return rows
    return [Row(row.number, row.cells[1:]) for row in rows]
