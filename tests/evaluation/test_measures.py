"""Each measure moves in the right direction where a result is wrong in a known way, and the others stay."""

from dataclasses import replace
from functools import cache

import cv2
import numpy as np
import pytest

from evaluation.action_units import asymmetry, geometric_action_units
from evaluation.artefacts import flicker
from evaluation.face_clip import FaceClip
from evaluation.images import image_scores
from evaluation.judge import Judgement, Source, judge
from evaluation.measures import MEASURES, badness, measures_in_table
from evaluation.measuring import DrivingClip, Methods, measure_driving
from evaluation.motion import REGIONS, agreement, correlation, without_head
from evaluation.timing import delay, expression_timing
from faces.au_geometry import read_geometry
from tests.evaluation.faces import (
    SMILE_AND_BROW,
    face_clip,
    mirrored,
    photograph,
    strength,
)

METHODS = Methods(estimators=("dis",))
PERFECT = {
    "motion_error_dis": 0.0,
    "motion_corr_dis": 1.0,
    "motion_gain_dis": 1.0,
    "total_error_dis": 0.0,
    "total_corr_dis": 1.0,
    "total_gain_dis": 1.0,
    "akd": 0.0,
    "asymmetry": 1.0,
    "au_error": 0.0,
    "au_corr": 1.0,
    "au_gain": 1.0,
    "leak_units": 0.0,
    "onset_error": 0.0,
    "apex_error": 0.0,
    "offset_error": 0.0,
    "delay": 0.0,
    "leak_face": 0.0,
    "leak_background": 0.0,
    "identity": 1.0,
    "flicker": 0.0,
    "sharpness": 1.0,
}
ERRORS = {"motion_error_dis": 0.5, "total_error_dis": 0.5, "au_error": 0.5, "akd": 0.05}  # any wrong motion raises them
TOLERANCE = {
    **dict.fromkeys(PERFECT, 0.1),
    "motion_error_dis": 0.13,
    "total_error_dis": 0.13,
    "au_error": 0.15,
    "leak_units": 0.2,
    "leak_face": 0.2,
    "identity": 0.02,
    "flicker": 0.5,
    "onset_error": 0.3,
    "offset_error": 0.3,
    "akd": 0.03,
    "leak_background": 0.05,
}


@cache
def driving() -> DrivingClip:
    """The driving clip, which is also its own perfect result."""
    return measure_driving(face_clip(), METHODS)


def judged(result: FaceClip, source: str = "astronaut") -> Judgement:
    """Judge a result against the driving clip."""
    return judge(result, driving(), Source(*photograph(source)), METHODS)


def noisy(clip: FaceClip, level: float) -> FaceClip:
    """Add noise that differs in every frame."""
    noise = np.random.default_rng(0).normal(0, level, clip.frames.shape)
    return replace(clip, frames=np.clip(clip.frames + noise, 0, 255).astype(np.uint8))


def blurred(clip: FaceClip, sigma: float) -> FaceClip:
    """Blur every frame."""
    return replace(clip, frames=np.stack([cv2.GaussianBlur(frame, (0, 0), sigma) for frame in clip.frames]))


def swaying(clip: FaceClip) -> FaceClip:
    """Move the whole image slowly, as a head that the driving clip keeps still."""
    shifts = [np.array([[1, 0, x], [0, 1, 0.5 * x]]) for x in 2 * np.sin(np.linspace(0, np.pi, len(clip.frames)))]
    moved = [
        cv2.warpAffine(frame, shift, (256, 256), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        for frame, shift in zip(clip.frames, shifts, strict=True)
    ]
    return replace(clip, frames=np.stack(moved))


OTHER_UNIT = ((8, 0.0, -0.04),)  # the chin, at rest in the driving clip

CASES = {
    # result, measures with their expected values; all others stay as in a perfect result
    "identical": (lambda: face_clip(), {}),
    "doubled amplitude": (
        lambda: face_clip(curve=2 * strength()),
        {
            "motion_gain_dis": 2.0,
            "total_gain_dis": 2.0,
            "au_gain": 2.0,
            "motion_error_dis": 1.0,
            "total_error_dis": 1.0,
            "au_error": 1.0,
            "akd": 0.17,
        },
    ),
    "static": (
        lambda: face_clip(curve=np.zeros(12)),
        {
            **dict.fromkeys(("motion_error_dis", "total_error_dis", "au_error"), 1.0),
            **dict.fromkeys(("motion_corr_dis", "total_corr_dis", "au_corr", "asymmetry"), 0.0),
            **dict.fromkeys(("motion_gain_dis", "total_gain_dis", "au_gain"), 0.0),
            **dict.fromkeys(("onset_error", "apex_error", "offset_error", "delay"), float("nan")),
            "akd": 0.17,
        },
    ),
    "mirrored": (
        lambda: face_clip(parts=mirrored(SMILE_AND_BROW)),
        {
            "asymmetry": -1.0,
            **dict.fromkeys(("motion_corr_dis", "total_corr_dis", "au_corr"), 0.35),
            **dict.fromkeys(("motion_gain_dis", "total_gain_dis", "au_gain"), 0.38),
            **dict.fromkeys(("motion_error_dis", "total_error_dis", "au_error"), 1.25),
            "akd": 0.22,
            "leak_units": 0.38,
        },
    ),
    "two frames late": (
        lambda: face_clip(curve=strength(apex=7)),
        {
            **dict.fromkeys(("onset_error", "apex_error", "offset_error", "delay"), 2.0),
            **dict.fromkeys(("motion_corr_dis", "total_corr_dis", "au_corr", "asymmetry"), 0.65),
            **dict.fromkeys(("motion_gain_dis", "total_gain_dis", "au_gain"), 0.65),
            **dict.fromkeys(("motion_error_dis", "total_error_dis", "au_error"), 0.94),
            "akd": 0.155,
        },
    ),
    "reversed in time": (
        lambda: replace(face_clip(), frames=face_clip().frames[::-1].copy()),
        {
            **dict.fromkeys(("onset_error", "apex_error", "offset_error", "delay"), 1.0),
            **dict.fromkeys(("motion_corr_dis", "total_corr_dis", "au_corr", "asymmetry"), 0.9),
            **dict.fromkeys(("motion_gain_dis", "total_gain_dis", "au_gain"), 0.9),
            **dict.fromkeys(("motion_error_dis", "total_error_dis", "au_error"), 0.52),
            "akd": 0.084,
        },
    ),
    "noise": (
        lambda: noisy(face_clip(), 4),
        {
            "flicker": 4.9,
            "sharpness": 2.1,
            "motion_error_dis": 0.43,
            "total_error_dis": 0.36,
            "au_error": 0.34,
            "akd": 0.057,
            "leak_face": 0.3,
            "leak_background": 0.27,
        },
    ),
    "blur": (lambda: blurred(face_clip(), 1.5), {"sharpness": 0.43}),
    "head sway": (
        lambda: swaying(face_clip()),
        {
            "total_error_dis": 12.0,
            "total_corr_dis": 0.0,
            "total_gain_dis": 1.0,
            "leak_background": 2.0,
            # Flow and tracking are less exact on larger motion.
            "motion_error_dis": 0.25,
            "au_error": 0.2,
            "akd": 0.04,
            "flicker": 1.0,
        },
    ),
    "another unit": (
        lambda: face_clip(parts=(*SMILE_AND_BROW, *OTHER_UNIT)),
        {
            "leak_units": 0.53,
            "leak_face": 0.6,
            "motion_error_dis": 0.42,
            "total_error_dis": 0.27,
            "motion_corr_dis": 0.85,
            "total_corr_dis": 0.87,
            "au_error": 1.2,
            "au_corr": 0.52,
            "au_gain": 0.75,
            "akd": 0.08,
        },
    ),
}
WIDE = {  # of "head sway", where the head moves more than the face
    "total_error_dis": 8.0,
    "total_corr_dis": 0.6,
    "total_gain_dis": 1.5,
    "leak_background": 1.0,
    "motion_error_dis": 0.1,
    "au_error": 0.1,
    "akd": 0.03,
    "flicker": 0.5,
}


@pytest.mark.parametrize("name", CASES)
def test_each_measure_moves_the_right_way_and_no_other_does(name):
    make, expected = CASES[name]
    scores = judged(make()).scores
    wrong = {}
    for measure, perfect in PERFECT.items():
        value = expected.get(measure, perfect)
        if name == "head sway" and measure in expected:
            allowed = WIDE[measure]
        else:
            allowed = TOLERANCE[measure] + (0.15 * abs(value) if measure in expected else 0)
        if not (np.isnan(value) and np.isnan(scores[measure]) or abs(scores[measure] - value) <= allowed):
            wrong[measure] = (scores[measure], value)
    assert wrong == {}


def test_another_identity_lowers_identity_and_keeps_motion():
    own = judged(face_clip("grace_hopper"), "grace_hopper").scores
    other = judged(face_clip("grace_hopper"), "astronaut").scores
    assert own["identity"] > 0.95
    assert other["identity"] < 0.6
    same = [name for name in PERFECT if name not in ("identity", "sharpness")]
    assert {name: own[name] for name in same} == {name: other[name] for name in same}
    assert own["motion_corr_dis"] > 0.85


def test_a_shift_of_the_whole_image_is_head_motion_of_known_size():
    points = np.stack(np.meshgrid(np.arange(5.0), np.arange(5.0)), axis=-1).reshape(-1, 2)
    motion = np.zeros((3, 25, 2))
    motion[1:] = (0.3, -0.2)
    assert np.abs(without_head(motion, points)).max() < 1e-9
    motion[2, :6] += (0.0, 0.05)
    found = without_head(motion, points)
    np.testing.assert_allclose(found[2, :6], np.tile([0.0, 0.05], (6, 1)), atol=0.02)


@pytest.mark.parametrize("gain", [0.5, 1.0, 2.0])
def test_the_gain_is_the_factor_of_the_motion(gain):
    motion = np.random.default_rng(0).normal(size=(6, 9, 2))
    found = agreement(motion, gain * motion)
    assert found.gain == pytest.approx(gain)
    assert found.correlation == pytest.approx(1)
    assert found.error == pytest.approx(abs(gain - 1))


def test_a_driving_clip_without_motion_has_no_figures():
    still = np.zeros((4, 9, 2))
    assert np.isnan(agreement(still, still + 1).error)
    assert correlation(still, still) == 0


def test_timing_is_found_between_frames():
    t = np.arange(40)
    curve = np.exp(-((t - 17.3) ** 2) / (2 * 5.0**2))
    timing = expression_timing(curve)
    half = 5.1 * np.sqrt(2 * np.log(4))  # the smoothing widens the Gaussian from 5.0 to 5.1
    assert timing.apex == pytest.approx(17.3, abs=0.05)
    assert timing.onset == pytest.approx(17.3 - half, abs=0.1)
    assert timing.offset == pytest.approx(17.3 + half, abs=0.1)
    assert delay(curve, np.exp(-((t - 19.1) ** 2) / (2 * 5.0**2))) == pytest.approx(1.8, abs=0.1)


def test_an_expression_that_does_not_end_has_no_offset():
    assert np.isnan(expression_timing(np.linspace(0, 1, 20)).offset)


def test_action_units_of_the_geometry_table_are_recognised():
    geometry = read_geometry().reshape(34, 68, 2)
    for k in range(34):
        units = geometric_action_units(0.4 * geometry[k : k + 1])
        assert np.abs(units[0]).argmax() == k or units[0, k] > 0.5 * np.abs(units).max(), k


def test_symmetric_motion_has_no_asymmetry():
    motion = np.random.default_rng(1).normal(size=(3, 68, 2))
    symmetric = motion - asymmetry(motion)
    assert np.abs(asymmetry(symmetric)).max() < 1e-12


def test_image_figures_of_identical_and_changed_frames():
    truth = face_clip(curve=strength(4, 2, 2.0)).frames
    same = image_scores(truth, truth)
    assert (same["l1"], same["ssim"], same["difference_error"]) == (0, 1, 0)
    assert np.isinf(same["psnr"])
    changed = image_scores(truth, np.clip(truth.astype(int) + 8, 0, 255).astype(np.uint8))
    assert changed["l1"] == pytest.approx(8 / 255, rel=0.05)
    assert changed["psnr"] == pytest.approx(20 * np.log10(255 / 8), abs=0.5)
    assert changed["ms_ssim"] > 0.95
    static = image_scores(truth, np.repeat(truth[:1], 4, axis=0))
    assert (static["difference_error"], static["difference_corr"]) == (1, 0)


def test_every_figure_of_the_judge_is_defined():
    known = set(MEASURES)
    found = judged(face_clip())
    assert set(found.scores) <= known
    assert set(measures_in_table(("dis", "tvl1"), True)) <= known
    assert {name.rsplit("_", 1)[0] for name in found.regions} == set(REGIONS)
    assert all(measure.definition and measure.title for measure in MEASURES.values())


def test_flicker_is_what_the_driving_clip_does_not_have():
    assert flicker(2.0, 1.5) == 0
    assert flicker(1.0, 3.0) == 2


def test_badness_follows_the_direction_of_a_measure():
    assert badness("motion_error_dis", 0.9) > badness("motion_error_dis", 0.2)
    assert badness("motion_corr_dis", 0.2) > badness("motion_corr_dis", 0.9)
    assert badness("motion_gain_dis", 2.0) == badness("motion_gain_dis", 0.0)
    assert badness("akd", float("nan")) == float("inf")
