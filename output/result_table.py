"""Table of finished clips, from which an interrupted run resumes."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from core.files import write_text


class ResultTable:
    """`results.csv` of a folder of results: one row per clip, identified by `folder`.

    Args:
        path: CSV file; read if it exists.
        columns: names, among them `folder` (folder of the clip's frames, beside the table) and `key` (hash of
            everything that the result depends on).
    """

    def __init__(self, path: Path, columns: list[str]):
        self.path = path
        self.columns = columns
        self.rows: dict[str, dict[str, str]] = {}
        if path.exists():
            with path.open(newline="", encoding="utf-8") as file:
                rows = [row for row in csv.DictReader(file) if None not in row.values()]
            self.rows = {row["folder"]: row for row in rows if set(columns) <= set(row)}

    def finished(self, folder: str, key: str) -> bool:
        """Return True if a clip has this key, which covers weights, settings and inputs, and its frames still exist."""
        row = self.rows.get(folder)
        return row is not None and row["key"] == key and (self.path.parent / folder).is_dir()

    def add(self, row: Mapping[str, Any]) -> None:
        """Add a row, or replace that of the same folder, and write the table; keys that are no columns are ignored."""
        self.rows[row["folder"]] = {name: str(row[name]) for name in self.columns}
        write_text(self.path, csv_text(self.columns, self.rows.values()))


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Return a CSV table with a header; lines end with a line feed on every system."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
