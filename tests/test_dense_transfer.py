"""Transfer of dense motion from one face to another."""

import cv2
import numpy as np
import pytest

from faces.alignment import Similarity, fit_similarity
from faces.clip_motion import ClipMotion
from faces.dense_transfer import DenseTransfer, face_mask
from tests.test_tracking import FACE, PICTURE, bumps, render

CLIP, _ = render([0, 2.0], noise=0)
SIZE = PICTURE.shape[0]
GRID = np.stack(np.meshgrid(np.arange(SIZE), np.arange(SIZE)), axis=-1).astype(float)
TRUE = bumps(GRID.reshape(-1, 2), 2.0).reshape(SIZE, SIZE, 2)
SKIN = cv2.fillConvexPoly(np.zeros((SIZE, SIZE), np.uint8), cv2.convexHull(FACE.astype(np.int32)), 1).astype(bool)


def of_clip(frames, landmarks=(FACE, FACE), **options):
    return ClipMotion(frames.__getitem__, np.stack(landmarks), 0, **options)


def test_the_same_face_gets_its_own_motion_also_between_landmarks():
    found = DenseTransfer(of_clip(CLIP), FACE, (SIZE, SIZE)).displacement(1)
    error, size = np.linalg.norm(found - TRUE, axis=-1)[SKIN].mean(), np.linalg.norm(TRUE, axis=-1)[SKIN].mean()
    assert size > 0.4
    assert error < 0.4 * size
    assert np.corrcoef(found[SKIN].ravel(), TRUE[SKIN].ravel())[0, 1] > 0.9


def test_motion_is_scaled_and_rotated_with_the_source_face():
    factor = 1.5 * np.exp(0.2j)
    change = Similarity(np.complex128(factor), np.complex128(20 - 10j))
    own = DenseTransfer(of_clip(CLIP), FACE, (SIZE, SIZE)).displacement(1)
    other = DenseTransfer(of_clip(CLIP), change.apply(FACE), (300, 300)).displacement(1)
    for landmark in (19, 54, 57):
        x, y = FACE[landmark].round().astype(int)
        u, v = change.apply(np.array([[x, y]], float))[0].round().astype(int)
        np.testing.assert_allclose(other[v, u], change.turn(own[y, x][None].astype(float))[0], atol=0.25)


def test_equal_frames_do_not_move():
    np.testing.assert_allclose(DenseTransfer(of_clip(CLIP), FACE, (SIZE, SIZE)).displacement(0), 0, atol=1e-9)


def test_head_motion_is_removed_or_moves_the_whole_image():
    frames, truth = render([0, 0], [(1, 0, 0, 0), (1, 0.02, 1.5, -1)], noise=0)
    head = fit_similarity(FACE, truth[1])
    dense = DenseTransfer(of_clip(frames, truth), FACE, (SIZE, SIZE))
    assert np.linalg.norm(dense.displacement(1), axis=-1)[SKIN].mean() < 0.15
    kept = dense.displacement(1, keep_head=True)
    np.testing.assert_allclose(kept, (head.apply(GRID.reshape(-1, 2)).reshape(GRID.shape) - GRID), atol=0.5)


def test_everything_outside_the_face_rests():
    found = DenseTransfer(of_clip(CLIP), FACE, (SIZE, SIZE)).displacement(1)
    mask = face_mask(FACE, (SIZE, SIZE))
    assert mask[SKIN].min() > 0.95
    assert (mask == 0).mean() > 0.1
    assert 0.02 < np.isin(mask, (0, 1), invert=True).mean(), "a soft rim"
    np.testing.assert_array_equal(found[mask == 0], 0)


@pytest.mark.parametrize("stretch", [(2.0, 1.0), (1.0, 1.5)])
def test_frames_of_another_aspect_ratio_give_the_same_motion(stretch):
    wide = np.stack([cv2.resize(f, None, fx=stretch[0], fy=stretch[1], interpolation=cv2.INTER_CUBIC) for f in CLIP])
    points = (FACE + 0.5) * stretch - 0.5
    aspect = 1 / np.array(stretch)
    found = DenseTransfer(of_clip(wide, (points, points), aspect=aspect), FACE, (SIZE, SIZE)).displacement(1)
    own = DenseTransfer(of_clip(CLIP), FACE, (SIZE, SIZE)).displacement(1)
    assert np.linalg.norm(found - own, axis=-1)[SKIN].mean() < 0.15
