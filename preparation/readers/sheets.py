"""Rows of coding sheets under the names of their columns."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path

from errors import UserError
from parsing.tables import to_number
from preparation.clip_record import Remark
from preparation.readers.cells import Table, read_cells
from preparation.readers.header import Header, shortened, shown

_NO_VALUE = frozenset({"", "/", "-", "nan", "n/a", "none"})


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
            number = math.nan if cell is None else to_number(cell)
        except ValueError as error:
            raise Unreadable(f"{column}: expected a number, got {shown(cell or '')}") from error
        return None if math.isnan(number) else number

    def frame(self, column: str) -> int | None:
        """Frame number in a cell; None if it is empty.

        Raises:
            Unreadable: the cell holds something else.
        """
        number = self.number_in(column)
        if number is not None and not number.is_integer():
            raise Unreadable(f"{column}: expected a frame number, got {shown(self.cells[column])}")
        return None if number is None else int(number)

    def with_cell(self, column: str, value: str, done: str) -> "Row":
        """This row with another value in a cell, and a remark on the change."""
        remark = Remark(f"{self.where}, {column}: {shortened(self.cells[column]) or 'empty'}", done)
        return replace(self, cells=self.cells | {column: value}, remarks=(*self.remarks, remark))


@dataclass(frozen=True)
class Sheet:
    """A coding sheet.

    Attributes:
        rows: in their order, at least one.
        columns: names of the columns that are there.
        remarks: on the sheet as a whole.
        other_rows: cells of the rows in the other sheets of the workbook.
    """

    rows: tuple[Row, ...]
    columns: frozenset[str]
    remarks: tuple[Remark, ...]
    other_rows: tuple[tuple[str, ...], ...] = ()


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


def read_sheet(path: Path, header: Header, *, tab: str | None = None) -> Sheet:
    """Read a coding sheet. Lines above the header and rows without text are left out.

    Args:
        tab: preferred sheet of the workbook; if there is none of this name, the only one with the columns is read.
    Raises:
        UserError: the file is unreadable, several sheets of the workbook have the columns, there are no rows, or a
            column is missing, repeated or unknown.
    """
    tables = read_cells(path)
    table = _choose_table(tables, header, tab, path)
    names, start = header.body(table, path)
    rows = []
    for index, row in enumerate(table[start:]):
        cells = {name: cell for name, cell in zip_longest(names, row, fillvalue="") if name}
        if any(cells.values()):
            rows.append(Row(path.name, start + index + 1, index, cells))
    if not rows:
        raise UserError(f"{path}: expected rows below the header in row {start}, found none")
    named = frozenset(filter(None, names))
    blank = names[: max(names.index(name) for name in named)].count("")
    remarks = (Remark(f"{path.name}: {blank} columns without a name", "left out"),) if blank else ()
    others = tuple(tuple(row) for other in tables.values() if other is not table for row in other)
    return Sheet(tuple(rows), named, remarks, others)


def has_columns(path: Path, header: Header) -> bool:
    """True if a file is a readable sheet that has all columns."""
    try:
        tables = read_cells(path)
    except UserError:
        return False
    return any(header.is_in(table) for table in tables.values())


def _choose_table(tables: Mapping[str, Table], header: Header, tab: str | None, path: Path) -> Table:
    """The documented sheet of a workbook, or else the only one that has the columns.

    Raises:
        UserError: none or several have them.
    """
    if len(tables) == 1:
        return next(iter(tables.values()))
    complete = {name: table for name, table in tables.items() if header.is_in(table)}
    if tab is not None and tab in tables:
        return tables[tab] if tab in complete or not complete else next(iter(complete.values()))
    if tab is None and not complete:
        return next(iter(tables.values()))
    if len(complete) != 1:
        found = ", ".join(complete or tables) or "none"
        wanted = f"the sheet {tab!r}, or one" if tab else "one sheet"
        raise UserError(f"{path}: expected {wanted} with the columns {','.join(header.columns)}, found {found}")
    return next(iter(complete.values()))
