"""Columns and ranges of the action-unit tables of OpenFace 2 and 3, py-feat and LibreFace.

Columns are found by name, never by position, because tools and versions add different ones, and OpenFace writes a blank
before every name.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from errors import UserError, printable

ACTION_UNITS = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26, 45)
"""FACS numbers of the action units whose intensity OpenFace 2 estimates, and which the networks use."""

Side = Literal["left", "right"]
Sides = Literal["both", "left", "right"]
Kind = Literal["intensity", "probability", "binary"]

_OCCURRENCE = re.compile(r"AU\d+_c", re.IGNORECASE)
_SAME_MOVEMENT = {43: 45}  # eyes closed and blink differ in duration only, which a single frame does not have
_SIDES: dict[str, Sides] = {"": "both", "left": "left", "right": "right"}


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
    "OpenFace",
    re.compile(r"AU(?P<unit>\d+)_r(_(?P<side>left|right))?", re.IGNORECASE),
    ACTION_UNITS,
    5.0,
    "intensity",
    (1,),
)
PY_FEAT = Tool("py-feat", re.compile(r"AU(?P<unit>\d+)", re.IGNORECASE), ACTION_UNITS, 1.0, "probability", (0, 1))
LIBREFACE = Tool(
    "LibreFace",
    re.compile(r"au_(?P<unit>\d+)_intensity", re.IGNORECASE),
    (1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26),
    5.0,
    "intensity",
    (0, 1),
)
LIBREFACE_DETECTIONS = Tool(
    "LibreFace",
    re.compile(r"au_(?P<unit>\d+)", re.IGNORECASE),
    (1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23),
    1.0,
    "binary",
    (0, 1),
)
LIST_COLUMN = "action_units"
"""Column of OpenFace 3, whose cells are lists of values."""

OPENFACE_3 = Tool(
    "OpenFace 3",
    re.compile(rf"{LIST_COLUMN} (?P<unit>\d+)"),
    (1, 2, 4, 6, 9, 12, 25, 26),
    1.0,
    "probability",
    (0,),
)
TOOLS = (
    OPENFACE,
    OPENFACE_3,
    PY_FEAT,
    LIBREFACE,
    LIBREFACE_DETECTIONS,
)  # detections are used where there are no intensities


def find_tool(header: Sequence[str], name: str) -> Tool:
    """The tool whose columns a table has.

    Args:
        header: names of the columns.
        name: of the table, for messages.
    Raises:
        UserError: columns of no tool, or of several.
    """
    found = [tool for tool in TOOLS if any(tool.column.fullmatch(column) for column in header)]
    if not found:
        if any(_OCCURRENCE.fullmatch(column) for column in header):
            raise UserError(f"{name}: found OpenFace's occurrences (AU01_c), expected its intensities (AU01_r)")
        shown = ", ".join(header[:8]) + (", ..." if len(header) > 8 else "")
        raise UserError(
            f"{name}: expected columns of OpenFace (AU01_r), py-feat (AU01) or LibreFace (au_1_intensity), "
            f"found {printable(shown)[:200]}"
        )
    names = list(dict.fromkeys(tool.name for tool in found))
    if len(names) > 1:
        raise UserError(f"{name}: expected columns of one tool, found those of {' and '.join(names)}; remove one set")
    return found[0]


def find_columns(header: Sequence[str], tool: Tool, name: str) -> dict[tuple[int, Sides], int]:
    """Index of the column of every action unit and side.

    Raises:
        UserError: a column is repeated or missing.
    """
    columns: dict[tuple[int, Sides], int] = {}
    for at, column in enumerate(header):
        match = tool.column.fullmatch(column)
        if match is None:
            continue
        unit = int(match["unit"])
        side = _SIDES[(match.groupdict().get("side") or "").lower()]
        key = (_SAME_MOVEMENT.get(unit, unit), side)
        if key[0] != unit and any(_number(tool, other) == key[0] for other in header):
            continue  # some versions of py-feat have both
        if key in columns:
            raise UserError(f"{name}: expected one column of AU{key[0]}, found {header[columns[key]]} and {column}")
        if key[0] in ACTION_UNITS:
            columns[key] = at
    missing = [
        unit
        for unit in tool.units
        if (unit, "both") not in columns and not {(unit, "left"), (unit, "right")} <= columns.keys()
    ]
    if missing:
        listed = ", ".join(f"AU{unit}" for unit in missing)
        reason = ""
        if tool is OPENFACE and sum(tool.column.fullmatch(column) is not None for column in header) == 8:
            units = ", ".join(map(str, OPENFACE_3.units))
            reason = (
                f"; 8 columns are those of OpenFace 3, whose values belong to AU {units} whatever the columns' names: "
                f"use its column `{LIST_COLUMN}`"
            )
        raise UserError(
            f"{name}: expected the {len(tool.units)} columns of {tool.name}, found none of {listed}{reason}"
        )
    return columns


def _number(tool: Tool, column: str) -> int | None:
    match = tool.column.fullmatch(column)
    return int(match["unit"]) if match else None
