"""Plan of one clip of the demo set: FACS code, intensity curves and head motion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from demo.geometry import Key
from faces.facs import parse_code, rise_and_fall

CODES = (
    *("4+7", "1+2", "6+12", "L12", "15+17", "9+10", "R14", "45", "25", "4", "12", "1", "R2", "14", "17", "7"),
    *("1+4+15", "4+9", "12+25", "1+2+25", "L10", "R12", "L14", "L2", "10", "6", "15", "2"),
)
"""Combinations seen in spontaneous micro-expressions; the first 16 contain every action unit and are the test clips."""
FRAMES = (24, 40)
"""Smallest and largest number of frames of a clip."""
FPS = 100
"""Frames per second."""
AMPLITUDE = (1.0, 2.9)
"""Range of the largest displacement at the apex, pixels of a frame 128 pixels wide."""
SECONDARY = (0.5, 0.9)
"""Range of the intensity of all action units after the first, relative to the first."""


@dataclass(frozen=True)
class ClipPlan:
    """Plan of one clip; frame numbers count from 0, as in the file names."""

    code: str
    """FACS code, with L or R before one-sided action units."""
    onset: int
    """Last frame at rest."""
    apex: int
    offset: int
    """First frame at rest again."""
    amplitude: float
    """Largest displacement at the apex, pixels of a frame 128 pixels wide."""
    curves: dict[Key, NDArray[np.float64]]
    """(T,) intensity of each action unit, relative to the maximum of the first one."""
    head: NDArray[np.float64]
    """(T, 4) shift x, y in pixels of a frame 128 pixels wide, angle in radians, logarithm of the scale; the first
    frame is zero."""


def plan_clip(rng: np.random.Generator, code: str, head_moves: bool) -> ClipPlan:
    """Draw the timing, the strength and the head motion of a clip.

    Args:
        rng: random generator; the same state gives the same clip.
        code: FACS code; action units after the first are weaker and up to two frames later.
        head_moves: False keeps the head still.
    """
    count = int(rng.integers(FRAMES[0], FRAMES[1] + 1))
    onset, offset = int(rng.integers(1, 4)), count - 3 - int(rng.integers(0, 3))
    apex = onset + round(rng.uniform(0.3, 0.5) * (offset - onset))
    amplitude = float(rng.uniform(*AMPLITUDE))
    curves: dict[Key, NDArray[np.float64]] = {}
    for number, unit in enumerate(parse_code(code)):
        level = 1.0 if number == 0 else rng.uniform(*SECONDARY)
        lag = 0 if number == 0 else int(rng.integers(0, 3))
        curve = level * rise_and_fall(onset + lag, apex + lag, offset + lag, count)
        curves.update({(unit.au, side): curve for side in unit.sides})
    head = _head_motion(rng, count) if head_moves else np.zeros((count, 4))
    return ClipPlan(code, onset, apex, offset, amplitude, curves, head)


def _head_motion(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    """Draw a slow sway of about a pixel at the outline of the face, zero in the first frame: (T, 4)."""
    t = np.arange(count)[:, None] / count
    waves = [
        rng.normal(0, 1 / cycles, 4) * np.sin(2 * np.pi * (cycles * t + rng.random(4))) for cycles in (0.5, 1.0, 2.0)
    ]
    sway = waves[0] + waves[1] + waves[2]
    return (sway - sway[0]) * (0.25, 0.25, 0.002, 0.0008)
