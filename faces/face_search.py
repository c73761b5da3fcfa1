"""Finds faces in an image of any size with the network of BlazeFace (Bazarevsky et al. 2019).

The network looks at 128 x 128 pixels and finds faces that are neither narrower than about a fifth of these nor cut off
by their border. The image is therefore searched at several scales: with a margin around it, whole, and in overlapping
tiles of a half, a quarter, ... of its longer side.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from faces.image_square import ImageSquare
from faces.mesh_models import Network

VIEW = 128  # pixels, side of the network's input
MARGINS = (0.0, 0.3, 0.6)
"""Margins around the whole image, as fractions of its longer side, for faces that fill it."""
TILES = (2, 4, 8, 16)
"""Numbers of tiles along the longer side, for small faces; neighbouring tiles overlap by half."""
MIN_TILE = 96  # pixels; smaller tiles are enlarged and show nothing new
MIN_SCORE = 0.5  # of the detector; what it finds is confirmed by the mesh network
SAME_FACE = 0.3  # intersection over union of two boxes
GRIDS = ((8, 2), (16, 6))
"""Stride in pixels and number of predictions per cell of the network's two grids."""


@dataclass(frozen=True)
class Candidate:
    """A possible face."""

    square: ImageSquare
    """Square around the box of the face, from brows to chin and ear to ear; its angle levels the eyes."""
    box: NDArray[np.float64]
    """(4,) x0, y0, x1, y1 of `square` without its rotation, pixels."""
    score: float
    """Probability of a face, 0 to 1."""


def search_levels(network: Network, image: NDArray[np.uint8], *, angle: float = 0.0) -> Iterator[list[Candidate]]:
    """Yield the candidates of each scale, from large faces to small ones; each list is sorted by size, largest first.

    Args:
        network: the detector of `MeshNetworks`.
        image: H x W x 3, RGB.
        angle: direction of the faces, radians, 0 = upright; faces tilted by up to about 45 degrees from it are found.
    """
    height, width = image.shape[:2]
    centre, longer = (np.array([width, height]) - 1) / 2, max(height, width)
    found: list[Candidate] = []
    for margin in MARGINS:
        found += _search_square(network, image, ImageSquare(centre, longer * (1 + 2 * margin), angle))
    yield _distinct(found)
    for count in TILES:
        side = longer / count
        if side < MIN_TILE:
            return
        squares = [
            ImageSquare(np.array([x, y]), side, angle) for y in _centres(height, side) for x in _centres(width, side)
        ]
        yield _distinct([face for square in squares for face in _search_square(network, image, square)])


def _centres(length: int, side: float) -> NDArray[np.float64]:
    """Centres, in pixels, of squares that cover a length and overlap by at least half; one if it covers the length."""
    if side >= length:
        return np.array([(length - 1) / 2])
    return np.linspace(side / 2, length - side / 2, int(np.ceil(2 * (length - side) / side)) + 1) - 0.5


def _search_square(network: Network, image: NDArray[np.uint8], square: ImageSquare) -> list[Candidate]:
    """Return the faces that the network finds in a square, one candidate per face."""
    view = square.view(image, VIEW, border=cv2.BORDER_CONSTANT).astype(np.float32)
    logits, predictions = network((view / 127.5 - 1).transpose(2, 0, 1)[None])
    scores = 1 / (1 + np.exp(-logits.reshape(-1).astype(np.float64).clip(-50, 50)))
    chosen = scores >= MIN_SCORE
    scores, values = scores[chosen], predictions.reshape(-1, 8, 2)[chosen].astype(np.float64)
    values[:, [0, 2, 3]] += ANCHORS[chosen, None]  # -> centre, size, right and left eye, and four other keypoints
    boxes = np.concatenate([values[:, 0] - values[:, 1] / 2, values[:, 0] + values[:, 1] / 2], 1)
    return [
        _candidate(square, np.tensordot(scores[group] / scores[group].sum(), values[group], 1), scores[group].max())
        for group in _groups(boxes, scores)
    ]


def _candidate(square: ImageSquare, values: NDArray[np.float64], score: float) -> Candidate:
    """Convert centre, size and eyes (8, 2) from a view's pixels, counted from its corner, to the image."""
    centre, right_eye, left_eye = square.to_image(values[[0, 2, 3]], VIEW)
    across = left_eye - right_eye
    side = float(values[1].max()) * square.side / VIEW
    face = ImageSquare(centre, side, float(np.arctan2(across[1], across[0])))
    return Candidate(face, np.concatenate([centre - side / 2, centre + side / 2]), float(score))


def _anchors() -> NDArray[np.float64]:
    """Centres of the network's 896 predictions, (896, 2), xy in pixels of the view."""
    grids = []
    for stride, repeats in GRIDS:
        centres = (np.arange(VIEW // stride) + 0.5) * stride
        x, y = np.meshgrid(centres, centres)
        grids.append(np.repeat(np.stack([x.ravel(), y.ravel()], 1), repeats, axis=0))
    return np.concatenate(grids)


ANCHORS = _anchors()


def overlaps(box: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intersection over union of a box (4,) with others (N, 4): (N,)."""
    shared = np.clip(np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2]), 0, None).prod(1)
    return shared / ((box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(1) - shared)


def _groups(boxes: NDArray[np.float64], scores: NDArray[np.float64]) -> list[NDArray[np.intp]]:
    """Indices of boxes (N, 4) that show the same face, the best face first."""
    left = np.argsort(-scores, kind="stable")
    groups = []
    while len(left):
        same = overlaps(boxes[left[0]], boxes[left]) > SAME_FACE
        same[0] = True
        groups.append(left[same])
        left = left[~same]
    return groups


def _distinct(candidates: list[Candidate]) -> list[Candidate]:
    """Keep the best candidate of every face, sorted by size."""
    if not candidates:
        return []
    groups = _groups(np.array([c.box for c in candidates]), np.array([c.score for c in candidates]))
    best = [candidates[group[0]] for group in groups]
    return sorted(best, key=lambda c: -c.square.side)
