"""Coding sheets: rows of .xlsx, .xls and .csv files as text, under the names of their columns."""

import csv
import math
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pandas as pd

from errors import UserError
from preparation.clip_record import Repair

SUFFIXES = (".xlsx", ".xls", ".csv")
_HEADER_ROWS = 40  # the sheet of SAMM has 13 rows above its header
_NO_VALUE = frozenset({"", "/", "-", "nan", "n/a", "none"})
_UNNAMED = re.compile(r"Unnamed: \d+")  # a blank header that went through pandas


class Unreadable(Exception):
    """A row, folder or file yields no clip; the message is the reason, in one line."""


@dataclass(frozen=True)
class Row:
    """One row of a sheet.

    Attributes:
        sheet: name of the file.
        number: as spreadsheet programs count it, from 1, header and blank rows included.
        index: from 0 at the first row below the header, as pandas counts and as published lists of errors do.
        cells: text by column, without blanks around it.
        repairs: what was put right in it.
    """

    sheet: str
    number: int
    index: int
    cells: dict[str, str]
    repairs: tuple[Repair, ...] = ()

    @property
    def where(self) -> str:
        """The row as messages call it."""
        return f"{self.sheet}, row {self.number}"

    def text(self, column: str) -> str | None:
        """A cell; None where it is blank or holds a sign for "no value"."""
        cell = self.cells.get(column, "")
        return None if cell.casefold() in _NO_VALUE else cell

    def number_in(self, column: str) -> float | None:
        """A cell that holds a number, if anything.

        Raises:
            Unreadable: it holds something else.
        """
        cell = self.text(column)
        try:
            number = None if cell is None else float(cell)
        except ValueError as error:
            raise Unreadable(f"{column}: expected a number, got {cell!r}") from error
        return number

    def frame(self, column: str) -> int | None:
        """A cell that holds the number of a frame, if anything.

        Raises:
            Unreadable: it holds something else.
        """
        number = self.number_in(column)
        if number is not None and not number.is_integer():
            raise Unreadable(f"{column}: expected the number of a frame, got {self.cells[column]!r}")
        return None if number is None else int(number)

    def with_cell(self, column: str, value: str, done: str) -> "Row":
        """This row with another value in a cell, and a repair that says so."""
        repair = Repair(f"{self.where}, {column}: {self.cells[column] or 'empty'}", done)
        return replace(self, cells=self.cells | {column: value}, repairs=(*self.repairs, repair))


@dataclass(frozen=True)
class Sheet:
    """A coding sheet."""

    rows: tuple[Row, ...]
    repairs: tuple[Repair, ...]


def merge_repeats(rows: Sequence[Row]) -> Row:
    """One row for all that are of one clip.

    Raises:
        Unreadable: they differ.
    """
    first, *others = rows
    if any(row.cells != first.cells for row in others):
        numbers = " and ".join(str(row.number) for row in rows)
        raise Unreadable(f"{first.sheet}: rows {numbers} are of one clip and differ; remove all but one")
    repeats = [Repair(f"{row.where}: repeats row {first.number}", "counted once") for row in others]
    return replace(first, repairs=(*first.repairs, *repeats))


def find_sheet(
    places: Sequence[Iterable[Path]], names: Sequence[str], given: Path | None
) -> tuple[Path, tuple[Repair, ...]]:
    """A coding sheet by its documented names.

    Args:
        places: folders to look in, the nearest first; others only where those have none.
        names: file names of its editions, the preferred one first; upper and lower case are the same.
        given: the sheet that the user names, whatever it is called.
    Returns:
        The sheet, and a repair where an edition was preferred to others.
    Raises:
        UserError: no such sheet, or one in two places.
    """
    if given is not None:
        if not given.is_file():
            raise UserError(f"{given}: no such sheet")
        return given, ()
    files = find_parts(places, "|".join(map(re.escape, names)))
    editions = [found for name in names if (found := [p for p in files if p.name.casefold() == name.casefold()])]
    if len(editions[0]) > 1:
        raise UserError(f"expected one coding sheet, found {' and '.join(map(str, editions[0]))}; set `sheet`")
    chosen, *others = (edition[0] for edition in editions)
    repairs = tuple(Repair(f"{p.name} beside {chosen.name}", f"{chosen.name} is used") for p in others)
    return chosen, repairs


def find_parts(places: Sequence[Iterable[Path]], pattern: str) -> list[Path]:
    """All files whose name fits a regular expression, for sheets in several parts; otherwise as `find_sheet`.

    Raises:
        UserError: none.
    """
    for folders in places:
        found = [path for path in _files(folders) if re.fullmatch(pattern, path.name, re.IGNORECASE)]
        if found:
            return found
    wanted = pattern.replace("\\", "").replace("|", " or ")
    raise UserError(f"expected the coding sheet {wanted} beside the clips, found none; set `sheet`")


def _files(places: Iterable[Path]) -> list[Path]:
    """Sheets in folders, each once, without hidden files and the lock files of office programs (`~$`)."""
    found = {p.resolve(): p for place in places for p in place.iterdir() if p.suffix.lower() in SUFFIXES}
    return sorted(p for p in found.values() if not p.name.startswith((".", "~$")))


def read_sheet(
    path: Path, columns: Collection[str], *, tab: str | None = None, known: Collection[str] | None = None
) -> Sheet:
    """Read a coding sheet. What stands above its header and rows without any text are left out.

    Args:
        columns: names that the header must hold.
        tab: sheet of the workbook; one with a single sheet needs not be called so.
        known: names that it may hold; None: any.
    Raises:
        UserError: unreadable, no such sheet, no rows, or a column that is missing, unknown or there twice;
            further columns may repeat each other.
    """
    table = _read_csv(path) if path.suffix.lower() == ".csv" else _read_workbook(path, tab)
    table = [[re.sub(r"\s+", " ", _text(cell)) for cell in row] for row in table]
    at = _header(table, columns, path)
    header = ["" if _UNNAMED.fullmatch(name) else name for name in table[at]]
    names = [name for name in header if name]
    for name in names:
        if known is not None and name not in known:
            raise UserError(f"{path}: expected columns among {','.join(known)}; got {name!r}")
        if names.count(name) > 1 and (known is not None or name in columns):
            raise UserError(f"{path}: expected one column {name!r}, found several; remove all but one")
    rows = []
    for index, row in enumerate(table[at + 1 :]):
        cells = {name: cell for name, cell in zip_longest(header, row, fillvalue="") if name}
        if any(cells.values()):
            rows.append(Row(path.name, at + index + 2, index, cells))
    if not rows:
        raise UserError(f"{path}: expected rows below the header in row {at + 1}, found none")
    blank = header[: max(header.index(name) for name in names)].count("")
    repairs = (Repair(f"{path.name}: {blank} columns without a name", "they are left out"),) if blank else ()
    return Sheet(tuple(rows), repairs)


def _header(table: list[list[str]], columns: Collection[str], path: Path) -> int:
    """Position of the row that holds the names of all columns."""
    held = [len(set(columns) & set(row)) for row in table[:_HEADER_ROWS]]
    if not held or max(held) == 0:
        raise UserError(f"{path}: expected the columns {','.join(columns)}; found none of them")
    at = held.index(max(held))
    missing = [column for column in columns if column not in table[at]]
    if missing:
        found = ", ".join(name for name in table[at] if name)
        raise UserError(f"{path}: expected the column {' and '.join(map(repr, missing))}, found {found}")
    return at


def _read_workbook(path: Path, tab: str | None) -> list[list[Any]]:
    try:
        with pd.ExcelFile(path) as book:
            if tab is not None and tab not in book.sheet_names and len(book.sheet_names) > 1:
                found = ", ".join(map(str, book.sheet_names))
                raise UserError(f"{path}: expected the sheet {tab!r}, found {found}")
            name = tab if tab in book.sheet_names else str(book.sheet_names[0])
            frame = pd.read_excel(
                book, sheet_name=name, header=None, dtype=object, keep_default_na=False, na_filter=False
            )
    except UserError:
        raise
    except Exception as error:  # openpyxl and xlrd raise errors of many kinds
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(f"{path}: expected a readable .xlsx, .xls or .csv file ({reason})") from error
    return [list(row) for row in frame.itertuples(index=False, name=None)]


def _read_csv(path: Path) -> list[list[Any]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: expected a readable CSV file in UTF-8 ({error})") from error


def _text(cell: Any) -> str:
    """A cell as a person reads it; nothing for a formula that could not be computed."""
    return "" if cell is None or (isinstance(cell, float) and math.isnan(cell)) else str(cell).strip()
