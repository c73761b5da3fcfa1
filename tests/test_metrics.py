import numpy as np
import pytest

from output.metrics import temporal_difference


def test_picture_metrics_of_equal_and_shifted_clips():
    from output.metrics import picture_metrics

    truth = np.stack([np.full((16, 16, 3), 10 * t, np.uint8) for t in range(3)])
    static = picture_metrics(truth, [truth[0]] * 3)
    assert static["l1"] == pytest.approx(15 / 255)
    assert picture_metrics(truth, list(truth))["l1"] == 0
    assert picture_metrics(truth, list(truth))["ssim"] == pytest.approx(1)


@pytest.fixture
def clip() -> np.ndarray:
    return np.random.default_rng(0).uniform(size=(5, 8, 8, 3))


def test_temporal_difference_of_the_truth_itself_and_of_a_still_clip(clip):
    assert temporal_difference(clip, clip) == (0, pytest.approx(1))
    assert temporal_difference(clip, np.repeat(clip[:1], 5, axis=0)) == (1, 0)


def test_temporal_difference_ignores_what_is_constant_and_sees_the_strength(clip):
    other_face = np.random.default_rng(1).uniform(size=(1, 8, 8, 3))
    half = other_face + 0.5 * (clip - clip[:1])
    assert temporal_difference(clip, half) == (pytest.approx(0.5), pytest.approx(1))
    assert temporal_difference(clip, other_face - (clip - clip[:1]))[1] == pytest.approx(-1)


def test_temporal_difference_needs_comparable_clips(clip):
    with pytest.raises(ValueError, match=r"one shape, got \(5, 8, 8, 3\) and \(4, 8, 8, 3\)"):
        temporal_difference(clip, clip[:4])
    with pytest.raises(ValueError, match="something changes"):
        temporal_difference(clip[[0, 0]], clip[:2])
