"""Faces of two photographs that arrive with packages, moved by known displacements."""

from collections.abc import Sequence
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from demo.subjects import PHOTOGRAPHS  # noqa: F401  names of the photographs
from evaluation.face_clip import FaceClip, upright_rotation
from faces.alignment import eye_distance
from faces.face_mesh import FaceMesh
from faces.landmarks import MIRRORED_LANDMARKS
from tests.conftest import ROOT

SIDE = 256
FRAMES = 12
APEX = 5


@cache
def photograph(name: str) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """A face of 256 x 256 pixels and its landmarks."""
    if name == "astronaut":
        from skimage.data import astronaut

        image = astronaut()
    else:
        from matplotlib.cbook import get_sample_data

        with get_sample_data("grace_hopper.jpg") as file:
            image = cv2.cvtColor(cv2.imdecode(np.frombuffer(file.read(), np.uint8), 1), cv2.COLOR_BGR2RGB)
    points = np.loadtxt(ROOT / "data" / f"{name}_landmarks68.csv", delimiter=",", skiprows=_header(name))[:, -2:]
    low, high = points.min(axis=0), points.max(axis=0)
    side = 1.7 * (high - low).max()
    corner = (low + high) / 2 - side / 2 - [0, 0.05 * side]
    scale = SIDE / side
    matrix = np.array([[scale, 0, -corner[0] * scale], [0, scale, -corner[1] * scale]])
    face = cv2.warpAffine(image, matrix, (SIDE, SIDE), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE)
    return face, (points - corner) * scale


def _header(name: str) -> int:
    lines = (ROOT / "data" / f"{name}_landmarks68.csv").read_text(encoding="utf-8").splitlines()
    return next(number for number, line in enumerate(lines) if line[0].isdigit())


@cache
def mesh() -> FaceMesh:
    """The face mesh, loaded once."""
    return FaceMesh()


def strength(length: int = FRAMES, apex: int = APEX, width: float = 4.0) -> NDArray[np.float64]:
    """A curve (T,) that rises from 0 to 1 at the apex and falls to 0."""
    t = np.arange(length)
    curve = np.where(np.abs(t - apex) < width, (1 + np.cos(np.pi * (t - apex) / width)) / 2, 0.0)
    return curve


Part = tuple[int, float, float]
"""A landmark and the displacement of the skin around it, x towards the subject's left and y down, eye distances."""
SMILE_AND_BROW: tuple[Part, ...] = ((54, 0.03, -0.03), (24, 0.0, -0.03), (48, -0.012, -0.012))
"""A smile and a raised brow, stronger on the subject's left."""


def mirrored(parts: Sequence[Part]) -> tuple[Part, ...]:
    """The same expression on the other side."""
    return tuple((MIRRORED_LANDMARKS[i], -x, y) for i, x, y in parts)


def displacement(landmarks: NDArray[np.float64], parts: Sequence[Part]) -> NDArray[np.float32]:
    """Displacement (H, W, 2) in pixels, a Gaussian around each landmark."""
    unit = eye_distance(landmarks)
    turn = upright_rotation(landmarks)
    y, x = np.mgrid[:SIDE, :SIDE]
    field = np.zeros((SIDE, SIDE, 2))
    for index, right, down in parts:
        distance = (x - landmarks[index, 0]) ** 2 + (y - landmarks[index, 1]) ** 2
        field += np.exp(-distance / (2 * (0.22 * unit) ** 2))[..., None] * (turn @ np.array([right, down]) * unit)
    return field.astype(np.float32)


def moved(image: NDArray[np.uint8], field: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Move the pixels of an image by a displacement."""
    y, x = np.mgrid[: image.shape[0], : image.shape[1]].astype(np.float32)
    back = -field
    for _ in range(4):
        back = -cv2.remap(field, x + back[..., 0], y + back[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return cv2.remap(image, x + back[..., 0], y + back[..., 1], cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REPLICATE)


def face_clip(
    name: str = "astronaut",
    parts: Sequence[Part] = SMILE_AND_BROW,
    curve: NDArray[np.float64] | None = None,
    extra: NDArray[np.float32] | None = None,
) -> FaceClip:
    """A clip of a photograph.

    Args:
        curve: strength of the expression in each frame.
        extra: further displacement (H, W, 2) at full strength.
    """
    image, landmarks = photograph(name)
    curve = strength() if curve is None else curve
    field = displacement(landmarks, parts)
    if extra is not None:
        field = field + extra
    frames = np.stack([moved(image, field * np.float32(s)) if s else image for s in curve])
    return FaceClip(frames, landmarks, len(frames))
