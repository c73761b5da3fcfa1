"""FACS codes: action units as coded by a person, and their course over a clip.

`facs_notation` reads and writes the codes; this file turns them into curves.

Legend: T frames, 17 action units in the order of `ACTION_UNITS`, 2 sides of the face in the order of `SIDES`.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from faces.action_unit_tables import ACTION_UNITS
from faces.action_units import SIDES
from faces.facs_notation import MAX_INTENSITY as MAX_INTENSITY
from faces.facs_notation import CodedUnit as CodedUnit
from faces.facs_notation import format_code as format_code
from faces.facs_notation import parse_code as parse_code

MAX_FRAMES = 10_000
"""Frames of a clip with curves, 50 s at 200 frames per second."""


def intensity_curves(
    units: Sequence[CodedUnit],
    onset: int,
    apex: int,
    offset: int,
    num_frames: int,
    *,
    default: float | None = None,
) -> NDArray[np.float32]:
    """Intensities of coded units in every frame; alternatives and references do not move, optional units do.

    Args:
        units: from `parse_code`.
        onset: last frame at rest, counted from 0.
        apex: frame in which every unit has its full intensity.
        offset: first frame at rest after the apex.
        num_frames: T.
        default: intensity, 0 to 1, of units without one in the code; None: such a unit is an error.
    Returns:
        (T, 17, 2), 0 to 1, sides left and right of the subject.
    Raises:
        ValueError: frames out of order, or a unit without an intensity.
    """
    course = rise_and_fall(onset, apex, offset, num_frames)
    curves = np.zeros((num_frames, len(ACTION_UNITS), len(SIDES)), np.float32)
    for unit in units:
        if not unit.moves:
            continue
        intensity = default if unit.intensity is None else unit.intensity
        if intensity is None:
            raise ValueError(f"AU{unit.au}: expected an intensity such as AU{unit.au}=2, got none")
        for side in unit.sides:
            curves[:, ACTION_UNITS.index(unit.au), SIDES.index(side)] = intensity * course
    return curves


def rise_and_fall(onset: int, apex: int, offset: int, num_frames: int) -> NDArray[np.float64]:
    """Minimum-jerk course from rest at the onset to 1 at the apex and back to rest at the offset.

    Args:
        onset, apex, offset, num_frames: as in `intensity_curves`.
    Returns:
        (T,), 0 to 1; zero up to the onset and from the offset.
    Raises:
        ValueError: not 0 <= onset < apex < offset < T <= `MAX_FRAMES`.
    Source: 10 s^3 - 15 s^4 + 6 s^5 (Flash and Hogan, Journal of Neuroscience, 1985).
    """
    if onset < 0:
        raise ValueError(f"expected an onset from 0, got {onset}")
    if apex <= onset:
        raise ValueError(f"expected an apex after the onset, got apex {apex} and onset {onset}")
    if offset <= apex:
        raise ValueError(f"expected an offset after the apex, got offset {offset} and apex {apex}")
    if num_frames <= offset:
        raise ValueError(f"expected at least {offset + 1} frames for offset {offset}, got {num_frames}")
    if num_frames > MAX_FRAMES:
        raise ValueError(f"expected at most {MAX_FRAMES} frames, got {num_frames}")
    t = np.arange(num_frames, dtype=np.float64)
    rise, fall = np.clip((t - onset) / (apex - onset), 0, 1), np.clip((t - apex) / (offset - apex), 0, 1)
    up, down = (s**3 * (10 - 15 * s + 6 * s**2) for s in (rise, fall))
    return up - down
