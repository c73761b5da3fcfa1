import re

import numpy as np
import pytest

from config.load import load_config
from core.models import build_model
from demo.au_sheet import CONFIG, draw, portrait, sheet, single_unit
from demo.geometry import FaceFrame
from demo.subjects import PHOTOGRAPHS
from faces import au_geometry
from faces.action_units import ACTION_UNITS, SIDES
from faces.au_geometry import TABLE, displace, read_geometry
from faces.landmarks import MIRRORED_LANDMARKS
from tests.conftest import face_landmarks

FACE = face_landmarks(256)
EYE_DISTANCE = float(np.hypot(*(FACE[42:48].mean(0) - FACE[36:42].mean(0))))
MIDDLE = [8, *range(27, 31), 33, 51, 57, 62, 66]
IMAGE_RIGHT = [*range(9, 17), *range(22, 27), 34, 35, *range(42, 48), 52, 53, 54, 55, 56, 63, 64, 65]

# Direction of the landmarks of the subject's right half, which lies on the left of the image: x to the right, y down.
UP, DOWN, OUT, IN = (0, -1), (0, 1), (-1, 0), (1, 0)
DOCUMENTED = {
    1: [([20, 21], UP)],
    2: [([17, 18, 19], UP), ([17, 18], OUT)],
    4: [([17, 18, 19, 20, 21], DOWN), ([20, 21], IN)],
    5: [([37, 38], UP)],
    6: [([40, 41, 48], UP)],
    7: [([40, 41], UP), ([37, 38], DOWN)],
    9: [([28, 29, 30, 31, 32, 33], UP), ([21], DOWN), ([21], IN)],
    10: [([49, 50, 51, 61, 62], UP)],
    12: [([48, 60], UP), ([48, 60], OUT)],
    14: [([48, 60], OUT)],
    15: [([48, 59, 60], DOWN)],
    17: [([8, 57, 58], UP)],
    20: [([48, 60], OUT)],
    23: [([49, 50, 51], DOWN), ([57, 58, 59], UP), ([48], IN)],
    25: [([57, 58, 59, 66, 67], DOWN), ([61, 62], UP)],
    26: [([5, 6, 7, 8, 57, 58, 59, 66, 67], DOWN)],
    45: [([37, 38], DOWN)],
}


def motion(au: int, sides: tuple[str, ...] = SIDES, level: float = 1.0, face: np.ndarray = FACE) -> np.ndarray:
    """(68, 2) in eye distances of `FACE`."""
    return (displace(face, single_unit(au, sides, level)) - face) / EYE_DISTANCE


@pytest.mark.parametrize("au", ACTION_UNITS)
def test_every_unit_moves_the_documented_landmarks_where_it_should(au):
    change = motion(au, level=5)
    for landmarks, direction in DOCUMENTED[au]:
        assert (change[landmarks] @ direction > 0.004).all()
    largest = np.hypot(*change.T).max()
    assert 0.03 <= largest <= 0.15
    assert np.hypot(*change.T).argmax() in {i for points, _ in DOCUMENTED[au] for i in points} | {
        MIRRORED_LANDMARKS[i] for points, _ in DOCUMENTED[au] for i in points
    }
    assert not change[[0, 1, 15, 16]].any(), "the ears stay"


@pytest.mark.parametrize("au", ACTION_UNITS)
def test_both_sides_mirror_each_other(au):
    symmetric = (FACE + FACE[list(MIRRORED_LANDMARKS)] * [-1, 1] + [255, 0]) / 2
    change = motion(au, face=symmetric, level=3)
    np.testing.assert_allclose(change[list(MIRRORED_LANDMARKS)] * [-1, 1], change, atol=1e-12)
    assert not change[MIDDLE][:, 0].any(), "the middle goes to neither side"
    left, right = (motion(au, (side,), face=symmetric, level=3) for side in SIDES)
    np.testing.assert_allclose(left[list(MIRRORED_LANDMARKS)] * [-1, 1], right, atol=1e-12)


@pytest.mark.parametrize("au", ACTION_UNITS)
def test_the_left_side_is_the_right_of_the_image(au):
    change = motion(au, ("left",))
    moved = np.flatnonzero(np.hypot(*change.T))
    assert set(moved) <= set(IMAGE_RIGHT) | set(MIDDLE)
    assert set(moved) & set(IMAGE_RIGHT)
    both = motion(au)
    np.testing.assert_allclose(change[IMAGE_RIGHT], both[IMAGE_RIGHT], atol=1e-12)
    np.testing.assert_allclose(2 * change[MIDDLE], both[MIDDLE], atol=1e-12)


def test_without_intensity_nothing_moves():
    np.testing.assert_array_equal(displace(FACE, np.zeros((17, 2))), FACE)


def test_motion_rotates_and_scales_with_the_face():
    turn = 1.7 * np.array([[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]])
    values = np.random.default_rng(0).uniform(0, 1, (5, 17, 2))
    expected = displace(FACE, values) @ turn.T + [30, -8]
    np.testing.assert_allclose(displace(FACE @ turn.T + [30, -8], values), expected, atol=1e-9)


def test_motion_is_linear_in_the_intensities():
    a, b = np.random.default_rng(1).uniform(0, 0.1, (2, 17, 2))
    change = displace(FACE, np.stack([a, b, 2 * a + b, -a])) - FACE
    np.testing.assert_allclose(2 * change[0] + change[1], change[2], atol=1e-9)
    np.testing.assert_allclose(-change[0], change[3], atol=1e-9)


@pytest.mark.parametrize("units", [(45,), (6, 7, 45), (17, 23)])
def test_lids_and_lips_meet_and_do_not_cross(units):
    values = sum(single_unit(au, SIDES, 5) for au in units)
    narrow = FACE.copy()
    narrow[[37, 38, 43, 44], 1] = narrow[[41, 40, 47, 46], 1] - 4
    closed = FACE.copy()
    closed[[67, 66, 65]] = closed[[61, 62, 63]] + [0, -0.5]  # as noisy landmarks of closed lips
    for face in (FACE, narrow, closed):
        moved = displace(face, values)
        before = face[au_geometry.LOWER_EDGES, 1] - face[au_geometry.UPPER_EDGES, 1]
        after = moved[au_geometry.LOWER_EDGES, 1] - moved[au_geometry.UPPER_EDGES, 1]
        assert (after >= np.where(before > 0, 0.17, 1.01) * before).all()
    if 45 in units:
        assert np.hypot(*(displace(narrow, values) - narrow)[[41, 40]].T).max() < 6, "the upper lid falls on the lower"


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_the_picture_changes_where_the_unit_acts_and_hardly_elsewhere(name):
    size, reach = 128, 0.5  # eye distances
    picture, landmarks = portrait(name, size)
    model = build_model(load_config(CONFIG, []).config)
    values = [single_unit(au, SIDES, level) for au in ACTION_UNITS for level in (1, 5)]
    change = np.square(draw(model, picture, landmarks, np.stack(values)) - picture).sum(-1)
    y, x = np.mgrid[:size, :size]
    unit = FaceFrame.from_landmarks(landmarks).eye_distance
    geometry = read_geometry()
    for number, au in enumerate(ACTION_UNITS):
        moving = landmarks[np.abs(geometry[number]).sum((0, 2)) > 0]
        near = (np.hypot(x[..., None] - moving[:, 0], y[..., None] - moving[:, 1]) < reach * unit).any(-1)
        weak, strong = change[2 * number], change[2 * number + 1]
        assert weak[near].sum() > 0.97 * weak.sum(), f"AU{au}"
        assert strong[near].sum() > 0.89 * strong.sum(), f"AU{au}"
        assert strong.max() > 1000, f"AU{au} changes nothing"
        assert strong.sum() > 3 * weak.sum()


def test_the_sheet_shows_every_unit_on_the_correct_side():
    cell, rows = 32, len(ACTION_UNITS) + 2
    drawn = sheet(cell)
    assert drawn.shape[0] == 24 + rows * cell
    grid = drawn[24:, -8 * cell :].reshape(rows, cell, 8, cell, 3).astype(int)
    for change in (grid[:, :, 3], grid[:, :, 7]):
        strength = np.abs(change - 127).sum((1, 3))  # -> (rows, cell), along the width
        assert (strength.sum(1) > 0).all()
        left, right = strength[-2:]
        assert left[cell // 2 :].sum() > 5 * left[: cell // 2].sum(), "the subject's left is the right of the picture"
        assert right[: cell // 2].sum() > 5 * right[cell // 2 :].sum()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("au,landmark,lateral,up", "au,landmark,x,y"), "expected the columns au,landmark,lateral,up, got"),
        (("12,48,0.070", "13,48,0.070"), r"line \d+: expected an action unit among 1, 2, 4, .* got 13"),
        (("12,48,0.070", "12,54,0.070"), r"line \d+: expected a landmark of the subject's right half or the middle"),
        (("12,48,0.070", "12,68,0.070"), "or the middle, got 68"),
        (("12,48,0.070", "12,49,0.070"), r"line \d+: AU12 moves landmark 49 twice"),
        (("12,48,0.070", "12,48,nan"), "expected displacements up to 0.2 eye distances, got nan"),
        (("12,48,0.070", "12,48,0.7"), "expected displacements up to 0.2 eye distances, got 0.7"),
        (("12,48,0.070", "12,48,much"), r"line \d+: expected numbers, got 12,48,much,0.080"),
        (("12,48,0.070", "12,48"), r"line \d+: expected 4 cells, got 3"),
        ((r"(?m)^45,.*\n", ""), "expected all 17 action units, but AU45 has no row"),
        ((r"(?s).*", ""), "expected the columns"),
    ],
)
def test_a_broken_table_is_refused(tmp_path, change, message):
    path = tmp_path / "table.csv"
    path.write_text(re.sub(*change, TABLE.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(ValueError, match=message) as caught:
        read_geometry(path)
    assert str(path) in str(caught.value)


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(ValueError, match="absent.csv: expected a readable CSV table"):
        read_geometry(tmp_path / "absent.csv")


@pytest.mark.parametrize(
    ("landmarks", "values", "message"),
    [
        (FACE[:50], np.zeros((17, 2)), r"expected landmarks \(68, 2\)"),
        (FACE, np.zeros((18, 2)), r"got \(68, 2\) and \(18, 2\)"),
        (FACE * np.nan, np.zeros((17, 2)), "expected finite landmarks"),
        (FACE * 0, np.zeros((17, 2)), "eye centres that coincide"),
    ],
)
def test_wrong_landmarks_and_intensities_are_refused(landmarks, values, message):
    with pytest.raises(ValueError, match=message):
        displace(landmarks, values)
