"""Reads the cells of coding sheets (.xlsx, .xls and .csv) as text; `sheets` finds their meaning."""

import re
from pathlib import Path

from parsing.tables import read_tabs

SUFFIXES = (".xlsx", ".xls", ".csv")
Table = list[list[str]]
"""Text of the cells by row, without line breaks, repeated blanks and blanks at the ends."""


def read_cells(path: Path) -> dict[str, Table]:
    """Read a sheet, see `read_tabs`.

    Returns:
        Its tables by name of the tab; a text has one, without a name.
    Raises:
        UserError: the file is unreadable.
    """
    tabs = read_tabs(path)
    return {tab: [[re.sub(r"\s+", " ", cell) for cell in row] for row in table] for tab, table in tabs.items()}
