"""Reads the cells of coding sheets (.xlsx, .xls and .csv) as text; `sheets` finds their meaning."""

import csv
import math
import re
from pathlib import Path
from typing import Any

import pandas as pd

from errors import UserError, first_line

SUFFIXES = (".xlsx", ".xls", ".csv")
Table = list[list[str]]
"""Text of the cells by row, without line breaks, repeated blanks and blanks at the ends."""


def read_cells(path: Path) -> dict[str, Table]:
    """Read a sheet.

    Returns:
        Its tables by name of the tab; a CSV file has one, without a name.
    Raises:
        UserError: the file is unreadable.
    """
    tables = {"": _read_csv(path)} if path.suffix.lower() == ".csv" else _read_workbook(path)
    return {tab: [[_text(cell) for cell in row] for row in table] for tab, table in tables.items()}


def _read_workbook(path: Path) -> dict[str, list[list[Any]]]:
    try:
        frames = pd.read_excel(path, sheet_name=None, header=None, dtype=object, keep_default_na=False, na_filter=False)
    except Exception as error:  # openpyxl and xlrd raise errors of many kinds
        raise UserError(f"{path}: expected a readable .xlsx, .xls or .csv file ({first_line(error)})") from error
    return {str(tab): [list(row) for row in frame.itertuples(index=False, name=None)] for tab, frame in frames.items()}


def _read_csv(path: Path) -> list[list[Any]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: expected a readable CSV file in UTF-8 ({error})") from error


def _text(cell: Any) -> str:
    """Text of a cell; empty for a formula that could not be computed."""
    missing = cell is None or (isinstance(cell, float) and math.isnan(cell))
    return "" if missing else re.sub(r"\s+", " ", str(cell)).strip()
