"""Face coordinates, and the patches and folds of the action units drawn in them.

Face coordinates: origin between the eyes, x to the subject's left, y down, unit = distance of the eye centres. Side
coordinates: (lateral, down), the same with x growing towards the ear of the side in question.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from demo.muscles import Bump, Fold, Shade
from faces.action_units import SIDES
from faces.landmarks import MIRRORED_LANDMARKS

Key = tuple[int, str]
"""An action unit and a side, such as (12, 'left')."""
MIRROR = np.array(MIRRORED_LANDMARKS)
"""Index of the landmark on the other side, iBUG order."""


@dataclass(frozen=True)
class FaceFrame:
    """Face coordinates of one subject."""

    origin: np.ndarray
    """(2,), xy, image pixels."""
    axes: np.ndarray
    """(2, 2), rows = unit vectors of x and y in image pixels."""
    unit: float
    """Eye distance, image pixels."""

    @classmethod
    def of(cls, landmarks: np.ndarray) -> FaceFrame:
        """Make the frame of a face.

        Args:
            landmarks: (68, 2), xy, image pixels.
        """
        right, left = landmarks[36:42].mean(0), landmarks[42:48].mean(0)
        unit = float(np.hypot(*(left - right)))
        x = (left - right) / unit
        return cls((right + left) / 2, np.array([x, [-x[1], x[0]]]), unit)

    def to_face(self, points: np.ndarray) -> np.ndarray:
        """(..., 2) image pixels to (..., 2) face coordinates."""
        return (points - self.origin) @ self.axes.T / self.unit

    def to_image(self, points: np.ndarray) -> np.ndarray:
        """(..., 2) face coordinates to (..., 2) image pixels."""
        return points * self.unit @ self.axes + self.origin


class SideView:
    """A face seen from one side: pixel grid and landmarks in (lateral, down)."""

    def __init__(self, grid: np.ndarray, landmarks: np.ndarray, side: str) -> None:
        """Flip the face so that the wanted side becomes the right one.

        Args:
            grid: (H, W, 2) face coordinates of the pixels.
            landmarks: (68, 2) face coordinates.
            side: 'left' or 'right', the subject's own.
        Raises:
            ValueError: unknown side.
        """
        if side not in SIDES:
            raise ValueError(f"side {side!r}: expected one of {SIDES}")
        self.sign = np.array([1.0 if side == "left" else -1.0, 1.0])
        self.grid = (grid * self.sign).astype(np.float32)
        self.landmarks = (landmarks[MIRROR] if side == "left" else landmarks) * self.sign

    def _place(self, anchor: tuple[int, ...], offset: tuple[float, float]) -> np.ndarray:
        """Centre of something given relative to landmarks, (2,) side coordinates."""
        return self.landmarks[list(anchor)].mean(0) + offset

    def shade(self, shade: Shade) -> np.ndarray:
        """(H, W) relative change of brightness of a patch."""
        return shade.gain * self._ellipse(self._place(shade.anchor, shade.offset), shade.half, shade.angle)

    def _ellipse(self, centre: np.ndarray, half: tuple[float, float], angle: float) -> np.ndarray:
        """Weight (1 - r^2)^2 of an ellipse, (H, W) in [0, 1], zero outside."""
        c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        delta = self.grid - centre.astype(np.float32)
        along = (delta[..., 0] * c + delta[..., 1] * s) / half[0]
        across = (delta[..., 1] * c - delta[..., 0] * s) / half[1]
        return np.maximum(0.0, 1.0 - along**2 - across**2) ** 2

    def displacement(self, bump: Bump) -> np.ndarray:
        """(H, W, 2) displacement in eye distances, face coordinates."""
        half, angle = bump.half, bump.angle
        if bump.span:
            a, b = self.landmarks[list(bump.span)]
            half = (half[0] * float(np.hypot(*(b - a))) / 2, half[1])
            angle += float(np.degrees(np.arctan2(*(a - b)[::-1])))
        weight = self._ellipse(self._place(bump.anchor, bump.offset), half, angle)
        return weight[..., None] * (np.array(bump.move) * self.sign).astype(np.float32)

    def fold(self, fold: Fold) -> np.ndarray:
        """(H, W) relative change of brightness of a fold."""
        points = _densify(self._place(fold.anchor, (0.0, 0.0)) + np.array(fold.path))
        reach = 5 * fold.width
        out = np.zeros(self.grid.shape[:2], np.float32)
        near = np.all((self.grid > points.min(0) - reach) & (self.grid < points.max(0) + reach), axis=-1)
        delta = self.grid[near][:, None] - points  # (N, P, 2)
        squared = (delta**2).sum(-1)
        nearest = squared.argmin(1)
        t = nearest / (len(points) - 1)
        d = np.sqrt(squared.min(1)) / fold.width
        profile = 1.5 * np.exp(-(d**2) / 2) - 0.5 * np.exp(-(d**2) / 12.5)
        out[near] = -fold.depth * profile * np.maximum(0, 1 - (d / 5) ** 2) * np.sin(np.pi * t) ** 0.5
        return out


def _densify(path: np.ndarray, count: int = 40) -> np.ndarray:
    """Smooth a path of a few points into `count` points (quadratic, linear for two points)."""
    t = np.linspace(0, 1, len(path))
    degree = min(2, len(path) - 1)
    return np.stack([np.polyval(np.polyfit(t, c, degree), np.linspace(0, 1, count)) for c in path.T], -1)
