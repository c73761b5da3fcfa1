"""Checks whether 68 points are those of a face in iBUG order, whatever its size, position, rotation and expression.

The centroids of parts of the face are fitted by a similarity to those of a mean face: directly, and mirrored. Of the
points' variance, the direct fit explains 0.7 to 0.9 on faces from the front and 0.5 on those turned by 75 degrees; of
points in random order, either fit explains at most 0.15.

Legend: T frames, P parts.
"""

import numpy as np
from numpy.typing import NDArray

LARGEST_COORDINATE = 100_000  # pixels; no picture is larger

_PARTS = (
    *(range(0, 6), range(6, 11), range(11, 17)),  # jaw
    *(range(17, 22), range(22, 27)),  # brows
    *(range(27, 31), range(31, 36)),  # bridge of the nose, nostrils
    *(range(36, 42), range(42, 48)),  # eyes
    *(range(48, 60), range(60, 68)),  # lips
)
# Centroids of the parts in a mean face, x + iy in eye distances from the middle between the eyes, y down.
_CENTROIDS = np.array(
    [-0.97 + 0.72j, 1.68j, 0.97 + 0.72j, -0.57 - 0.36j, 0.57 - 0.36j, 0.27j]
    + [0.75j, -0.5 + 0.0j, 0.5 + 0.0j, 1.12j, 1.09j]
)
_WEIGHTS = np.array([len(part) for part in _PARTS]) / 68
_LOWEST_FIT = 0.3  # explained fraction of the variance
_MIRRORED_FIT = 0.6
_THINNEST = 0.05  # ratio of the extents across and along a line; a profile has 0.3
_FEWEST_POINTS = 17


def landmark_problem(points: NDArray[np.float64]) -> str | None:
    """Describe what is wrong with landmarks that cannot be those of a face; None if they can.

    Args:
        points: (T, 68, 2), xy, pixels, finite.
    """
    for problem, bad in _problems(points):
        if bad.any():
            frame = int(np.argmax(bad))
            return f"{bad.sum()} of {len(points)} frames, the first {frame}: {problem}"
    return None


def rolled_frames(points: NDArray[np.float64]) -> NDArray[np.int64]:
    """Frames whose face is turned by more than a right angle in the image plane, as in a video that is upside down.

    Args:
        points: (T, 68, 2), xy, pixels.
    """
    _, factor = _fit(points)
    return np.flatnonzero(factor.real < 0)


def _problems(points: NDArray[np.float64]) -> list[tuple[str, NDArray[np.bool_]]]:
    """Possible problems, and the frames that have them (T)."""
    centred = points - points.mean(axis=1, keepdims=True)
    extents = np.linalg.svd(centred, compute_uv=False)  # (T, 2), the larger first
    direct, _ = _fit(points)
    mirrored, factor = _fit(points * [1, -1])
    is_mirrored = (direct < _LOWEST_FIT) & (mirrored > _MIRRORED_FIT)
    exchanged = abs(factor.imag) > 2 * abs(factor.real)
    distinct = np.array([len(np.unique(frame, axis=0)) for frame in points])
    return [
        (f"fewer than {_FEWEST_POINTS} of the 68 points are distinct; detect them again", distinct < _FEWEST_POINTS),
        ("the points lie on one line, which those of a face never do", extents[:, 1] < _THINNEST * extents[:, 0]),
        ("x and y are exchanged; expected x, from the left, before y", is_mirrored & exchanged),
        (
            "the face is upside down; expected y to count down from the top of the image",
            is_mirrored & (factor.real > 0),
        ),
        (
            "the face is mirrored; points 36 to 41 must be the eye on the left of the image, 42 to 47 the other",
            is_mirrored,
        ),
        (
            "the points do not form a face; expected 68 points in iBUG order (jaw, brows, nose, eyes, mouth)",
            np.maximum(direct, mirrored) < _LOWEST_FIT,
        ),
    ]


def _fit(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.complex128]]:
    """Fit the mean face to points by similarities.

    Args:
        points: (T, 68, 2).
    Returns:
        (T,) explained fraction of the variance, and (T,) scale and rotation from the mean face to the points.
    """
    z = points[..., 0] + 1j * points[..., 1]
    z = z - z.mean(axis=1, keepdims=True)
    parts = np.stack([z[:, part].mean(axis=1) for part in _PARTS], axis=1)  # -> (T, P)
    model = _CENTROIDS - (_WEIGHTS * _CENTROIDS).sum()
    factor = (_WEIGHTS * model.conj() * parts).sum(axis=1) / (_WEIGHTS * abs(model) ** 2).sum()
    explained = abs(factor) ** 2 * (_WEIGHTS * abs(model) ** 2).sum()
    variance = (abs(z) ** 2).mean(axis=1)
    return explained / np.maximum(variance, np.finfo(float).tiny), factor
