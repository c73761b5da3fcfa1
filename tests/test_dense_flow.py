"""Dense optical flow of a face."""

import cv2
import numpy as np

from benchmarks.flow_accuracy import accuracy, dense_flow, known_pairs, plain_dis
from faces.dense_flow import DenseFlow

PAIRS = list(known_pairs(2.5, 2))


def test_known_motion_is_found_better_than_by_plain_flow():
    error, correlation, gain = accuracy(dense_flow, PAIRS)
    plain, plain_correlation, _ = accuracy(plain_dis, PAIRS)
    assert error < 0.26
    assert error < 0.9 * plain
    assert correlation > max(0.985, plain_correlation)
    assert 0.85 < gain < 1.1


def test_displacements_are_in_pixels_of_the_frame_at_every_size():
    pair = PAIRS[0]
    first, second = (
        np.asarray(cv2.resize(frame, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC), np.uint8)
        for frame in (pair.first, pair.second)
    )
    small = DenseFlow(pair.first, pair.eye_distance).follow(pair.second)
    large = DenseFlow(first, 2 * pair.eye_distance).follow(second)
    assert large.shape == (*first.shape[:2], 2)
    assert np.abs(large[::2, ::2] / 2 - small)[pair.skin].mean() < 0.1 * np.abs(small[pair.skin]).mean()


def test_equal_frames_do_not_move():
    flow = DenseFlow(PAIRS[0].first, PAIRS[0].eye_distance)
    np.testing.assert_array_equal(flow.follow(PAIRS[0].first), 0)
