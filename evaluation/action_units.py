"""Relative action units of a clip, from the motion of its landmarks, and figures that compare two clips by them.

Legend: T frames, N = 68 landmarks, K = 34 action units and sides (17 units, each the subject's left and right).
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evaluation.face_clip import upright_rotation
from evaluation.motion import Agreement, agreement, correlation
from faces.action_unit_tables import ACTION_UNITS
from faces.action_units import SIDES
from faces.alignment import eye_distance, remove_head_motion
from faces.au_geometry import read_geometry
from faces.facs import MAX_INTENSITY
from faces.landmarks import MIRRORED_LANDMARKS

NAMES: tuple[str, ...] = tuple(f"AU{unit} {side}" for unit in ACTION_UNITS for side in SIDES)
RIDGE = 0.02
"""Weight of the ridge, relative to the mean squared length of a unit's displacement: landmarks cannot distinguish all
units, and without it similar ones would cancel."""
ACTIVE = 0.2  # fraction of the strongest unit's peak from which a unit counts as active in the driving clip
ONE_SIDED = 0.25  # of the motion that must be asymmetric in the driving clip for its side to be judged


def face_displacements(landmarks: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the motion of tracked landmarks without head motion, in the face frame.

    Args:
        landmarks: (T, 68, 2), xy, pixels, tracked from the first frame.
    Returns:
        (T, 68, 2), eye distances, x towards the subject's left, y down; zero in the first frame.
    """
    still = remove_head_motion(landmarks)
    moved: NDArray[np.float64] = (still - still[0]) @ upright_rotation(landmarks[0]) / eye_distance(landmarks[0])
    moved[~(landmarks != landmarks[0]).any(axis=(1, 2))] = 0  # rounding must not make motion
    return moved


def geometric_action_units(displacements: NDArray[np.float64]) -> NDArray[np.float64]:
    """Estimate the change of the action units since the first frame by least squares.

    The displacement of landmarks by each unit (`data/action_unit_geometry.csv`) is fitted to the motion, with a ridge.
    Intensities below zero mean that a unit relaxes.

    Args:
        displacements: (T, 68, 2) from `face_displacements`.
    Returns:
        (T, 34), 0 to 5 as in FACS.
    """
    units: NDArray[np.float64] = displacements.reshape(len(displacements), -1) @ _solver() * MAX_INTENSITY
    return units


@cache
def _solver() -> NDArray[np.float64]:
    """Matrix (136, 34) from displacements to intensities of 0 to 1."""
    basis = read_geometry().reshape(len(NAMES), -1)
    ridge = RIDGE * (basis**2).sum(axis=1).mean()
    return np.linalg.solve(basis @ basis.T + ridge * np.eye(len(NAMES)), basis).T


class UnitFigures(NamedTuple):
    """Comparison of the action units of two clips.

    Attributes:
        agreement: of all values over units and frames; the error is the mean absolute difference over the mean absolute
            intensity of the driving clip.
        leakage: mean change of units that rest in the driving clip, beyond their own change there, over the mean
            change of those that act in it.
    """

    agreement: Agreement
    leakage: float


def compare_units(driving: NDArray[np.float64], result: NDArray[np.float64]) -> UnitFigures:
    """Compare relative action units (T, 34); NaN if none acts in the driving clip."""
    peaks = np.abs(driving).max(axis=0)
    acts = peaks > ACTIVE * peaks.max()
    if not acts.any():
        return UnitFigures(agreement(driving[..., None], result[..., None]), float("nan"))
    rests = ~acts
    beyond = (np.abs(result[:, rests]) - np.abs(driving[:, rests])).mean() if rests.any() else 0.0
    leakage = max(0.0, float(beyond)) / float(np.abs(driving[:, acts]).mean())
    return UnitFigures(agreement(driving[..., None], result[..., None]), leakage)


def landmark_distance(driving: NDArray[np.float64], result: NDArray[np.float64]) -> float:
    """Return the mean distance of landmarks from where the driving motion takes them, percent of the eye distance.

    The average keypoint distance (AKD) of Siarohin et al., CVPR 2019, for results of another person than the driving
    one: of landmarks tracked from the first frame, without head motion, in the face frame.

    Args:
        driving, result: (T, 68, 2) from `face_displacements`.
    """
    return float(100 * np.linalg.norm(result - driving, axis=-1).mean())


def asymmetry(displacements: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the asymmetric part of a motion (T, 68, 2): half the difference from its mirror image."""
    mirrored = displacements[:, list(MIRRORED_LANDMARKS)] * np.array([-1.0, 1.0])
    half: NDArray[np.float64] = (displacements - mirrored) / 2
    return half


def asymmetry_kept(driving: NDArray[np.float64], result: NDArray[np.float64]) -> float:
    """Return the correlation of the asymmetric parts of two motions; -1 for a mirrored result.

    NaN if less than a quarter of the driving motion is asymmetric: both sides then act alike, and only noise is left.
    """
    own = asymmetry(driving)
    if not np.abs(own).sum() > ONE_SIDED * np.abs(driving).sum():
        return float("nan")
    return correlation(own, asymmetry(result))
