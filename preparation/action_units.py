"""Action units of a prepared clip: the user's table, else curves from the FACS code.

Legend: R frames of the release that are used, T frames that are written, 17 action units, 2 sides.
"""

import csv
import re
from io import StringIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from config.preparation import PrepareAUParams
from faces.action_units import ACTION_UNITS, SIDES, TableRules, read_action_units
from faces.alignment import remove_head_motion
from faces.facs import MAX_INTENSITY, CodedUnit, intensity_curves, parse_code
from preparation.clip_record import ClipRecord, Repair
from preparation.timing import Timing


class ActionUnits(NamedTuple):
    """Action units of the written frames.

    Attributes:
        values: (T, 17, 2), 0 to 1, the subject's left and right.
        source: `table`, or `code`.
        remarks: what was decided on the way.
    """

    values: NDArray[np.float64]
    source: str
    remarks: tuple[Repair, ...]


def imported_table(record: ClipRecord, path: Path, timing: Timing, params: PrepareAUParams) -> ActionUnits:
    """The user's table of a clip, whose rows are frames of the release's clip.

    Raises:
        ValueError: unreadable, or not of this clip.
    """
    notices: list[str] = []
    rules = TableRules(params.min_confidence, params.unknown, params.max_gap, "prepare_params.au_params.")
    numbers = record.frame_numbers
    values = read_action_units(path, len(numbers), frame_numbers=numbers, rules=rules, notice=notices.append)
    used = values[timing.used.start : timing.used.stop].astype(np.float64)
    return ActionUnits(timing.interpolate(used), "table", tuple(Repair(f"{path.name}", text) for text in notices))


def coded_curves(
    record: ClipRecord, timing: Timing, landmarks: NDArray[np.float64], default_intensity: float
) -> ActionUnits:
    """Curves that rise from the onset to the apex and fall to the offset, at the heights that the code gives.

    Without an apex, it is the frame in which the landmarks are farthest from the onset, head motion removed.

    Args:
        record: with a FACS code.
        landmarks: (T, 68, 2), pixels of the written frames.
        default_intensity: 0 to 5, of units to which the code gives none.
    Raises:
        ValueError: the code cannot be read, or onset, apex and offset are no course.
    """
    assert record.facs is not None, "curves are asked for where there is a code"
    units = parse_code(record.facs, alternatives="flag", others="leave_out")
    remarks = _remarks(record.facs, units)
    count = len(timing.used)
    apex, offset = timing.apex, count - 1 if timing.offset is None else timing.offset
    if apex is None:
        apex = _farthest(landmarks, timing, offset)
        number = record.frame_numbers[timing.used.start + apex]
        remarks.append(Repair("no apex", f"frame {number}, in which the landmarks are farthest from the onset"))
    if timing.offset is None:
        remarks.append(Repair("no offset", f"the last frame, {record.frame_numbers[-1]}"))
    offset = max(offset, apex + 1)  # some releases end a clip at its apex
    length = max(count, offset + 1)
    curves = intensity_curves(units, timing.onset, apex, offset, length, default=default_intensity / MAX_INTENSITY)
    return ActionUnits(timing.interpolate(curves[:count].astype(np.float64)), "code", tuple(remarks))


def table_text(values: NDArray[np.float64]) -> str:
    """A table as `faces.action_unit_tables` reads it: `frame` from 1, intensities 0 to 5, a column for both sides of a
    unit, or one for each where they differ.

    Args:
        values: (T, 17, 2), 0 to 1.
    """
    columns: list[tuple[str, NDArray[np.float64]]] = []
    for i, unit in enumerate(ACTION_UNITS):
        name = f"AU{unit:02d}_r"
        if np.array_equal(values[:, i, 0], values[:, i, 1]):
            columns.append((name, values[:, i, 0]))
        else:
            columns += [(f"{name}_{side}", values[:, i, j]) for j, side in enumerate(SIDES)]
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["frame", *(name for name, _ in columns)])
    for t in range(len(values)):
        writer.writerow([t + 1, *(f"{column[t] * MAX_INTENSITY:.4f}" for _, column in columns)])
    return text.getvalue()


def _remarks(code: str, units: list[CodedUnit]) -> list[Repair]:
    """What of a code the curves leave out."""
    named = {int(number) for number in re.findall(r"(?<![=.\d])\d+", code)}
    unknown = ", ".join(f"AU{number}" for number in sorted(named - set(ACTION_UNITS)))
    alternatives = ", ".join(f"AU{unit.au}" for unit in units if unit.alternative)
    return [
        *([Repair(f"FACS code {code}", f"{unknown} left out: no network takes it")] if unknown else []),
        *([Repair(f"FACS code {code}", f"of alternatives the first; {alternatives} left out")] if alternatives else []),
    ]


def _farthest(landmarks: NDArray[np.float64], timing: Timing, offset: int) -> int:
    """Frame between onset and offset, of the R, in which the landmarks are farthest from the onset."""
    reference = timing.written(timing.onset)
    still = remove_head_motion(landmarks, reference)
    distance = np.linalg.norm(still - still[reference], axis=2).mean(axis=1)
    times = np.array(timing.times)
    between = (times > timing.onset) & (times < offset)
    return round(float(times[np.where(between, distance, -1).argmax()]))
