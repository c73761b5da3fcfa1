"""Measures on the demo set: 0 for the truth, 1 for a clip without motion, and the intensities that were rendered."""

import imageio.v3 as iio
import numpy as np
import pytest

from demo.evaluation import KEYS, ClipMeasurements, IntensityEstimator, compare
from demo.face import DemoFace
from demo.subjects import Portrait, draw_traits
from demo.truth import Pair, Truth, still_clip, warped_source

ERRORS = ("difference_error", "motion_error", "nonrigid_error", "au_error", "au_geometry_error", "au_appearance_error")
CURVE = np.array([0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6])


@pytest.fixture(scope="module")
def face() -> DemoFace:
    return DemoFace(Portrait(draw_traits(np.random.default_rng(1), "astronaut", grey=False), 96))


@pytest.fixture(scope="module")
def measure(face):
    """Function that renders AU12 of both sides and left AU4 with a strength, and measures the clip."""
    estimator = IntensityEstimator(face)

    def measure(strength: float, head: float = 0.0) -> ClipMeasurements:
        keys = [(12, "left"), (12, "right"), (4, "left")]
        motion = np.zeros((len(CURVE), 4))
        motion[1:, 0] = head
        clip = face.render({key: strength * CURVE for key in keys}, motion)
        mask = Truth(clip.frames, clip.flow, clip.landmarks[0]).face_mask()
        return ClipMeasurements.from_frames(clip.frames, estimator, mask)

    return measure


def test_the_truth_has_no_error_and_a_clip_without_motion_an_error_of_one(measure):
    truth, still = measure(1), measure(0)
    assert {name: compare(truth, truth)[name] for name in ERRORS} == dict.fromkeys(ERRORS, 0)
    assert compare(truth, truth)["nonrigid_correlation"] == pytest.approx(1)
    assert {name: compare(still, truth)[name] for name in ERRORS} == pytest.approx(dict.fromkeys(ERRORS, 1))
    assert compare(still, truth)["difference_correlation"] == 0


def test_half_of_the_motion_has_half_of_the_error(measure):
    compared = compare(measure(0.5), measure(1))
    assert compared["difference_error"] == pytest.approx(0.5, abs=0.1)
    assert compared["motion_error"] == pytest.approx(0.5, abs=0.2)
    assert compared["au_error"] == pytest.approx(0.5, abs=0.1)
    assert compared["difference_correlation"] > 0.85


def test_flow_is_measured_since_the_first_frame(measure):
    early, late = np.abs(measure(1).flow).mean(axis=(1, 2))  # intensities 0.1 and 0.6
    assert late > 3 * early


def test_head_motion_is_an_error_of_motion_but_not_of_nonrigid_motion(measure):
    compared = compare(measure(1, head=0.5), measure(1))
    assert compared["motion_error"] > 2
    assert compared["nonrigid_error"] < 0.5


def test_the_intensities_of_the_moving_action_units_are_found(measure):
    found = dict(zip(KEYS, measure(1).units[0, -1], strict=True))
    for key in ((12, "left"), (12, "right"), (4, "left")):
        assert found.pop(key) == pytest.approx(CURVE[6], abs=0.15)
    assert np.abs(list(found.values())).max() < 0.2


def test_the_face_mask_covers_the_landmarks_and_the_forehead(face):
    truth = Truth(face.image[None], np.zeros((1, 96, 96, 2), np.float32), face.landmarks)
    mask = truth.face_mask()
    x, y = face.landmarks[30].round().astype(int)
    brow = face.landmarks[17:27, 1].min()
    assert mask[y, x]
    assert mask[int(brow) - 3].any()
    assert not mask[0].any()
    assert 0.3 < mask.mean() < 0.7


def test_reference_clips_repeat_the_source_or_warp_it_by_the_true_flow(tmp_path):
    source = np.random.default_rng(0).integers(0, 256, (8, 10, 3), np.uint8)
    pair = Pair("a", "b")
    (tmp_path / "test" / "a").mkdir(parents=True)
    iio.imwrite(tmp_path / "test" / "a" / "0000.png", source)
    (tmp_path / "truth" / "pairs").mkdir(parents=True)
    flow = np.broadcast_to(np.float16([2, 1]), (3, 8, 10, 2))
    frames, landmarks = np.zeros((3, 8, 10, 3), np.float16), np.zeros((3, 68, 2), np.float32)
    np.savez(tmp_path / "truth" / "pairs" / "b-a.npz", frames=frames, flow=flow, landmarks=landmarks)
    np.testing.assert_array_equal(still_clip(tmp_path, pair), np.stack([source] * 3))
    expected = np.stack([source[1:, 2:]] * 3) / 255
    np.testing.assert_allclose(warped_source(tmp_path, pair)[:, :-1, :-2], expected, atol=1e-5)
