"""Labels of a clip from a row of a sheet, checked against its frames: onset, apex, offset, frame rate and FACS code."""

import math
from dataclasses import dataclass, replace
from typing import Literal

from faces.facs import parse_code
from preparation.clip_record import ClipRecord, Remark
from preparation.readers.header import shortened
from preparation.readers.sheets import Row, Unreadable

MissingApex = Literal["leave", "midpoint"]
"""Apex where the release gives none: None, or halfway from onset to offset as in tvaranka/meb."""

LONGEST = 0.5
"""Seconds of a micro-expression (Yan et al., Journal of Nonverbal Behavior, 2013)."""


@dataclass(frozen=True)
class Movement:
    """Onset, apex and offset as frame numbers, with remarks on them."""

    onset: int
    apex: int | None
    offset: int
    remarks: tuple[Remark, ...] = ()


@dataclass(frozen=True)
class MovementColumns:
    """Columns of onset, apex and offset; `apex` is None where the release gives no apex."""

    onset: str
    apex: str | None
    offset: str


def read_movement(row: Row, columns: MovementColumns, numbers: tuple[int, ...], rule: MissingApex) -> Movement:
    """Read onset, apex and offset of a row.

    An apex is ignored if it does not lie between onset and offset, or if there is no such frame. An apex that is the
    onset is kept: the recording began too late, and its first frame is the strongest.

    Args:
        numbers: of the clip's frames, in order.
        rule: for a missing or ignored apex.
    Raises:
        Unreadable: onset or offset is missing, out of order, or not a frame of the clip.
    """
    onset, offset = _required_frame(row, columns.onset), _required_frame(row, columns.offset)
    apex = row.frame(columns.apex) if columns.apex else None
    if offset <= onset:
        raise Unreadable(f"{columns.offset}: expected a frame after the onset {onset}, got {offset}")
    for column, frame in ((columns.onset, onset), (columns.offset, offset)):
        check_frame(column, frame, numbers)
    if columns.apex is None:
        found, problem = "apex: the release gives none", None
    else:
        found = f"{row.where}, {columns.apex}: {shortened(row.cells.get(columns.apex, '')) or 'empty'}"
        problem = _apex_problem(apex, onset, offset, numbers)
        if problem is None:
            falls = (Remark(found, "the onset itself: the first frame is the strongest"),) if apex == onset else ()
            return Movement(onset, apex, offset, falls)
    return without_apex(found, problem, onset, offset, numbers, rule)


def without_apex(
    found: str, problem: str | None, onset: int, offset: int, numbers: tuple[int, ...], rule: MissingApex
) -> Movement:
    """A movement whose apex is unknown.

    Args:
        found: place and value, for the remark.
        problem: with the value; None: the release never gives an apex, which needs no remark.
        numbers: of the clip's frames, in order.
    """
    if rule == "midpoint":
        middle = min(numbers, key=lambda number: abs(2 * number - onset - offset))
        reason = f"{problem}; " if problem else ""
        remark = Remark(found, f"{reason}{middle}, halfway from onset to offset (missing_apex: midpoint)")
        return Movement(onset, middle, offset, (remark,))
    return Movement(onset, None, offset, (Remark(found, f"no apex: {problem}"),) if problem else ())


def _required_frame(row: Row, column: str) -> int:
    frame = row.frame(column)
    if frame is None:
        raise Unreadable(f"{column}: expected a frame number, got nothing")
    return frame


def _apex_problem(apex: int | None, onset: int, offset: int, numbers: tuple[int, ...]) -> str | None:
    """Reason why an apex cannot be used; None if it can."""
    if apex is None:
        return "the sheet gives none"
    if apex < onset:
        return f"before the onset {onset}"
    if apex > offset:
        return f"after the offset {offset}"
    return None if apex in numbers else "there is no such frame"


def in_order(row: Row, columns: MovementColumns, numbers: tuple[int, ...]) -> bool:
    """True if a row gives onset, apex and offset in order, and onset and offset are frames of the clip.

    Raises:
        Unreadable: a cell is not a number.
    """
    onset, offset = row.frame(columns.onset), row.frame(columns.offset)
    apex = row.frame(columns.apex) if columns.apex else None
    if onset is None or offset is None or not {onset, offset} <= set(numbers):
        return False
    return onset < offset and (apex is None or onset <= apex <= offset)


def check_frame(column: str, frame: int, numbers: tuple[int, ...]) -> None:
    """Check that a clip has a frame.

    Raises:
        Unreadable: it does not.
    """
    if frame not in numbers:
        span = f"frames from {numbers[0]} to {numbers[-1]}"
        gap = " with a gap there" if numbers[0] < frame < numbers[-1] else ""
        raise Unreadable(f"{column}: expected one of the {span}{gap}, got {frame}")


def check_span(row: Row, first: str, last: str, movement: Movement, numbers: tuple[int, ...]) -> tuple[Remark, ...]:
    """Remarks on a clip whose first and last frame are not those in the columns `first` and `last` of its row, or
    whose onset or offset lies outside them; empty cells are not checked.

    Args:
        numbers: of the clip's frames, in order.
    Raises:
        Unreadable: a cell is not a frame number.
    """
    start, end = row.frame(first), row.frame(last)
    if start is None or end is None:
        return ()
    found = f"{row.where}, {first} to {last}: {start} to {end}"
    remarks = []
    if (start, end) != (numbers[0], numbers[-1]):
        remarks.append(Remark(found, f"ignored: the folder has the frames {numbers[0]} to {numbers[-1]}"))
    if not start <= movement.onset < movement.offset <= end:
        remarks.append(Remark(found, f"ignored: onset {movement.onset} or offset {movement.offset} lies outside"))
    return tuple(remarks)


def check_duration(clip: ClipRecord) -> ClipRecord:
    """The clip, with a remark if it lasts longer than a micro-expression."""
    assert clip.onset is not None, "called with a movement"
    assert clip.offset is not None, "called with a movement"
    seconds = (clip.offset - clip.onset) / clip.fps
    if seconds <= LONGEST:
        return clip
    remark = Remark(f"{seconds:.2f} s from onset to offset", f"longer than a micro-expression ({LONGEST} s); kept")
    return replace(clip, remarks=(*clip.remarks, remark))


def with_movement(clip: ClipRecord, movement: Movement) -> ClipRecord:
    """The clip with onset, apex and offset, and the remarks on them."""
    remarks = (*clip.remarks, *movement.remarks)
    return replace(clip, onset=movement.onset, apex=movement.apex, offset=movement.offset, remarks=remarks)


def read_rate(row: Row, column: str) -> float | None:
    """Frames per second in a row; None if the cell is empty.

    Raises:
        Unreadable: not a positive number.
    """
    fps = row.number_in(column)
    if fps is not None and not 0 < fps < math.inf:
        raise Unreadable(f"{column}: expected frames per second, got {shortened(row.cells[column])}")
    return fps


def read_facs(row: Row, column: str) -> tuple[str | None, tuple[Remark, ...]]:
    """FACS code of a row as it is written, with remarks on parts that are left out or do not move as written; None for
    a code of which `parse_code` can read no part."""
    text = row.text(column)
    if text is None:
        return None, ()
    found = f"{row.where}, {column}: {shortened(text)}"
    if text == "?":
        return None, (Remark(found, "no FACS code: the coders give none"),)
    notices: list[str] = []
    try:
        parse_code(text, alternatives="flag", others="leave_out", notice=notices.append)
    except ValueError as error:
        return None, (Remark(found, f"no FACS code: {error}"),)
    return text, tuple(Remark(found, notice) for notice in notices)
