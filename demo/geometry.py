"""Face coordinates, and the displacement, wrinkles and shading of action units in them.

Face coordinates: origin between the eyes, x to the subject's left, y down, unit = distance of the eye centres. Side
coordinates: (lateral, down), the same with x growing towards the ear of that side.

Legend: H x W grid, L points of a line.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from demo.muscles import Bump, Patch, Shading, Wrinkle
from faces.action_units import SIDES
from faces.landmarks import MIRRORED_LANDMARKS

Key = tuple[int, str]
"""Number and side of an action unit, such as (12, 'left')."""
MIRROR = np.array(MIRRORED_LANDMARKS)
"""Index of the mirrored landmark of each of the 68, iBUG order."""


@dataclass(frozen=True)
class FaceFrame:
    """Face coordinates of one subject."""

    origin: NDArray[np.float64]
    """(2,), xy, image pixels."""
    axes: NDArray[np.float64]
    """(2, 2), rows: unit vectors of x and y in image pixels."""
    eye_distance: float
    """Distance of the eye centres, image pixels."""

    @classmethod
    def from_landmarks(cls, landmarks: NDArray[np.float64]) -> FaceFrame:
        """Return the face coordinates of a subject.

        Args:
            landmarks: (68, 2), xy, image pixels.
        """
        right, left = landmarks[36:42].mean(0), landmarks[42:48].mean(0)
        eye_distance = float(np.hypot(*(left - right)))
        x = (left - right) / eye_distance
        return cls((right + left) / 2, np.array([x, [-x[1], x[0]]]), eye_distance)

    def to_face(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Convert points (..., 2) from image pixels to face coordinates."""
        return (points - self.origin) @ self.axes.T / self.eye_distance

    def to_image(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Convert points (..., 2) from face coordinates to image pixels."""
        return points * self.eye_distance @ self.axes + self.origin


class SideView:
    """Pixel grid and landmarks in the side coordinates of one side."""

    def __init__(self, grid: NDArray[np.float64], landmarks: NDArray[np.float64], side: str) -> None:
        """Convert face to side coordinates; the left side is mirrored onto the right one.

        Args:
            grid: (H, W, 2) face coordinates of the pixels.
            landmarks: (68, 2) face coordinates.
            side: 'left' or 'right' of the subject.
        Raises:
            ValueError: unknown side.
        """
        if side not in SIDES:
            raise ValueError(f"side {side!r}: expected one of {SIDES}")
        self.sign = np.array([1.0 if side == "left" else -1.0, 1.0])
        self.grid: NDArray[np.float32] = (grid * self.sign).astype(np.float32)
        self.landmarks = (landmarks[MIRROR] if side == "left" else landmarks) * self.sign

    def displacement(self, bump: Bump) -> NDArray[np.float64]:
        """Return the displacement of a bump in eye distances, face coordinates: (H, W, 2)."""
        half_axes, angle = bump.half_axes, bump.angle
        if bump.span:
            a, b = self.landmarks[list(bump.span)]
            half_axes = (half_axes[0] * float(np.hypot(*(b - a))) / 2, half_axes[1])
            angle += float(np.degrees(np.arctan2(*(a - b)[::-1])))
        weight = self._weight(bump, half_axes, angle)
        return weight[..., None] * (np.array(bump.move) * self.sign).astype(np.float32)

    def shading(self, patch: Shading) -> NDArray[np.float64]:
        """Return the relative change of brightness of a patch: (H, W)."""
        return patch.gain * self._weight(patch, patch.half_axes, patch.angle)

    def wrinkle(self, wrinkle: Wrinkle) -> NDArray[np.float32]:
        """Return the relative change of brightness of a wrinkle: (H, W)."""
        points = _resample_path(self._anchor(wrinkle.anchor) + np.array(wrinkle.path))
        reach = 5 * wrinkle.width
        out = np.zeros(self.grid.shape[:2], np.float32)
        near = np.all((self.grid > points.min(0) - reach) & (self.grid < points.max(0) + reach), axis=-1)
        delta = self.grid[near][:, None] - points  # -> (pixels, L, 2)
        squared = (delta**2).sum(-1)
        nearest = squared.argmin(1)
        t = nearest / (len(points) - 1)
        d = np.sqrt(squared.min(1)) / wrinkle.width
        profile = 1.5 * np.exp(-(d**2) / 2) - 0.5 * np.exp(-(d**2) / 12.5)
        out[near] = -wrinkle.depth * profile * np.maximum(0, 1 - (d / 5) ** 2) * np.sin(np.pi * t) ** 0.5
        return out

    def _anchor(self, landmarks: tuple[int, ...]) -> NDArray[np.float64]:
        """Return the mean of some landmarks, (2,) side coordinates."""
        return self.landmarks[list(landmarks)].mean(0)

    def _weight(self, patch: Patch, half_axes: tuple[float, float], angle: float) -> NDArray[np.float64]:
        """Return the weight of a patch with these axes, (H, W) in [0, 1]."""
        c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        delta = self.grid - (self._anchor(patch.anchor) + patch.offset).astype(np.float32)
        along = (delta[..., 0] * c + delta[..., 1] * s) / half_axes[0]
        across = (delta[..., 1] * c - delta[..., 0] * s) / half_axes[1]
        return np.maximum(0.0, 1.0 - along**2 - across**2) ** 2


def _resample_path(path: NDArray[np.float64], count: int = 40) -> NDArray[np.float64]:
    """Resample a path of a few points to `count` points on a quadratic curve; two points give a straight line."""
    t = np.linspace(0, 1, len(path))
    degree = min(2, len(path) - 1)
    return np.stack([np.polyval(np.polyfit(t, c, degree), np.linspace(0, 1, count)) for c in path.T], -1)
