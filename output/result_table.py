"""Table of finished clips, to which several runs may add rows at the same time."""

import csv
import io
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from core.files import write_text
from core.locks import claimed
from parsing.cells import cell_text, plain_cell, safe_cell
from parsing.files import MIB, read_file

log = logging.getLogger("output")

_MAX_BYTES = 256 * MIB


class ResultTable:
    """`results.csv` of a folder of results: one row per clip, identified by `folder`.

    Columns that other programs have added are kept. A file that cannot be read as this table is moved aside.

    Args:
        path: CSV file; read if it exists.
        columns: names, among them `folder` (folder of the clip's frames, beside the table) and `key` (hash of
            everything that the result depends on).
    Raises:
        UserError: `path` is no file, or cannot be read.
    """

    def __init__(self, path: Path, columns: list[str]):
        self.path = path
        self.columns = columns
        self.rows: dict[str, dict[str, str]] = {}
        self._others: list[str] = []
        if path.exists():
            with claimed(self._lock, wait=True):
                self._read()

    def add(self, row: Mapping[str, Any]) -> None:
        """Add a row, or replace that of the same folder, and write the table; keys that are no columns are ignored.

        Rows that other runs have added since the table was read are kept.
        """
        with claimed(self._lock, wait=True):
            self._read()
            known = self.rows.get(row["folder"], {})
            added = {name: cell_text(row[name]) for name in self.columns}
            self.rows[row["folder"]] = {**known, **added}
            write_text(self.path, csv_text([*self.columns, *self._others], self.rows.values()))

    @property
    def _lock(self) -> Path:
        return self.path.with_name(f".{self.path.name}.lock")

    def _read(self) -> None:
        self.rows, self._others = {}, []
        if not self.path.exists():
            return
        content = read_file(self.path, max_bytes=_MAX_BYTES)
        problem = None
        try:
            reader = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
            names = list(reader.fieldnames or ())
            if missing := [name for name in self.columns if name not in names]:
                problem = f"the column {missing[0]} is missing"
            self._others = [name for name in dict.fromkeys(names) if name not in self.columns]
            for row in reader if problem is None else ():
                if None in row or None in row.values():
                    problem = f"line {reader.line_num} has another number of cells than the header"
                else:
                    self.rows[plain_cell(row["folder"])] = {name: plain_cell(cell) for name, cell in row.items()}
        except (UnicodeDecodeError, csv.Error) as error:
            problem = str(error)
        if problem is not None:
            self._move_aside(problem)

    def _move_aside(self, problem: str) -> None:
        numbers = range(1, 10_000)
        names = (self.path.with_name(f"{self.path.stem}_unreadable_{number}.csv") for number in numbers)
        other = next(path for path in names if not path.exists())
        self.path.rename(other)
        log.warning("%s: not a table of this program (%s); it is now %s", self.path, problem, other.name)


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Return a CSV table with a header, its cells as `safe_cell` has them; lines end with a line feed."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: safe_cell(cell) for name, cell in row.items()} for row in rows)
    return text.getvalue()
