"""Cells of Excel workbooks, read within limits: a workbook is a compressed file that may be damaged or made to harm."""

import io
import math
import zipfile
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from errors import UserError, first_line
from parsing.text_tables import MAX_CELLS

ZIP, OLE = b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
MAX_UNPACKED = 128 * 2**20
MAX_ROWS = 1_048_576  # of spreadsheet programs
_ERRORS = frozenset({"#NULL!", "#DIV/0!", "#VALUE!", "#REF!", "#NAME?", "#NUM!", "#N/A"})


def is_workbook(data: bytes) -> bool:
    """True if bytes begin as those of an Excel workbook do, whatever the file's name."""
    return data.startswith((ZIP, OLE))


def read_workbook(data: bytes, path: Path, tab: str | None) -> list[list[str]]:
    """Read one sheet of an .xlsx or .xls workbook; all rows have the same number of cells.

    Args:
        data: content of the file.
        path: for messages.
        tab: name of the sheet; None, or a workbook with a single sheet: the first.
    Returns:
        Text of the cells, numbers without needless decimals; empty for empty cells, error values and formulas without a
        stored result.
    Raises:
        UserError: damaged, protected by a password, too large, or without such a sheet.
    """
    kind = _xlsx_rows if data.startswith(ZIP) else _xls_rows
    rows: list[list[str]] = []
    filled = width = 0
    try:
        for row in kind(data, path, tab):
            cells = [_text(value) for value in row]
            while cells and not cells[-1]:
                cells.pop()
            rows.append(cells)
            filled, width = (len(rows), max(width, len(cells))) if cells else (filled, width)
            if len(rows) > MAX_ROWS or filled * width > MAX_CELLS:
                raise UserError(f"{path}: expected at most {MAX_CELLS} cells; remove what is not needed")
    except UserError:
        raise
    except Exception as error:  # openpyxl and xlrd raise errors of many kinds on damaged files
        raise UserError(
            f"{path}: expected a readable Excel workbook ({first_line(error)}); open it in a spreadsheet program and "
            "save it again as .xlsx or .csv"
        ) from error
    return [cells + [""] * (width - len(cells)) for cells in rows[:filled]]


def _xlsx_rows(data: bytes, path: Path, tab: str | None) -> Iterator[Sequence[Any]]:
    import openpyxl

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > MAX_UNPACKED:
            raise UserError(
                f"{path}: unpacks to {unpacked / 2**20:.0f} MiB, expected at most {MAX_UNPACKED // 2**20}; is this the "
                "right file?"
            )
    book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True, keep_links=False)
    sheets = {sheet.title: sheet for sheet in book.worksheets}
    sheet = sheets[_choose_tab(list(sheets), path, tab)]
    sheet.reset_dimensions()  # the size that the file states may be wrong
    yield from sheet.iter_rows(values_only=True)


def _xls_rows(data: bytes, path: Path, tab: str | None) -> Iterator[Sequence[Any]]:
    import xlrd

    if "EncryptedPackage".encode("utf-16-le") in data:
        raise UserError(f"{path}: protected by a password; remove the protection and save it again")
    book = xlrd.open_workbook(file_contents=data, logfile=io.StringIO(), on_demand=True, ragged_rows=True)
    sheet = book.sheet_by_name(_choose_tab(book.sheet_names(), path, tab))
    for r in range(sheet.nrows):
        yield [
            _xls_value(kind, value, book.datemode)
            for kind, value in zip(sheet.row_types(r), sheet.row_values(r), strict=True)
        ]


def _xls_value(kind: int, value: Any, datemode: int) -> Any:
    import xlrd

    if kind == xlrd.XL_CELL_DATE:
        try:
            return xlrd.xldate_as_datetime(value, datemode)
        except (OverflowError, ValueError):
            return value
    if kind == xlrd.XL_CELL_BOOLEAN:
        return bool(value)
    return None if kind == xlrd.XL_CELL_ERROR else value


def _choose_tab(names: list[str], path: Path, tab: str | None) -> str:
    if not names:
        raise UserError(f"{path}: expected a workbook with a sheet, found none")
    if tab is None or len(names) == 1:
        return names[0]
    if tab not in names:
        raise UserError(f"{path}: expected the sheet {tab!r}, found {', '.join(names)}")
    return tab


def _text(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, datetime):
        return str(value)
    text = str(value).strip()
    return "" if text in _ERRORS else text
