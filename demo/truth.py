"""Test pairs of a demo set on disk: their true results, and clips to compare results with.

Legend: T frames, H x W image.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import imageio.v3 as iio
import numpy as np
from numpy.typing import NDArray

from output.metrics import temporal_difference

FOREHEAD = 0.15
"""Height of the forehead above the brows that counts as face, share of the height of the landmarks."""

Frames = NDArray[np.float32]
"""(T, H, W, 3) RGB in [0, 1]."""


@dataclass(frozen=True)
class Pair:
    """Names of the source and the driving clip of a test pair."""

    source: str
    driving: str

    @property
    def name(self) -> str:
        """Name of the true result and of the folder of an animation."""
        return f"{self.driving}-{self.source}"


@dataclass(frozen=True)
class Truth:
    """True result of a pair: the source subject with the expression of the driving clip."""

    frames: Frames
    """Without camera noise."""
    flow: NDArray[np.float32]
    """(T, H, W, 2) xy, pixels, from each pixel back to the first frame."""
    landmarks: NDArray[np.float64]
    """(68, 2) xy, pixels, of the first frame."""

    def face_mask(self) -> NDArray[np.bool_]:
        """Return the mask of the face in the first frame, (H, W)."""
        mask = np.zeros(self.frames.shape[1:3], np.uint8)
        forehead = self.landmarks[17:27] - [0, FOREHEAD * np.ptp(self.landmarks[:, 1])]
        outline = np.concatenate([self.landmarks, forehead]).round().astype(np.int32)
        cv2.fillConvexPoly(mask, cv2.convexHull(outline), 1)
        return mask.astype(bool)


def read_pairs(data: Path) -> list[Pair]:
    """Read the test pairs of a demo set."""
    with (data / "test_pairs.csv").open(newline="", encoding="utf-8") as file:
        return [Pair(row["source"], row["driving"]) for row in csv.DictReader(file)]


def read_truth(data: Path, pair: Pair) -> Truth:
    """Read the true result of a pair."""
    with np.load(data / "truth" / "pairs" / f"{pair.name}.npz") as arrays:
        return Truth(
            arrays["frames"].astype(np.float32), arrays["flow"].astype(np.float32), arrays["landmarks"][0].astype(float)
        )


def read_frames(folder: Path) -> NDArray[np.uint8]:
    """Read the PNG frames of a clip or result, (T, H, W, 3)."""
    return np.stack([iio.imread(path) for path in sorted(folder.glob("*.png"))])


def to_unit_range(frames: NDArray[np.uint8]) -> Frames:
    """Convert frames from 8 bits to [0, 1]."""
    return frames.astype(np.float32) / np.float32(255)


def still_clip(data: Path, pair: Pair) -> NDArray[np.uint8]:
    """Return the first source frame, repeated for the length of the driving clip: (T, H, W, 3)."""
    source = read_frames(data / "test" / pair.source)[:1]
    return np.repeat(source, len(read_truth(data, pair).frames), axis=0)


def warped_source(data: Path, pair: Pair) -> Frames:
    """Warp the source frame by the true flow: correct motion without wrinkles and shading."""
    source, flow = to_unit_range(still_clip(data, pair)[0]), read_truth(data, pair).flow
    y, x = np.mgrid[: source.shape[0], : source.shape[1]].astype(np.float32)
    frames = [
        cv2.remap(source, x + f[..., 0], y + f[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE) for f in flow
    ]
    return np.stack(frames).astype(np.float32)


def mean_temporal_difference(data: Path, result: Callable[[Pair], Frames]) -> tuple[float, float]:
    """Measure results against the truth.

    Args:
        data: folder of the demo set.
        result: returns the frames of the result of a pair.
    Returns:
        Error and correlation of the temporal differences, mean over the test pairs.
    """
    values = [temporal_difference(read_truth(data, pair).frames, result(pair)) for pair in read_pairs(data)]
    error, correlation = np.mean(values, axis=0)
    return float(error), float(correlation)
