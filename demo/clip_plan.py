"""What happens in the demo clips: FACS codes, intensity curves and head motion, before anything is rendered."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from demo.geometry import Key
from faces.facs import parse_code, rise_and_fall

CODES = (
    *("4+7", "1+2", "6+12", "L12", "15+17", "9+10", "R14", "45", "25", "4", "12", "1", "R2", "14", "17", "7"),
    *("1+4+15", "4+9", "12+25", "1+2+25", "L10", "R12", "L14", "L2", "10", "6", "15", "2"),
)
"""Combinations seen in spontaneous micro-expressions; the first 16 hold every action unit and are the test clips."""
FRAMES = (24, 40)
"""Shortest and longest clip."""
FPS = 100
AMPLITUDE = (1.0, 2.9)
"""Weakest and strongest longest displacement at the apex, pixels of a frame 128 pixels wide."""
SECONDARY = (0.5, 0.9)
"""Intensity of further action units as a share of the first one's."""


@dataclass(frozen=True)
class ClipPlan:
    """One planned clip; frames count from 0, like the file names."""

    code: str
    """FACS code, L and R before one-sided action units."""
    onset: int
    """Last frame at rest."""
    apex: int
    offset: int
    """First frame at rest again."""
    amplitude: float
    """Wanted longest displacement at the apex, pixels of a frame 128 pixels wide."""
    shapes: dict[Key, np.ndarray]
    """(T,) curves of the action units relative to the strongest one, peak at most 1."""
    head: np.ndarray
    """(T, 4) shift x, y in pixels of a frame 128 wide, angle in radians, logarithm of the scale; zero at first."""


def plan_clip(rng: np.random.Generator, code: str, head_moves: bool) -> ClipPlan:
    """Draw the timing, the strength and the head motion of a clip.

    Args:
        rng: source of randomness; the same state gives the same clip.
        code: FACS code; the first action unit leads, the others are weaker and up to two frames late.
        head_moves: whether the head moves.
    """
    count = int(rng.integers(FRAMES[0], FRAMES[1] + 1))
    onset, offset = int(rng.integers(1, 4)), count - 3 - int(rng.integers(0, 3))
    apex = onset + round(rng.uniform(0.3, 0.5) * (offset - onset))
    amplitude = float(rng.uniform(*AMPLITUDE))
    shapes = {}
    for number, unit in enumerate(parse_code(code)):
        level = 1.0 if number == 0 else rng.uniform(*SECONDARY)
        lag = 0 if number == 0 else int(rng.integers(0, 3))
        curve = level * rise_and_fall(onset + lag, apex + lag, offset + lag, count)
        shapes.update({(unit.au, side): curve for side in unit.sides})
    head = _head_motion(rng, count) if head_moves else np.zeros((count, 4))
    return ClipPlan(code, onset, apex, offset, amplitude, shapes, head)


def _head_motion(rng: np.random.Generator, count: int) -> np.ndarray:
    """(T, 4) slow sway, about a pixel at the outline of the face; zero in the first frame."""
    t = np.arange(count)[:, None] / count
    sway = sum(
        rng.normal(0, 1 / cycles, 4) * np.sin(2 * np.pi * (cycles * t + rng.random(4))) for cycles in (0.5, 1.0, 2.0)
    )
    return (sway - sway[0]) * (0.25, 0.25, 0.002, 0.0008)
