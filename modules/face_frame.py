"""Face coordinates, which are the same for all faces, and the region of the face that each action unit moves.

Face coordinates are those of a mean shape: origin `_CENTRE` eye distances below the middle between the eyes, x to the
subject's left, y down, unit `_REACH` eye distances. Half-face coordinates are the same for one half, with x growing
towards its ear, so that both halves look alike.

Dimension letters: B batch, H x W image, h x w map, A action units.
"""

import torch
from torch import Tensor

from modules.geometry import make_coordinate_grid
from modules.thin_plate_spline import TPS

ACTION_UNITS = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26, 45)
"""Numbers of the action units (FACS) that the models use, those whose intensity OpenFace 2 estimates."""

# Mean of 14 faces at rest, symmetrised: 68 landmarks, iBUG order, in eye distances from the middle between the eyes, x
# to the subject's left, y down.
# fmt: off
_MEAN_SHAPE = (
    # jaw, from the subject's right
    (-1.09, 0.0), (-1.08, 0.3), (-1.04, 0.6), (-0.98, 0.89), (-0.88, 1.16), (-0.72, 1.4), (-0.51, 1.58), (-0.26, 1.73),
    (0.0, 1.77), (0.26, 1.73), (0.51, 1.58), (0.72, 1.4), (0.88, 1.16), (0.98, 0.89), (1.04, 0.6), (1.08, 0.3),
    (1.09, 0.0),
    # brows
    (-0.91, -0.26), (-0.77, -0.4), (-0.58, -0.43), (-0.38, -0.39), (-0.19, -0.32),
    (0.19, -0.32), (0.38, -0.39), (0.58, -0.43), (0.77, -0.4), (0.91, -0.26),
    # nose
    (0.0, -0.03), (0.0, 0.16), (0.0, 0.36), (0.0, 0.56),
    (-0.23, 0.73), (-0.12, 0.76), (0.0, 0.78), (0.12, 0.76), (0.23, 0.73),
    # eyes
    (-0.71, 0.0), (-0.58, -0.09), (-0.42, -0.08), (-0.29, 0.03), (-0.43, 0.07), (-0.58, 0.07),
    (0.29, 0.03), (0.42, -0.08), (0.58, -0.09), (0.71, 0.0), (0.58, 0.07), (0.43, 0.07),
    # outer lips
    (-0.41, 1.08), (-0.26, 1.02), (-0.11, 0.98), (0.0, 1.01), (0.11, 0.98), (0.26, 1.02), (0.41, 1.08),
    (0.26, 1.21), (0.12, 1.26), (0.0, 1.27), (-0.12, 1.26), (-0.26, 1.21),
    # inner lips
    (-0.35, 1.09), (-0.11, 1.08), (0.0, 1.09), (0.11, 1.08), (0.35, 1.09), (0.11, 1.1), (0.0, 1.11), (-0.11, 1.1),
)
# fmt: on
_CENTRE, _REACH = 0.5, 1.45  # eye distances
_SMOOTHING = 3e-3  # of the splines between two shapes, for landmark errors of half a pixel
_OUTLINE = slice(0, 60)  # without the inner lips, which are closed in some faces and open in others

_SPREAD = 0.18  # standard deviation, in eye distances, of the weight of a landmark
_FADING = 0.15  # added to the sum of the weights, so that values fade far from all landmarks

HALF_FACE = (96, 56)
"""Height and width in pixels of a map of half a face, about 33 pixels per eye distance."""
_HALF_BOX = ((-0.3, 1.3), (-0.95, 1.95))  # extent, lateral and down, in eye distances; the halves overlap

# Ellipses (lateral, down, half-width, half-height) in eye distances around what an action unit moves or wrinkles.
# Centres: rules of JAA-Net (Shao et al., 2021) and EAC-Net (Li et al., 2018); extents: FACS (Ekman et al., 2002).
_REGIONS: dict[int, tuple[float, float, float, float]] = {
    1: (0.25, -0.50, 0.50, 0.55),
    2: (0.72, -0.50, 0.50, 0.50),
    4: (0.38, -0.38, 0.70, 0.45),
    5: (0.50, -0.10, 0.45, 0.30),
    6: (0.65, 0.25, 0.60, 0.55),
    7: (0.50, 0.03, 0.50, 0.30),
    9: (0.15, 0.30, 0.50, 0.75),
    10: (0.25, 0.85, 0.50, 0.45),
    12: (0.50, 0.90, 0.65, 0.60),
    14: (0.50, 1.08, 0.45, 0.40),
    15: (0.42, 1.22, 0.50, 0.45),
    17: (0.10, 1.45, 0.60, 0.50),
    20: (0.42, 1.15, 0.55, 0.40),
    23: (0.12, 1.10, 0.55, 0.35),
    25: (0.12, 1.15, 0.60, 0.45),
    26: (0.15, 1.40, 0.85, 0.60),
    45: (0.50, -0.05, 0.50, 0.32),
}
_EYE, _MOUTH = (0.50, 0.0, 0.24, 0.11), (0.0, 1.12, 0.44, 0.17)  # ellipses as above


def mean_shape(like: Tensor) -> Tensor:
    """Landmarks of the mean shape: (68, 2), face coordinates, on the device of `like`."""
    return _from_eye_distances(like.new_tensor(_MEAN_SHAPE, dtype=torch.float32))


def face_coordinates(landmarks: Tensor, size: tuple[int, int]) -> Tensor:
    """Face coordinates of every pixel of an image.

    Args:
        landmarks: (B, 68, 2), xy in [-1, 1] of the image.
        size: (h, w) in pixels.
    Returns:
        (B, h, w, 2), face coordinates.
    """
    mean = mean_shape(landmarks).expand_as(landmarks)
    return TPS(landmarks[:, _OUTLINE], mean[:, _OUTLINE], regularization="exact", smoothing=_SMOOTHING).grid(size)


def half_face_grids(landmarks: Tensor) -> Tensor:
    """Image positions of the pixels of both half faces; sampling there gives every face the same shape.

    Args:
        landmarks: (B, 68, 2), xy in [-1, 1] of the image.
    Returns:
        (B, 2, *HALF_FACE, 2), xy in [-1, 1]; left and right half of the subject.
    """
    mean = mean_shape(landmarks).expand_as(landmarks)
    spline = TPS(mean[:, _OUTLINE], landmarks[:, _OUTLINE], regularization="exact", smoothing=_SMOOTHING)
    points = _half_grid(landmarks)
    both = torch.stack([points, points * points.new_tensor([-1.0, 1.0])]).reshape(1, -1, 2)
    return spline(both).reshape(-1, 2, *HALF_FACE, 2)


def image_to_face_jacobian(landmarks: Tensor, grids: Tensor) -> Tensor:
    """Displacement in the face per pixel of a half face.

    Args:
        landmarks: (B, 68, 2), xy in the image.
        grids: (B, 2, *HALF_FACE, 2), from `half_face_grids` for these landmarks.
    Returns:
        (B, 2, *HALF_FACE, 2, 2): rows lateral (parallel to the line of the eyes) and down, in eye distances; columns a
        step of one pixel in x and in y.
    """
    eyes = landmarks[:, 42:48].mean(1) - landmarks[:, 36:42].mean(1)
    distance = eyes.norm(dim=-1, keepdim=True)
    along = eyes / distance
    axes = torch.stack([along, torch.stack([-along[:, 1], along[:, 0]], dim=-1)], dim=1) / distance[..., None]
    steps = torch.stack(torch.gradient(grids, dim=(3, 2)), dim=-1)  # -> (B, 2, h, w, xy, step)
    turned = torch.einsum("bij,bshwjk->bshwik", axes, steps)
    return turned * turned.new_tensor([[1.0, 1.0], [-1.0, 1.0]])[None, :, None, None, :, None]


def spread_over_half_face(values: Tensor, size: tuple[int, int]) -> Tensor:
    """Interpolate values at the landmarks to maps of half a face; they fade away from the landmarks.

    Args:
        values: (N, 68, C) at the landmarks of the left half and the middle.
        size: (h, w) of the maps.
    Returns:
        (N, C, h, w).
    """
    points = mean_shape(values)
    grid = _half_grid(values, size)
    squared = (grid[:, :, None] - points).square().sum(-1)  # -> (h, w, 68)
    weight = torch.exp(-0.5 * squared / (_SPREAD / _REACH) ** 2)
    weight = weight / (weight.sum(-1, keepdim=True) + _FADING)
    return torch.einsum("hwp,npc->nchw", weight, values)


def sample_half_face(maps: Tensor, coordinates: Tensor) -> Tensor:
    """Sample maps of half a face at face coordinates, for the left and for the right half.

    Args:
        maps: (B or 1, 2, C, *HALF_FACE): for the left and for the right half.
        coordinates: (B, h, w, 2), from `face_coordinates`.
    Returns:
        (B, 2, C, h, w), zero outside the half.
    """
    low, high = (_from_eye_distances(coordinates.new_tensor(corner)) for corner in zip(*_HALF_BOX, strict=True))
    sides = torch.stack([coordinates, coordinates * coordinates.new_tensor([-1.0, 1.0])], dim=1)  # -> (B, 2, h, w, 2)
    grid = (sides - low) / (high - low) * 2 - 1
    batch = len(coordinates)
    read = torch.nn.functional.grid_sample(
        maps.float().expand(batch, *maps.shape[1:]).flatten(0, 1), grid.flatten(0, 1), align_corners=True
    )
    return read.view(batch, 2, *read.shape[1:])


def action_unit_regions(like: Tensor) -> Tensor:
    """Region of each action unit in half a face: (17, *HALF_FACE) in [0, 1], 1 at the centre of the region."""
    return torch.stack([(1 - _squared_radius(_REGIONS[unit], like)).clamp_min(0).sqrt() for unit in ACTION_UNITS])


def skin(like: Tensor) -> Tensor:
    """Mask of half a face without eye and mouth: (*HALF_FACE) in [0, 1]."""
    squared = torch.stack([_squared_radius(ellipse, like) for ellipse in (_EYE, _MOUTH)])
    return ((squared - 1) / 0.5).clamp(0, 1).prod(0)


def _squared_radius(ellipse: tuple[float, float, float, float], like: Tensor) -> Tensor:
    """Squared radius relative to an ellipse (lateral, down, half-width, half-height): (*HALF_FACE), 1 on its rim."""
    (left, right), (top, bottom) = _HALF_BOX
    x = torch.linspace(left, right, HALF_FACE[1], device=like.device)
    y = torch.linspace(top, bottom, HALF_FACE[0], device=like.device)[:, None]
    centre_x, centre_y, half_x, half_y = ellipse
    return ((x - centre_x) / half_x) ** 2 + ((y - centre_y) / half_y) ** 2


def _half_grid(like: Tensor, size: tuple[int, int] = HALF_FACE) -> Tensor:
    """Face coordinates of the pixels of the left half: (*size, 2)."""
    unit = make_coordinate_grid(size, like)
    low, high = (_from_eye_distances(like.new_tensor(corner)) for corner in zip(*_HALF_BOX, strict=True))
    return low + (unit + 1) / 2 * (high - low)


def _from_eye_distances(points: Tensor) -> Tensor:
    """Convert eye distances from the middle between the eyes, (..., 2), to face coordinates."""
    return (points - points.new_tensor([0.0, _CENTRE])) / _REACH
