"""Measures of a result on the demo set against the true result: temporal differences, motion, action units.

Legend: T frames, F measured frames, H x W image, P pixels of the face, K action units and sides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from demo.face import DemoFace
from demo.geometry import Key
from demo.muscles import MUSCLES
from demo.truth import Frames
from faces.action_units import SIDES
from faces.alignment import fit_similarity_robust
from output.metrics import temporal_difference

KEYS: tuple[Key, ...] = tuple((unit, side) for unit in sorted(MUSCLES) for side in SIDES)
FRAME_STEP = 5  # motion and action units are measured in every fifth frame
BLURS = (1.0, 2.0)  # standard deviations, pixels; the larger one allows for larger motion
CONTRAST_BLUR = 4.0  # standard deviation of the contrast normalisation, pixels
RIDGE = 1e-4


class IntensityEstimator:
    """Estimates action-unit intensities of a demo face from its exact motion and change of colour per action unit."""

    def __init__(self, face: DemoFace) -> None:
        self._motion = np.stack([face.unit_displacement(*key) for key in KEYS])
        colour = np.stack([face.unit_appearance(*key) for key in KEYS])
        self._colours = [np.stack([cv2.GaussianBlur(c, (0, 0), blur) for c in colour]) for blur in BLURS]

    def intensities(self, first: NDArray[np.float32], frame: NDArray[np.float32]) -> NDArray[np.float64]:
        """Fit the intensities that explain the change between two frames, by least squares.

        Args:
            first, frame: (H, W, 3) RGB in [0, 1].
        Returns:
            (3, K): of motion and colour together; of motion alone and of colour alone, fitted jointly.
        """
        columns, changes = [], []
        for blur, colour in zip(BLURS, self._colours, strict=True):
            before, after = (cv2.GaussianBlur(image, (0, 0), blur) for image in (first, frame))
            down, right = np.gradient((before + after) / 2, axis=(0, 1))
            moved = -(right * self._motion[..., 0:1] + down * self._motion[..., 1:2])
            contrast = cv2.GaussianBlur((right**2 + down**2).mean(-1), (0, 0), CONTRAST_BLUR)
            weight = 1 / (np.sqrt(contrast)[..., None] + 0.01)
            columns.append((np.stack([moved, colour]) * weight).reshape(2, len(KEYS), -1))
            changes.append(((after - before) * weight).ravel())
        motion, colours = np.concatenate(columns, axis=2)
        change = np.concatenate(changes)
        separate = _ridge(np.concatenate([motion, colours]), change)
        return np.stack([_ridge(motion + colours, change), *separate.reshape(2, len(KEYS))])


@dataclass(frozen=True)
class ClipMeasurements:
    """Motion and action units of a clip, at every `FRAME_STEP`-th frame.

    Attributes:
        frames: all frames.
        flow: (F, P, 2) dense optical flow since the first frame, pixels.
        nonrigid: (F, P, 2) the same without the similarity of head motion.
        units: (3, F, K), see `IntensityEstimator.intensities`.
    """

    frames: Frames
    flow: NDArray[np.float32]
    nonrigid: NDArray[np.float64]
    units: NDArray[np.float64]

    @classmethod
    def from_frames(cls, frames: Frames, estimator: IntensityEstimator, mask: NDArray[np.bool_]) -> ClipMeasurements:
        """Measure a clip of a face; `mask` (H, W) selects its skin."""
        times = range(1, len(frames), FRAME_STEP)
        flow = np.stack([_optical_flow(frames[0], frames[t])[mask] for t in times])
        still = np.argwhere(mask)[:, ::-1].astype(np.float64)
        head = fit_similarity_robust(still, still + flow)
        return cls(
            frames,
            flow,
            head.inverse().apply(still + flow) - still,
            np.stack([estimator.intensities(frames[0], frames[t]) for t in times], axis=1),
        )


def compare(result: ClipMeasurements, truth: ClipMeasurements) -> dict[str, float]:
    """Compare a result with the truth; each error is 1 for a clip without motion and 0 for the truth.

    Returns:
        `difference_error`, `difference_correlation`: of temporal differences; `motion_error`: of dense optical flow,
        estimated alike in both clips; `nonrigid_error`, `nonrigid_correlation`: of the flow without head motion;
        `au_error`, `au_geometry_error`, `au_appearance_error`: of the action units, of their motion and of their
        change of colour, by the exact fields of the face.
    """
    error, correlation = temporal_difference(truth.frames, result.frames)
    au_errors = [_relative_error(*pair) for pair in zip(result.units, truth.units, strict=True)]
    return {
        "difference_error": error,
        "difference_correlation": correlation,
        "motion_error": _relative_error(result.flow, truth.flow),
        "nonrigid_error": _relative_error(result.nonrigid, truth.nonrigid),
        "nonrigid_correlation": _correlation(result.nonrigid, truth.nonrigid),
        **dict(zip(("au_error", "au_geometry_error", "au_appearance_error"), au_errors, strict=True)),
    }


def _relative_error(found: NDArray[Any], true: NDArray[Any]) -> float:
    return float(np.abs(found - true).sum() / np.abs(true).sum())


def _correlation(found: NDArray[np.float64], true: NDArray[np.float64]) -> float:
    return float(np.corrcoef(found.ravel(), true.ravel())[0, 1]) if found.any() else 0.0


def _ridge(columns: NDArray[Any], change: NDArray[Any]) -> NDArray[np.float64]:
    """Ridge regression: (K, N), (N,) -> (K,)."""
    system = columns @ columns.T / len(change) + RIDGE * np.eye(len(columns))
    return np.asarray(np.linalg.solve(system, columns @ change / len(change)), np.float64)


def _optical_flow(first: NDArray[np.float32], frame: NDArray[np.float32]) -> NDArray[np.float32]:
    """Estimate optical flow by dense inverse search (Kroeger et al., 2016): (H, W, 2) pixels."""
    grey = [cv2.cvtColor((p * 255).round().astype(np.uint8), cv2.COLOR_RGB2GRAY) for p in (first, frame)]
    estimator = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow = estimator.calc(grey[0], grey[1], None)  # type: ignore[call-overload]  # the stubs lack None: no first guess
    return np.asarray(flow, np.float32)
