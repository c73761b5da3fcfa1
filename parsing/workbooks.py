"""Cells of Excel workbooks, read within limits: a workbook is a compressed file that may be damaged or made to harm."""

import io
import math
import zipfile
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from errors import UserError
from parsing.text_tables import MAX_CELLS, describe_error

ZIP, OLE = b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_STREAMS = tuple(b"\x09" + kind for kind in (b"\0\x04\0", b"\x02\x06\0", b"\x04\x06\0", b"\x08\x08\0", b"\x08\x10\0"))
"""Beginnings of the workbooks of old versions of Excel that are not wrapped into an OLE file."""
MAX_UNPACKED = 128 * 2**20
MAX_ROWS = 1_048_576  # of spreadsheet programs
_ERRORS = frozenset({"#NULL!", "#DIV/0!", "#VALUE!", "#REF!", "#NAME?", "#NUM!", "#N/A"})


def is_workbook(data: bytes) -> bool:
    """True if bytes begin as those of an Excel workbook do, whatever the file's name."""
    return data.startswith((ZIP, OLE, *_STREAMS))


def read_workbook(data: bytes, path: Path) -> dict[str, list[list[str]]]:
    """Read the sheets of an .xlsx or .xls workbook; all rows of a sheet have the same number of cells.

    Args:
        data: content of the file.
        path: for messages.
    Returns:
        Text of the cells by name of the sheet, numbers without needless decimals; empty for empty cells, error values
        and formulas without a stored result. Empty rows at the end are left out.
    Raises:
        UserError: damaged, protected by a password, too large, or without a sheet.
    """
    try:
        sheets = _xlsx_sheets(data, path) if data.startswith(ZIP) else _xls_sheets(data, path)
        room, tables = MAX_CELLS, {}
        for name, rows in sheets.items():
            tables[name] = _read_rows(rows, room, path)
            room -= sum(map(len, tables[name]))
    except UserError:
        raise
    except Exception as error:  # openpyxl and xlrd raise errors of many kinds on damaged files
        raise UserError(
            f"{path}: expected a readable Excel workbook ({describe_error(error)}); open it in a spreadsheet program "
            "and save it again as .xlsx or .csv"
        ) from error
    if not tables:
        raise UserError(f"{path}: expected a workbook with a sheet, found none")
    return tables


def _read_rows(rows: Iterator[Sequence[Any]], room: int, path: Path) -> list[list[str]]:
    """Text of the cells of a sheet.

    Args:
        room: largest number of cells.
    """
    read: list[list[str]] = []
    filled = width = 0
    for row in rows:
        cells = [_text(value) for value in row]
        while cells and not cells[-1]:
            cells.pop()
        read.append(cells)
        filled, width = (len(read), max(width, len(cells))) if cells else (filled, width)
        if len(read) > MAX_ROWS or filled * width > room:
            raise UserError(f"{path}: expected at most {MAX_CELLS} cells; remove what is not needed")
    return [cells + [""] * (width - len(cells)) for cells in read[:filled]]


def _xlsx_sheets(data: bytes, path: Path) -> dict[str, Iterator[Sequence[Any]]]:
    import openpyxl

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > MAX_UNPACKED:
            raise UserError(
                f"{path}: unpacks to {unpacked / 2**20:.0f} MiB, expected at most {MAX_UNPACKED // 2**20}; is this the "
                "right file?"
            )
    book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True, keep_links=False)
    for sheet in book.worksheets:
        sheet.reset_dimensions()  # the size that the file states may be wrong
    return {sheet.title: sheet.iter_rows(values_only=True) for sheet in book.worksheets}


def _xls_sheets(data: bytes, path: Path) -> dict[str, Iterator[Sequence[Any]]]:
    import xlrd

    if "EncryptedPackage".encode("utf-16-le") in data:
        raise UserError(f"{path}: protected by a password; remove the protection and save it again")
    book = xlrd.open_workbook(file_contents=data, logfile=io.StringIO(), ragged_rows=True)

    def rows(sheet: Any) -> Iterator[Sequence[Any]]:
        for r in range(sheet.nrows):
            cells = zip(sheet.row_types(r), sheet.row_values(r), strict=True)
            yield [_xls_value(kind, value, book.datemode) for kind, value in cells]

    return {sheet.name: rows(sheet) for sheet in book.sheets()}


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


def _text(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, datetime):
        return str(value)
    text = str(value).strip()
    return "" if text in _ERRORS else text
