"""Action-unit tables: intensities of 17 facial action units, frame by frame.

Legend: T frames, 17 action units in the order of `ACTION_UNITS`, 2 sides of the face: the subject's left and right.
"""

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ACTION_UNITS = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26, 45)
"""Numbers of the action units whose intensity OpenFace 2 estimates (FACS)."""

SIDES = ("left", "right")
MAX_INTENSITY = 5.0  # OpenFace and FACS grade intensities from 0 to 5 (A to E)


def read_action_units(path: Path, num_frames: int) -> NDArray[np.float32]:
    """Read an OpenFace table of a clip.

    Columns `AU01_r` ... `AU45_r`, found by name with or without leading blanks; `AU12_r_left` and `AU12_r_right`
    replace the column of both sides. Rows belong to frames by the column `frame`, which counts from 1.

    Args:
        path: CSV file.
        num_frames: T of the clip.
    Returns:
        (T, 17, 2), 0 to 1, sides left and right of the subject.
    Raises:
        ValueError: unreadable, a missing column or frame, an intensity outside 0 to 5.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [{key.strip(): value for key, value in row.items() if key} for row in csv.DictReader(file)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: expected a readable CSV table ({error})") from error
    by_frame = {_number(row.get("frame"), path, "frame"): row for row in rows}
    missing = [frame for frame in range(1, num_frames + 1) if frame not in by_frame]
    if missing:
        raise ValueError(f"{path}: expected a row for each of {num_frames} frames, frame {missing[0]} has none")
    values = np.empty((num_frames, len(ACTION_UNITS), len(SIDES)), np.float32)
    for frame in range(num_frames):
        row = by_frame[frame + 1]
        for i, unit in enumerate(ACTION_UNITS):
            for j, side in enumerate(SIDES):
                name = f"AU{unit:02d}_r"
                cell = row.get(f"{name}_{side}", row.get(name))
                values[frame, i, j] = _number(cell, path, f"{name} of frame {frame + 1}")
    if not ((values >= 0) & (values <= MAX_INTENSITY)).all():
        raise ValueError(f"{path}: expected intensities from 0 to 5, got {values.min():g} to {values.max():g}")
    return values / np.float32(MAX_INTENSITY)


def _number(cell: str | None, path: Path, what: str) -> float:
    try:
        return float(cell or "")
    except ValueError as error:
        raise ValueError(f"{path}: {what}: expected a number, got {cell!r}") from error
