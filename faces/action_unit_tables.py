"""Reads action-unit tables of OpenFace, py-feat and LibreFace into one schema: number, side, value, kind, tool.

Columns are found by name, never by position, because tools and versions add different ones, and OpenFace writes a blank
before every name.

Legend: R rows of a table, C columns with values.
"""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

ACTION_UNITS = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26, 45)
"""FACS numbers of the action units whose intensity OpenFace 2 estimates, and which the networks use."""

Side = Literal["left", "right"]
Sides = Literal["both", "left", "right"]
Kind = Literal["intensity", "probability", "binary"]

_SAME_MOVEMENT = {43: 45}  # eyes closed and blink differ in duration only, which a single frame does not have
SETTING = "dataset_params.au_"
"""Prefix that turns the name of a rule for tables, such as `min_confidence`, into a key of the config, for messages."""

_SIDES: dict[str | None, Sides] = {None: "both", "left": "left", "right": "right"}
_NUMBER_COLUMNS = ("frame", "frame_idx")
_CONFIDENCE_COLUMNS = ("confidence", "FaceScore")


@dataclass(frozen=True)
class Tool:
    """Format of the tables of a tool.

    Attributes:
        name: in messages.
        column: pattern of the names of columns with values; its groups are `unit` and, for columns of one side, `side`.
        units: the members of `ACTION_UNITS` that the tool estimates.
        top: value that is scaled to 1.
        kind: of the values.
        first: possible numbers of the first frame.
    """

    name: str
    column: re.Pattern[str]
    units: tuple[int, ...]
    top: float
    kind: Kind
    first: tuple[int, ...]


OPENFACE = Tool(
    "OpenFace", re.compile(r"AU(?P<unit>\d\d)_r(_(?P<side>left|right))?"), ACTION_UNITS, 5.0, "intensity", (1,)
)
PY_FEAT = Tool("py-feat", re.compile(r"AU(?P<unit>\d\d)"), ACTION_UNITS, 1.0, "probability", (0, 1))
LIBREFACE = Tool(
    "LibreFace",
    re.compile(r"au_(?P<unit>\d+)_intensity"),
    (1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26),
    5.0,
    "intensity",
    (0, 1),
)
LIBREFACE_DETECTIONS = Tool(
    "LibreFace", re.compile(r"au_(?P<unit>\d+)"), (1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23), 1.0, "binary", (0, 1)
)
_TOOLS = (OPENFACE, PY_FEAT, LIBREFACE, LIBREFACE_DETECTIONS)  # detections are used where there are no intensities


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
    """

    name: str
    tool: Tool
    kind: Kind
    columns: tuple[tuple[int, Sides], ...]
    values: NDArray[np.float64]
    numbers: NDArray[np.int64] | None
    unusable: dict[int, str]


def read_table(path: Path, min_confidence: float = 0.0, setting: str = SETTING) -> ActionUnitTable:
    """Read a CSV table; see `parse_table`.

    Raises:
        ValueError: unreadable, or not an action-unit table.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file) if any(cell.strip() for cell in row)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: expected a readable CSV table ({error})") from error
    if not rows:
        raise ValueError(f"{path}: expected a CSV table, found an empty file")
    return parse_table(rows[0], rows[1:], str(path), min_confidence, setting)


def parse_table(
    header: Sequence[str],
    rows: Sequence[Sequence[str | float]],
    name: str,
    min_confidence: float = 0.0,
    setting: str = SETTING,
) -> ActionUnitTable:
    """Convert a table to the common schema. The tool is recognised by the names of its columns:

    - OpenFace 2: `AU01_r` ... `AU45_r`, 0 to 5; `AU12_r_left` and `AU12_r_right` replace the column of both sides.
    - py-feat: `AU01` ... `AU43`, 0 to 1; AU43 (eyes closed) is used as AU45. Probabilities, or binary if all values
      are 0 or 1.
    - LibreFace: `au_1_intensity` ..., 0 to 5; without these its detections `au_1` ..., 0 or 1.

    Action units outside `ACTION_UNITS` are left out. Frame numbers come from `frame` or `frame_idx`. A row cannot be
    used where it has no values, where `success` is 0, or where `confidence` or `FaceScore` is too low.

    Args:
        header: names of the columns; surrounding blanks are ignored.
        rows: cells, as many per row as names.
        name: of the table, for messages.
        min_confidence: rows with a lower one are unusable.
        setting: as `SETTING`.
    Raises:
        ValueError: columns of no tool or of several, a missing or repeated column, a frame with two rows, a cell that
            is not a number or out of range.
    """
    header = [column.strip() for column in header]
    for r, row in enumerate(rows):
        if len(row) != len(header):
            raise ValueError(f"{name}: row {r + 1}: expected {len(header)} cells as in the header, got {len(row)}")
    tool = _find_tool(header, name)
    columns = _find_columns(header, tool, name)
    numbers = _frame_numbers(header, rows, name)
    labels = [f"row {r + 1}" for r in range(len(rows))] if numbers is None else [f"frame {n}" for n in numbers]
    values = np.full((len(rows), len(columns)), np.nan)
    unusable: dict[int, str] = {}
    for r, row in enumerate(rows):
        reason = _problem(header, row, list(columns.values()), min_confidence, setting, f"{name}: {labels[r]}")
        if reason:
            unusable[r] = reason
            continue
        for c, at in enumerate(columns.values()):
            value = _number(row[at], f"{name}: {labels[r]}: {header[at]}")
            if not 0 <= value <= tool.top:
                raise ValueError(f"{name}: {labels[r]}: {header[at]}: expected 0 to {tool.top:g}, got {value:g}")
            values[r, c] = value / tool.top
    used = values[~np.isnan(values)]
    only_two = tool.kind == "probability" and bool(np.isin(used, (0, 1)).all())
    return ActionUnitTable(name, tool, "binary" if only_two else tool.kind, tuple(columns), values, numbers, unusable)


def _find_tool(header: list[str], name: str) -> Tool:
    found = [tool for tool in _TOOLS if any(tool.column.fullmatch(column) for column in header)]
    if not found:
        shown = ", ".join(header[:8]) + (", ..." if len(header) > 8 else "")
        raise ValueError(
            f"{name}: expected columns of OpenFace (AU01_r), py-feat (AU01) or LibreFace (au_1_intensity), "
            f"found {shown}"
        )
    names = list(dict.fromkeys(tool.name for tool in found))
    if len(names) > 1:
        raise ValueError(f"{name}: expected columns of one tool, found those of {' and '.join(names)}; remove one set")
    return found[0]


def _find_columns(header: list[str], tool: Tool, name: str) -> dict[tuple[int, Sides], int]:
    """Index of the column of every action unit and side."""
    columns: dict[tuple[int, Sides], int] = {}
    for at, column in enumerate(header):
        match = tool.column.fullmatch(column)
        if match is None:
            continue
        unit = int(match["unit"])
        side = _SIDES[match.groupdict().get("side")]
        key = (_SAME_MOVEMENT.get(unit, unit), side)
        if key in columns:
            raise ValueError(f"{name}: expected one column of AU{key[0]}, found {header[columns[key]]} and {column}")
        if key[0] in ACTION_UNITS:
            columns[key] = at
    missing = [
        unit
        for unit in tool.units
        if (unit, "both") not in columns and not {(unit, "left"), (unit, "right")} <= columns.keys()
    ]
    if missing:
        listed = ", ".join(f"AU{unit}" for unit in missing)
        raise ValueError(f"{name}: expected the {len(tool.units)} columns of {tool.name}, found none of {listed}")
    return columns


def _frame_numbers(header: list[str], rows: Sequence[Sequence[str | float]], name: str) -> NDArray[np.int64] | None:
    at = next((header.index(column) for column in _NUMBER_COLUMNS if column in header), None)
    if at is None:
        return None
    numbers: dict[int, int] = {}
    for r, row in enumerate(rows):
        number = _number(row[at], f"{name}: row {r + 1}: {header[at]}")
        if not number.is_integer():
            raise ValueError(f"{name}: row {r + 1}: {header[at]}: expected a whole number, got {number:g}")
        if int(number) in numbers:
            raise ValueError(
                f"{name}: frame {number:g}: expected one row, found rows {numbers[int(number)] + 1} and {r + 1}; "
                "keep one face per frame"
            )
        numbers[int(number)] = r
    return np.array(list(numbers), np.int64)


def _problem(
    header: list[str], row: Sequence[str | float], values: list[int], min_confidence: float, setting: str, where: str
) -> str | None:
    """Reason why a row cannot be used; None if it can."""
    if all(_is_empty(row[at]) for at in values):
        return "no values"  # py-feat writes such a row where it finds no face
    if "success" in header and _number(row[header.index("success")], f"{where}: success") == 0:
        return "success 0"
    for column in _CONFIDENCE_COLUMNS:
        if column in header:
            confidence = _number(row[header.index(column)], f"{where}: {column}")
            if confidence < min_confidence:
                return f"{column} {confidence:g}, below {setting}min_confidence ({min_confidence:g})"
    return None


def _is_empty(cell: str | float) -> bool:
    return str(cell).strip().lower() in ("", "nan")


def _number(cell: str | float, where: str) -> float:
    try:
        number = float(cell)
    except ValueError as error:
        raise ValueError(f"{where}: expected a number, got {cell!r}") from error
    if not np.isfinite(number):
        raise ValueError(f"{where}: expected a number, got {cell!r}")
    return number
