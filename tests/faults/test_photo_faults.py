"""Faces anywhere in photos of any size, also cut off by their border or larger than them."""

import cv2
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from clips.crop import place_crop
from config.preparation import PrepareCropParams
from output.paste_back import PhotoFace
from tests.conftest import face_landmarks


@given(
    size=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    place=st.tuples(st.floats(-0.3, 1.3), st.floats(-0.3, 1.3)),
    scale=st.floats(0.02, 4),
    frame=st.tuples(st.integers(2, 40), st.integers(2, 40)),
    seed=st.integers(0, 99),
)
def test_a_face_at_rest_changes_nothing_and_a_moving_one_only_its_square(size, place, scale, frame, seed):
    rng = np.random.default_rng(seed)
    photo = rng.integers(0, 256, (*size, 3), np.uint8)
    points = face_landmarks(100)
    landmarks = (points - points.mean(axis=0)) * scale + np.array(place) * size[::-1]
    try:
        crop = place_crop(landmarks, size, PrepareCropParams())
    except ValueError:
        return  # outside the photo
    face = PhotoFace(photo, crop)
    nothing = np.zeros((*frame, 2), np.float32)
    np.testing.assert_array_equal(face.paste(nothing, np.zeros((*frame, 3), np.float32)), photo)
    change = rng.normal(0, 3, (*frame, 2)).astype(np.float32), rng.normal(0, 20, (*frame, 3)).astype(np.float32)
    moved = face.paste(*change)
    assert moved.shape == photo.shape
    assert moved.dtype == np.uint8
    outside = np.ones(size, bool)
    outside[face.region] = False
    np.testing.assert_array_equal(moved[outside], photo[outside])
    assert face.mask.shape == photo[face.region].shape[:2]
    assert cv2.minMaxLoc(face.mask)[1] <= 1
