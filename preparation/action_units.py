"""Action units of a prepared clip, from the user's table or, without one, as curves from the FACS code.

Legend: R frames of the release that are used, T frames that are written, 17 action units, 2 sides.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from config.preparation import PrepareAUParams
from faces.action_units import ACTION_UNITS, SIDES, TableRules, read_action_units
from faces.alignment import expression_distance
from faces.facs import MAX_INTENSITY, CodedUnit, intensity_curves, parse_code
from output.result_table import csv_text
from preparation.clip_record import ClipRecord, Remark
from preparation.timing import Timing


class ActionUnits(NamedTuple):
    """Action units of the written frames.

    Attributes:
        values: (T, 17, 2), 0 to 1, the subject's left and right.
        source: `table`, or `code`.
        remarks: decisions that were made to obtain them.
    """

    values: NDArray[np.float64]
    source: str
    remarks: tuple[Remark, ...]


def imported_table(record: ClipRecord, path: Path, timing: Timing, params: PrepareAUParams) -> ActionUnits:
    """Read the user's table of a clip, whose rows are frames of the release's clip.

    Raises:
        ValueError: unreadable, or it does not belong to this clip.
    """
    notices: list[str] = []
    rules = TableRules(params.min_confidence, params.unknown, params.max_gap, "prepare_params.au_params.")
    numbers = record.frame_numbers
    values = read_action_units(path, len(numbers), frame_numbers=numbers, rules=rules, notice=notices.append)
    used = values[timing.used.start : timing.used.stop].astype(np.float64)
    return ActionUnits(timing.interpolate(used), "table", tuple(Remark(f"{path.name}", text) for text in notices))


def coded_curves(
    record: ClipRecord, timing: Timing, landmarks: NDArray[np.float64], default_intensity: float
) -> ActionUnits:
    """Curves that rise from the onset to the apex and fall to the offset, with the intensities of the code.

    Where the release gives no apex, the frame is used in which the landmarks, without head motion, are farthest from
    the onset. Where the apex is the onset, the recording began at the apex, and the curves only fall.

    Args:
        record: with a FACS code.
        landmarks: (T, 68, 2), pixels of the written frames.
        default_intensity: 0 to 5, for units without an intensity in the code.
    Raises:
        ValueError: the code cannot be read, onset, apex and offset are not in order, or the apex is the onset although
            there are frames before it.
    """
    assert record.facs is not None, "callers check for a code"
    remarks: list[Remark] = []
    units = _parse_recorded_code(record, remarks.append)
    count = len(timing.used)
    apex, offset = timing.apex, count - 1 if timing.offset is None else timing.offset
    if apex is None:
        apex = _farthest_frame(landmarks, timing, offset)
        number = record.frame_numbers[timing.used.start + apex]
        remarks.append(Remark("no apex", f"frame {number}, in which the landmarks are farthest from the onset"))
    if timing.offset is None:
        remarks.append(Remark("no offset", f"the last frame, {record.frame_numbers[-1]}"))
    offset = max(offset, apex + 1)  # in some releases a clip ends at its apex
    length = max(count, offset + 1)
    default = default_intensity / MAX_INTENSITY
    if apex > timing.onset:
        curves = intensity_curves(units, timing.onset, apex, offset, length, default=default)
    elif timing.onset > 0:
        raise ValueError("the apex is the onset, and the course up to it is unknown; use `trim: true`")
    else:
        curves = intensity_curves(units, 0, 1, offset + 1, length + 1, default=default)[1:]
    return ActionUnits(timing.interpolate(curves[:count].astype(np.float64)), "code", tuple(remarks))


def table_text(values: NDArray[np.float64]) -> str:
    """A table that `faces.action_unit_tables` reads: `frame` from 1 and intensities from 0 to 5, one column per unit,
    or two where its sides differ.

    Args:
        values: (T, 17, 2), 0 to 1.
    """
    columns: dict[str, NDArray[np.float64]] = {}
    for i, unit in enumerate(ACTION_UNITS):
        name = f"AU{unit:02d}_r"
        if np.array_equal(values[:, i, 0], values[:, i, 1]):
            columns[name] = values[:, i, 0]
        else:
            columns |= {f"{name}_{side}": values[:, i, j] for j, side in enumerate(SIDES)}
    rows = (
        {"frame": t + 1} | {name: f"{column[t] * MAX_INTENSITY:.4f}" for name, column in columns.items()}
        for t in range(len(values))
    )
    return csv_text(("frame", *columns), rows)


def _parse_recorded_code(record: ClipRecord, remark: Callable[[Remark], None]) -> list[CodedUnit]:
    """Units of a record's code, with remarks on parts that do not move, unless the record has these already."""
    code = record.facs or ""
    notices: list[str] = []
    units = parse_code(code, alternatives="flag", others="leave_out", notice=notices.append)
    known = {earlier.done for earlier in record.remarks}
    for text in notices:
        if text not in known:
            remark(Remark(f"FACS code {code}", text))
    return units


def _farthest_frame(landmarks: NDArray[np.float64], timing: Timing, offset: int) -> int:
    """Used frame between onset and offset in which the landmarks, without head motion, are farthest from the onset."""
    distance = expression_distance(landmarks, timing.written_index(timing.onset))
    times = np.array(timing.times)
    between = (times > timing.onset) & (times < offset)
    return round(float(times[np.where(between, distance, -1).argmax()]))
