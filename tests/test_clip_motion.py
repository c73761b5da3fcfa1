"""Dense motion of the face in a driving clip, and the parts of the face that rest."""

import numpy as np
import pytest

from faces import clip_motion
from faces.alignment import eye_distance
from faces.clip_motion import ClipMotion
from tests.test_tracking import FACE, PICTURE, bumps, render

SIZE = PICTURE.shape[0]
CURVE = 1.5 * np.sin(np.linspace(0, np.pi, 24)) ** 2
"""Onset, apex and offset of a micro-expression, pixels."""
GRID = np.stack(np.meshgrid(np.arange(SIZE), np.arange(SIZE)), axis=-1).astype(float)
TRUE = np.linalg.norm(bumps(GRID.reshape(-1, 2), 1.0), axis=-1).reshape(SIZE, SIZE)
MOVES = TRUE > 0.5 * TRUE.max()


def motion_of(curve, noise, heads=None, **options):
    frames, landmarks = render(list(curve), heads, noise=noise)
    return ClipMotion(frames.__getitem__, landmarks, 0, **options)


@pytest.fixture(scope="module")
def noisy():
    return motion_of(CURVE, 3.0)


def test_what_moves_keeps_its_motion(noisy):
    assert noisy.moving[MOVES].mean() > 0.9


def test_noise_does_not_move_a_face_that_rests():
    motion = motion_of(0 * CURVE, 3.0)
    jitter, left = (np.linalg.norm(flow, axis=-1).mean() for flow in (motion._without_head(12), motion.expression(12)))
    assert jitter > 0.05
    assert left < 0.1 * jitter


def test_without_noise_small_motion_is_kept():
    motion = motion_of(0.2 * CURVE, 0.0)
    assert motion.moving[MOVES].mean() > 0.9


def test_motion_as_fast_as_speech_at_25_frames_per_second_is_kept():
    motion = motion_of(1.5 * np.sin(np.arange(24) * 2 * np.pi / 8), 1.0)
    assert motion.moving[MOVES].mean() > 0.9


def test_clips_too_short_for_an_estimate_of_the_noise_are_taken_as_they_are():
    motion = motion_of([0, 1.5, 1.0], 3.0)
    np.testing.assert_array_equal(motion.moving, 1)


def test_head_motion_does_not_count_as_expression():
    heads = [(1, 0.0005 * t, 0.1 * t, -0.05 * t) for t in range(24)]
    motion = motion_of(0 * CURVE, 1.0, heads)
    assert np.linalg.norm(motion.head(23).apply(FACE) - FACE, axis=-1).mean() > 1.5
    assert np.linalg.norm(motion.expression(23)[MOVES], axis=-1).mean() < 0.1


def test_flow_that_is_not_cached_is_the_same(noisy, monkeypatch):
    monkeypatch.setattr(clip_motion, "CACHE_BYTES", 0)
    again = motion_of(CURVE, 3.0)
    assert not again.cached_flow
    np.testing.assert_allclose(again.expression(9), noisy.expression(9), atol=0.005)


def test_the_same_motion_in_frames_of_another_aspect_ratio_is_in_original_pixels(noisy):
    assert noisy.landmarks.shape == (len(CURVE), 68, 2)
    points = noisy.landmarks * (2, 1) + (0.5, 0)
    wide = ClipMotion(lambda t: np.repeat(noisy.read_frame(t), 2, axis=1), points, 0, aspect=np.array([0.5, 1]))
    assert eye_distance(wide.landmarks[0]) == pytest.approx(eye_distance(noisy.landmarks[0]))
    difference = wide.expression(12)[:, ::2] - noisy.expression(12)
    assert np.linalg.norm(difference[MOVES], axis=-1).mean() < 0.2
