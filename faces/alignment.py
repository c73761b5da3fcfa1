"""Similarity alignment of 68-point shapes, and head motion.

Conventions: points are xy in pixels of their own frame, y down, iBUG order. A point (x, y) is written as the complex
number z = x + iy, and a similarity as z' = factor * z + offset, where abs(factor) is the scale and the argument of
`factor` the rotation, positive from the x axis towards the y axis (clockwise on the screen). No reflection is possible.
"left" and "right" are the subject's own.

Legend: T frames, N points, ... any leading axes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LANDMARKS = 68
RIGHT_EYE, LEFT_EYE = slice(36, 42), slice(42, 48)
ITERATIONS = 10  # of the reweighted fit


@dataclass(frozen=True)
class Similarity:
    """One similarity, or an array of them along the leading axes.

    Attributes:
        factor: (...) complex, scale times exp(i * rotation).
        offset: (...) complex, translation in pixels.
    """

    factor: np.ndarray
    offset: np.ndarray

    @property
    def scale(self) -> np.ndarray:
        """Scale, (...), > 0."""
        return np.abs(self.factor)

    @property
    def angle(self) -> np.ndarray:
        """Rotation, (...), radians from the x axis towards the y axis."""
        return np.angle(self.factor)

    def apply(self, points: np.ndarray) -> np.ndarray:
        """Map points (..., N, 2) to (..., N, 2)."""
        return from_complex(self.factor[..., None] * to_complex(points) + self.offset[..., None])

    def turn(self, vectors: np.ndarray) -> np.ndarray:
        """Rotate and scale displacements (..., N, 2), without the translation."""
        return from_complex(self.factor[..., None] * to_complex(vectors))

    def inverse(self) -> Similarity:
        """The similarity that undoes this one."""
        return Similarity(1 / self.factor, -self.offset / self.factor)

    def matrix(self) -> np.ndarray:
        """(..., 2, 3) such that (x', y') = matrix @ (x, y, 1), as OpenCV takes it."""
        a, b = self.factor, self.offset
        rows = [np.stack([a.real, -a.imag, b.real], -1), np.stack([a.imag, a.real, b.imag], -1)]
        return np.stack(rows, axis=-2)


def to_complex(points: np.ndarray) -> np.ndarray:
    """(..., 2) xy to (...) complex."""
    points = np.asarray(points, dtype=np.float64)
    return points[..., 0] + 1j * points[..., 1]


def from_complex(z: np.ndarray) -> np.ndarray:
    """(...) complex to (..., 2) xy."""
    return np.stack([z.real, z.imag], axis=-1)


def fit_similarity(source: np.ndarray, target: np.ndarray, weights: np.ndarray | None = None) -> Similarity:
    """Least-squares similarity that takes `source` to `target`.

    Args:
        source: (N, 2) or (..., N, 2), xy, pixels.
        target: (..., N, 2), xy, pixels.
        weights: (N,) or (..., N), >= 0; None counts every point once.
    Returns:
        One similarity for each leading index of `target`.
    Raises:
        ValueError: shapes that do not match, values that are not finite, or source points that coincide.
    Source: Umeyama, PAMI 1991, Eqs. (40)-(42), in two dimensions without reflection.
    """
    z, y = _complex_pair(source, target)
    w = np.ones(y.shape) if weights is None else np.broadcast_to(np.asarray(weights, dtype=np.float64), y.shape)
    return _solve(z, y, w)


def fit_similarity_robust(source: np.ndarray, target: np.ndarray, weights: np.ndarray | None = None) -> Similarity:
    """Similarity that takes most of `source` to `target`; points with a motion of their own hardly count.

    Iteratively reweighted least squares with Cauchy weights 1 / (1 + (r / (2 m))^2), where r is the residual of a point
    and m the median residual. Fewer than half of the points may move on their own.

    Args, returns and errors as `fit_similarity`; `weights` multiply the Cauchy weights, and points of weight 0 take no
    part in the median.
    """
    z, y = _complex_pair(source, target)
    prior = np.ones(y.shape) if weights is None else np.broadcast_to(np.asarray(weights, dtype=np.float64), y.shape)
    size = np.abs(y - y.mean(axis=-1, keepdims=True)).mean(axis=-1, keepdims=True)
    fit = _solve(z, y, prior)
    for _ in range(ITERATIONS):
        residual = np.abs(y - fit.factor[..., None] * z - fit.offset[..., None])
        if residual.ndim == 1:  # the usual case; np.nanmedian takes four times as long
            spread = np.median(residual[prior > 0], keepdims=True)
        else:
            spread = np.nanmedian(np.where(prior > 0, residual, np.nan), axis=-1, keepdims=True)
        spread = np.maximum(spread, 1e-9 * size)  # an exact fit must not divide by zero
        fit = _solve(z, y, prior / (1 + (residual / (2 * spread)) ** 2))
    return fit


def remove_head_motion(landmarks: np.ndarray, reference: int = 0) -> np.ndarray:
    """Undo, frame by frame, the similarity that the whole head performs since the reference frame.

    Args:
        landmarks: (T, 68, 2), xy, pixels.
        reference: frame whose head pose is kept.
    Returns:
        (T, 68, 2) float64; frame `reference` is unchanged. What remains is the motion of the face itself, and what a
        turn of the head out of the image plane does that no similarity explains.
    Raises:
        ValueError: wrong shape, values that are not finite, or no such frame.
    """
    landmarks = _check_track(landmarks, reference, "landmarks")
    still = fit_similarity_robust(landmarks[reference], landmarks).inverse().apply(landmarks)
    still[reference] = landmarks[reference]
    return still


def _solve(z: np.ndarray, y: np.ndarray, w: np.ndarray) -> Similarity:
    """Weighted least squares for y = factor * z + offset; z, y complex and w real, (..., N)."""
    w = w / w.sum(axis=-1, keepdims=True)
    z_mean, y_mean = (w * z).sum(axis=-1), (w * y).sum(axis=-1)
    z0, y0 = z - z_mean[..., None], y - y_mean[..., None]
    factor = (w * z0.conj() * y0).sum(axis=-1) / (w * (z0.conj() * z0).real).sum(axis=-1)
    return Similarity(factor, y_mean - factor * z_mean)


def _complex_pair(source: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both shapes as complex arrays, checked."""
    for name, shape in (("source", source), ("target", target)):
        if np.ndim(shape) < 2 or np.shape(shape)[-1] != 2:
            raise ValueError(f"{name} shape is {np.shape(shape)}, expected (..., N, 2)")
        if not np.isfinite(shape).all():
            raise ValueError(f"{name} shape has points that are not finite (NaN or infinite)")
    if np.shape(source)[-2] != np.shape(target)[-2]:
        raise ValueError(f"shapes of {np.shape(source)[-2]} and {np.shape(target)[-2]} points cannot be aligned")
    z, y = to_complex(source), to_complex(target)
    if np.any(np.ptp(z.real, axis=-1) + np.ptp(z.imag, axis=-1) == 0):
        raise ValueError("the source points coincide, so that no similarity can be fitted")
    return z, y


def _check_track(landmarks: np.ndarray, reference: int, name: str) -> np.ndarray:
    """Landmarks of a clip as float64, checked."""
    landmarks = np.asarray(landmarks, dtype=np.float64)
    if landmarks.ndim != 3 or landmarks.shape[1:] != (LANDMARKS, 2):
        raise ValueError(f"{name} have shape {landmarks.shape}, expected (T, {LANDMARKS}, 2)")
    if not np.isfinite(landmarks).all():
        raise ValueError(f"{name} are not finite (NaN or infinite) in frame {_first_bad(landmarks)}")
    if not 0 <= reference < len(landmarks):
        raise ValueError(f"reference frame {reference} does not exist in a clip of {len(landmarks)} frames")
    return landmarks


def _first_bad(landmarks: np.ndarray) -> int:
    """Index of the first frame with a value that is not finite."""
    return int(np.argmax(~np.isfinite(landmarks).all(axis=(1, 2))))
