"""Converts action-unit tables of OpenFace, py-feat and LibreFace into one schema: number, side, value, kind, tool.

Legend: R rows of a table, C columns with values.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import parsing.tables
from errors import UserError
from faces.action_unit_tools import ACTION_UNITS as ACTION_UNITS
from faces.action_unit_tools import LIST_COLUMN, OPENFACE_3, Kind, Sides, Tool, find_columns, find_tool
from faces.action_unit_tools import Side as Side
from faces.several_faces import LARGEST_FRAME_NUMBER, choose_face
from parsing.tables import quote_cell, to_number

SETTING = "dataset_params.au_"
"""Prefix that turns the name of a rule for tables, such as `min_confidence`, into a key of the config, for messages."""

_NUMBER_COLUMNS = ("frame", "frame_idx", "frame_index")
_CONFIDENCE_COLUMNS = ("confidence", "FaceScore")
_FACE_COLUMNS = ("face_id", "Identity")
_PRINTED_ARRAY = re.compile(r"\b(tensor|array)\b|,\s*(device|dtype|grad_fn)=[^,)]*")
_ROUNDING = 1e-3  # of the largest value; OpenFace writes -1e-05 and 5.00001


@dataclass(frozen=True)
class ActionUnitTable:
    """Content of a table.

    Attributes:
        name: of the file, for messages.
        tool: that wrote the table.
        kind: of the values; a probability is not an intensity.
        columns: action unit and side of each of the C columns; sides are the subject's.
        values: (R, C), 0 to 1; NaN in unusable rows.
        numbers: (R,) frame numbers of the table; None: it has none.
        unusable: reasons why rows cannot be used, by row from 0.
        remarks: decisions that were made while reading.
    """

    name: str
    tool: Tool
    kind: Kind
    columns: tuple[tuple[int, Sides], ...]
    values: NDArray[np.float64]
    numbers: NDArray[np.int64] | None
    unusable: dict[int, str]
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Rows:
    """Cells of a table.

    Attributes:
        name: of the table, for messages.
        header: names of the columns.
        cells: as many per row as names.
        numbers: of the rows, as in spreadsheet programs.
        frames: numbers of the rows' frames; None: the table has none.
    """

    name: str
    header: tuple[str, ...]
    cells: Sequence[Sequence[str | float]]
    numbers: Sequence[int]
    frames: tuple[int, ...] | None = None

    def where(self, r: int) -> str:
        """Name of a row in messages."""
        frame = "" if self.frames is None else f", frame {self.frames[r]}"
        return f"{self.name}: row {self.numbers[r]}{frame}"

    def column(self, *names: str) -> int | None:
        """Position of the first of several columns that the table has; None: it has none of them."""
        return next((self.header.index(name) for name in names if name in self.header), None)

    def number(self, r: int, at: int) -> float:
        """Finite number in a cell.

        Raises:
            UserError: the cell holds something else.
        """
        cell, value = self.cells[r][at], np.nan
        try:
            value = to_number(cell)
        except ValueError:
            pass
        if not np.isfinite(value):
            raise UserError(f"{self.where(r)}: {self.header[at]}: expected a number, got {quote_cell(cell)}")
        return value


def read_table(path: Path, min_confidence: float = 0.0, setting: str = SETTING) -> ActionUnitTable:
    """Read a table; see `parsing.tables` for formats of files and `parse_table` for tools.

    Raises:
        UserError: unreadable, or not an action-unit table.
    """
    table = parsing.tables.read_table(path)
    numbers = [row.number for row in table.rows]
    return parse_table(table.header, [row.cells for row in table.rows], str(path), min_confidence, setting, numbers)


def parse_table(
    header: Sequence[str],
    rows: Sequence[Sequence[str | float]],
    name: str,
    min_confidence: float = 0.0,
    setting: str = SETTING,
    row_numbers: Sequence[int] | None = None,
) -> ActionUnitTable:
    """Convert a table to the common schema. The tool is recognised by the names of its columns:

    - OpenFace 2: `AU01_r` ... `AU45_r`, 0 to 5; `AU12_r_left` and `AU12_r_right` replace the column of both sides.
    - OpenFace 3: `action_units`, a list of 8 values from 0 to 1 in one cell.
    - py-feat: `AU01` ... `AU43`, 0 to 1; AU43 (eyes closed) is used as AU45 where there is none. Probabilities, or
      binary if all values are 0 or 1.
    - LibreFace: `au_1_intensity` ..., 0 to 5; without these its detections `au_1` ..., 0 or 1.

    Action units outside `ACTION_UNITS` are left out. Frame numbers come from `frame`, `frame_idx` or `frame_index`. A
    row cannot be used where it has no values, where `success` is 0, or where `confidence` or `FaceScore` is too low.
    Where frames have rows of several faces, one face is used, see `choose_face`.

    Args:
        header: names of the columns; surrounding blanks are ignored.
        rows: cells, as many per row as names.
        name: of the table, for messages.
        min_confidence: rows with a lower one are unusable.
        setting: as `SETTING`.
        row_numbers: of the rows in spreadsheet programs; None: the header is row 1.
    Raises:
        UserError: columns of no tool or of several, a missing or repeated column, a frame with two rows, a cell that
            is not a number or out of range.
    """
    numbers = row_numbers or range(2, len(rows) + 2)
    table = _Rows(name, tuple(column.strip() for column in header), rows, numbers)
    for r, row in enumerate(rows):
        if len(row) != len(header):
            raise UserError(f"{table.where(r)}: expected {len(header)} cells as in the header, got {len(row)}")
    table = _split_lists(table)
    tool = find_tool(table.header, name)
    columns = find_columns(table.header, tool, name)
    table, remark = _one_face(replace(table, frames=_frame_numbers(table)), list(columns.values()))
    _check_frames(table)
    unusable: dict[int, str] = {}
    values = np.full((len(table.cells), len(columns)), np.nan)
    for r in range(len(table.cells)):
        if reason := _problem(table, r, list(columns.values()), min_confidence, setting):
            unusable[r] = reason
        else:
            values[r] = [table.number(r, at) for at in columns.values()]
    values, clipped = _clip_rounding(values, table, tool, list(columns.values()))
    used = values[~np.isnan(values)]
    only_two = tool.kind == "probability" and bool(np.isin(used, (0, 1)).all())
    frames = None if table.frames is None else np.array(table.frames, np.int64)
    remarks = tuple(text for text in (remark, clipped) if text)
    kind = "binary" if only_two else tool.kind
    return ActionUnitTable(name, tool, kind, tuple(columns), values, frames, unusable, remarks)


def _split_lists(table: _Rows) -> _Rows:
    """Give each value of OpenFace 3's lists a column."""
    at = table.column(LIST_COLUMN)
    if at is None:
        return table
    units = OPENFACE_3.units
    cells = []
    for r, row in enumerate(table.cells):
        text = _PRINTED_ARRAY.sub("", str(row[at]))
        values = [value for value in re.split(r"[\[\](){},;\s]+", text) if value]
        if values and len(values) != len(units) and not _is_empty(str(row[at])):
            raise UserError(
                f"{table.where(r)}: {LIST_COLUMN}: expected the {len(units)} values of OpenFace 3, "
                f"got {quote_cell(row[at])}"
            )
        cells.append([*row, *(values if len(values) == len(units) else [""] * len(units))])
    header = (*table.header, *(f"{LIST_COLUMN} {unit}" for unit in units))
    return replace(table, header=header, cells=cells)


def _one_face(table: _Rows, values: list[int]) -> tuple[_Rows, str | None]:
    """Rows of one face, and a remark where there are several."""
    at, success = table.column(*_FACE_COLUMNS), table.column("success")
    if at is None or table.frames is None:
        return table, None
    usable = [
        not all(_is_empty(row[column]) for column in values) and (success is None or not _is_zero(row[success]))
        for row in table.cells
    ]
    kept, remark = choose_face(table.frames, [str(row[at]).strip() for row in table.cells], usable, table.header[at])
    return replace(
        table,
        cells=[table.cells[r] for r in kept],
        numbers=[table.numbers[r] for r in kept],
        frames=tuple(table.frames[r] for r in kept),
    ), remark


def _clip_rounding(
    values: NDArray[np.float64], table: _Rows, tool: Tool, columns: list[int]
) -> tuple[NDArray[np.float64], str | None]:
    """Values scaled to 0 to 1, and a remark if some were beyond by rounding.

    Args:
        values: (R, C), 0 to `tool.top`, or NaN.
    Raises:
        UserError: a value beyond the range by more.
    """
    with np.errstate(invalid="ignore"):
        beyond = (values < 0) | (values > tool.top)
        wrong = (values < -_ROUNDING * tool.top) | (values > (1 + _ROUNDING) * tool.top)
    if wrong.any():
        r, c = np.argwhere(wrong)[0]
        where = f"{table.where(int(r))}: {table.header[columns[c]]}"
        raise UserError(f"{where}: expected 0 to {tool.top:g}, got {values[r, c]:g}")
    if not beyond.any():
        return values / tool.top, None
    r, c = np.argwhere(beyond)[0]
    first = f"{values[r, c]:.6g} in row {table.numbers[r]}"
    return (
        np.clip(values, 0, tool.top) / tool.top,
        f"{beyond.sum()} values beyond 0 to {tool.top:g} by rounding ({first}), moved to the limit",
    )


def _frame_numbers(table: _Rows) -> tuple[int, ...] | None:
    """Numbers of the rows' frames; None if the table has none."""
    at = table.column(*_NUMBER_COLUMNS)
    if at is None:
        return None
    frames = []
    for r, row in enumerate(table.cells):
        number = table.number(r, at)
        if not (number.is_integer() and 0 <= number <= LARGEST_FRAME_NUMBER):
            expected = f"expected a whole number from 0 to {LARGEST_FRAME_NUMBER}"
            raise UserError(f"{table.where(r)}: {table.header[at]}: {expected}, got {quote_cell(row[at])}")
        frames.append(int(number))
    return tuple(frames)


def _check_frames(table: _Rows) -> None:
    rows: dict[int, int] = {}
    for frame, number in zip(table.frames or (), table.numbers, strict=False):
        if frame in rows:
            raise UserError(
                f"{table.name}: frame {frame}: expected one row, found rows {rows[frame]} and {number}; "
                "keep one face per frame"
            )
        rows[frame] = number


def _problem(table: _Rows, r: int, values: list[int], min_confidence: float, setting: str) -> str | None:
    """Reason why a row cannot be used; None if it can."""
    if all(_is_empty(table.cells[r][at]) for at in values):
        return "no values"  # py-feat writes such a row where it finds no face
    success = table.column("success")
    if success is not None and table.number(r, success) == 0:
        return "success 0"
    for column in _CONFIDENCE_COLUMNS:
        if (at := table.column(column)) is not None:
            confidence = table.number(r, at)
            if confidence < min_confidence:
                return f"{column} {confidence:g}, below {setting}min_confidence ({min_confidence:g})"
    return None


def _is_empty(cell: str | float) -> bool:
    try:
        return bool(np.isnan(to_number(cell)))
    except ValueError:
        return False


def _is_zero(cell: str | float) -> bool:
    try:
        return to_number(cell) == 0
    except ValueError:
        return False
