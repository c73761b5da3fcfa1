"""How well a result on the demo set shows what it should: pictures, motion and action units, against the true clip.

Legend: T frames, H x W image, K action units and sides.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from demo.face import DemoFace
from demo.geometry import SIDES, Key
from demo.muscles import MUSCLES
from faces.alignment import fit_similarity_robust
from output.metrics import temporal_difference

KEYS: tuple[Key, ...] = tuple((unit, side) for unit in sorted(MUSCLES) for side in SIDES)
EVERY = 5  # frames between those whose motion and action units are measured
BLURS = (1.0, 2.0)  # standard deviations, pixels; the coarser reaches over larger motion
CONTRAST = 4.0  # pixels over which contrast is evened out
RIDGE = 1e-4

Clip = NDArray[np.float32]
"""(T, H, W, 3) RGB in [0, 1]."""


class UnitChanges:
    """The change that each action unit and side makes to a picture of one demo face, by its true motion and colour."""

    def __init__(self, face: DemoFace) -> None:
        self._motion = np.stack([face.unit_displacement(*key) for key in KEYS])
        colour = np.stack([face.unit_appearance(*key) for key in KEYS])
        self._colours = [np.stack([cv2.GaussianBlur(c, (0, 0), blur) for c in colour]) for blur in BLURS]

    def intensities(self, first: NDArray[np.float32], frame: NDArray[np.float32]) -> NDArray[np.float64]:
        """Least-squares intensities of what has changed between two pictures of the face.

        Args:
            first, frame: (H, W, 3) RGB in [0, 1].
        Returns:
            (3, K): of motion and colour together; of motion alone; of colour alone, beside that of motion.
        """
        columns, changes = [], []
        for blur, colour in zip(BLURS, self._colours, strict=True):
            before, after = (cv2.GaussianBlur(picture, (0, 0), blur) for picture in (first, frame))
            down, right = np.gradient((before + after) / 2, axis=(0, 1))
            moved = -(right * self._motion[..., 0:1] + down * self._motion[..., 1:2])
            contrast = cv2.GaussianBlur((right**2 + down**2).mean(-1), (0, 0), CONTRAST)
            weight = 1 / (np.sqrt(contrast)[..., None] + 0.01)
            columns.append((np.stack([moved, colour]) * weight).reshape(2, len(KEYS), -1))
            changes.append(((after - before) * weight).ravel())
        motion, colours = np.concatenate(columns, axis=2)
        change = np.concatenate(changes)
        apart = _ridge(np.concatenate([motion, colours]), change)
        return np.stack([_ridge(motion + colours, change), *apart.reshape(2, len(KEYS))])


@dataclass(frozen=True)
class Shown:
    """What a clip shows, frame by frame, at every `EVERY`-th frame.

    Attributes:
        clip: all frames.
        flow: (F, P, 2) dense optical flow since the first frame, pixels of the face.
        nonrigid: (F, P, 2), the same without the similarity that the head performs.
        units: (3, F, K), see `UnitChanges.intensities`.
    """

    clip: Clip
    flow: NDArray[np.float32]
    nonrigid: NDArray[np.float64]
    units: NDArray[np.float64]

    @classmethod
    def by(cls, clip: Clip, changes: UnitChanges, mask: NDArray[np.bool_]) -> Shown:
        """Measure a clip of a face whose skin is where `mask` (H, W) is true."""
        times = range(1, len(clip), EVERY)
        flow = np.stack([_flow(clip[0], clip[t])[mask] for t in times])
        still = np.argwhere(mask)[:, ::-1].astype(np.float64)
        head = fit_similarity_robust(still, still + flow)
        return cls(
            clip,
            flow,
            head.inverse().apply(still + flow) - still,
            np.stack([changes.intensities(clip[0], clip[t]) for t in times], axis=1),
        )


def measure(result: Shown, truth: Shown) -> dict[str, float]:
    """Hold a result against the truth; each error is 1 for a clip without motion and 0 for the truth.

    Returns:
        `difference_error`, `difference_correlation`: of the temporal differences; `motion_error`: of dense optical
        flow, estimated alike in both; `nonrigid_error`, `nonrigid_correlation`: of what is no movement of the head in
        it; `au_error`, `au_geometry_error`, `au_appearance_error`: of the action units, by
        the face's true unit changes, their motion and their colour.
    """
    error, correlation = temporal_difference(truth.clip, result.clip)
    au_errors = [_relative(*pair) for pair in zip(result.units, truth.units, strict=True)]
    return {
        "difference_error": error,
        "difference_correlation": correlation,
        "motion_error": _relative(result.flow, truth.flow),
        "nonrigid_error": _relative(result.nonrigid, truth.nonrigid),
        "nonrigid_correlation": _correlation(result.nonrigid, truth.nonrigid),
        **dict(zip(("au_error", "au_geometry_error", "au_appearance_error"), au_errors, strict=True)),
    }


def _relative(found: NDArray[np.floating], true: NDArray[np.floating]) -> float:
    return float(np.abs(found - true).sum() / np.abs(true).sum())


def _correlation(found: NDArray[np.floating], true: NDArray[np.floating]) -> float:
    return float(np.corrcoef(found.ravel(), true.ravel())[0, 1]) if found.any() else 0.0


def _ridge(columns: NDArray[np.float64], change: NDArray[np.float64]) -> NDArray[np.float64]:
    """(K, N), (N,) -> (K,)."""
    system = columns @ columns.T / len(change) + RIDGE * np.eye(len(columns))
    return np.linalg.solve(system, columns @ change / len(change))


def _flow(first: NDArray[np.float32], frame: NDArray[np.float32]) -> NDArray[np.float32]:
    """Dense inverse search (Kroeger et al., 2016): (H, W, 2) pixels."""
    grey = [cv2.cvtColor((p * 255).round().astype(np.uint8), cv2.COLOR_RGB2GRAY) for p in (first, frame)]
    return cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(*grey, None)
