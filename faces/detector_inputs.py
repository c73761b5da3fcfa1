"""Checks of the images and boxes that face detectors receive."""

import numpy as np
from numpy.typing import NDArray


def as_rgb(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return an image as H x W x 3 uint8; grey images get three equal channels.

    Raises:
        ValueError: other types or shapes.
    """
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3):
        raise ValueError(f"image is {image.dtype} of shape {image.shape}, expected uint8 H x W x 3 (RGB) or H x W")
    if image.size == 0:
        raise ValueError(f"image has the shape {image.shape}, expected at least one pixel")
    return np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image


def check_box(box: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return a box x0, y0, x1, y1 as float64, (4,).

    Raises:
        ValueError: not four finite numbers, or not x0 < x1 and y0 < y1.
    """
    corners = np.asarray(box, dtype=np.float64)
    if corners.shape != (4,) or not np.isfinite(corners).all() or (corners[2:] <= corners[:2]).any():
        raise ValueError(f"box is {corners.tolist()}, expected x0, y0, x1, y1 with x0 < x1 and y0 < y1")
    return corners
