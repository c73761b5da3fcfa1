"""The table of finished clips that an interrupted run reads to go on."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class ResultTable:
    """`results.csv` of a folder of results: one row a clip, told apart by `folder`.

    Args:
        path: CSV file; read where it is there.
        columns: `folder` (of the clip's frames, beside the table) and `key` (hash of all that the result depends on)
            among them.
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
        """Whether a clip was finished from the same weights, settings and inputs, and its frames are still there."""
        row = self.rows.get(folder)
        return row is not None and row["key"] == key and (self.path.parent / folder).is_dir()

    def add(self, row: Mapping[str, Any]) -> None:
        """Write a clip's row, in place of an older one of the same folder."""
        self.rows[row["folder"]] = {name: str(row[name]) for name in self.columns}
        temporary = self.path.with_name(f".writing-{self.path.name}")
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self.columns)
            writer.writeheader()
            writer.writerows(self.rows.values())
        temporary.replace(self.path)
