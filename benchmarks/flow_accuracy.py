"""`python -m benchmarks.flow_accuracy`: error of the dense flow on known motion of two faces, under camera noise.

Two photographs that arrive with scikit-image and Matplotlib are warped by known motion of one to three pixels of
parts of the face and of the head, and both frames get noise. Printed for each level of noise, for the motion inside of
the face without the head's: error (mean length of the difference, relative to the motion), correlation, gain
(regression slope of found on true motion); and the time per frame.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import RBFInterpolator

from demo.subjects import PHOTOGRAPHS, load_photograph
from faces.alignment import eye_distance, fit_similarity_robust
from faces.dense_flow import DenseFlow, optical_flow
from faces.dense_transfer import face_mask

SIZE = 256
NOISE = (1.0, 2.5, 4.0)  # standard deviation, grey levels
MOTIONS = 8  # per face
PARTS = [slice(17, 22), slice(22, 27), slice(36, 42), slice(42, 48), slice(48, 68), slice(31, 36), slice(6, 11)]
Flow = NDArray[np.float32]
Frame = NDArray[np.uint8]
Estimator = Callable[[Frame, Frame, float], Flow]


class Pair(NamedTuple):
    """Two frames with known motion.

    Attributes:
        first, second: SIZE x SIZE RGB, with noise.
        true: displacement from the first to the second, (SIZE, SIZE, 2) xy in pixels.
        skin: mask of the inside of the face.
        eye_distance: pixels.
    """

    first: Frame
    second: Frame
    true: Flow
    skin: NDArray[np.bool_]
    eye_distance: float


def faces() -> list[tuple[Frame, NDArray[np.float64]]]:
    """Two faces, SIZE x SIZE RGB, with their landmarks (68, 2) in pixels."""
    found = []
    for name in PHOTOGRAPHS:
        picture, anatomy = load_photograph(name)
        points = anatomy.landmarks
        half = 0.7 * np.ptp(points, axis=0).max()
        low = points.mean(axis=0) - half - (0, 0.2 * half)
        scale = SIZE / (2 * half)
        matrix = np.array([[scale, 0, -scale * low[0]], [0, scale, -scale * low[1]]])
        crop = cv2.warpAffine(picture, matrix, (SIZE, SIZE), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE)
        found.append((np.asarray(crop, np.uint8), (points - low) * scale))
    return found


def known_motion(landmarks: NDArray[np.float64], rng: np.random.Generator) -> Flow:
    """Random sampling displacement, (SIZE, SIZE, 2) pixels: one to three parts of the face, and the head."""
    eyes = eye_distance(landmarks)
    shift = np.zeros_like(landmarks)
    for part in rng.choice(len(PARTS), size=rng.integers(1, 4), replace=False):
        shift[PARTS[part]] += rng.normal(0, 1, 2) * rng.uniform(0.7, 2.4) * eyes / 90
    y, x = np.mgrid[:SIZE, :SIZE]
    grid = np.stack([x, y], axis=-1).astype(float)
    local = RBFInterpolator(landmarks / eyes, shift, kernel="gaussian", epsilon=2.2, smoothing=0.05, degree=-1)
    turn, zoom = rng.normal(0, 0.002, 2)
    centred = grid - landmarks.mean(axis=0)
    head = centred * zoom + np.stack([-centred[..., 1], centred[..., 0]], axis=-1) * turn + rng.normal(0, 0.6, 2)
    return (local(grid.reshape(-1, 2) / eyes).reshape(grid.shape) + head).astype(np.float32)


def known_pairs(noise: float, motions: int) -> Iterator[Pair]:
    """Pairs of frames of both faces under known motion, always the same ones."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float32)
    for face, landmarks in faces():
        for _ in range(motions):
            backward = known_motion(landmarks, rng)
            at = x + backward[..., 0], y + backward[..., 1]
            moved = np.asarray(cv2.remap(face, *at, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT), np.uint8)
            first, second = (_with_noise(frame, noise, rng) for frame in (face, moved))
            skin = face_mask(landmarks, (SIZE, SIZE)) > 0.9
            yield Pair(first, second, _inverted(backward), skin, eye_distance(landmarks))


def accuracy(estimator: Estimator, pairs: Iterable[Pair]) -> tuple[float, float, float]:
    """Error, correlation and gain of the motion inside of the face without the head's, over all pairs."""
    truths, results = [], []
    for pair in pairs:
        truths.append(_nonrigid(pair.true, pair.skin))
        results.append(_nonrigid(estimator(pair.first, pair.second, pair.eye_distance), pair.skin))
    true, found = np.concatenate(truths), np.concatenate(results)
    error = np.linalg.norm(found - true, axis=1).mean() / np.linalg.norm(true, axis=1).mean()
    gain = (true * found).sum() / (true * true).sum()
    return float(error), float(np.corrcoef(true.ravel(), found.ravel())[0, 1]), float(gain)


def plain_dis(first: Frame, second: Frame, eye_distance: float) -> Flow:
    """DIS flow of the preset `medium` on the frames themselves."""
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    return optical_flow(dis, *(np.asarray(cv2.cvtColor(f, cv2.COLOR_RGB2GRAY), np.uint8) for f in (first, second)))


def dense_flow(first: Frame, second: Frame, eye_distance: float) -> Flow:
    """Flow of `DenseFlow`."""
    return DenseFlow(first, eye_distance).follow(second)


def main() -> None:
    """Print one row per estimator."""
    estimators: dict[str, Estimator] = {"DIS, medium": plain_dis, "DenseFlow": dense_flow}
    print(f"{'error / correlation / gain':28s}" + "".join(f"noise {noise:<17}" for noise in NOISE) + "per frame")
    for name, estimator in estimators.items():
        began = time.perf_counter()
        columns = [accuracy(estimator, known_pairs(noise, MOTIONS)) for noise in NOISE]
        each = (time.perf_counter() - began) / (2 * MOTIONS * len(NOISE))
        print(
            f"{name:28s}" + "".join("{:.3f} / {:.3f} / {:.3f}  ".format(*c) for c in columns) + f"{1e3 * each:.0f} ms"
        )


def _inverted(backward: Flow) -> Flow:
    """Displacement that a sampling displacement causes, by fixed-point iteration."""
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float32)
    forward = -backward
    for _ in range(20):
        at = x + forward[..., 0], y + forward[..., 1]
        forward = -np.asarray(cv2.remap(backward, *at, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32)
    return forward


def _nonrigid(flow: Flow, skin: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Displacements (N, 2) inside of the face, without those of a similarity."""
    at = np.argwhere(skin)[::5, ::-1].astype(float)
    moved = at + flow[skin][::5]
    return moved - fit_similarity_robust(at, moved).apply(at)


def _with_noise(frame: Frame, noise: float, rng: np.random.Generator) -> Frame:
    """Add noise that is slightly correlated between pixels, as demosaicing and compression leave it."""
    grain = cv2.GaussianBlur(rng.normal(0, 1, frame.shape), (0, 0), 0.7)
    return (frame + grain * (noise / grain.std())).round().clip(0, 255).astype(np.uint8)


if __name__ == "__main__":
    main()
