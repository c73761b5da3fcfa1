"""Similarities between shapes, and head motion."""

from pathlib import Path

import numpy as np
import pytest
from skimage.transform import SimilarityTransform

from faces.alignment import fit_similarity, fit_similarity_robust, from_complex, remove_head_motion, to_complex
from faces.landmarks import read_landmarks

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(scope="module")
def face() -> np.ndarray:
    return read_landmarks(DATA / "astronaut_landmarks68.csv")[0]


@pytest.fixture(scope="module")
def other() -> np.ndarray:
    return read_landmarks(DATA / "grace_hopper_landmarks68.csv")[0]


def move(points: np.ndarray, scale: float, angle: float, shift: tuple[float, float]) -> np.ndarray:
    """Similarity written out with a rotation matrix: x towards y for a positive angle."""
    c, s = np.cos(angle), np.sin(angle)
    return scale * points @ np.array([[c, s], [-s, c]]) + np.array(shift)


def test_similarity_is_recovered_with_its_sign(face):
    fit = fit_similarity(face, move(face, 1.3, 0.2, (5, -7)))
    assert fit.scale == pytest.approx(1.3)
    assert fit.angle == pytest.approx(0.2)
    np.testing.assert_allclose(fit.apply(face), move(face, 1.3, 0.2, (5, -7)), atol=1e-9)
    np.testing.assert_allclose(fit.matrix() @ [0, 0, 1], [5, -7], atol=1e-9)
    np.testing.assert_allclose(fit.inverse().apply(fit.apply(face)), face, atol=1e-9)
    np.testing.assert_allclose(fit.turn(face[:1]), move(face[:1], 1.3, 0.2, (0, 0)), atol=1e-9)


def test_least_squares_agrees_with_umeyama_of_scikit_image(face, other):
    expected = SimilarityTransform.from_estimate(face, other)
    np.testing.assert_allclose(fit_similarity(face, other).matrix(), expected.params[:2], atol=1e-6)


def test_every_frame_gets_its_own_fit(face):
    angles = np.array([0.0, 0.1, -0.2])
    clip = np.stack([move(face, 1, a, (0, a)) for a in angles])
    np.testing.assert_allclose(fit_similarity(face, clip).angle, angles, atol=1e-12)


def test_points_with_additional_motion_do_not_count_as_head_motion(face):
    moved = move(face, 1.01, 0.02, (2, 1))
    expected = moved.copy()
    moved[17:27] -= [0, 3]  # brows up
    moved[48:60] += [2, 0]
    robust = np.abs(fit_similarity_robust(face, moved).apply(face) - expected).max()
    plain = np.abs(fit_similarity(face, moved).apply(face) - expected).max()
    assert robust < 0.05
    assert plain > 1


@pytest.mark.parametrize("opening", [1.0, 4.0, 12.0])
def test_an_open_mouth_does_not_move_the_head(face, opening):
    """The mouth and the lower jaw are half of the landmarks."""
    clip = np.stack([face, face])
    clip[1, 4:13] += [0, opening]
    clip[1, 48:] += [0, opening / 2]
    clip[1, [*range(55, 60), *range(65, 68)]] += [0, opening / 2]
    turned = from_complex(to_complex(clip) * np.array([1, 1.01 * np.exp(0.02j)])[:, None] + np.array([[0], [3 - 2j]]))
    still = remove_head_motion(turned)
    np.testing.assert_allclose(still[1], clip[1], atol=1e-3)


def test_points_of_weight_zero_do_not_count(face):
    moved = move(face, 1, 0.1, (0, 0))
    moved[:40] += 50
    weights = np.r_[np.zeros(40), np.ones(28)]
    for fit in (fit_similarity, fit_similarity_robust):
        assert fit(face, moved, weights).angle == pytest.approx(0.1)


def test_removing_head_motion_leaves_the_expression(face):
    expression = np.zeros((5, 68, 2))
    expression[:, 17:27, 1] = -np.array([0, 1, 2, 1, 0])[:, None]
    clip = np.stack([move(face + e, 1 + 0.01 * t, 0.02 * t, (3 * t, -t)) for t, e in enumerate(expression)])
    for reference in (0, 2):
        still = remove_head_motion(clip, reference)
        np.testing.assert_array_equal(still[reference], clip[reference])
        change = fit_similarity(clip[reference], face + expression[reference]).turn(still - clip[reference])
        np.testing.assert_allclose(change, expression - expression[reference], atol=0.05)


@pytest.mark.parametrize(
    ("landmarks", "reference", "message"),
    [
        (np.zeros((68, 2)), 0, r"shape \(68, 2\), expected \(T, 68, 2\)"),
        (np.full((3, 68, 2), np.nan), 0, "not finite"),
        (np.zeros((3, 68, 2)), 3, "reference frame 3 does not exist in a clip of 3 frames"),
        (np.zeros((3, 68, 2)), 0, "coincide"),
    ],
)
def test_unusable_landmarks_are_refused(landmarks, reference, message):
    with pytest.raises(ValueError, match=message):
        remove_head_motion(landmarks, reference)


def test_unusable_shapes_are_refused(face):
    with pytest.raises(ValueError, match="68 and 67 points"):
        fit_similarity(face, face[:67])
