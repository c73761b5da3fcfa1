"""Landmark tracking against known motion of a real photograph."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data

from faces.landmarks import read_landmarks
from faces.tracking import TrackingSettings, smooth_over_time, track, track_with_confidence

DATA = Path(__file__).parents[1] / "data"
NOISE = 2.0  # grey levels
DEFAULT_STIFFNESS = TrackingSettings().stiffness


def photograph(size: int) -> tuple[np.ndarray, np.ndarray]:
    """The astronaut's face, float32 size x size x 3 in 0-255, and its landmarks."""
    picture, points = skimage.data.astronaut(), read_landmarks(DATA / "astronaut_landmarks68.csv")[0]
    low, high = points.min(axis=0), points.max(axis=0)
    scale = size / (1.3 * (high - low).max())
    shift = size / 2 - scale * (low + high) / 2
    matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    picture = cv2.warpAffine(picture.astype(np.float32), matrix, (size, size), flags=cv2.INTER_CUBIC)
    return np.clip(picture, 0, 255), points * scale + shift


def bumps(points: np.ndarray, amplitude: float) -> np.ndarray:
    """Smooth displacements at `points` of a face: right brow up, left mouth corner out and up, lower lip down."""
    eyes = np.linalg.norm(FACE[36:42].mean(axis=0) - FACE[42:48].mean(axis=0))
    change = np.zeros_like(points)
    for centre, direction in ((19, (0, -1)), (54, (0.7, -0.7)), (57, (0, 0.8))):
        squared = ((points - FACE[centre]) ** 2).sum(axis=-1, keepdims=True)
        change += amplitude * np.exp(-squared / (2 * (0.3 * eyes) ** 2)) * np.array(direction)
    return change


def render(amplitudes, head=None, seed: int = 0, noise: float = NOISE) -> tuple[np.ndarray, np.ndarray]:
    """Frames of the moving face and the true landmarks; `head` is a list of (scale, angle, dx, dy)."""
    rng = np.random.default_rng(seed)
    size = PICTURE.shape[0]
    y, x = np.mgrid[:size, :size].astype(float)
    grid, middle = np.stack([x, y], axis=-1), FACE.mean(axis=0)
    frames, truth = [], []
    for t, amplitude in enumerate(amplitudes):
        scale, angle, dx, dy = head[t] if head else (1, 0, 0, 0)
        turn = scale * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        before = (grid - middle - [dx, dy]) @ np.linalg.inv(turn) + middle
        origin = before
        for _ in range(10):  # fixed point of origin + bumps(origin) = before
            origin = before - bumps(origin, amplitude)
        origin = origin.astype(np.float32)
        frame = cv2.remap(PICTURE, origin[..., 0], origin[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
        frames.append(np.clip(np.rint(frame + rng.normal(0, noise, frame.shape)), 0, 255).astype(np.uint8))
        truth.append((FACE + bumps(FACE, amplitude) - middle) @ turn + middle + [dx, dy])
    return np.stack(frames), np.stack(truth)


PICTURE, FACE = photograph(128)
CLIP, TRUTH = render([0, 0.3, 0.7, 1.5, 3, 1.5, 0.7, 0.3])


def error(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """End-point error, (T, 68), pixels."""
    return np.linalg.norm(found - truth, axis=-1)


def test_motion_is_found_to_a_twentieth_of_a_pixel():
    found = error(track(CLIP, FACE), TRUTH)[1:]
    still = error(np.broadcast_to(FACE, TRUTH.shape), TRUTH)[1:]
    assert still[:, 17:].mean() > 0.3
    assert found[:, 17:].mean() < 0.06
    assert found.mean() < 0.07
    assert np.quantile(found[:, 17:], 0.95) < 0.17


def test_one_landmark_moves_and_the_others_do_not():
    found = track(CLIP, FACE)[4] - FACE
    assert found[19, 1] == pytest.approx(-3, abs=0.3)
    resting = [27, 28, 42, 45]
    assert np.abs(found[resting] - (TRUTH[4] - FACE)[resting]).max() < 0.25


@pytest.mark.parametrize("reference", [0, 3, 7])
def test_the_reference_frame_is_exact(reference):
    start = TRUTH[reference]
    found = track(CLIP, start, reference=reference)
    np.testing.assert_array_equal(found[reference], start)
    assert error(found, TRUTH)[:, 17:].mean() < 0.08


def test_equal_frames_do_not_move():
    found = track_with_confidence(np.repeat(CLIP[:1], 9, axis=0), FACE, reference=4)
    np.testing.assert_array_equal(found.points, np.repeat(FACE[None], 9, axis=0))
    np.testing.assert_array_equal(found.confidence, 1)


def test_camera_noise_moves_nothing():
    frames, _ = render(np.zeros(12))
    found = track(frames, FACE) - FACE
    assert np.abs(found).mean() < 0.02
    assert np.abs(found).max() < 0.15


def test_an_iterator_of_grey_frames_gives_the_result_of_the_array():
    grey = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in CLIP])
    np.testing.assert_array_equal(track(iter(grey), FACE, reference=2), track(grey, FACE, reference=2))
    assert error(track(grey, FACE), TRUTH)[1:, 17:].mean() < 0.08


def test_large_head_motion_is_followed_without_drift():
    steps = np.linspace(0, 1, 12)
    head = [(1 + 0.1 * s, 0.3 * s, 22 * s, -9 * s) for s in steps]
    frames, truth = render(steps, head)
    assert np.abs(truth - FACE).max() > 30
    inside = ((truth > 2) & (truth < 125)).all(axis=(0, 2))
    assert error(track(frames, FACE), truth)[:, inside].mean() < 0.25


def test_small_and_large_pictures_are_followed_alike():
    motion = []
    for size in (64, 300):
        frames = np.stack([cv2.resize(f, (size, size), interpolation=cv2.INTER_AREA) for f in CLIP])
        scale = size / 128
        found = track(frames, (FACE + 0.5) * scale - 0.5)
        motion.append((found - found[0]) / scale)
    assert error(motion[0], TRUTH - FACE)[:, 17:].mean() < 0.13
    assert error(motion[1], TRUTH - FACE)[:, 17:].mean() < 0.08


def test_a_covered_landmark_follows_its_neighbours_with_confidence_zero():
    frames, truth = render([0, 0, 0], [(1, 0, 0, 0), (1, 0, 1.5, 0), (1, 0, 3, 0)])
    x, y = truth[2, 54].astype(int)
    frames[2, y - 9 : y + 10, x - 9 : x + 10] = np.random.default_rng(1).integers(0, 255, (19, 19, 3))
    found = track_with_confidence(frames, FACE, settings=TrackingSettings(max_smoothing=0))
    assert found.confidence[2, 54] == 0
    assert found.confidence[1].min() > 0.3
    assert error(found.points, truth)[2, 54] < 0.3


def test_a_lost_landmark_moves_with_the_expression_around_it():
    frames, truth = render([0, 1.5, 3])
    x, y = truth[2, 58].astype(int)
    frames[2, y - 4 : y + 5, x - 4 : x + 5] = np.random.default_rng(1).integers(0, 255, (9, 9, 3))
    found = track_with_confidence(frames, FACE, settings=TrackingSettings(max_smoothing=0))
    assert found.confidence[2, 58] == 0
    assert error(found.points, truth)[2, 58] < 0.7 * np.linalg.norm(truth[2, 58] - FACE[58])


def test_refinement_lowers_the_error():
    refined, plain = (track(CLIP, FACE, settings=TrackingSettings(stiffness=s)) for s in (DEFAULT_STIFFNESS, 1e9))
    assert error(refined, TRUTH).mean() < 0.96 * error(plain, TRUTH).mean()


def test_smoothing_leaves_the_reference_frame_where_it_was_found():
    frames, _ = render([0.0] * 18)
    points = track(frames, FACE, reference=9)
    np.testing.assert_array_equal(points[9], FACE)
    assert np.abs(points[8] - FACE).max() > 0


def test_landmarks_outside_a_tight_crop_move_with_the_skin_inside():
    frames, truth = render([0, 0], [(1, 0, 0, 0), (1, 0, 2, 1)])
    cut = int(FACE[8, 1]) - 3
    found = track_with_confidence(frames[:, :cut], FACE)
    assert (found.confidence[:, 8] < found.confidence[:, 30]).all()
    assert error(found.points, truth)[1, 8] < 0.5


def test_another_face_is_an_error_that_names_the_frame():
    frames = CLIP.copy()
    frames[5] = np.random.default_rng(0).integers(0, 255, frames[5].shape)
    with pytest.raises(ValueError, match="frame 5: only .* of 68 landmarks could be followed"):
        track(frames, FACE)


def test_smoothing_reduces_noise_and_keeps_a_short_expression():
    rng = np.random.default_rng(0)
    t = np.arange(60)
    for width, left in ((1.0, 1.001), (2.0, 0.8), (4.0, 0.5)):  # standard deviation, frames; share of the noise left
        expression = np.exp(-(((t - 25) / width) ** 2) / 2)[:, None, None] * np.ones((1, 68, 2))
        noisy = expression + rng.normal(0, 0.02, expression.shape)
        smooth = smooth_over_time(noisy, 1.0)
        assert smooth[25].mean() > 0.97
        assert np.square(smooth - expression).mean() < left * np.square(noisy - expression).mean()
    noise = rng.normal(0, 0.02, (60, 68, 2))
    assert smooth_over_time(noise, 1.0).std() < 0.6 * noise.std()
    np.testing.assert_array_equal(smooth_over_time(noise, 0), noise)


def broken(points: np.ndarray, index: int, value) -> np.ndarray:
    """Landmarks with one point replaced."""
    points = points.copy()
    points[index] = value
    return points


@pytest.mark.parametrize(
    ("frames", "landmarks", "reference", "message"),
    [
        (CLIP, FACE[:67], 0, r"shape \(67, 2\), expected \(68, 2\)"),
        (CLIP, broken(FACE, 5, np.nan), 0, "not finite"),
        (CLIP, broken(FACE, 30, (140, 60)), 0, r"landmark 30 at \(140.0, 60.0\) lies outside the 128 x 128 image"),
        (CLIP, broken(FACE, 8, (64, 170)), 0, "landmark 8 .* lies outside"),
        (CLIP, np.ones((68, 2)), 0, "0.0 px apart"),
        (CLIP, FACE, 8, "reference frame 8 does not exist in a clip of 8 frames"),
        (CLIP, FACE, -1, "reference frame -1 does not exist"),
        ([], FACE, 0, "a clip of 0 frames"),
        (CLIP.astype(np.float32), FACE, 0, "frame 0 is float32"),
        (CLIP[..., :2], FACE, 0, r"shape \(128, 128, 2\), expected uint8"),
        ([CLIP[0], CLIP[1][:100]], FACE, 0, r"frame 1 has shape \(100, 128, 3\)"),
    ],
)
def test_unusable_input_is_refused(frames, landmarks, reference, message):
    with pytest.raises(ValueError, match=message):
        track(frames, landmarks, reference=reference)


def test_settings_are_checked():
    with pytest.raises(ValueError, match="patch is 0"):
        TrackingSettings(patch=0)
    with pytest.raises(ValueError, match="max_smoothing is -1"):
        TrackingSettings(max_smoothing=-1)
