"""Landmarks of tables: rows of points, or OpenFace's rows of frames."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from errors import UserError
from faces.alignment import LANDMARKS
from faces.several_faces import LARGEST_FRAME_NUMBER, choose_face
from parsing.tables import Row, Table, make_table, quote_cell, to_number


def points_of_table(path: Path, rows: Sequence[Row], notice: Callable[[str], None]) -> NDArray[np.float64]:
    """Read one point per row, `x,y`, or one frame per row, as OpenFace writes it.

    Args:
        path: for messages.
        rows: of the table, at least one.
        notice: receives a remark on the choice of a face where a table has several.
    Returns:
        (rows, 2), or (T, 68, 2), xy; NaN for empty cells.
    Raises:
        UserError: columns are missing, a cell is not a number, a frame has no face or two rows.
    """
    if "x_0" in rows[0].cells:
        return _points_of_frames(make_table(path, rows), notice)
    if not any(map(_is_number, rows[0].cells)):
        return _named_points(make_table(path, rows))
    widths = {len(row.cells) for row in rows}
    x = 1 if _count_points(rows) and min(widths) > 2 else 0
    for row in rows:
        if not x + 2 <= len(row.cells) <= x + 3:
            raise UserError(
                f"{path}: row {row.number} has {len(row.cells)} columns, expected x,y (or a table with columns x_0 to "
                "y_67)"
            )
    return np.array([[_number(row, x, path, "x"), _number(row, x + 1, path, "y")] for row in rows])


def _named_points(table: Table) -> NDArray[np.float64]:
    """Points of a table with a header."""
    names = [name.casefold() for name in table.header]
    if {"x", "y"} <= set(names):
        x, y = names.index("x"), names.index("y")
    elif len(names) in (2, 3):
        x, y = 0, 1
    else:
        shown = quote_cell(", ".join(table.header))
        raise UserError(f"{table.path}: expected the columns x,y (or x_0 to y_67), found {shown}")
    if not table.rows:
        raise UserError(f"{table.path}: expected {LANDMARKS} rows below the header, found none")
    return np.array([[_number(row, x, table.path, "x"), _number(row, y, table.path, "y")] for row in table.rows])


def _points_of_frames(table: Table, notice: Callable[[str], None]) -> NDArray[np.float64]:
    """Landmarks (T, 68, 2) of an OpenFace table."""
    path, rows = table.path, list(table.rows)
    column = {name: i for i, name in enumerate(table.header)}
    names = [f"{axis}_{i}" for i in range(LANDMARKS) for axis in "xy"]
    missing = [name for name in names if name not in column]
    if missing:
        raise UserError(f"{path}: {len(missing)} landmark columns are missing, the first is {missing[0]}")
    if "frame" in column:
        rows = _sort_frames(table, column, notice)
    if "success" in column:
        failed = [i for i, row in enumerate(rows) if _number(row, column["success"], path, "success") == 0]
        if failed:
            raise UserError(
                f"{path}: no face was found in {len(failed)} of {len(rows)} frames (success = 0), first {failed[0]}"
            )
    values = np.array([[_number(row, column[name], path, name) for name in names] for row in rows])
    return values.reshape(-1, LANDMARKS, 2)


def _sort_frames(table: Table, column: dict[str, int], notice: Callable[[str], None]) -> list[Row]:
    """Rows of one face in the order of their frame numbers."""
    path, rows = table.path, table.rows
    frames = [_frame_number(row, column["frame"], path) for row in rows]
    kept = list(range(len(rows)))
    if "face_id" in column:
        faces = [row.cells[column["face_id"]] for row in rows]
        at = column.get("success")
        found = [at is None or _number(row, at, path, "success") != 0 for row in rows]
        kept, remark = choose_face(frames, faces, found, "face_id")
        if remark:
            notice(f"{path}: {remark}")
    kept.sort(key=lambda i: frames[i])
    for i, j in pairwise(kept):
        if frames[i] == frames[j]:
            raise UserError(
                f"{path}: row {rows[j].number}: a frame number occurs twice; expected one face in every frame"
            )
    return [rows[i] for i in kept]


def _count_points(rows: Sequence[Row]) -> bool:
    """True if the first column only counts the points, from 0 or 1."""
    first = [row.cells[0] for row in rows]
    return first in ([str(i) for i in range(start, start + LANDMARKS)] for start in (0, 1))


def _frame_number(row: Row, at: int, path: Path) -> int:
    number = _number(row, at, path, "frame")
    if not (number.is_integer() and 0 <= number <= LARGEST_FRAME_NUMBER):
        raise UserError(
            f"{path}: row {row.number}: frame: expected a whole number from 0, got {quote_cell(row.cells[at])}"
        )
    return int(number)


def _number(row: Row, at: int, path: Path, name: str) -> float:
    try:
        return to_number(row.cells[at])
    except ValueError as error:
        raise UserError(f"{path}: row {row.number}: {name}: {error}") from error


def _is_number(cell: str) -> bool:
    try:
        return not np.isnan(to_number(cell))
    except ValueError:
        return False
