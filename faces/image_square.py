"""A square region of an image, in any position and rotation, and its resampled view."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ImageSquare:
    """A square, which may exceed the image.

    Args:
        centre: (2,), xy, pixels, integer = pixel centre.
        side: pixels.
        angle: rotation in radians, positive turns x towards y (clockwise on the screen).
    """

    centre: NDArray[np.float64]
    side: float
    angle: float = 0.0

    def to_image(self, points: NDArray[np.float64], size: int) -> NDArray[np.float64]:
        """Convert points (..., 2) of a view, in its pixels counted from its corner (0 to `size`), to image pixels."""
        return (points - size / 2) @ self._axes(size).T + self.centre

    def view(self, image: NDArray[np.uint8], size: int, *, border: int) -> NDArray[np.uint8]:
        """Resample the square, with averaging where it is larger than the view.

        Args:
            image: H x W x 3.
            size: side of the view, pixels.
            border: content outside the image, `cv2.BORDER_CONSTANT` (black) or `cv2.BORDER_REPLICATE`.
        Returns:
            (size, size, 3).
        """
        axes = self._axes(size)
        start = self.centre - axes @ np.full(2, (size - 1) / 2)  # image pixel at the centre of the view's first pixel
        scale = self.side / size
        if scale > 1:
            image, shrinkage, origin = self._shrunk_part(image, scale)
            # Pixel centres: position p of the image is (p - origin + 0.5) / shrinkage - 0.5 in the shrunk part.
            axes = axes / shrinkage[:, None]
            start = (start - origin + 0.5) / shrinkage - 0.5
        matrix = np.column_stack([axes, start])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return np.asarray(cv2.warpAffine(image, matrix, (size, size), flags=flags, borderMode=border), np.uint8)

    def _axes(self, size: int) -> NDArray[np.float64]:
        """Image pixels per pixel of the view, as columns of its x and y axis: (2, 2)."""
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        return np.array([[cos, -sin], [sin, cos]]) * (self.side / size)

    def _shrunk_part(
        self, image: NDArray[np.uint8], scale: float
    ) -> tuple[NDArray[np.uint8], NDArray[np.float64], NDArray[np.intp]]:
        """Cut out the part of the image around the square, and shrink it by area averaging, about `scale` times.

        Returns:
            The part, its exact shrinkage in x and y, and the image pixel (x, y) of its first pixel.
        """
        reach = self.side * (abs(np.cos(self.angle)) + abs(np.sin(self.angle))) / 2 + scale
        limits = np.array(image.shape[1::-1])
        low = np.clip(np.floor(self.centre - reach), 0, limits - 1).astype(np.intp)
        high = np.clip(np.ceil(self.centre + reach) + 1, low + 1, limits).astype(np.intp)
        part = image[low[1] : high[1], low[0] : high[0]]
        size = np.maximum(1, np.round((high - low) / scale)).astype(int)
        shrunk = cv2.resize(part, (int(size[0]), int(size[1])), interpolation=cv2.INTER_AREA)
        return np.asarray(shrunk, np.uint8), (high - low) / size, low
