"""Similarity alignment of 68-point shapes, and head motion.

Conventions: points are xy in pixels of their own frame, y down, iBUG order. A point (x, y) is written as the complex
number z = x + iy, and a similarity as z' = factor * z + offset, where abs(factor) is the scale and the argument of
`factor` the rotation, positive from the x axis towards the y axis (clockwise on the screen). No reflection is possible.
"left" and "right" are the subject's own.

Legend: T frames, N points, ... any leading axes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
Complex = NDArray[np.complex128]

LANDMARKS = 68
RIGHT_EYE, LEFT_EYE = slice(36, 42), slice(42, 48)
ITERATIONS = 10  # of the reweighted fit
_ROUNDING = 1e-6  # pixels
MOUTH_AND_LOWER_JAW = (*range(4, 13), *range(48, LANDMARKS))
HEAD_WEIGHTS = np.where(np.isin(np.arange(LANDMARKS), MOUTH_AND_LOWER_JAW), 0.25, 1.0)
"""Weights of the landmarks in a fit of the head's motion. Mouth and lower jaw, half of the face, move together in
speech and would pass for motion of the head; without them, the fit would be noisier (by a half instead of a tenth)."""


@dataclass(frozen=True)
class Similarity:
    """One similarity, or an array of them along the leading axes.

    Attributes:
        factor: (...) complex, scale times exp(i * rotation).
        offset: (...) complex, translation in pixels.
    """

    factor: Complex
    offset: Complex

    @classmethod
    def from_numbers(cls, factor: complex, offset: complex) -> Similarity:
        """One similarity, from complex numbers."""
        # NumPy's scalars have the methods of arrays without axes, which their types do not show.
        return cls(cast(Complex, np.complex128(factor)), cast(Complex, np.complex128(offset)))

    @property
    def scale(self) -> NDArray[np.float64]:
        """Scale, (...), > 0."""
        return np.abs(self.factor)

    @property
    def angle(self) -> NDArray[np.float64]:
        """Rotation, (...), radians from the x axis towards the y axis."""
        return np.angle(self.factor)

    def apply(self, points: NDArray[np.floating]) -> Points:
        """Map points (..., N, 2) to (..., N, 2)."""
        return from_complex(self.factor[..., None] * to_complex(points) + self.offset[..., None])

    def turn(self, vectors: NDArray[np.floating]) -> Points:
        """Rotate and scale displacements (..., N, 2), without the translation."""
        return from_complex(self.factor[..., None] * to_complex(vectors))

    def inverse(self) -> Similarity:
        """Return the inverse similarity."""
        return Similarity(1 / self.factor, -self.offset / self.factor)

    def matrix(self) -> NDArray[np.float64]:
        """Matrix (..., 2, 3) such that (x', y') = matrix @ (x, y, 1), as OpenCV expects it."""
        a, b = self.factor, self.offset
        rows = [np.stack([a.real, -a.imag, b.real], -1), np.stack([a.imag, a.real, b.imag], -1)]
        return np.stack(rows, axis=-2)


def to_complex(points: NDArray[np.floating]) -> Complex:
    """Convert xy (..., 2) to complex numbers (...)."""
    points = np.asarray(points, dtype=np.float64)
    return points[..., 0] + 1j * points[..., 1]


def from_complex(z: Complex) -> Points:
    """Convert complex numbers (...) to xy (..., 2)."""
    return np.stack([z.real, z.imag], axis=-1)


def eye_distance(landmarks: NDArray[np.floating]) -> float:
    """Distance between the centres of the eyes of one face, (68, 2), in the unit of the landmarks."""
    return float(np.linalg.norm(landmarks[RIGHT_EYE].mean(axis=0) - landmarks[LEFT_EYE].mean(axis=0)))


def fit_similarity(
    source: NDArray[np.floating], target: NDArray[np.floating], weights: NDArray[np.floating] | None = None
) -> Similarity:
    """Fit the least-squares similarity that maps `source` to `target`.

    Args:
        source: (N, 2) or (..., N, 2), xy, pixels.
        target: (..., N, 2), xy, pixels.
        weights: (N,) or (..., N), >= 0; None weighs all points equally.
    Returns:
        One similarity per leading index of `target`.
    Raises:
        ValueError: shapes that do not match, values that are not finite, or source points that coincide.
    Source: Umeyama, PAMI 1991, Eqs. (40)-(42), in two dimensions without reflection.
    """
    z, y = _checked_complex(source, target)
    w = np.ones(y.shape) if weights is None else np.broadcast_to(np.asarray(weights, dtype=np.float64), y.shape)
    return _weighted_fit(z, y, w)


def fit_similarity_robust(
    source: NDArray[np.floating], target: NDArray[np.floating], weights: NDArray[np.generic] | None = None
) -> Similarity:
    """Fit a similarity that maps most of `source` to `target`; points with additional motion get small weights.

    Iteratively reweighted least squares with Cauchy weights 1 / (1 + (r / (2 m))^2), where r is the residual of a point
    and m the median residual. Fewer than half of the points may have additional motion.

    Args, returns and errors as for `fit_similarity`; `weights`, also booleans, multiply the Cauchy weights, and points
    of weight 0 are left out of the median.
    """
    z, y = _checked_complex(source, target)
    prior = np.ones(y.shape) if weights is None else np.broadcast_to(np.asarray(weights, dtype=np.float64), y.shape)
    size = np.abs(y - y.mean(axis=-1, keepdims=True)).mean(axis=-1, keepdims=True)
    fit = _weighted_fit(z, y, prior)
    for _ in range(ITERATIONS):
        residual = np.abs(y - fit.factor[..., None] * z - fit.offset[..., None])
        if residual.ndim == 1:  # the usual case; np.nanmedian takes four times as long
            spread = np.median(residual[prior > 0], keepdims=True)
        else:
            spread = np.nanmedian(np.where(prior > 0, residual, np.nan), axis=-1, keepdims=True)
        spread = np.maximum(spread, 1e-9 * size)  # an exact fit must not divide by zero
        fit = _weighted_fit(z, y, prior / (1 + (residual / (2 * spread)) ** 2))
    return fit


def remove_head_motion(landmarks: NDArray[np.floating], reference: int = 0) -> Points:
    """Remove the head's motion since the reference frame, a similarity per frame, fitted robustly with `HEAD_WEIGHTS`.

    Args:
        landmarks: (T, 68, 2), xy, pixels.
        reference: frame whose head pose is kept.
    Returns:
        (T, 68, 2) float64; frame `reference` is unchanged. The rest is the motion of the face itself, and the part of
        out-of-plane head rotation that a similarity does not model.
    Raises:
        ValueError: wrong shape, values that are not finite, or no such frame.
    """
    landmarks = _check_track(landmarks, reference, "landmarks")
    still = fit_similarity_robust(landmarks[reference], landmarks, HEAD_WEIGHTS).inverse().apply(landmarks)
    still[reference] = landmarks[reference]
    return still


def expression_distance(landmarks: NDArray[np.floating], reference: int = 0) -> NDArray[np.float64]:
    """Return the mean distance of the landmarks of each frame, without head motion, from those of the reference frame.

    Args and errors as `remove_head_motion`.

    Returns:
        (T,), pixels; 0 for landmarks that differ from the reference by the rounding of the fit only.
    """
    still = remove_head_motion(landmarks, reference)
    distance: NDArray[np.float64] = np.linalg.norm(still - still[reference], axis=2).mean(axis=1)
    return np.where(distance < _ROUNDING, 0.0, distance)


def _weighted_fit(z: Complex, y: Complex, w: NDArray[np.float64]) -> Similarity:
    """Weighted least squares for y = factor * z + offset; z, y and w are (..., N)."""
    w = w / w.sum(axis=-1, keepdims=True)
    z_mean, y_mean = (w * z).sum(axis=-1), (w * y).sum(axis=-1)
    z0, y0 = z - z_mean[..., None], y - y_mean[..., None]
    factor = (w * z0.conj() * y0).sum(axis=-1) / (w * (z0.conj() * z0).real).sum(axis=-1)
    return Similarity(factor, y_mean - factor * z_mean)


def _checked_complex(source: NDArray[np.floating], target: NDArray[np.floating]) -> tuple[Complex, Complex]:
    """Check two shapes and convert them to complex numbers."""
    for name, shape in (("source", source), ("target", target)):
        if np.ndim(shape) < 2 or np.shape(shape)[-1] != 2:
            raise ValueError(f"{name} shape is {np.shape(shape)}, expected (..., N, 2)")
        if not np.isfinite(shape).all():
            raise ValueError(f"{name} shape has points that are not finite (NaN or infinite)")
    if np.shape(source)[-2] != np.shape(target)[-2]:
        raise ValueError(f"shapes of {np.shape(source)[-2]} and {np.shape(target)[-2]} points cannot be aligned")
    z, y = to_complex(source), to_complex(target)
    if np.any(np.ptp(z.real, axis=-1) + np.ptp(z.imag, axis=-1) == 0):
        raise ValueError("the source points coincide; no similarity can be fitted")
    return z, y


def _check_track(landmarks: NDArray[np.floating], reference: int, name: str) -> Points:
    """Check the landmarks of a clip and convert them to float64."""
    track = np.asarray(landmarks, dtype=np.float64)
    if track.ndim != 3 or track.shape[1:] != (LANDMARKS, 2):
        raise ValueError(f"{name} have shape {track.shape}, expected (T, {LANDMARKS}, 2)")
    if not np.isfinite(track).all():
        raise ValueError(f"{name} are not finite (NaN or infinite) in frame {_first_nonfinite(track)}")
    if not 0 <= reference < len(track):
        raise ValueError(f"reference frame {reference} does not exist in a clip of {len(track)} frames")
    return track


def _first_nonfinite(landmarks: Points) -> int:
    """Index of the first frame with a value that is not finite."""
    return int(np.argmax(~np.isfinite(landmarks).all(axis=(1, 2))))
