"""Faces of the demo: motion according to FACS, layers that separate at lids and lips, exact ground truth."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from scipy.interpolate import RBFInterpolator

from demo.code_version import DATA
from demo.face import DemoFace
from demo.geometry import MIRROR
from demo.muscles import MUSCLES
from demo.subjects import PHOTOGRAPHS, Portrait, Traits, draw_traits, load_photograph
from faces.action_units import SIDES

UPPER_LIDS, LOWER_LIDS = [37, 38, 43, 44], [40, 41, 46, 47]


def _plain(photograph: str, **changes) -> Traits:
    """Parameters of a subject that equals the photograph."""
    values = {"mirror": False, "eye_distance": 0.36, "shift": np.zeros(2), "roll": 0.0, "stretch": np.ones(2)}
    values |= {
        "shape_changes": np.zeros((0, 4)),
        "tone": np.ones(3),
        "gamma": 1.0,
        "contrast": 1.0,
        "light": np.zeros(2),
    }
    return Traits(photograph=photograph, grey=False, **(values | changes))


@pytest.fixture(scope="module", params=PHOTOGRAPHS)
def face(request) -> DemoFace:
    return DemoFace(Portrait(_plain(request.param), 128))


def _both(au: int, *values: float) -> dict:
    return {(au, side): np.array(values) for side in SIDES}


def _sample(field: np.ndarray, points: np.ndarray) -> np.ndarray:
    at = points.astype(np.float32)[None]
    return cv2.remap(np.ascontiguousarray(field, np.float32), at[..., 0], at[..., 1], cv2.INTER_LINEAR)[0]


def _warp(image: np.ndarray, flow: np.ndarray) -> np.ndarray:
    y, x = np.mgrid[: image.shape[0], : image.shape[1]].astype(np.float32)
    return cv2.remap(image, x + flow[..., 0], y + flow[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


# -- motion and appearance ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("au", "points", "direction"),  # direction: lateral (away from the middle of the face), down; 0 = either way
    [
        (1, [21, 22], (0, -1)),
        (2, [18, 25], (0, -1)),
        (4, [20, 21, 22, 23], (-1, 1)),
        (7, LOWER_LIDS, (0, -1)),
        (7, UPPER_LIDS, (0, 1)),
        (9, [31, 35], (0, -1)),
        (10, [50, 52, 61, 63], (0, -1)),
        (12, [48, 54], (1, -1)),
        (14, [48, 54], (1, 0)),
        (15, [48, 54], (0, 1)),
        (17, [56, 57, 58], (0, -1)),
        (25, [65, 66, 67], (0, 1)),
        (25, [61, 62, 63], (0, -1)),
        (45, UPPER_LIDS, (0, 1)),
    ],
)
def test_landmarks_move_as_facs_says(face, au, points, direction):
    rest, full = face.render(_both(au, 0.0, 0.5)).landmarks
    moved = (face.frame.to_face(full) - face.frame.to_face(rest))[points] / 0.5
    lateral = moved[:, 0] * np.where(np.isin(points, np.flatnonzero(face.frame.to_face(rest)[:, 0] > 0)), 1, -1)
    for sign, value in zip(direction, (lateral, moved[:, 1]), strict=True):
        assert (sign * value > 0.01).all() or sign == 0


def test_the_cheek_raiser_lifts_the_cheek_away_from_landmarks(face):
    cheeks = face.frame.to_image(face.frame.to_face(face.landmarks[[41, 46]]) + (0, 0.4))
    for cheek, side in zip(cheeks, ("right", "left"), strict=True):
        skin = face.layer_displacement(6, side)[1]  # glasses may hide it
        assert _sample(skin, cheek[None])[0, 1] < -0.04 * face.frame.eye_distance


@pytest.mark.parametrize("au", MUSCLES)
def test_each_side_moves_its_own_half(face, au):
    for side, sign in (("left", 1), ("right", -1)):
        size = np.linalg.norm(face.unit_displacement(au, side), axis=-1)
        x = face.frame.to_face(np.stack(np.meshgrid(*[np.arange(face.size)] * 2), -1))[..., 0] * sign
        assert (size * x).sum() / size.sum() > 0.05
        assert size[x > 0].sum() > 2 * size[x < 0].sum()


@pytest.mark.parametrize("au", MUSCLES)
def test_every_action_unit_also_changes_the_skin(face, au):
    for side in SIDES:
        change = face.unit_appearance(au, side)
        assert 0.03 < np.abs(change).max() < 0.5
        assert (np.abs(change).max(-1) > 0.01).mean() < 0.1


@pytest.mark.parametrize("part", ["wrinkles", "shading"])
def test_wrinkles_and_shading_both_change_the_skin(monkeypatch, part):
    portrait = Portrait(_plain("astronaut"), 64)
    complete = DemoFace(portrait).unit_appearance(12, "left")
    monkeypatch.setitem(MUSCLES, 12, replace(MUSCLES[12], **{part: ()}))
    assert np.abs(DemoFace(portrait).unit_appearance(12, "left") - complete).max() > 0.01


@pytest.mark.parametrize("au", MUSCLES)
def test_the_motion_of_each_layer_is_invertible(face, au):
    for motion in sum(face.layer_displacement(au, side) for side in SIDES):
        (ux_y, ux_x), (uy_y, uy_x) = np.gradient(motion[..., 0]), np.gradient(motion[..., 1])
        assert ((1 + ux_x) * (1 + uy_y) - ux_y * uy_x).min() > 0.05
    reach = face.amplitude({(au, side): 1.0 for side in SIDES}) / face.frame.eye_distance
    assert 0.05 < reach < 0.16  # eye distances, as large as data-driven models say


@pytest.mark.parametrize("au", MUSCLES)
def test_layers_separate_at_lids_and_lips_only(face, au):
    top, centre, bottom = sum(face.layer_displacement(au, side) for side in SIDES)
    middle = (face.landmarks[27, 1] + face.landmarks[33, 1]) / 2
    y = np.arange(face.size)
    for upper, lower, rows, ends in (
        (top, centre, y < middle, [(36, 39), (42, 45)]),
        (centre, bottom, y >= middle, [(48, 54)]),
    ):
        gap = np.linalg.norm(upper - lower, axis=-1) * rows[:, None]
        inside = np.zeros(face.size, bool)
        for a, b in ends:
            inside |= (y > face.landmarks[a, 0] - 0.5) & (y < face.landmarks[b, 0] + 0.5)
        line = face.landmarks[[i for pair in ends for i in pair]]
        for x in np.flatnonzero(~inside):  # along the line that joins the corners, beyond them
            assert gap[int(round(np.interp(x, line[:, 0], line[:, 1]))), x] < 0.02


def test_lid_slides_over_the_eyeball(face):
    result = face.render(_both(45, 0.0, 0.3))
    eye = (face.landmarks[36:42].mean(0) + (0, 0.03 * face.frame.eye_distance)).round().astype(int)
    lid = result.landmarks[1, 37:39].mean(0)
    above = (lid - (0, 1.5)).round().astype(int)
    assert result.landmarks[1, 37, 1] - result.landmarks[0, 37, 1] > 1
    assert np.allclose(result.flow[1][eye[1], eye[0]], 0)
    assert result.flow[1][above[1], above[0], 1] < -0.8


def test_parting_lips_uncover_the_mouth(face):
    result = face.render(_both(25, 0.0, 0.6))
    hidden = ~result.visible[1]
    y, x = np.nonzero(hidden)
    assert hidden.sum() > 10
    corner, chin = face.landmarks[48], face.landmarks[57]
    assert (np.abs(x - chin[0]) < chin[0] - corner[0]).mean() > 0.95
    assert (np.abs(y - chin[1]) < 0.3 * face.frame.eye_distance).mean() > 0.95
    assert result.visible[0].all()
    shown = hidden & (np.abs(np.indices(hidden.shape)[0] - chin[1]) < 0.3 * face.frame.eye_distance)
    lips = _sample(result.frames[1], result.landmarks[1, 55:60])
    assert np.percentile(result.frames[1][shown].mean(-1), 20) < 0.82 * lips.mean()


@pytest.mark.parametrize("au", MUSCLES)
def test_motion_differs_from_a_spline_through_the_landmarks(face, au):
    y, x = np.mgrid[0 : face.size : 3, 0 : face.size : 3]
    grid = np.stack([x, y], -1).reshape(-1, 2).astype(float)
    result = face.render(_both(au, 0.0, 0.4))
    spline = RBFInterpolator(result.landmarks[1], result.landmarks[0] - result.landmarks[1], smoothing=1e-6)(grid)
    true = result.flow[1][::3, ::3].reshape(-1, 2)
    assert np.linalg.norm(spline - true) > 0.25 * np.linalg.norm(true)


def test_only_the_face_changes(face):
    result = face.render({key: curve for au in MUSCLES for key, curve in _both(au, 0.0, 0.25).items()})
    outline = face.frame.to_face(face.landmarks[:17])
    outline = np.vstack([outline, [(1.25, -0.9), (-1.25, -0.9)]])
    inside = cv2.fillPoly(
        np.zeros((face.size, face.size), np.uint8), [face.frame.to_image(outline).round().astype(int)], 1
    )
    assert np.array_equal(result.frames[0][inside == 0], result.frames[1][inside == 0])
    assert np.abs(result.frames[1] - result.frames[0]).max() > 0.1


# -- ground truth ------------------------------------------------------------------------------------------------------


def test_flow_maps_exact_landmarks_back_to_the_first_frame(face):
    head = np.array([[0, 0, 0, 0], [1.0, -0.7, 0.01, 0.004]])
    result = face.render(_both(12, 0.0, 0.4) | _both(4, 0.0, 0.4), head)
    points = [*range(18, 26), 28, 29, 30, 31, 35, 48, 54, 57, 8, 5, 11]
    shown = _sample(1.0 * result.visible[1], result.landmarks[1][points]) > 0.99
    back = result.landmarks[1][points] + _sample(result.flow[1], result.landmarks[1][points])
    assert shown.sum() >= 12
    free = [p not in (17, 26) for p in points]
    near = np.linalg.norm(back - result.landmarks[0][points], axis=1)
    assert np.median(near[shown & free]) < 0.02
    assert np.sort(near[shown & free])[-3] < 0.1


def test_flow_inverts_the_forward_motion(face):
    level = 0.6
    result = face.render(_both(12, 0.0, level))
    rest = np.stack(np.meshgrid(*[np.arange(face.size, dtype=float)] * 2), -1) + result.flow[1]
    forward = sum(face.layer_displacement(12, side)[1] for side in SIDES)
    moved = level * _sample(forward, rest.reshape(-1, 2)).reshape(rest.shape)
    skin = result.flow[1].any(-1)
    assert np.linalg.norm(result.flow[1] + moved, axis=-1)[skin].max() < 0.03


def test_frame_is_warped_rest_plus_appearance(face):
    level = 0.3
    result = face.render(_both(4, 0.0, level))
    without = result.frames[1] - _warp(result.frames[0], result.flow[1])
    unit = sum(face.unit_appearance(4, side) for side in SIDES)
    expected = _warp(unit, result.flow[1])
    chosen = np.abs(expected).max(-1) > 0.04
    slope = (without[chosen] * expected[chosen]).sum() / (expected[chosen] ** 2).sum()
    assert slope == pytest.approx(level, rel=0.1)


def test_intensities_can_be_recovered_from_the_flow(face):
    wanted = {(1, "left"): 0.3, (12, "right"): 0.4, (17, "left"): 0.2, (4, "right"): 0.0, (14, "left"): 0.0}
    result = face.render({key: np.array([0.0, value]) for key, value in wanted.items()})
    forward = -_warp(result.flow[1], -result.flow[1])  # what leaves a pixel, to first order
    basis = np.stack([face.unit_displacement(*key).ravel() for key in wanted], -1)
    found = np.linalg.lstsq(basis, forward.ravel(), rcond=None)[0]
    assert np.allclose(found, list(wanted.values()), atol=0.05)


def test_the_anatomy_of_mirrored_and_deformed_subjects_follows_the_image():
    traits = draw_traits(np.random.default_rng(3), "astronaut", grey=False)
    straight, mirrored = (
        Portrait(_plain("astronaut", mirror=m, shape_changes=traits.shape_changes), 96) for m in (False, True)
    )
    assert np.ptp(straight.anatomy.landmarks - Portrait(_plain("astronaut"), 96).anatomy.landmarks) > 1
    for portrait in (straight, mirrored):  # the pupil is the darkest place between the lids
        for eye in (slice(36, 42), slice(42, 48)):
            middle = portrait.to_texture(portrait.anatomy.landmarks[eye].mean(0)).round().astype(int)
            around = portrait.texture[middle[1] - 6 : middle[1] + 7, middle[0] - 6 : middle[0] + 7].mean()
            assert portrait.texture[middle[1], middle[0]].mean() < around - 0.02
    right, left = (p.anatomy.landmarks[:, 0] for p in (straight, mirrored))
    assert right[36] < right[39] < right[42] < right[45]
    assert left[36] < left[39] < left[42] < left[45]
    assert np.array_equal(MIRROR[MIRROR], np.arange(68))


def test_grey_subjects_stay_grey():
    face = DemoFace(Portrait(draw_traits(np.random.default_rng(0), "grace_hopper", grey=True), 64))
    frames = face.render(_both(25, 0.0, 0.8) | _both(4, 0.0, 0.8)).frames
    assert np.abs(frames - frames[..., :1]).max() < 1e-5


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_landmark_tables_equal_the_shared_ones(name):
    original = DATA.parents[1] / "shared" / "data" / "faces" / f"{name}_landmarks68.csv"
    if not original.is_file():
        pytest.skip(f"{original} is not here")
    assert (DATA / original.name).read_bytes() == original.read_bytes()


def test_unknown_names_are_an_error(face):
    with pytest.raises(ValueError, match="photograph 'lena': expected one of"):
        load_photograph("lena")
    with pytest.raises(ValueError, match="action unit 5: the demo moves"):
        face.unit_displacement(5, "left")
    with pytest.raises(ValueError, match="side 'both': expected"):
        face.unit_appearance(4, "both")
