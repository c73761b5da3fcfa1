"""Coordinates of the face."""

import torch

from faces.action_units import ACTION_UNITS as TABLE_UNITS
from faces.landmarks import MIRRORED_LANDMARKS
from modules.face_frame import (
    ACTION_UNITS,
    HALF_FACE,
    action_unit_regions,
    face_coordinates,
    half_face_grids,
    image_to_face_jacobian,
    mean_shape,
    sample_half_face,
    skin,
    spread_over_half_face,
)
from modules.geometry import sample

NOTHING = torch.zeros(1)


def face(scale: float = 0.5, angle: float = 0.2, shift: float = 0.1) -> torch.Tensor:
    """The mean shape, smaller, turned and moved: (1, 68, 2)."""
    turn = torch.tensor([[torch.tensor(angle).cos(), -torch.tensor(angle).sin()], [torch.tensor(angle).sin(), 1.0]])
    turn[1, 1] = turn[0, 0]
    return (scale * mean_shape(NOTHING) @ turn.T + shift)[None]


def test_the_mean_shape_is_symmetrical_and_upright():
    shape = mean_shape(NOTHING)
    torch.testing.assert_close(shape[list(MIRRORED_LANDMARKS)] * torch.tensor([-1.0, 1.0]), shape)
    assert shape[8, 1] > shape[57, 1] > shape[33, 1] > shape[27, 1] > shape[19, 1], "chin, lips, nose, brow from below"
    assert shape[36, 0] < 0 < shape[45, 0], "the subject's right eye lies on the left of the picture"


def test_networks_and_tables_have_the_action_units_in_one_order():
    assert ACTION_UNITS == TABLE_UNITS


def test_landmarks_have_the_coordinates_of_the_mean_shape_wherever_the_face_is():
    for points in (face(), face(0.8, -0.1, -0.05)):
        coordinates = face_coordinates(points, (65, 65)).permute(0, 3, 1, 2)
        found = sample(coordinates, points[:, None])[0, :, 0].T
        torch.testing.assert_close(found[17:60], mean_shape(NOTHING)[17:60], atol=0.02, rtol=0)


def test_half_faces_are_read_from_the_right_places_and_the_right_one_is_mirrored():
    points = face(angle=0.0)
    grids = half_face_grids(points)
    assert grids.shape == (1, 2, *HALF_FACE, 2)
    middle = points[0, 27:31, 0].mean()
    ear = grids[0, :, HALF_FACE[0] // 2, -1, 0]
    assert ear[0] > middle > ear[1], "the left half grows to the right of the picture, the right half to its left"


def test_maps_of_half_a_face_come_back_where_they_were_read():
    points = face(0.8)
    ramp = torch.linspace(0, 1, HALF_FACE[0])[:, None].expand(HALF_FACE).expand(1, 2, 1, -1, -1)
    coordinates = face_coordinates(points, (97, 97))
    spread = sample_half_face(ramp, coordinates)
    for side in (0, 1):
        back = sample(spread[:, side], half_face_grids(points)[:, side])[0, 0]
        inside = (slice(20, 76), slice(14, 40))
        torch.testing.assert_close(back[inside], ramp[0, 0, 0][inside], atol=0.03, rtol=0)


def test_the_displacement_per_pixel_of_a_half_face_is_measured_in_eye_distances():
    for scale, angle in ((0.5, 0.0), (0.8, 0.3)):
        points = face(scale, angle)
        steps = image_to_face_jacobian(points, half_face_grids(points))
        expected = torch.tensor([[1.6 / 55, 0.0], [0.0, 2.9 / 95]])
        centre = steps[0, :, 40:60, 20:30].mean((1, 2))
        torch.testing.assert_close(centre, expected.expand(2, -1, -1), atol=1e-3, rtol=0)


def test_values_at_landmarks_fade_away_from_them():
    values = torch.zeros(1, 68, 1)
    values[0, 54] = 1  # the left corner of the mouth
    spread = spread_over_half_face(values, HALF_FACE)[0, 0]
    row, column = divmod(int(spread.argmax()), HALF_FACE[1])
    lateral, down = -0.3 + 1.6 * column / 55, -0.95 + 2.9 * row / 95
    assert abs(lateral - 0.41) < 0.25
    assert abs(down - 1.08) < 0.25
    assert spread[0].max() < 1e-3


def test_regions_hold_what_their_action_unit_moves():
    regions = action_unit_regions(NOTHING)
    assert regions.shape == (17, *HALF_FACE)
    assert regions.min() >= 0
    assert 0.99 < regions.max() <= 1

    def at(unit: int, lateral: float, down: float) -> float:
        return float(
            regions[ACTION_UNITS.index(unit), round((down + 0.95) / 2.9 * 95), round((lateral + 0.3) / 1.6 * 55)]
        )

    brow, eye, corner, chin = (0.58, -0.43), (0.5, 0.0), (0.41, 1.08), (0.0, 1.6)
    for unit, inside, outside in ((2, brow, corner), (45, eye, chin), (12, corner, brow), (17, chin, eye)):
        assert at(unit, *inside) > 0.5
        assert at(unit, *outside) == 0


def test_skin_leaves_out_eye_and_mouth():
    regions = skin(NOTHING)
    assert regions[round(0.95 / 2.9 * 95), round(0.8 / 1.6 * 55)] == 0, "the eye"
    assert regions[round(2.07 / 2.9 * 95), round(0.3 / 1.6 * 55)] == 0, "the mouth"
    assert regions[10, 30] == 1, "the forehead"
