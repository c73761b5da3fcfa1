"""Landmarks of tables: rows of points, or rows of frames."""

import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from errors import UserError
from faces.alignment import LANDMARKS
from faces.several_faces import LARGEST_FRAME_NUMBER, choose_face
from parsing.tables import Row, Table, make_table, quote_cell, to_number

_COLUMN = re.compile(r"(?:\w*?[a-z]_|landmarks?|lmk|)(?:([xy])_?(\d{1,2})|(\d{1,2})_?([xy]))", re.IGNORECASE)
"""Column of a coordinate, as `x_0` of OpenFace; others write `X0`, `x1` to `x68`, `landmark_0_x` and `0_x`."""
_FRAME_COLUMNS = ("frame", "frame_idx", "frame_index", "frame_id", "frameno")


def points_of_table(path: Path, rows: Sequence[Row], notice: Callable[[str], None]) -> NDArray[np.float64]:
    """Read the points of a table, which has

    - one point per row, `x,y`, with or without a header and a column of numbers or names;
    - with a column `frame` beside them, 68 rows per frame;
    - one frame per row, in 136 columns without a header, or in the columns `x_0` to `x_67` and `y_0` to `y_67` of
      OpenFace (see `_COLUMN` for other names), sorted by the column `frame` if there is one.

    Args:
        path: for messages.
        rows: of the table, at least one.
        notice: receives a remark on the choice of a face where a table has several.
    Returns:
        (rows, 2), (T, 136) or (T, 68, 2), xy; NaN for empty cells.
    Raises:
        UserError: columns are missing, a cell is not a number, a frame has no face or two rows.
    """
    columns = _coordinate_columns(rows[0].cells)
    if columns is not None:
        return _points_of_frames(make_table(path, rows), columns, notice)
    if not any(map(_is_number, rows[0].cells)):
        return _named_points(make_table(path, rows))
    widths = {len(row.cells) for row in rows}
    if widths == {2 * LANDMARKS}:
        return np.array([[_number(row, at, path, f"column {at + 1}") for at in range(2 * LANDMARKS)] for row in rows])
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
        frame = next((names.index(name) for name in _FRAME_COLUMNS if name in names), None)
        if frame is not None and len(table.rows) > LANDMARKS:
            return _points_by_frame(table, frame, x, y)
    elif len(names) in (2, 3):
        x, y = 0, 1
    else:
        shown = quote_cell(", ".join(table.header))
        raise UserError(f"{table.path}: expected the columns x,y (or x_0 to y_67), found {shown}")
    if not table.rows:
        raise UserError(f"{table.path}: expected {LANDMARKS} rows below the header, found none")
    return np.array([[_number(row, x, table.path, "x"), _number(row, y, table.path, "y")] for row in table.rows])


def _points_by_frame(table: Table, frame: int, x: int, y: int) -> NDArray[np.float64]:
    """Landmarks (T, 68, 2) of a table with a row per point and frame."""
    frames: dict[int, list[list[float]]] = {}
    for row in table.rows:
        point = [_number(row, x, table.path, "x"), _number(row, y, table.path, "y")]
        frames.setdefault(_frame_number(row, frame, table.path), []).append(point)
    for number, points in frames.items():
        if len(points) != LANDMARKS:
            raise UserError(f"{table.path}: frame {number}: expected {LANDMARKS} rows, found {len(points)}")
    return np.array([frames[number] for number in sorted(frames)])


def _coordinate_columns(header: Sequence[str]) -> list[int] | None:
    """Positions of the columns x_0, y_0, x_1, ... of the 68 points; None: these are no names of coordinates.

    OpenFace's own names are preferred, because its tables have other coordinates, too: X_0, Y_0, Z_0 are millimetres.
    """
    own = {f"{axis}_{i}": (axis, i) for i in range(LANDMARKS) for axis in "xy"}
    found = {own[name]: at for at, name in enumerate(header) if name in own}
    if len(found) < len(own) and not {"x_0", "Z_0"} & set(header):
        matches = [(at, match) for at, name in enumerate(header) if (match := _COLUMN.fullmatch(name))]
        keys = [((m[1] or m[4]).lower(), int(m[2] or m[3])) for _, m in matches]
        first = min((number for _, number in keys), default=0)
        numbered = {(axis, number - first): at for (axis, number), (at, _) in zip(keys, matches, strict=True)}
        if first > 1 or len(keys) != len(own) or numbered.keys() != set(own.values()):
            return None
        found = numbered
    return [found.get((axis, i), -1) for i in range(LANDMARKS) for axis in "xy"]


def _points_of_frames(table: Table, columns: Sequence[int], notice: Callable[[str], None]) -> NDArray[np.float64]:
    """Landmarks (T, 68, 2) of a table with a row per frame.

    Args:
        columns: positions of x_0, y_0, x_1, ...; -1: absent.
    """
    path, rows = table.path, list(table.rows)
    column = {name.casefold(): i for i, name in enumerate(table.header)}
    names = [f"{axis}_{i}" for i in range(LANDMARKS) for axis in "xy"]
    missing = [name for name, at in zip(names, columns, strict=True) if at < 0]
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
    pairs = list(zip(names, columns, strict=True))
    values = np.array([[_number(row, at, path, name) for name, at in pairs] for row in rows])
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
    first = [row.cells[0].rstrip(":.") for row in rows]
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
