"""Measures clips: motion, landmarks, action units and blendshapes of driving clips and results alike.

Legend: T frames, t frames of slow methods, P points of the face grid.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evaluation.action_units import face_displacements, geometric_action_units
from evaluation.artefacts import temporal_noise
from evaluation.blendshapes import acting_channels, blendshape_changes, channel_noise
from evaluation.face_clip import FaceClip
from evaluation.identity import Embedding
from evaluation.motion import FaceMotion, correlation, face_grid, measure_motion, region_of_points, same_length
from evaluation.networks import Distance
from faces.alignment import fit_similarity_robust
from faces.face_mesh import FaceMesh
from faces.tracking import track

UnitEstimator = Callable[[FaceClip, NDArray[np.float64]], NDArray[np.float64]]
"""Estimates the change of action units since the first frame: clip, tracked landmarks (T, 68, 2) -> (T, 34), 0 to 5."""


def units_by_geometry(_clip: FaceClip, landmarks: NDArray[np.float64]) -> NDArray[np.float64]:
    """Estimate action units from the tracked landmarks."""
    return geometric_action_units(face_displacements(landmarks))


@dataclass(frozen=True)
class Methods:
    """Methods of the judge.

    Attributes:
        estimators: flow estimators by name; the first one also gives curves and timing.
        slow_frames: frames per clip of all estimators but the first, and of the face mesh.
        units: estimator of the action units.
        mesh: face mesh of blendshapes; None leaves them out.
        embedding: of identity; None: landmarks and colour.
        lpips: distance; None leaves it out.
    """

    estimators: tuple[str, ...] = ("dis", "tvl1")
    slow_frames: int = 16
    units: UnitEstimator = units_by_geometry
    mesh: FaceMesh | None = None
    embedding: Embedding | None = None
    lpips: Distance | None = None


class Blendshapes(NamedTuple):
    """Blendshapes of a driving clip.

    Attributes:
        changes: (t, 52) since the first frame.
        acts: (52,) mask of the channels that act.
    """

    changes: NDArray[np.float64]
    acts: NDArray[np.bool_]


@dataclass(frozen=True)
class ClipMeasurements:
    """Measurements of a driving clip or of a result.

    Attributes:
        motion: by flow estimator.
        displacements: (T, 68, 2) of the landmarks in the face frame; None if they cannot be followed.
        units: (T, 34) changes of action units; None likewise.
        blendshapes: (t, 52) changes; None without a mesh or a face.
        noise: see `temporal_noise`.
    """

    motion: dict[str, FaceMotion]
    displacements: NDArray[np.float64] | None
    units: NDArray[np.float64] | None
    blendshapes: NDArray[np.float64] | None
    noise: float
    problem: str = ""


@dataclass(frozen=True)
class DrivingClip:
    """A measured driving clip.

    Attributes:
        grid: (P, 2) points of the face.
        regions: (P,) of the points.
        acts: (52,) mask of the blendshapes that act.
        agreement: correlation of the first two estimators; NaN with one.
    """

    clip: FaceClip
    grid: NDArray[np.float64]
    regions: NDArray[np.int_]
    measured: ClipMeasurements
    acts: NDArray[np.bool_]
    agreement: float

    @property
    def blendshapes(self) -> Blendshapes | None:
        """Blendshapes, with those that act; None without a mesh or a face."""
        changes = self.measured.blendshapes
        return None if changes is None else Blendshapes(changes, self.acts)


def measure_driving(clip: FaceClip, methods: Methods) -> DrivingClip:
    """Measure a driving clip once for all of its results.

    Raises:
        ValueError: nothing moves in it.
    """
    grid = face_grid(clip.landmarks)
    measured = measure_clip(clip, grid, methods)
    motion = measured.motion[methods.estimators[0]]
    if not motion.nonrigid.any():
        raise ValueError("nothing moves in the driving clip")
    acts = np.zeros(52, bool)
    if methods.mesh is not None and measured.blendshapes is not None:
        heads = [fit_similarity_robust(grid, grid + moved * clip.eye_distance) for moved in motion.total[1:]]
        noise = channel_noise(methods.mesh, clip, heads)
        if noise is not None:
            acts = acting_channels(measured.blendshapes, noise)
    agreed = float("nan")
    if len(methods.estimators) > 1:
        pair = [measured.motion[name].nonrigid for name in methods.estimators[:2]]
        agreed = correlation(*same_length(*pair))
    return DrivingClip(clip, grid, region_of_points(clip.landmarks, grid), measured, acts, agreed)


def measure_clip(clip: FaceClip, grid: NDArray[np.float64], methods: Methods) -> ClipMeasurements:
    """Measure a clip at the points `grid` (P, 2), pixels of the clip."""
    first = methods.estimators[0]
    motion = {
        name: measure_motion(clip, grid, name, len(clip.frames) if name == first else methods.slow_frames)
        for name in methods.estimators
    }
    displacements, units, problem = None, None, ""
    try:
        landmarks = track(clip.frames, clip.landmarks)
        displacements, units = face_displacements(landmarks), methods.units(clip, landmarks)
    except ValueError as error:
        problem = f"landmarks cannot be followed ({error})"
    changes = None
    if methods.mesh is not None:
        changes = blendshape_changes(methods.mesh, clip.frames, methods.slow_frames)
        problem = problem or ("" if changes is not None else "the face mesh finds no face")
    return ClipMeasurements(motion, displacements, units, changes, temporal_noise(clip), problem)
