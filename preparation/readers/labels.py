"""What a sheet says of a clip, checked against its frames: the movement's frames and the FACS code."""

import math
from dataclasses import dataclass, replace
from typing import Literal

from faces.facs import parse_code
from preparation.clip_record import ClipRecord, Repair
from preparation.readers.sheets import Row, Unreadable

MissingApex = Literal["leave", "midpoint"]
"""What becomes of an apex that the release does not give: None, or halfway from onset to offset as in tvaranka/meb."""

_COMMAS = str.maketrans({"\N{FULLWIDTH COMMA}": ","})


@dataclass(frozen=True)
class Movement:
    """Onset, apex and offset as frame numbers, and what was put right to get them."""

    onset: int
    apex: int | None
    offset: int
    repairs: tuple[Repair, ...] = ()


@dataclass(frozen=True)
class MovementColumns:
    """Names of the columns; no name for the apex: the release has none."""

    onset: str
    apex: str | None
    offset: str


def read_movement(row: Row, columns: MovementColumns, numbers: tuple[int, ...], rule: MissingApex) -> Movement:
    """Onset, apex and offset of a row.

    An apex that does not lie after the onset and up to the offset, or has no frame, is none.

    Args:
        numbers: of the clip's frames, in order.
        rule: for a missing apex.
    Raises:
        Unreadable: no onset or offset, out of order, or without a frame.
    """
    onset, offset = _required(row, columns.onset), _required(row, columns.offset)
    apex = row.frame(columns.apex) if columns.apex else None
    if offset <= onset:
        raise Unreadable(f"{columns.offset}: expected a frame after the onset {onset}, got {offset}")
    for column, frame in ((columns.onset, onset), (columns.offset, offset)):
        check_frame(column, frame, numbers)
    if columns.apex is None:
        what, why = "apex: the release gives none", None
    else:
        what = f"{row.where}, {columns.apex}: {row.cells.get(columns.apex) or 'empty'}"
        why = _dead_apex(apex, onset, offset, numbers)
        if why is None:
            return Movement(onset, apex, offset)
    return without_apex(what, why, onset, offset, numbers, rule)


def without_apex(
    what: str, why: str | None, onset: int, offset: int, numbers: tuple[int, ...], rule: MissingApex
) -> Movement:
    """A movement whose apex is not known.

    Args:
        what: place and value, for the repair.
        why: what is wrong with the value; None: the release never gives an apex, which needs no repair.
        numbers: of the clip's frames, in order.
    """
    if rule == "midpoint":
        middle = min(numbers, key=lambda number: abs(2 * number - onset - offset))
        repair = Repair(what, f"{why + '; ' if why else ''}{middle}, halfway from onset to offset, as asked for")
        return Movement(onset, middle, offset, (repair,))
    return Movement(onset, None, offset, (Repair(what, f"no apex: {why}"),) if why else ())


def _required(row: Row, column: str) -> int:
    frame = row.frame(column)
    if frame is None:
        raise Unreadable(f"{column}: expected the number of a frame, got nothing")
    return frame


def _dead_apex(apex: int | None, onset: int, offset: int, numbers: tuple[int, ...]) -> str | None:
    if apex is None:
        return "the sheet gives none"
    if apex <= onset:
        return f"not after the onset {onset}"
    if apex > offset:
        return f"after the offset {offset}"
    return None if apex in numbers else "there is no such frame"


def in_order(row: Row, columns: MovementColumns, numbers: tuple[int, ...]) -> bool:
    """Whether the movement of a row can be read and no frame of it is out of order or missing.

    Raises:
        Unreadable: a cell is no number.
    """
    onset, offset = row.frame(columns.onset), row.frame(columns.offset)
    apex = row.frame(columns.apex) if columns.apex else None
    if onset is None or offset is None or not {onset, offset} <= set(numbers):
        return False
    return onset < offset and (apex is None or onset < apex <= offset)


def check_frame(column: str, frame: int, numbers: tuple[int, ...]) -> None:
    """Check that a clip has a frame.

    Raises:
        Unreadable: it has not.
    """
    if frame not in numbers:
        span = f"frames from {numbers[0]} to {numbers[-1]}"
        gap = " with a gap there" if numbers[0] < frame < numbers[-1] else ""
        raise Unreadable(f"{column}: expected one of the {span}{gap}, got {frame}")


def with_movement(clip: ClipRecord, movement: Movement) -> ClipRecord:
    """The clip with its onset, apex and offset, and what was put right to get them."""
    repairs = (*clip.repairs, *movement.repairs)
    return replace(clip, onset=movement.onset, apex=movement.apex, offset=movement.offset, repairs=repairs)


def read_rate(row: Row, column: str) -> float | None:
    """Frames a second in a row, if it says.

    Raises:
        Unreadable: not a positive number.
    """
    fps = row.number_in(column)
    if fps is not None and not 0 < fps < math.inf:
        raise Unreadable(f"{column}: expected frames a second, got {row.cells[column]}")
    return fps


def read_facs(row: Row, column: str) -> tuple[str | None, tuple[Repair, ...]]:
    """The FACS code of a row, as `parse_code` reads it; a code that it cannot read is none."""
    text = row.text(column)
    if text is None:
        return None, ()
    what = f"{row.where}, {column}: {text}"
    repairs = []
    if text == "?":
        return None, (Repair(what, "no FACS code: the coders name none"),)
    if (plain := text.translate(_COMMAS)) != text:
        repairs.append(Repair(what, f"{plain}: the comma is that of ASCII"))
    try:
        units = parse_code(plain, alternatives="flag", others="leave_out")
    except ValueError as error:
        return None, (Repair(what, f"no FACS code: {error}"),)
    if any(unit.alternative for unit in units):
        repairs.append(Repair(what, "the first of the alternatives moves, the others are kept in the code"))
    if any(unit.optional for unit in units):
        repairs.append(Repair(what, "what is marked (k) counts as coded and stays marked"))
    try:
        parse_code(plain, alternatives="flag")
    except ValueError:
        repairs.append(Repair(what, "action units whose movement is unknown here stay in the code and do not move"))
    return plain, tuple(repairs)
