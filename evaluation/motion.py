"""Motion fidelity: how a result repeats the motion of its driving clip, in the coordinates of a face.

Dense optical flow from the first frame to every frame is sampled at points inside the face, which a thin-plate spline
through the landmarks maps from the driving to the generated face. Motion is in eye distances, rotated so that the eyes
are level. Non-rigid motion is what remains without the similarity of the head.

Legend: T frames, P points of the grid, N = 68 landmarks.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import RBFInterpolator

from evaluation.face_clip import FaceClip, upright_rotation
from evaluation.flow_estimators import flow_between, prepared
from faces.alignment import eye_distance, fit_similarity_robust

Motion = NDArray[np.float64]
"""(T, P, 2), xy, eye distances, upright; zero in the first frame."""

GRID = 28  # points along each side of the bounding box of the face
FOREHEAD = 0.25  # height above the brows that is measured, eye distances
MAP_SMOOTHING = 1e-3
COARSE = 16  # cells along each side of the flow that the report shows
OUTSIDE = 0.35  # distance from the face at which the background begins, eye distances
REGIONS = ("forehead", "eyes", "nose", "cheeks", "mouth", "chin")


def face_grid(landmarks: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the points (P, 2) of a regular grid inside the face, from above the brows to the chin."""
    inner = _inner_face(landmarks)
    low, high = inner.min(axis=0), inner.max(axis=0)
    x, y = np.meshgrid(*(np.linspace(*ends, GRID) for ends in zip(low, high, strict=True)))
    grid = np.stack([x.ravel(), y.ravel()], axis=1)
    hull = cv2.convexHull(inner.astype(np.float32))
    inside = [cv2.pointPolygonTest(hull, (float(px), float(py)), False) >= 0 for px, py in grid]
    return grid[inside]


def _inner_face(landmarks: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([_above(landmarks, FOREHEAD), landmarks[36:68], landmarks[5:12]])


def _above(landmarks: NDArray[np.float64], height: float) -> NDArray[np.float64]:
    """Brow points, moved up along the face by `height` eye distances."""
    up = upright_rotation(landmarks) @ np.array([0.0, -height * eye_distance(landmarks)])
    moved: NDArray[np.float64] = landmarks[17:27] + up
    return moved


def region_of_points(landmarks: NDArray[np.float64], grid: NDArray[np.float64]) -> NDArray[np.int_]:
    """Return the index in `REGIONS` of each point (P, 2): that of the nearest anchor."""
    cheeks = [(landmarks[a] + landmarks[b]) / 2 for a, b in ((2, 31), (3, 48), (14, 35), (13, 54), (41, 48), (46, 54))]
    anchors = (
        np.concatenate([_above(landmarks, FOREHEAD / 2), landmarks[17:27]]),
        landmarks[36:48],
        landmarks[27:36],
        np.array(cheeks),
        landmarks[48:68],
        np.concatenate([landmarks[6:11], (landmarks[7:10] + landmarks[[58, 57, 56]]) / 2]),
    )
    distances = [np.linalg.norm(grid[:, None] - points, axis=2).min(axis=1) for points in anchors]
    return np.argmin(distances, axis=0)


def map_between_faces(
    driving: NDArray[np.float64], result: NDArray[np.float64], points: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Map points (P, 2) of one face to another by a thin-plate spline through the landmarks (68, 2) of both."""
    unit = eye_distance(driving)
    spline = RBFInterpolator(driving / unit, result, kernel="thin_plate_spline", smoothing=MAP_SMOOTHING)
    mapped: NDArray[np.float64] = spline(points / unit)
    return mapped


@dataclass(frozen=True)
class FaceMotion:
    """Motion of a clip at the points of a grid.

    Attributes:
        total: with the motion of the head.
        nonrigid: without it.
        background: (T,) mean length of the motion outside the face, eye distances.
        coarse: (T, 16, 16, 2) the flow of the whole frame, mean over the cells of a grid, pixels.
    """

    total: Motion
    nonrigid: Motion
    background: NDArray[np.float64]
    coarse: NDArray[np.float32]


def measure_motion(clip: FaceClip, grid: NDArray[np.float64], estimator: str, max_frames: int) -> FaceMotion:
    """Estimate the motion of a clip since its first frame.

    Args:
        grid: (P, 2), pixels of the clip.
        estimator: name in `flow_estimators.ESTIMATORS`.
        max_frames: of a longer clip, this many evenly spread frames are used.
    """
    times = spread(len(clip.frames), max_frames)
    first = prepared(clip.frames[0])
    unit, turn = clip.eye_distance, upright_rotation(clip.landmarks)
    outside = _outside(clip)
    at = np.ascontiguousarray(grid[None], np.float32)
    total = np.zeros((len(times), len(grid), 2))
    background = np.zeros(len(times))
    coarse = np.zeros((len(times), COARSE, COARSE, 2), np.float32)
    for i, t in enumerate(times):
        flow = flow_between(estimator, first, prepared(clip.frames[t]))
        sampled = cv2.remap(flow, at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        total[i] = np.asarray(sampled[0], np.float64) @ turn / unit
        coarse[i] = cv2.resize(flow, (COARSE, COARSE), interpolation=cv2.INTER_AREA)
        if outside.any():
            background[i] = np.linalg.norm(flow[outside], axis=1).mean() / unit
    return FaceMotion(total, without_head(total, grid @ turn / unit), background, coarse)


def _outside(clip: FaceClip) -> NDArray[np.bool_]:
    """Mask (H, W) of background and hair."""
    mask = np.zeros(clip.frames.shape[1:3], np.uint8)
    outline = np.concatenate([clip.landmarks, _above(clip.landmarks, 0.5)]).round().astype(np.int32)
    cv2.fillConvexPoly(mask, cv2.convexHull(outline), 1)
    return np.asarray(cv2.distanceTransform(1 - mask, cv2.DIST_L2, 5)) > OUTSIDE * clip.eye_distance


def without_head(motion: Motion, points: NDArray[np.float64]) -> Motion:
    """Remove the similarity of the head, fitted robustly in every frame, from the motion of points (P, 2)."""
    head = fit_similarity_robust(points, points + motion)
    rest: Motion = points + motion - head.apply(points)
    rest[~motion.any(axis=(1, 2))] = 0  # rounding must not make motion
    return rest


def spread(length: int, most: int) -> NDArray[np.int_]:
    """Return `most` indices, evenly spread from the first to the last of `length`; all of them if there are fewer."""
    return np.arange(length) if length <= most else np.linspace(0, length - 1, most).round().astype(int)


def resample(values: NDArray[np.float64], length: int) -> NDArray[np.float64]:
    """Interpolate values (T, ...) linearly to another number of frames, from the first to the last."""
    if len(values) == length:
        return values
    at = np.linspace(0, len(values) - 1, length)
    below = np.floor(at).astype(int)
    above = np.minimum(below + 1, len(values) - 1)
    share = (at - below).reshape(-1, *[1] * (values.ndim - 1))
    return values[below] * (1 - share) + values[above] * share


def same_length(*clips: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Resample arrays (T, ...) to the shortest of them; they are compared over relative time."""
    shortest = min(map(len, clips))
    return [resample(clip, shortest) for clip in clips]


@dataclass(frozen=True)
class Agreement:
    """Comparison of two motions.

    Attributes:
        error: mean |result - driving| / mean |driving| over points and frames; 0 is perfect, a clip that does not move
            has 1.
        correlation: of all vector components over space and time, -1 to 1; 0 for a clip that does not move.
        gain: regression slope of result on driving; 1 is the same strength, 2 is doubled.
    """

    error: float
    correlation: float
    gain: float


NO_AGREEMENT = Agreement(float("nan"), float("nan"), float("nan"))


def agreement(driving: NDArray[np.float64], result: NDArray[np.float64]) -> Agreement:
    """Compare two motions (..., 2) of the same shape; values are NaN if nothing moves in the driving clip."""
    length = np.linalg.norm(driving, axis=-1).mean()
    if not length > 0:
        return NO_AGREEMENT
    error = np.linalg.norm(result - driving, axis=-1).mean() / length
    return Agreement(
        float(error), correlation(driving, result), float((driving * result).sum() / (driving * driving).sum())
    )


def correlation(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Return the Pearson correlation of all values; 0 where one of both is constant."""
    a, b = one.ravel() - one.mean(), other.ravel() - other.mean()
    scale = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / scale) if scale > 0 else 0.0


def region_curves(
    driving: Motion, result: Motion, regions: NDArray[np.int_]
) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Return the motion over time of driving clip and result for each region.

    Both are projected on the strongest pattern of the driving clip in that region (first principal component over
    time), signed so that the driving clip's largest value is positive; eye distances, root mean square over points.
    """
    curves = {}
    for number, name in enumerate(REGIONS):
        chosen = regions == number
        if chosen.any():
            curves[name] = projections(driving[:, chosen], result[:, chosen])
    return curves


def projections(driving: Motion, result: Motion) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Project two motions (T, P, 2) on the strongest spatial pattern of the first: two curves (T,)."""
    flat, other = (motion.reshape(len(motion), -1) for motion in (driving, result))
    pattern = np.linalg.svd(flat, full_matrices=False)[2][0]
    curve = flat @ pattern
    sign = np.sign(curve[np.abs(curve).argmax()]) or 1.0
    scale = sign / np.sqrt(driving.shape[1])
    return curve * scale, other @ pattern * scale


def excess_motion(driving: Motion, result: Motion) -> float:
    """Return the motion of a result where its driving clip has none, as a multiple of the driving clip's mean motion.

    The quarter of the points that move least in the driving clip (root mean square over time) counts as at rest; the
    driving clip's own motion there, which is mostly noise, is subtracted in the mean. At least 0.
    """
    strength = np.sqrt((driving**2).sum(axis=2).mean(axis=0))
    quiet = strength <= np.quantile(strength, 0.25)
    mean = np.linalg.norm(driving, axis=2).mean()
    if not mean > 0:
        return float("nan")
    found, own = (np.linalg.norm(motion[:, quiet], axis=2).mean() for motion in (result, driving))
    return float(max(0.0, found - own) / mean)
