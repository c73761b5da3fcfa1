"""Metrics, compared with numbers computed by hand and with scikit-image."""

import numpy as np
import pytest
from skimage.metrics import structural_similarity

from output.metrics import image_metrics, temporal_difference


def flat(*colour: int) -> np.ndarray:
    """One frame of a single colour, uint8 (16, 16, 3)."""
    return np.broadcast_to(np.uint8(colour), (16, 16, 3))


def test_image_metrics_of_frames_of_one_colour_agree_with_their_formulas():
    truth = [flat(0, 0, 0), flat(100, 100, 100), flat(100, 100, 100)]
    frames = [flat(255, 255, 255), flat(110, 110, 110), flat(120, 120, 120)]  # the first frame must not count
    measured = image_metrics(truth, frames)
    assert measured["l1"] == pytest.approx((10 / 255 + 20 / 255) / 2)
    assert measured["psnr"] == pytest.approx((20 * np.log10(255 / 10) + 20 * np.log10(255 / 20)) / 2)
    c1 = (0.01 * 255) ** 2
    ssim = [(2 * 100 * value + c1) / (100**2 + value**2 + c1) for value in (110, 120)]
    assert measured["ssim"] == pytest.approx(np.mean(ssim))


def test_ssim_compares_every_colour_channel():
    truth, frame = flat(200, 100, 50), flat(50, 100, 200)  # the same mean over the channels
    c1 = (0.01 * 255) ** 2
    swapped = (2 * 200 * 50 + c1) / (200**2 + 50**2 + c1)
    assert image_metrics([truth] * 2, [frame] * 2)["ssim"] == pytest.approx((swapped + 1 + swapped) / 3)


def test_ssim_of_textured_frames_is_the_mean_of_the_channels():
    rng = np.random.default_rng(0)
    truth, frame = rng.integers(0, 256, (2, 16, 20, 3), np.uint8)
    channels = [structural_similarity(truth[..., c], frame[..., c]) for c in range(3)]
    assert image_metrics([truth] * 2, [truth, frame])["ssim"] == pytest.approx(np.mean(channels))


def test_image_metrics_of_equal_clips_are_perfect():
    truth = [flat(10, 20, 30)] * 3
    assert image_metrics(truth, truth) == {"l1": 0, "psnr": np.inf, "ssim": pytest.approx(1)}


def test_image_metrics_of_a_single_frame_are_undefined():
    assert np.isnan(list(image_metrics([flat(1, 2, 3)], [flat(1, 2, 3)]).values())).all()


@pytest.fixture
def clip() -> np.ndarray:
    return np.random.default_rng(0).uniform(size=(5, 8, 8, 3))


def test_temporal_difference_agrees_with_a_calculation_by_hand():
    truth = np.uint8([[10, 20], [12, 20], [14, 24]]).reshape(3, 1, 2, 1)  # changes: 2, 0, 4, 4
    frames = np.uint8([[0, 0], [1, 0], [4, 2]]).reshape(3, 1, 2, 1)  # changes: 1, 0, 4, 2
    error, correlation = temporal_difference(truth, frames)
    assert error == pytest.approx((1 + 0 + 0 + 2) / (2 + 0 + 4 + 4))
    assert correlation == pytest.approx(8.5 / np.sqrt(11 * 8.75))  # covariance and variances, times 4


def test_temporal_difference_of_the_truth_and_of_a_clip_without_motion(clip):
    assert temporal_difference(clip, clip) == (0, pytest.approx(1))
    assert temporal_difference(clip, np.repeat(clip[:1], 5, axis=0)) == (1, 0)


def test_temporal_difference_ignores_the_face_and_measures_the_strength_of_its_motion(clip):
    other_face = np.random.default_rng(1).uniform(size=(1, 8, 8, 3))
    half = other_face + 0.5 * (clip - clip[:1])
    assert temporal_difference(clip, half) == (pytest.approx(0.5), pytest.approx(1))
    assert temporal_difference(clip, other_face - (clip - clip[:1]))[1] == pytest.approx(-1)


def test_temporal_difference_needs_comparable_clips(clip):
    with pytest.raises(ValueError, match=r"same shape, got \(5, 8, 8, 3\) and \(4, 8, 8, 3\)"):
        temporal_difference(clip, clip[:4])
    with pytest.raises(ValueError, match="something changes"):
        temporal_difference(clip[[0, 0]], clip[:2])
