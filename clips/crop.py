"""One square crop for a whole clip, placed by the landmarks of its onset frame.

Coordinates are xy in pixels, integer = centre of a pixel. A similarity maps crop pixels to pixels of the release's
frames; its inverse maps landmarks into the crop.

Legend: H x W frame of the release, S side of the written frame.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from clips.reading import Frame
from config.preparation import PrepareCropParams
from faces.alignment import LEFT_EYE, RIGHT_EYE, Similarity, from_complex, to_complex

_LARGEST_FACE = 10  # in frames


@dataclass(frozen=True)
class Crop:
    """A square of the release's frames.

    Attributes:
        centre: x, y of its middle, pixels of the release's frames.
        side: whole pixels of the release's frames.
        angle: rotation, radians from the x axis towards the y axis.
        size: S, side of the written frames.
    """

    centre: tuple[float, float]
    side: int
    angle: float
    size: int

    @property
    def to_release(self) -> Similarity:
        """Map from crop pixels to pixels of the release's frames."""
        return self._from_square(self.size)

    @property
    def corner(self) -> tuple[int, int]:
        """x, y of the first pixel of a square without rotation; it may lie outside the frame."""
        x, y = (round(c - (self.side - 1) / 2) for c in self.centre)
        return x, y

    def apply(self, landmarks: NDArray[np.float64]) -> NDArray[np.float64]:
        """Map landmarks (..., N, 2) from pixels of the release's frames to crop pixels."""
        return self.to_release.inverse().apply(landmarks)

    def outside(self, shape: tuple[int, int]) -> float:
        """Fraction of the square, 0 to 1, that lies outside a frame of height and width `shape`."""
        unit = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
        corners = self.to_release.apply(unit * self.size - 0.5).astype(np.float32)
        frame = unit * np.array([shape[1], shape[0]], np.float32) - np.float32(0.5)
        inside = cv2.intersectConvexConvex(corners, frame)[0] / self.side**2
        return round(max(1 - float(inside), 0), 4)

    def cut(self, frame: Frame) -> Frame:
        """Cut the square out of a frame and scale it to S x S: area mean when shrinking, bicubic when enlarging.

        Where the square reaches beyond the frame, border pixels are repeated.

        Args:
            frame: uint8 (H, W, 3) RGB or (H, W) grey.
        Returns:
            uint8 (S, S, 3) or (S, S).
        """
        return resize_frame(self._square(frame), (self.size, self.size, 3))

    def _square(self, frame: Frame) -> Frame:
        """The square in the release's resolution."""
        if self.angle:
            matrix = self._from_square(self.side).matrix()
            flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
            size = (self.side, self.side)
            turned = cv2.warpAffine(frame, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
            return np.asarray(turned, np.uint8)
        height, width = frame.shape[:2]
        x, y = self.corner
        left, top = max(-x, 0), max(-y, 0)
        right, bottom = max(x + self.side - width, 0), max(y + self.side - height, 0)
        inside = frame[y + top : y + self.side - bottom, x + left : x + self.side - right]
        if not (left or top or right or bottom):
            return inside
        return np.asarray(cv2.copyMakeBorder(inside, top, bottom, left, right, cv2.BORDER_REPLICATE), np.uint8)

    def _from_square(self, size: int) -> Similarity:
        """Map from pixels of the square, scaled to `size`, to pixels of the release's frames."""
        factor = np.complex128(self.side / size * np.exp(1j * self.angle))
        return Similarity.from_numbers(factor, complex(*self.centre) - factor * (1 + 1j) * (size - 1) / 2)


def resize_frame(frame: Frame, frame_shape: tuple[int, int, int] | None) -> Frame:
    """Resize a frame to height and width of `frame_shape`: area mean when shrinking, bicubic when enlarging."""
    if frame_shape is None or frame.shape[:2] == tuple(frame_shape[:2]):
        return frame
    height, width = frame_shape[:2]
    shrinks = height < frame.shape[0]
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(frame, (width, height), interpolation=interpolation), np.uint8)


def place_crop(landmarks: NDArray[np.float64], shape: tuple[int, int], params: PrepareCropParams) -> Crop:
    """Place the square around a face.

    The square is shifted into the frame as far as it fits. Where the margin is wider than the frame, as in
    releases that are cropped already, the square gets the side of the frame, or of the face if that is larger still.

    Args:
        landmarks: (68, 2), xy, pixels of the onset frame.
        shape: height and width of the frame.
        params: the section `crop_params`.
    Raises:
        ValueError: the box of the landmarks does not touch the frame, or is ten times as large.
    """
    low, high = landmarks.min(axis=0), landmarks.max(axis=0)
    if (high < 0).any() or (low > np.array(shape[::-1]) - 1).any():
        raise ValueError(
            f"the landmarks, x {low[0]:.0f} to {high[0]:.0f} and y {low[1]:.0f} to {high[1]:.0f}, lie outside the "
            f"{shape[1]} x {shape[0]} frame"
        )
    if (high - low).max() > _LARGEST_FACE * max(shape):
        raise ValueError(f"the landmarks span {(high - low).max():.3g} px, the frame only {shape[1]} x {shape[0]}")
    angle = _eye_angle(landmarks) if params.upright else 0.0
    turned = from_complex(to_complex(landmarks) * np.exp(-1j * angle))
    low, high = turned.min(axis=0), turned.max(axis=0)
    larger = float((high - low).max())
    side = round(min(larger * (1 + 2 * params.margin), max(larger, *shape)))
    middle = (low + high) / 2 - [0, params.raised * larger]
    if not angle:
        corner = np.rint(middle - (side - 1) / 2)
        room = np.array([shape[1], shape[0]]) - side
        corner = np.clip(corner, np.minimum(room, 0), np.maximum(room, 0))
        middle = corner + (side - 1) / 2
    x, y = from_complex(to_complex(middle) * np.exp(1j * angle)).tolist()
    return Crop((x, y), side, angle, params.size)


def _eye_angle(landmarks: NDArray[np.float64]) -> float:
    """Angle of the line from the eye on the left of the image to the one on its right, radians."""
    left, right = landmarks[RIGHT_EYE].mean(axis=0), landmarks[LEFT_EYE].mean(axis=0)
    return float(np.arctan2(right[1] - left[1], right[0] - left[0]))
