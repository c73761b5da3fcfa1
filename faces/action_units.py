"""Assigns the rows of an action-unit table to the frames of a clip.

Legend: T frames, 17 action units in the order of `ACTION_UNITS`, 2 sides of the face: the subject's left and right.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from faces.action_unit_tables import ACTION_UNITS as ACTION_UNITS
from faces.action_unit_tables import SETTING, ActionUnitTable, Side, read_table

SIDES: tuple[Side, Side] = ("left", "right")

log = logging.getLogger("action_units")


@dataclass(frozen=True)
class TableRules:
    """Rules for incomplete tables.

    Attributes:
        min_confidence: rows with a lower confidence are unusable.
        unknown: action units that the tool does not estimate are an error, or 0 in every frame.
        max_gap: at most this many consecutive frames without a usable row are interpolated; longer gaps are errors.
        setting: as `SETTING`.
    """

    min_confidence: float = 0.0
    unknown: Literal["error", "zero"] = "error"
    max_gap: int = 0
    setting: str = SETTING


def read_action_units(
    path: Path,
    num_frames: int,
    *,
    frame_numbers: Sequence[int] | None = None,
    rules: TableRules | None = None,
    notice: Callable[[str], None] = log.warning,
) -> NDArray[np.float32]:
    """Read the table of a clip; see `parse_table` for the formats, `clip_action_units` for arguments and result.

    Raises:
        ValueError: unreadable, not an action-unit table, or a table of another clip.
    """
    rules = rules or TableRules()
    table = read_table(path, rules.min_confidence, rules.setting)
    return clip_action_units(table, num_frames, frame_numbers=frame_numbers, rules=rules, notice=notice)


def clip_action_units(
    table: ActionUnitTable,
    num_frames: int,
    *,
    frame_numbers: Sequence[int] | None = None,
    rules: TableRules | None = None,
    notice: Callable[[str], None] = log.warning,
) -> NDArray[np.float32]:
    """Return the action units of a clip's frames.

    Rows are assigned to frames by number. Tools count the frames of their input, OpenFace from 1, py-feat and LibreFace
    from 0 (or from 1); or the numbers are those of the clip's frame files. The table may cover a longer recording if
    the files are numbered as in it, not merely from 0 or 1. A table that fits in two ways with different results is an
    error. In a table without numbers, the rows are the frames.

    Args:
        num_frames: T of the clip.
        frame_numbers: (T,) numbers in the names of the clip's frame files; None: they have none.
        rules: for missing rows and action units.
        notice: receives a message on every decision: values that are not intensities, action units that the tool does
            not estimate, interpolated frames.
    Returns:
        (T, 17, 2), 0 to 1, sides left and right of the subject.
    Raises:
        ValueError: rows and frames do not fit, a frame without a usable row, an action unit that the tool does not
            estimate.
    """
    rules = rules or TableRules()
    for remark in table.remarks:
        notice(f"{table.name}: {remark}")
    rows, labels = _rows_of_frames(table, num_frames, frame_numbers)
    row_values = _values_of_rows(table, rules, notice)
    values = np.full((num_frames, *row_values.shape[1:]), np.nan)
    problems: dict[int, str] = {}
    for t, row in enumerate(rows):
        if row is None or row in table.unusable:
            problems[t] = "no row" if row is None else table.unusable[row]
        else:
            values[t] = row_values[row]
    if problems:
        _interpolate(values, problems, labels, table.name, rules)
        frames = ", ".join(str(labels[t]) for t in problems)
        notice(f"{table.name}: {len(problems)} of {num_frames} frames interpolated: {frames}")
    if table.kind != "intensity":
        kind = "probabilities" if table.kind == "probability" else "0 or 1"
        notice(f"{table.tool.name} gives {kind}, not intensities of action units; they are used as intensities")
    return values.astype(np.float32)


def _rows_of_frames(
    table: ActionUnitTable, num_frames: int, frame_numbers: Sequence[int] | None
) -> tuple[list[int | None], list[int]]:
    """Row of each frame, from 0 (None: no row), and number of each frame."""
    if num_frames > 1000 * (len(table.values) + 1):  # before memory is asked for
        raise ValueError(
            f"{table.name}: expected a row for each of {num_frames} frames, got {len(table.values)}; is a frame number "
            "mistaken?"
        )
    if not len(table.values) or (table.numbers is None and len(table.values) != num_frames):
        why = "" if table.numbers is not None else " (there is no column `frame`)"
        raise ValueError(f"{table.name}: expected a row for each of {num_frames} frames{why}, got {len(table.values)}")
    if table.numbers is None:
        return list(range(num_frames)), list(range(1, num_frames + 1))
    given = {int(number): row for row, number in enumerate(table.numbers)}
    counted = {first: tuple(range(first, first + num_frames)) for first in table.tool.first}
    fits = {f"counted from {first}": numbers for first, numbers in counted.items() if given.keys() <= set(numbers)}
    if frame_numbers is not None:
        named = tuple(frame_numbers)
        # Names that only count the clip's own frames do not show the position of the clip in a longer recording.
        has_position = all(named != tuple(range(first, first + num_frames)) for first in (0, 1))
        if given.keys() <= set(named) or (has_position and given.keys() >= set(named)):
            fits["as in the frame files' names"] = named
    if not fits:
        expected = [f"{numbers[0]} to {numbers[-1]}" for numbers in counted.values()]
        if frame_numbers is not None:
            expected.append(f"those of the frame files ({min(frame_numbers)} to {max(frame_numbers)})")
        raise ValueError(
            f"{table.name}: expected the frame numbers {' or '.join(expected)}, "
            f"found {len(given)} rows, {min(given)} to {max(given)}"
        )
    if len(set(fits.values())) > 1:
        raise ValueError(
            f"{table.name}: expected a row for each of {num_frames} frames; {len(given)} rows, {min(given)} "
            f"to {max(given)}, can be frames {' and '.join(fits)}, which disagree"
        )
    numbers = next(iter(fits.values()))
    return [given.get(number) for number in numbers], list(numbers)


def _values_of_rows(table: ActionUnitTable, rules: TableRules, notice: Callable[[str], None]) -> NDArray[np.float64]:
    """Values of all rows by action unit and side, (R, 17, 2)."""
    at = {key: c for c, key in enumerate(table.columns)}
    values = np.zeros((len(table.values), len(ACTION_UNITS), len(SIDES)))
    unknown = []
    for i, unit in enumerate(ACTION_UNITS):
        if unit not in table.tool.units:
            unknown.append(f"AU{unit}")
            continue
        for j, side in enumerate(SIDES):
            values[:, i, j] = table.values[:, at[unit, side] if (unit, side) in at else at[unit, "both"]]
    if unknown:
        missing = f"{table.tool.name} ({table.tool.kind}) does not estimate {', '.join(unknown)}"
        if rules.unknown == "error":
            raise ValueError(
                f"{table.name}: expected {len(ACTION_UNITS)} action units, but {missing}; use a table of OpenFace 2 or "
                f"py-feat, or take them as 0 with {rules.setting}unknown: zero"
            )
        notice(f"{missing}; taken as 0 ({rules.setting}unknown: zero)")
    return values


def _interpolate(
    values: NDArray[np.float64], problems: dict[int, str], labels: list[int], name: str, rules: TableRules
) -> None:
    """Fill the frames of `problems` linearly from the frames around them, in place.

    Args:
        values: (T, 17, 2).
        problems: reasons why frames have no values, by frame from 0.
    Raises:
        ValueError: a gap that is longer than `rules.max_gap`, or that lies at the start or end of the clip.
    """
    for _, run in groupby(enumerate(problems), lambda pair: pair[1] - pair[0]):
        gap = [t for _, t in run]
        before, after = gap[0] - 1, gap[-1] + 1
        where = f"{name}: frame {labels[gap[0]]}: expected values, found {problems[gap[0]]}"
        if before < 0 or after == len(values):
            raise ValueError(f"{where}; frames at the start or end of a clip cannot be interpolated")
        if len(gap) > rules.max_gap:
            raise ValueError(f"{where}; {rules.setting}max_gap: {len(gap)} interpolates gaps of this length")
        for t in gap:
            share = (t - before) / (after - before)
            values[t] = (1 - share) * values[before] + share * values[after]
