"""Subjects of the demo: smooth changes of shape and colour of two photographs.

Coordinates: xy, pixels, integer = pixel centre. *Image* pixels are those of the square frames of the demo clips;
*texture* pixels are those of a finer image, with a margin around the frame, from which the frames are sampled.

Legend: N x N texture.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import imageio.v3 as iio
import numpy as np
from numpy.typing import NDArray

from demo.code_version import DATA
from demo.geometry import MIRROR, FaceFrame

PHOTOGRAPHS = ("astronaut", "grace_hopper")
FINENESS = 2
"""Texture pixels per image pixel: with a texture finer than the frames, interpolation leaves no visible trace."""
MARGIN = 10 / 128
"""Width of the texture's margin as a share of the frame width; head motion stays inside it."""
SHAPE_CHANGE_WIDTH = 0.75
"""Standard deviation of each local change of shape, eye distances."""


@dataclass(frozen=True)
class Traits:
    """Parameters that make a subject from a photograph."""

    photograph: str
    mirror: bool
    eye_distance: float
    """Share of the frame's width."""
    shift: NDArray[np.float64]
    """(2,) xy, displacement of the face in the frame, share of the frame's width."""
    roll: float
    """Radians, clockwise."""
    stretch: NDArray[np.float64]
    """(2,) width and height of the face relative to the photograph."""
    shape_changes: NDArray[np.float64]
    """(number, 4): position x, y and displacement x, y, face coordinates."""
    tone: NDArray[np.float64]
    """(3,) gain of R, G, B."""
    gamma: float
    contrast: float
    light: NDArray[np.float64]
    """(2,) relative change of brightness along x and y, per eye distance."""
    grey: bool


def draw_traits(rng: np.random.Generator, photograph: str, grey: bool) -> Traits:
    """Draw the parameters of a subject.

    Args:
        rng: random generator; the same state gives the same subject.
        photograph: one of `PHOTOGRAPHS`.
        grey: True for a camera without colour.
    """
    positions = np.array(
        [(-0.9, 0.9), (0.9, 0.9), (-0.5, -0.3), (0.5, -0.3), (0.0, 0.6), (0.0, 1.1), (0.0, 1.7), (0.0, -0.7)]
    )
    return Traits(
        photograph=photograph,
        mirror=bool(rng.random() < 0.5),
        eye_distance=rng.uniform(0.345, 0.375),
        shift=rng.uniform(-0.012, 0.012, 2),
        roll=rng.uniform(-0.035, 0.035),
        stretch=1 + rng.uniform(-0.05, 0.05, 2),
        shape_changes=np.hstack(
            [positions + rng.uniform(-0.15, 0.15, positions.shape), rng.uniform(-0.055, 0.055, positions.shape)]
        ),
        tone=np.exp(rng.uniform(-0.09, 0.09, 3)),
        gamma=float(np.exp(rng.uniform(-0.3, 0.35))),
        contrast=rng.uniform(0.82, 1.05),
        light=rng.uniform(-0.07, 0.07, 2),
        grey=grey,
    )


Line = NDArray[np.float64]
"""(points, 2) xy."""


@dataclass(frozen=True)
class Anatomy:
    """Marked points and lines of a face, xy."""

    landmarks: NDArray[np.float64]
    """(68, 2)."""
    lids: dict[str, tuple[Line, Line]]
    """Upper and lower lid line of the 'right' and the 'left' eye, from the outer to the inner corner."""
    lips: tuple[Line, Line]
    """Inner edge of the upper and of the lower lip, from the right to the left corner."""
    hairline: Line
    """Line from landmark 16 over the forehead to landmark 0."""
    front: tuple[tuple[Line, float | None], ...]
    """Objects in front of the skin (glasses): lines with their width in eye distances, or polygons with None."""


def load_photograph(name: str) -> tuple[NDArray[np.uint8], Anatomy]:
    """Read a photograph and its anatomy.

    Args:
        name: one of `PHOTOGRAPHS`.
    Returns:
        uint8 RGB, (height, width, 3), and the anatomy in its pixels.
    Raises:
        ValueError: unknown name.
        FileNotFoundError: the package that should contain the photograph does not.
    """
    if name == "astronaut":
        import skimage.data

        image = skimage.data.astronaut()  # type: ignore[no-untyped-call]  # scikit-image has no annotations
    elif name == "grace_hopper":
        from matplotlib.cbook import get_sample_data

        path = Path(get_sample_data("grace_hopper.jpg", asfileobj=False))
        if not path.is_file():
            raise FileNotFoundError(f"{path}: matplotlib's sample photograph is missing; reinstall matplotlib")
        image = iio.imread(path)
    else:
        raise ValueError(f"photograph {name!r}: expected one of {PHOTOGRAPHS}")
    return image, _load_anatomy(name)


def _load_anatomy(name: str) -> Anatomy:
    """Read the landmark table of a photograph and correct it by hand-drawn lines.

    The landmarks were detected; at lids, brows and lips they are off by two to four pixels, and such an error would
    show the eyeball through the lid.
    """
    marks = json.loads((DATA / "demo_anatomy.json").read_text(encoding="utf-8"))[name]
    landmarks = np.loadtxt(DATA / f"{name}_landmarks68.csv", delimiter=",", comments="#")
    lids = {side: _line_pair(marks[f"{side}_eye"]) for side in ("right", "left")}
    lips = _line_pair(marks["mouth"])
    for index, point in marks["landmarks"].items():
        landmarks[int(index)] = point
    third = np.array([0, 1 / 3, 2 / 3, 1])
    landmarks[36:40] = _points_along(lids["right"][0], third)
    landmarks[[41, 40]] = _points_along(lids["right"][1], third[1:3])
    landmarks[45:41:-1] = _points_along(lids["left"][0], third)
    landmarks[[46, 47]] = _points_along(lids["left"][1], third[1:3])
    landmarks[60:65] = _points_along(lips[0], np.array([0.04, 0.3, 0.5, 0.7, 0.96]))
    landmarks[67:64:-1] = _points_along(lips[1], np.array([0.3, 0.5, 0.7]))
    eye_distance = FaceFrame.from_landmarks(landmarks).eye_distance
    front = tuple(
        (np.array(part["line"]), part["width"] / eye_distance) if "line" in part else (np.array(part["polygon"]), None)
        for part in marks["front"]
    )
    return Anatomy(landmarks, lids, lips, np.array(marks["hairline"]), front)


def _line_pair(marks: dict[str, list[list[float]]]) -> tuple[Line, Line]:
    return np.array(marks["upper"]), np.array(marks["lower"])


def _points_along(line: Line, share: NDArray[np.float64]) -> Line:
    """Return the points at shares (M,) in [0, 1] of a line's length: (M, 2)."""
    length = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(line, axis=0).T))])
    return np.stack([np.interp(share * length[-1], length, c) for c in line.T], -1)


class Portrait:
    """A subject at rest: texture, and anatomy in image pixels."""

    def __init__(self, traits: Traits, size: int) -> None:
        """Render the subject.

        Args:
            traits: parameters of the subject.
            size: width and height of the frames, pixels.
        """
        self.size = size
        self.grey = traits.grey
        self.margin = round(MARGIN * size)
        self.grid = self._texture_grid()
        photograph, anatomy = load_photograph(traits.photograph)
        self._traits = traits
        self._photo_frame = FaceFrame.from_landmarks(anatomy.landmarks)
        angle = np.array([np.cos(traits.roll), np.sin(traits.roll)])
        centre = (np.array([0.5, 0.33]) + traits.shift) * size - 0.5
        self._frame = FaceFrame(centre, np.array([angle, [-angle[1], angle[0]]]), traits.eye_distance * size)
        self.anatomy = self._transfer_anatomy(anatomy)
        self.texture = self._change_colours(self._sample_photograph(photograph))

    def to_texture(self, points: NDArray[Any]) -> NDArray[Any]:
        """Convert points (..., 2) from image pixels to texture pixels."""
        return (points + self.margin + 0.5) * FINENESS - 0.5

    def _texture_grid(self) -> NDArray[np.float64]:
        """Return the image coordinates of the texture pixels, (N, N, 2)."""
        axis = (np.arange((self.size + 2 * self.margin) * FINENESS) + 0.5) / FINENESS - 0.5 - self.margin
        return np.stack(np.meshgrid(axis, axis), -1)

    def _to_photograph(self, face: NDArray[np.float64]) -> NDArray[np.float64]:
        """Convert points (..., 2) from face coordinates of the subject to pixels of the photograph."""
        warped = face / self._traits.stretch
        for x, y, dx, dy in self._traits.shape_changes:
            distance = (face[..., 0] - x) ** 2 + (face[..., 1] - y) ** 2
            warped = warped - np.exp(-distance / (2 * SHAPE_CHANGE_WIDTH**2))[..., None] * (dx, dy)
        if self._traits.mirror:
            warped = warped * (-1, 1)
        return self._photo_frame.to_image(warped)

    def _from_photograph(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Convert points (..., 2) from pixels of the photograph to image pixels, inverting `_to_photograph`."""
        goal = self._photo_frame.to_face(points)
        face = goal * (-1, 1) if self._traits.mirror else goal.copy()
        for _ in range(60):  # fixed-point iteration
            miss = goal - self._photo_frame.to_face(self._to_photograph(face))
            face = face + (miss * (-1, 1) if self._traits.mirror else miss)
        return self._frame.to_image(face)

    def _transfer_anatomy(self, anatomy: Anatomy) -> Anatomy:
        """Move the anatomy of the photograph to the subject; mirroring exchanges the sides."""
        move = self._from_photograph
        lids = {side: (move(upper), move(lower)) for side, (upper, lower) in anatomy.lids.items()}
        upper, lower = map(move, anatomy.lips)
        landmarks, hairline = move(anatomy.landmarks), move(anatomy.hairline)
        if self._traits.mirror:
            lids = {"right": lids["left"], "left": lids["right"]}
            landmarks, upper, lower, hairline = landmarks[MIRROR], upper[::-1], lower[::-1], hairline[::-1]
        front = tuple((move(line), width) for line, width in anatomy.front)
        return Anatomy(landmarks, lids, (upper, lower), hairline, front)

    def _sample_photograph(self, photograph: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Resample the photograph to the subject's shape: (N, N, 3) in [0, 1]."""
        pixels_per_texture = self._photo_frame.eye_distance / (self._frame.eye_distance * FINENESS)
        image: cv2.typing.MatLike = photograph.astype(np.float32) / 255
        if pixels_per_texture > 1:
            image = cv2.GaussianBlur(image, (0, 0), 0.5 * pixels_per_texture)
        at = self._to_photograph(self._frame.to_face(self.grid)).astype(np.float32)
        fine = cv2.remap(image, at[..., 0], at[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        # frames have half the resolution: finer details than they can show would flicker as the face moves
        return np.clip(np.asarray(cv2.GaussianBlur(fine, (0, 0), 0.4 * FINENESS), np.float32), 0, 1)

    def _change_colours(self, texture: NDArray[np.float32]) -> NDArray[np.float32]:
        """Change tone, gamma, contrast and light; values stay in [0.03, 0.95], to leave room for shading and noise."""
        traits = self._traits
        out = texture**traits.gamma * traits.tone
        out = (out - 0.45) * traits.contrast + 0.45
        out = out * np.clip(1 + self._frame.to_face(self.grid) @ traits.light, 0.6, 1.4)[..., None]
        if traits.grey:
            out = np.repeat((out @ [0.299, 0.587, 0.114])[..., None], 3, -1)
        return (0.03 + 0.92 * np.clip(out, 0, 1)).astype(np.float32)
