"""Rows of coding sheets under the names of their columns.

A column is recognised whatever its case, blanks and punctuation: "Onset Frame" is "OnsetFrame".
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path

from errors import UserError
from preparation.clip_record import Remark
from preparation.readers.cells import Table, read_cells

_HEADER_ROWS = 40  # the sheet of SAMM has 13 rows above its header
_NO_VALUE = frozenset({"", "/", "-", "nan", "n/a", "none"})
_UNNAMED = re.compile(r"Unnamed: \d+")  # a blank header that went through pandas
_SHOWN = 80  # characters of a cell in a message


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
            raise Unreadable(f"{column}: expected a number, got {shown(cell or '')}") from error
        return number

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
    """

    rows: tuple[Row, ...]
    columns: frozenset[str]
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


def read_sheet(
    path: Path,
    columns: Collection[str],
    *,
    optional: Collection[str] = (),
    tab: str | None = None,
    known: Collection[str] | None = None,
) -> Sheet:
    """Read a coding sheet. Lines above the header and rows without text are left out.

    Args:
        columns: names that the header must contain.
        optional: further names under which columns are recognised.
        tab: preferred sheet of the workbook; if there is none of this name, the only one with the columns is read.
        known: names that the header may contain, spelled exactly so; None: any.
    Raises:
        UserError: the file is unreadable, several sheets of the workbook have the columns, there are no rows, one of
            `columns` is missing, or one of `columns` and `optional` is repeated, or a column is unknown.
    """
    table = _choose_table(read_cells(path), columns, tab, path)
    at = _header_position(table, columns, path)
    wanted = {_normalised(name): name for name in (*columns, *optional)} if known is None else {}
    header = ["" if _UNNAMED.fullmatch(name) else wanted.get(_normalised(name), name) for name in table[at]]
    names = [name for name in header if name]
    for name in names:
        if known is not None and name not in known:
            raise UserError(f"{path}: expected columns among {','.join(known)}; got {shown(name)}")
        if names.count(name) > 1 and (known is not None or name in wanted.values()):
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
    return Sheet(tuple(rows), frozenset(names), remarks)


def has_columns(path: Path, columns: Collection[str]) -> bool:
    """True if a file is a readable sheet with a header that contains all columns."""
    try:
        tables = read_cells(path)
    except UserError:
        return False
    return any(_is_complete(table, columns) for table in tables.values())


def shortened(cell: str) -> str:
    """Text of a cell for a message, cut where it is long."""
    return cell if len(cell) <= _SHOWN else cell[:_SHOWN] + "..."


def shown(cell: str) -> str:
    """As `shortened`, in quotes."""
    return repr(shortened(cell))


def _choose_table(tables: Mapping[str, Table], columns: Collection[str], tab: str | None, path: Path) -> Table:
    """The documented sheet of a workbook, or else the only one that has the columns.

    Raises:
        UserError: none or several have them.
    """
    if len(tables) == 1:
        return next(iter(tables.values()))
    complete = {name: table for name, table in tables.items() if _is_complete(table, columns)}
    if tab is not None and tab in tables:
        return tables[tab] if tab in complete or not complete else next(iter(complete.values()))
    if tab is None and not complete:
        return next(iter(tables.values()))
    if len(complete) != 1:
        found = ", ".join(complete or tables) or "none"
        wanted = f"the sheet {tab!r}, or one" if tab else "one sheet"
        raise UserError(f"{path}: expected {wanted} with the columns {','.join(columns)}, found {found}")
    return next(iter(complete.values()))


def _header_position(table: Table, columns: Collection[str], path: Path) -> int:
    """Index of the row that contains the names of all columns.

    Raises:
        UserError: there is none.
    """
    wanted = {_normalised(name): name for name in columns}
    held = [len(wanted.keys() & {_normalised(cell) for cell in row}) for row in table[:_HEADER_ROWS]]
    if not held or max(held) == 0:
        raise UserError(f"{path}: expected the columns {','.join(columns)}; found none of them")
    at = held.index(max(held))
    there = {_normalised(cell) for cell in table[at]}
    missing = [name for key, name in wanted.items() if key not in there]
    if missing:
        found = ", ".join(shortened(name) for name in table[at] if name)
        raise UserError(f"{path}: expected the column {' and '.join(map(repr, missing))}, found {found[:400]}")
    return at


def _is_complete(table: Table, columns: Collection[str]) -> bool:
    wanted = {_normalised(name) for name in columns}
    return any(wanted <= {_normalised(cell) for cell in row} for row in table[:_HEADER_ROWS])


def _normalised(name: str) -> str:
    return "".join(character for character in name.casefold() if character.isalnum())
