"""Reads coding sheets (.xlsx, .xls and .csv) as rows of text under the names of their columns."""

import csv
import math
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pandas as pd

from errors import UserError, first_line
from parsing.files import searched_folder
from preparation.clip_record import Remark

SUFFIXES = (".xlsx", ".xls", ".csv")
_HEADER_ROWS = 40  # the sheet of SAMM has 13 rows above its header
_NO_VALUE = frozenset({"", "/", "-", "nan", "n/a", "none"})
_UNNAMED = re.compile(r"Unnamed: \d+")  # a blank header that went through pandas


class Unreadable(Exception):
    """A row, folder or file that yields no clip; the message is the reason, in one line."""


@dataclass(frozen=True)
class Row:
    """One row of a sheet.

    Attributes:
        sheet: name of the file.
        number: as in spreadsheet programs, counted from 1, header and blank rows included.
        index: counted from 0 at the first row below the header, as in pandas and in published lists of errors.
        cells: text by column, without surrounding blanks.
        remarks: on corrections of the row.
    """

    sheet: str
    number: int
    index: int
    cells: dict[str, str]
    remarks: tuple[Remark, ...] = ()

    @property
    def where(self) -> str:
        """Name of the row in messages."""
        return f"{self.sheet}, row {self.number}"

    def text(self, column: str) -> str | None:
        """Text of a cell; None if it is blank or holds a sign for "no value"."""
        cell = self.cells.get(column, "")
        return None if cell.casefold() in _NO_VALUE else cell

    def number_in(self, column: str) -> float | None:
        """Number in a cell; None if it is empty.

        Raises:
            Unreadable: the cell holds something else.
        """
        cell = self.text(column)
        try:
            number = None if cell is None else float(cell)
        except ValueError as error:
            raise Unreadable(f"{column}: expected a number, got {cell!r}") from error
        return number

    def frame(self, column: str) -> int | None:
        """Frame number in a cell; None if it is empty.

        Raises:
            Unreadable: the cell holds something else.
        """
        number = self.number_in(column)
        if number is not None and not number.is_integer():
            raise Unreadable(f"{column}: expected a frame number, got {self.cells[column]!r}")
        return None if number is None else int(number)

    def with_cell(self, column: str, value: str, done: str) -> "Row":
        """This row with another value in a cell, and a remark on the change."""
        remark = Remark(f"{self.where}, {column}: {self.cells[column] or 'empty'}", done)
        return replace(self, cells=self.cells | {column: value}, remarks=(*self.remarks, remark))


@dataclass(frozen=True)
class Sheet:
    """A coding sheet."""

    rows: tuple[Row, ...]
    remarks: tuple[Remark, ...]


def merge_repeats(rows: Sequence[Row]) -> Row:
    """Merge the rows of one clip into one.

    Raises:
        Unreadable: they differ.
    """
    first, *others = rows
    if any(row.cells != first.cells for row in others):
        numbers = " and ".join(str(row.number) for row in rows)
        raise Unreadable(f"{first.sheet}: rows {numbers} belong to one clip and differ; remove all but one")
    repeats = [Remark(f"{row.where}: repeats row {first.number}", "ignored") for row in others]
    return replace(first, remarks=(*first.remarks, *repeats))


def find_sheet(
    places: Sequence[Iterable[Path]], names: Sequence[str], given: Path | None
) -> tuple[Path, tuple[Remark, ...]]:
    """Find a coding sheet by its documented names.

    Args:
        places: groups of folders to search, the nearest first; the search ends at the first group that has a sheet.
        names: file names of the sheet's editions, the preferred one first; case is ignored.
        given: sheet that the user names; it is used whatever its name.
    Returns:
        The sheet, and a remark where an edition was preferred to others.
    Raises:
        UserError: no such sheet, or the same edition in several places.
    """
    if given is not None:
        if not given.is_file():
            raise UserError(f"{given}: no such sheet{searched_folder(given)}")
        return given, ()
    files = find_parts(places, "|".join(map(re.escape, names)))
    editions = [found for name in names if (found := [p for p in files if p.name.casefold() == name.casefold()])]
    if len(editions[0]) > 1:
        raise UserError(f"expected one coding sheet, found {' and '.join(map(str, editions[0]))}; set `sheet`")
    chosen, *others = (edition[0] for edition in editions)
    remarks = tuple(Remark(f"{p.name} beside {chosen.name}", f"{chosen.name} is used") for p in others)
    return chosen, remarks


def find_parts(places: Sequence[Iterable[Path]], pattern: str) -> list[Path]:
    """Find all files whose names match a regular expression, for sheets in several files; `places` as in `find_sheet`.

    Raises:
        UserError: there are none.
    """
    for folders in places:
        found = [path for path in _sheet_files(folders) if re.fullmatch(pattern, path.name, re.IGNORECASE)]
        if found:
            return found
    wanted = pattern.replace("\\", "").replace("|", " or ")
    raise UserError(f"expected the coding sheet {wanted} beside the clips, found none; set `sheet`")


def _sheet_files(places: Iterable[Path]) -> list[Path]:
    """Sheets in folders, each once, without hidden files and lock files of office programs (`~$`)."""
    found = {p.resolve(): p for place in places for p in place.iterdir() if p.suffix.lower() in SUFFIXES}
    return sorted(p for p in found.values() if not p.name.startswith((".", "~$")))


def read_sheet(
    path: Path, columns: Collection[str], *, tab: str | None = None, known: Collection[str] | None = None
) -> Sheet:
    """Read a coding sheet. Lines above the header and rows without text are left out.

    Args:
        columns: names that the header must contain.
        tab: sheet of the workbook; ignored if the workbook has a single sheet.
        known: names that the header may contain; None: any.
    Raises:
        UserError: the file is unreadable, the workbook has no such sheet, there are no rows, or one of `columns` is
            missing or repeated, or a column is unknown; columns outside `columns` and `known` may be repeated.
    """
    table = _read_csv(path) if path.suffix.lower() == ".csv" else _read_workbook(path, tab)
    table = [[re.sub(r"\s+", " ", _text(cell)) for cell in row] for row in table]
    at = _header_position(table, columns, path)
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
    remarks = (Remark(f"{path.name}: {blank} columns without a name", "left out"),) if blank else ()
    return Sheet(tuple(rows), remarks)


def _header_position(table: list[list[str]], columns: Collection[str], path: Path) -> int:
    """Index of the row that contains the names of all columns."""
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
        raise UserError(f"{path}: expected a readable .xlsx, .xls or .csv file ({first_line(error)})") from error
    return [list(row) for row in frame.itertuples(index=False, name=None)]


def _read_csv(path: Path) -> list[list[Any]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: expected a readable CSV file in UTF-8 ({error})") from error


def _text(cell: Any) -> str:
    """Text of a cell; empty for a formula that could not be computed."""
    return "" if cell is None or (isinstance(cell, float) and math.isnan(cell)) else str(cell).strip()
