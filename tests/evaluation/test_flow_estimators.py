"""Estimators of optical flow on known displacements."""

import numpy as np
import pytest
from skimage.registration import optical_flow_tvl1

from evaluation.flow_estimators import ESTIMATORS, flow_between, prepared, tvl1_flow
from tests.evaluation.faces import SMILE_AND_BROW, displacement, moved, photograph


@pytest.mark.parametrize("name", ESTIMATORS)
def test_estimators_find_a_smooth_displacement(name):
    image, landmarks = photograph("astronaut")
    field = displacement(landmarks, SMILE_AND_BROW)
    found = flow_between(name, prepared(image), prepared(moved(image, field)))
    strong = np.linalg.norm(field, axis=2) > 0.5 * np.linalg.norm(field, axis=2).max()
    assert np.linalg.norm(found - field, axis=2)[strong].mean() < 0.35 * np.linalg.norm(field, axis=2)[strong].mean()


@pytest.mark.parametrize("name", ESTIMATORS)
def test_equal_images_have_no_flow(name):
    image = prepared(photograph("astronaut")[0])
    assert not flow_between(name, image, image.copy()).any()


def test_tvl1_agrees_with_scikit_image():
    image, landmarks = photograph("astronaut")
    pair = [prepared(frame)[::2, ::2] for frame in (image, moved(image, displacement(landmarks, SMILE_AND_BROW)))]
    down, right = optical_flow_tvl1(pair[0] / 255, pair[1] / 255, attachment=10, num_warp=5, num_iter=10)
    ours = tvl1_flow(*pair)
    assert np.corrcoef(ours.ravel(), np.stack([right, down], axis=-1).ravel())[0, 1] > 0.98
