"""Indices of the face mesh, from `data/face_mesh.json`: landmarks, points and names of the blendshapes, mirror images.

The 68 landmarks are means of one to four points. They were fitted by `python -m benchmarks.mesh_landmarks` to the two
photographs whose landmarks are in `data/`, symmetrically, near the points that are usually taken. The other indices are
those of MediaPipe.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

TABLE = Path(__file__).resolve().parents[1] / "data" / "face_mesh.json"
_TABLE: dict[str, Any] = json.loads(TABLE.read_text(encoding="utf-8"))

LANDMARK_POINTS: tuple[tuple[int, ...], ...] = tuple(map(tuple, _TABLE["landmark_points"]))
"""Points of the mesh whose mean is each of the 68 landmarks, iBUG order."""
MIRRORED_POINTS = np.array(_TABLE["mirrored_points"])
"""Index of each point's mirror image, (478,)."""
BLENDSHAPE_POINTS = np.array(_TABLE["blendshape_points"])
"""Points that the network of the blendshapes reads, (146,)."""
BLENDSHAPES: tuple[str, ...] = tuple(_TABLE["blendshapes"])
"""Names of the 52 blendshapes; "Left" and "Right" are the subject's own."""

_WEIGHTS = np.zeros((len(LANDMARK_POINTS), len(MIRRORED_POINTS)))
for _row, _points in zip(_WEIGHTS, LANDMARK_POINTS, strict=True):
    _row[list(_points)] = 1 / len(_points)


def landmarks_of_mesh(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the 68 landmarks (..., 68, 2) of meshes (..., 478, 2 or 3)."""
    return _WEIGHTS @ points[..., :2]
