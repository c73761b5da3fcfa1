"""Two photographs turned into many people: each subject is a smooth change of shape and colour of one photograph.

Coordinates: xy, pixels, integer = pixel centre. *Image* pixels are those of the square frames of the demo clips;
*texture* pixels are those of the finer picture, with a margin round the frame, from which the frames are sampled.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import imageio.v3 as iio
import numpy as np

from demo.geometry import MIRROR, FaceFrame

DATA = Path(__file__).resolve().parents[1] / "data"
PHOTOGRAPHS = ("astronaut", "grace_hopper")
FINENESS = 2
"""Texture pixels per image pixel: sampling a picture finer than the frame leaves no trace of the interpolation."""
MARGIN = 10 / 128
"""Width of the texture's margin as a share of the frame, so that head motion never samples outside."""
BUMP_WIDTH = 0.75
"""Standard deviation of the shape changes, eye distances."""


@dataclass(frozen=True)
class Traits:
    """What makes one subject differ from the photograph."""

    photograph: str
    mirror: bool
    eye_distance: float
    """Share of the frame's width."""
    shift: np.ndarray
    """(2,) xy, displacement of the face in the frame, share of the frame's width."""
    roll: float
    """Radians, clockwise."""
    stretch: np.ndarray
    """(2,) width and height of the face against the photograph's."""
    pulls: np.ndarray
    """(N, 4): place x, y and displacement x, y of the shape changes, face coordinates."""
    tone: np.ndarray
    """(3,) gain of R, G, B."""
    gamma: float
    contrast: float
    light: np.ndarray
    """(2,) relative change of brightness per eye distance along x and y."""
    grey: bool


def draw_traits(rng: np.random.Generator, photograph: str, grey: bool) -> Traits:
    """Invent a subject.

    Args:
        rng: source of randomness; the same state gives the same subject.
        photograph: one of `PHOTOGRAPHS`.
        grey: whether the camera has no colour.
    """
    places = np.array(
        [(-0.9, 0.9), (0.9, 0.9), (-0.5, -0.3), (0.5, -0.3), (0.0, 0.6), (0.0, 1.1), (0.0, 1.7), (0.0, -0.7)]
    )
    return Traits(
        photograph=photograph,
        mirror=bool(rng.random() < 0.5),
        eye_distance=rng.uniform(0.345, 0.375),
        shift=rng.uniform(-0.012, 0.012, 2),
        roll=rng.uniform(-0.035, 0.035),
        stretch=1 + rng.uniform(-0.05, 0.05, 2),
        pulls=np.hstack([places + rng.uniform(-0.15, 0.15, places.shape), rng.uniform(-0.055, 0.055, places.shape)]),
        tone=np.exp(rng.uniform(-0.09, 0.09, 3)),
        gamma=float(np.exp(rng.uniform(-0.3, 0.35))),
        contrast=rng.uniform(0.82, 1.05),
        light=rng.uniform(-0.07, 0.07, 2),
        grey=grey,
    )


@dataclass(frozen=True)
class Anatomy:
    """Marked points and lines of a face, all (N, 2) xy."""

    landmarks: np.ndarray
    lids: dict[str, tuple[np.ndarray, np.ndarray]]
    """Upper and lower lid line of the 'right' and the 'left' eye, from the outer to the inner corner."""
    lips: tuple[np.ndarray, np.ndarray]
    """Edge of the upper and of the lower lip towards the mouth, from the right to the left corner."""
    hairline: np.ndarray
    """From landmark 16 to landmark 0, over the forehead."""
    front: tuple[tuple[np.ndarray, float | None], ...]
    """Things in front of the skin (glasses): polygons, or lines with their width in eye distances."""


def load_photograph(name: str) -> tuple[np.ndarray, Anatomy]:
    """Read a photograph and its marks.

    Args:
        name: one of `PHOTOGRAPHS`.
    Returns:
        H x W x 3 uint8 RGB, and the anatomy in pixels of the photograph.
    Raises:
        ValueError: unknown name.
        FileNotFoundError: the package that carries the photograph has none.
    """
    if name == "astronaut":
        import skimage.data

        image = skimage.data.astronaut()
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
    """Landmark table of the photograph, corrected where the hand-drawn lines know better.

    A landmark detector made the tables; at lids, brows and lips it is two to four pixels off, and there an error would
    put the eyeball under the wrong skin.
    """
    marks = json.loads((DATA / "demo_anatomy.json").read_text(encoding="utf-8"))[name]
    landmarks = np.loadtxt(DATA / f"{name}_landmarks68.csv", delimiter=",", comments="#")
    lids = {
        side: tuple(np.array(marks[f"{side}_eye"][edge]) for edge in ("upper", "lower")) for side in ("right", "left")
    }
    lips = (np.array(marks["mouth"]["upper"]), np.array(marks["mouth"]["lower"]))
    for index, point in marks["landmarks"].items():
        landmarks[int(index)] = point
    third = np.array([0, 1 / 3, 2 / 3, 1])
    landmarks[36:40] = _along(lids["right"][0], third)
    landmarks[[41, 40]] = _along(lids["right"][1], third[1:3])
    landmarks[45:41:-1] = _along(lids["left"][0], third)
    landmarks[[46, 47]] = _along(lids["left"][1], third[1:3])
    landmarks[60:65] = _along(lips[0], np.array([0.04, 0.3, 0.5, 0.7, 0.96]))
    landmarks[67:64:-1] = _along(lips[1], np.array([0.3, 0.5, 0.7]))
    unit = FaceFrame.of(landmarks).unit
    front = tuple(
        (np.array(part["line"]), part["width"] / unit) if "line" in part else (np.array(part["polygon"]), None)
        for part in marks["front"]
    )
    return Anatomy(landmarks, lids, lips, np.array(marks["hairline"]), front)


def _along(line: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Points at given shares of a line's length: (N, 2), (M,) in [0, 1] -> (M, 2)."""
    length = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(line, axis=0).T))])
    return np.stack([np.interp(share * length[-1], length, c) for c in line.T], -1)


class Portrait:
    """A subject at rest: fine picture and anatomy, both in the frame's geometry."""

    def __init__(self, traits: Traits, size: int) -> None:
        """Render the subject.

        Args:
            traits: who it is.
            size: width and height of the frames, pixels.
        """
        self.size = size
        self.grey = traits.grey
        self.margin = round(MARGIN * size)
        self.grid = self._texture_grid()
        photograph, anatomy = load_photograph(traits.photograph)
        self._traits = traits
        self._photo_frame = FaceFrame.of(anatomy.landmarks)
        angle = np.array([np.cos(traits.roll), np.sin(traits.roll)])
        centre = (np.array([0.5, 0.33]) + traits.shift) * size - 0.5
        self._frame = FaceFrame(centre, np.array([angle, [-angle[1], angle[0]]]), traits.eye_distance * size)
        self.anatomy = self._transfer(anatomy)
        self.picture = self._colour(self._sample(photograph))

    def to_texture(self, points: np.ndarray) -> np.ndarray:
        """(..., 2) image pixels to texture pixels."""
        return (points + self.margin + 0.5) * FINENESS - 0.5

    def _texture_grid(self) -> np.ndarray:
        """(N, N, 2) image coordinates of the texture pixels."""
        axis = (np.arange((self.size + 2 * self.margin) * FINENESS) + 0.5) / FINENESS - 0.5 - self.margin
        return np.stack(np.meshgrid(axis, axis), -1)

    def _to_photograph(self, face: np.ndarray) -> np.ndarray:
        """(..., 2) face coordinates of the subject to pixels of the photograph."""
        warped = face / self._traits.stretch
        for x, y, dx, dy in self._traits.pulls:
            distance = (face[..., 0] - x) ** 2 + (face[..., 1] - y) ** 2
            warped = warped - np.exp(-distance / (2 * BUMP_WIDTH**2))[..., None] * (dx, dy)
        if self._traits.mirror:
            warped = warped * (-1, 1)
        return self._photo_frame.to_image(warped)

    def _from_photograph(self, points: np.ndarray) -> np.ndarray:
        """(..., 2) pixels of the photograph to image pixels, by fixed-point iteration of `_to_photograph`."""
        goal = self._photo_frame.to_face(points)
        face = goal * (-1, 1) if self._traits.mirror else goal.copy()
        for _ in range(60):
            miss = goal - self._photo_frame.to_face(self._to_photograph(face))
            face = face + (miss * (-1, 1) if self._traits.mirror else miss)
        return self._frame.to_image(face)

    def _transfer(self, anatomy: Anatomy) -> Anatomy:
        """Carry the marks of the photograph to the subject; a mirrored subject changes sides."""
        move = self._from_photograph
        lids = {side: tuple(move(line) for line in lines) for side, lines in anatomy.lids.items()}
        landmarks, lips, hairline = move(anatomy.landmarks), tuple(map(move, anatomy.lips)), move(anatomy.hairline)
        if self._traits.mirror:
            lids = {"right": lids["left"], "left": lids["right"]}
            landmarks, lips, hairline = landmarks[MIRROR], tuple(lip[::-1] for lip in lips), hairline[::-1]
        front = tuple((move(line), width) for line, width in anatomy.front)
        return Anatomy(landmarks, lids, lips, hairline, front)

    def _sample(self, photograph: np.ndarray) -> np.ndarray:
        """(N, N, 3) float32 in [0, 1], the photograph in the subject's shape."""
        pixels_per_texture = self._photo_frame.unit / (self._frame.unit * FINENESS)
        image = photograph.astype(np.float32) / 255
        if pixels_per_texture > 1:
            image = cv2.GaussianBlur(image, (0, 0), 0.5 * pixels_per_texture)
        at = self._to_photograph(self._frame.to_face(self.grid)).astype(np.float32)
        fine = cv2.remap(image, at[..., 0], at[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        # the frames take every second pixel: what they cannot show would flicker as the face moves
        return np.clip(cv2.GaussianBlur(fine, (0, 0), 0.4 * FINENESS), 0, 1)

    def _colour(self, picture: np.ndarray) -> np.ndarray:
        """Skin tone, exposure, contrast and light; room is left at both ends for shading and camera noise."""
        traits = self._traits
        out = picture**traits.gamma * traits.tone
        out = (out - 0.45) * traits.contrast + 0.45
        out = out * np.clip(1 + self._frame.to_face(self.grid) @ traits.light, 0.6, 1.4)[..., None]
        if traits.grey:
            out = np.repeat((out @ [0.299, 0.587, 0.114])[..., None], 3, -1)
        return (0.03 + 0.92 * np.clip(out, 0, 1)).astype(np.float32)
