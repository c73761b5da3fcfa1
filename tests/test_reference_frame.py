"""Driving clips as detectors and cameras give them: landmarks that jitter, first frames that are not neutral."""

from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest

import run
from clips.frame_cache import FrameCache
from clips.loader import LoadedClip
from clips.reading import open_clip
from faces.jitter import measure_jitter
from faces.neutral import expression, more_neutral_frame
from generation.reference import choose_reference
from tests.conftest import face_landmarks

CONFIG = Path(__file__).parents[1] / "config" / "warp-256.yaml"
UPPER, LOWER = [61, 62, 63, 50, 51, 52], [67, 66, 65, 56, 57, 58]
UPPER_LIDS, LOWER_LIDS = [37, 38, 43, 44], [41, 40, 47, 46]


def face(mouth: float = 0.0, blink: float = 0.0) -> np.ndarray:
    """A face of 256 pixels with an open mouth, or with closed eyes (1: lids meet)."""
    points = face_landmarks(256).astype(np.float64)
    points[[61, 62, 63]] = points[[67, 66, 65]]  # closed lips
    points[LOWER, 1] += mouth
    gap = points[LOWER_LIDS] - points[UPPER_LIDS]
    points[UPPER_LIDS] += blink * gap
    return points


def clip_with(landmarks: np.ndarray, tmp_path: Path) -> LoadedClip:
    folder = tmp_path / "clip"
    folder.mkdir(exist_ok=True)
    for t in range(len(landmarks)):
        iio.imwrite(folder / f"{t}.png", np.zeros((16, 16, 3), np.uint8))
    clip = open_clip(folder)
    return LoadedClip(clip, FrameCache(None, None).add(clip), landmarks, None)


# --- the neutral frame ------------------------------------------------------------------------------------------------


def test_an_open_mouth_and_closed_eyes_are_expressions():
    measured = expression(np.stack([face(), face(mouth=12), face(blink=1.0)]))
    eyes = np.linalg.norm(face()[36] - face()[45])
    assert measured[1] - measured[0] == pytest.approx(12 / eyes, abs=0.01)
    assert measured[2] - measured[0] > 0.06


@pytest.mark.parametrize("bad", [{"mouth": 20}, {"blink": 1.0}])
def test_another_frame_is_the_reference_if_the_first_is_not_neutral(bad, tmp_path, caplog):
    landmarks = np.stack([face(**bad), face(**bad), face(mouth=1), face(mouth=2)])
    assert more_neutral_frame(landmarks, 0) == 2
    assert choose_reference(clip_with(landmarks, tmp_path), None) == 2
    assert "frame 0 is not neutral" in caplog.text
    assert "frame 2, the most neutral one, is the reference frame (--reference-frame 0 keeps the first)" in caplog.text


def test_a_frame_named_by_the_user_is_kept_with_a_warning(tmp_path, caplog):
    landmarks = np.stack([face(mouth=20), face(), face(mouth=20)])
    assert choose_reference(clip_with(landmarks, tmp_path), 2) == 2
    assert "frame 2 is not neutral (mouth open or eyes closed), frame 1 is" in caplog.text


@pytest.mark.parametrize("turned", [1.0, 0.6])
def test_micro_expressions_and_turning_heads_keep_the_first_frame(turned, tmp_path, caplog):
    landmarks = np.stack([face(mouth=2), face(), face(mouth=4), face(blink=0.2)])
    landmarks[1:2, :, 0] *= turned
    assert choose_reference(clip_with(landmarks, tmp_path), None) == 0
    assert caplog.text == ""


# --- jitter -----------------------------------------------------------------------------------------------------------


def test_noise_is_told_from_motion():
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.7, (20, 68, 2))
    rises = np.sin(np.linspace(0, np.pi, 20))[:, None, None]
    micro = np.stack([face()] * 20)
    micro[:, 48:68, 1] += 2 * rises[..., 0]
    large = np.stack([face()] * 20)
    large[:, 48:68, 1] += 12 * rises[..., 0]
    assert measure_jitter(micro + noise).noise == pytest.approx(0.7 * np.sqrt(2), rel=0.1)
    assert measure_jitter(micro + noise).exceeds_motion
    assert not measure_jitter(micro).exceeds_motion
    assert not measure_jitter(large + noise).exceeds_motion
    assert not measure_jitter((micro + noise)[:4]).exceeds_motion, "too few frames to know"
    still = np.stack([face()] * 20)
    assert not measure_jitter(still).exceeds_motion


@pytest.mark.parametrize("setting", ["auto", "file"])
def test_jittering_landmarks_of_a_still_clip_are_tracked(setting, tmp_path, caplog):
    from skimage.data import astronaut

    rng = np.random.default_rng(0)
    picture = np.ascontiguousarray(astronaut()[:256, 100:356])
    points = np.loadtxt(CONFIG.parents[1] / "data" / "astronaut_landmarks68.csv", delimiter=",") - [100, 0]
    (tmp_path / "still").mkdir()
    for t in range(6):
        noisy = np.clip(picture + rng.normal(0, 2, picture.shape), 0, 255).round().astype(np.uint8)
        iio.imwrite(tmp_path / "still" / f"{t}.png", noisy)
    iio.imwrite(tmp_path / "face.png", picture)
    np.save(tmp_path / "clip.npy", points + rng.normal(0, 0.7, (6, 68, 2)))
    np.save(tmp_path / "face.npy", points)
    arguments = ["--config", str(CONFIG), "--mode", "animate", "--result", str(tmp_path / "out.mp4")]
    for name, file in (("source", "face"), ("driving", "clip")):
        arguments += [f"--{name}-landmarks", str(tmp_path / f"{file}.npy")]
    arguments += ["--source", str(tmp_path / "face.png"), "--driving", str(tmp_path / "still")]
    settings = [f"dataset_params.landmarks={setting}", f"dataset_params.cache_dir={tmp_path / 'cache'}"]
    assert run.main([*arguments, *(part for text in settings for part in ("--set", text))]) == 0
    first, last = (iio.imread(tmp_path / "out_frames" / f"{t:04d}.png").astype(int) for t in (0, 5))
    change = np.abs(last - first).mean()
    assert (change < 0.5) == (setting == "auto")
    assert ("the landmarks jitter by" in caplog.text) == (setting == "auto")
