"""Columns by which the table of a coding sheet is recognised.

Names are compared whatever their case, blanks and punctuation: "Onset Frame" is "OnsetFrame".
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from errors import UserError
from preparation.readers.cells import Table

_ROWS = 40  # the sheet of SAMM has 13 rows above its header
_UNNAMED = re.compile(r"Unnamed: \d+")  # a blank header that went through pandas
_REMEDY = "; for columns of other names, set `columns`"
_SHOWN = 80  # characters of a cell in a message


class Body(NamedTuple):
    """Rows below a header.

    Attributes:
        names: of the columns; "" for a column without a name.
        start: index in the table of the first row below the header.
    """

    names: list[str]
    start: int


@dataclass(frozen=True)
class Header:
    """Names of the columns of a table.

    Attributes:
        columns: that must be there.
        optional: further columns under whose names columns are recognised.
        spellings: other names of these columns in some editions.
        headless: for editions without a header: columns from left to right, with regular expressions of their cells.
        known: names that the header may contain, spelled exactly so; None: any.
        given: names that the user gives to columns, by documented name; they replace the documented ones.
    """

    columns: tuple[str, ...]
    optional: tuple[str, ...] = ()
    spellings: Mapping[str, Sequence[str]] = field(default_factory=dict)
    headless: Mapping[str, str] = field(default_factory=dict)
    known: tuple[str, ...] | None = None
    given: Mapping[str, str] = field(default_factory=dict)

    def with_given(self, given: Mapping[str, str]) -> "Header":
        """The header with names that the user gives to columns.

        Raises:
            UserError: there is no such column.
        """
        names = self.known or (*self.columns, *self.optional)
        for name in given:
            if name not in names:
                raise UserError(f"columns: expected names among {', '.join(names)}; got {shown(name)}")
        return replace(self, given=given)

    def is_in(self, table: Table) -> bool:
        """True if a table has all columns."""
        _, missing = self._best_row(table)
        return not missing or self._first_headless_row(table) is not None

    def body(self, table: Table, path: Path) -> Body:
        """Find the names of the columns.

        Raises:
            UserError: a column is missing, repeated or unknown.
        """
        at, missing = self._best_row(table)
        if missing and (start := self._first_headless_row(table)) is not None:
            return Body(list(self.headless), start)
        where = f"{path}: row {at + 1}"
        if len(missing) == len(self.columns):
            raise UserError(f"{path}: expected the columns {','.join(self.columns)}; found none of them{_REMEDY}")
        if missing:
            found = ", ".join(shortened(name) for name in table[at] if name)
            raise UserError(
                f"{where}: expected the column {' and '.join(map(repr, missing))}, found {found[:400]}{_REMEDY}"
            )
        names = ["" if _UNNAMED.fullmatch(cell) else self._name_of(cell) for cell in table[at]]
        for name in filter(None, names):
            if self.known is not None and name not in self.known:
                raise UserError(f"{where}: expected columns among {','.join(self.known)}; got {shown(name)}")
            if names.count(name) > 1 and (self.known is not None or name in (*self.columns, *self.optional)):
                raise UserError(f"{where}: expected one column {name!r}, found several; remove all but one")
        return Body(names, at + 1)

    def _name_of(self, cell: str) -> str:
        """Name of the column of which a cell of the header is a spelling; the cell itself if there is none."""
        if self.known is not None:
            return {_normalised(own): name for name, own in self.given.items()}.get(_normalised(cell), cell)
        return self._spelled.get(_normalised(cell), cell)

    @property
    def _spelled(self) -> dict[str, str]:
        spellings = {name: same for name, same in self.spellings.items() if name not in self.given}
        others = {_normalised(other): name for name, same in spellings.items() for other in same}
        documented = {_normalised(name): name for name in (*self.columns, *self.optional) if name not in self.given}
        return others | documented | {_normalised(own): name for name, own in self.given.items()}

    def _best_row(self, table: Table) -> tuple[int, list[str]]:
        """Index of the row with the most columns, and the columns that it lacks."""
        spelled = self._spelled
        lacking = []
        for row in table[:_ROWS]:
            there = {spelled.get(_normalised(cell)) for cell in row}
            lacking.append([name for name in self.columns if name not in there])
        if not lacking:
            return 0, list(self.columns)
        at = min(range(len(lacking)), key=lambda at: len(lacking[at]))
        return at, lacking[at]

    def _first_headless_row(self, table: Table) -> int | None:
        """Index of the first row of a table without a header; None for other tables."""
        patterns = [re.compile(pattern, re.IGNORECASE) for pattern in self.headless.values()]
        for at, row in enumerate(table[:_ROWS] if patterns else ()):
            if len(row) >= len(patterns) and all(p.fullmatch(c) for p, c in zip(patterns, row, strict=False)):
                return at
        return None


def shortened(cell: str) -> str:
    """Text of a cell for a message, cut where it is long."""
    return cell if len(cell) <= _SHOWN else cell[:_SHOWN] + "..."


def shown(cell: str) -> str:
    """As `shortened`, in quotes."""
    return repr(shortened(cell))


def _normalised(name: str) -> str:
    return "".join(character for character in name.casefold() if character.isalnum())
