"""Faces of an image as meshes of 478 points, with 68 landmarks and 52 blendshapes, by networks that run in OpenCV.

Points are in pixels of the image (integer = pixel centre). "Left" and "right" are the subject's own.

Legend: H x W image, crop of 256 x 256 pixels around one upright face.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from faces.detector_inputs import as_rgb, check_box
from faces.face_search import TILES, Candidate, overlaps, search_levels
from faces.image_square import ImageSquare
from faces.landmark_checks import landmark_problem
from faces.mesh_indices import BLENDSHAPE_POINTS, MIRRORED_POINTS, landmarks_of_mesh
from faces.mesh_models import MODEL_SHA256, load_networks

REVISION = f"2 {MODEL_SHA256[:8]}"
"""Changes whenever the same image gives other landmarks."""
CROP = 256  # pixels, side of the mesh network's input
CROP_WIDTH = 1.5
"""Side of the crop, as a multiple of the larger side of the face."""
PASSES = 3
"""Runs of the mesh network: in the crop around the detected box, then in crops around the mesh of the run before."""
MIN_SCORE = 7.0
"""Least log-odds of a face after the last pass. Meshes on faces that are upside down or in profile had -26 to 10."""
SURE_SCORE = 12.0
"""Log-odds above which a face is certain; faces of 40 pixels or more usually had 14 to 20."""
UPRIGHT_SCORE = 17.0
"""Log-odds above which a face that was found upright is not searched in other directions."""
MIRROR_TOLERANCE = 0.1
"""Greatest median distance between a mesh and that of the mirrored crop, in distances of the outer eye corners. Faces
had 0.004 to 0.03, down to a width of 17 pixels; meshes on coins, cells and parts of larger faces 0.18 to 0.41."""
LARGEST_IN_TILE = 0.5
"""Size of the largest faces that a scale of the search adds, as a fraction of its tiles."""
SAME_FACE = 0.3  # intersection over union of the boxes of two meshes
SKIN_POINTS = 468  # the others are the irises
RIGHT_EYE_CORNER, LEFT_EYE_CORNER = 33, 263


@dataclass(frozen=True)
class MeshFace:
    """A face."""

    box: NDArray[np.float64]
    """(4,) x0, y0, x1, y1 of the mesh, pixels."""
    points: NDArray[np.float64]
    """(478, 3): x, y in pixels, depth in the same unit, smaller towards the camera; the last ten are the irises."""
    landmarks: NDArray[np.float64]
    """(68, 2), xy, pixels, iBUG order."""
    blendshapes: NDArray[np.float64]
    """(52,) in [0, 1], order of `BLENDSHAPES`; independent of size and in-plane rotation."""
    score: float
    """Log-odds that the mesh lies on a face, at least `MIN_SCORE`."""


class FaceMesh:
    """The face-mesh networks, loaded from the installed package; safe to use from several threads.

    Args:
        path: the model file; None: that of the installed package.
    Raises:
        FileNotFoundError: the model file is missing or not the expected one.
    """

    def __init__(self, path: Path | None = None):
        self._networks = load_networks(path)

    def detect(self, image: NDArray[np.uint8], *, least: float = 0.0) -> list[MeshFace]:
        """Return the faces of an image, sorted by the area of their box, largest first.

        Faces may be turned by any angle; small ones on their side or upside down and those in profile are not found.
        Uncertain faces (below `SURE_SCORE`) are returned only if there is no certain one.

        Args:
            image: H x W x 3 RGB or H x W grey, uint8.
            least: size, relative to the largest face, below which faces are not searched for, which takes less time.
        Raises:
            ValueError: a wrong image.
        """
        return self._search(as_rgb(image), least)

    def largest(self, image: NDArray[np.uint8], box: NDArray[np.floating] | None = None) -> MeshFace:
        """Return the largest face; smaller ones are not searched for, which is faster than `detect`.

        Args:
            image: H x W x 3 RGB or H x W grey, uint8.
            box: x0, y0, x1, y1 of a known upright face, from brows to chin and ear to ear, pixels; None: search.
        Raises:
            ValueError: a wrong image or box, or no face was found.
        """
        image = as_rgb(image)
        where = f"the {image.shape[1]} x {image.shape[0]} image"
        if box is not None:
            box = check_box(box)
            where = f"the box {box.tolist()} of {where}"
            face = self._fit(image, ImageSquare((box[:2] + box[2:]) / 2, float((box[2:] - box[:2]).max())))
            found = [] if face is None else [face]
        else:
            found = self._search(image, math.inf)
        if not found:
            raise ValueError(f"no face was found in {where} (faces in profile are not found)")
        return found[0]

    def _search(self, image: NDArray[np.uint8], least: float) -> list[MeshFace]:
        """Return the faces, largest first; none below `least` times the largest is searched for."""
        faces: list[MeshFace] = []
        for candidates, enough, following in self._stages(image):
            fitted = [self._fit(image, candidate.square) for candidate in candidates]
            faces = _distinct([*faces, *(face for face in fitted if face is not None)])
            if faces and faces[0].score >= enough and following < least * max(_side(face) for face in faces):
                break
        certain = [face for face in faces if face.score >= SURE_SCORE]
        return sorted(certain, key=_area, reverse=True) if certain else faces

    def _stages(self, image: NDArray[np.uint8]) -> Iterator[tuple[list[Candidate], float, float]]:
        """Yield candidates, the likeliest kinds first.

        Each with the score that ends a search for the largest face, and the size, in pixels, of the largest faces that
        the following stages add.
        """
        upright, *turned = (search_levels(self._networks.detector, image, angle=n * np.pi / 2) for n in range(4))
        longer = max(image.shape[:2])
        sizes = [longer * LARGEST_IN_TILE / count for count in TILES]
        yield next(upright), UPRIGHT_SCORE, longer
        yield [face for levels in turned for face in next(levels)], SURE_SCORE, sizes[0]
        for candidates, size in zip(upright, [*sizes[1:], 0.0], strict=False):
            yield candidates, SURE_SCORE, size
        for levels in turned:
            yield next(levels, []), SURE_SCORE, 0.0

    def _fit(self, image: NDArray[np.uint8], square: ImageSquare) -> MeshFace | None:
        """Fit the mesh to the face whose box is given; None if it is not a face."""
        for _ in range(PASSES):
            crop = ImageSquare(square.centre, square.side * CROP_WIDTH, square.angle)
            view = crop.view(image, CROP, border=cv2.BORDER_REPLICATE)
            in_crop, score = self._run_mesh(view)
            if score < 0:
                return None
            points = np.column_stack([crop.to_image(in_crop[:, :2], CROP), in_crop[:, 2] * crop.side / CROP])
            square = square_around(points)
        landmarks = landmarks_of_mesh(points)
        if score < MIN_SCORE or landmark_problem(landmarks[None]) or not self._agrees_with_mirror_image(view, in_crop):
            return None
        skin = points[:SKIN_POINTS, :2]
        return MeshFace(
            box=np.concatenate([skin.min(axis=0), skin.max(axis=0)]),
            points=points,
            landmarks=landmarks,
            blendshapes=self._blendshapes(in_crop),
            score=score,
        )

    def _agrees_with_mirror_image(self, crop: NDArray[np.uint8], points: NDArray[np.float64]) -> bool:
        """True if the mesh (478, 3) of a crop is also that of its mirror image, as on faces only."""
        mirrored = self._run_mesh(np.ascontiguousarray(crop[:, ::-1]))[0][MIRRORED_POINTS, :2]
        distances = np.linalg.norm(mirrored * [-1, 1] + [CROP, 0] - points[:, :2], axis=1)
        eyes = np.linalg.norm(points[LEFT_EYE_CORNER, :2] - points[RIGHT_EYE_CORNER, :2])
        return bool(np.median(distances) <= MIRROR_TOLERANCE * eyes)

    def _run_mesh(self, crop: NDArray[np.uint8]) -> tuple[NDArray[np.float64], float]:
        """Return the mesh in a crop, (478, 3), pixels counted from its corner, and the log-odds of a face."""
        points, logit = self._networks.mesh((crop.astype(np.float32) / np.float32(255)).transpose(2, 0, 1)[None])
        return points.reshape(-1, 3).astype(np.float64), float(logit.item())

    def _blendshapes(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the blendshapes (52,) of a mesh in an upright crop: the network depends on the rotation."""
        (values,) = self._networks.blendshapes(points[None, BLENDSHAPE_POINTS, :2].astype(np.float32))
        return values.reshape(-1).astype(np.float64)


def square_around(points: NDArray[np.float64]) -> ImageSquare:
    """Return the smallest square around a mesh (478, 3) that is upright in its face."""
    across = points[LEFT_EYE_CORNER, :2] - points[RIGHT_EYE_CORNER, :2]
    angle = float(np.arctan2(across[1], across[0]))
    cos, sin = np.cos(angle), np.sin(angle)
    rotation = np.array([[cos, -sin], [sin, cos]])
    upright = points[:SKIN_POINTS, :2] @ rotation
    low, high = upright.min(axis=0), upright.max(axis=0)
    return ImageSquare(rotation @ ((low + high) / 2), float((high - low).max()), angle)


def _side(face: MeshFace) -> float:
    """Longer side of a face's box, pixels."""
    return float((face.box[2:] - face.box[:2]).max())


def _area(face: MeshFace) -> float:
    """Area of a face's box, square pixels."""
    return float((face.box[2:] - face.box[:2]).prod())


def _is_among(face: MeshFace, others: list[MeshFace]) -> bool:
    """True if one of the meshes shows the same face."""
    return bool(others) and bool((overlaps(face.box, np.array([other.box for other in others])) > SAME_FACE).any())


def _distinct(faces: list[MeshFace]) -> list[MeshFace]:
    """Keep the mesh with the best score of each face, the best first."""
    kept: list[MeshFace] = []
    for face in sorted(faces, key=lambda face: -face.score):
        if not _is_among(face, kept):
            kept.append(face)
    return kept
