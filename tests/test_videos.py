"""Videos are read as they are played: upright, and with their own timing."""

import struct
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from clips.frame_times import constant_rate
from clips.reading import ClipError, count_frames, frame_rate, open_clip, read_frames

RNG = np.random.default_rng(0)
SMOOTH = cv2.resize(RNG.integers(0, 256, (4, 6, 3), np.uint8), (96, 64))


def write_mp4(path: Path, frames: list[np.ndarray], times_ms: list[int]) -> None:
    """Write a video with a time stamp for each frame."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = frames[0].shape[1], frames[0].shape[0], "yuv444p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        stream.options = {"crf": "1"}
        for frame, time in zip(frames, times_ms, strict=True):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            picture.pts, picture.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


def set_display_matrix(path: Path, matrix: tuple[int, ...]) -> None:
    """Write the 2 x 2 part of the display matrix, as phones do."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44
    a, b, c, d = (value << 16 for value in matrix)
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("matrix", "shown"),
    [
        ((1, 0, 0, 1), lambda stored: stored),
        ((0, 1, -1, 0), lambda stored: np.rot90(stored, -1)),
        ((-1, 0, 0, -1), lambda stored: np.rot90(stored, 2)),
        ((0, -1, 1, 0), lambda stored: np.rot90(stored, 1)),
        ((-1, 0, 0, 1), lambda stored: stored[:, ::-1]),
        ((0, 1, 1, 0), lambda stored: stored.transpose(1, 0, 2)),
    ],
)
def test_a_video_is_turned_as_its_file_says(matrix, shown, tmp_path):
    path = tmp_path / "phone.mp4"
    write_mp4(path, [SMOOTH] * 3, [0, 40, 80])
    set_display_matrix(path, matrix)
    for frame in read_frames(open_clip(path), None):
        expected = shown(SMOOTH)
        assert frame.shape == expected.shape
        assert np.abs(frame.astype(int) - expected).max() <= 6


def test_a_turn_by_another_angle_is_refused(tmp_path):
    path = tmp_path / "odd.mp4"
    write_mp4(path, [SMOOTH] * 3, [0, 40, 80])
    set_display_matrix(path, (1, 1, -1, 1))
    with pytest.raises(ClipError, match="odd.mp4: unreadable after 1 frames .*another angle"):
        list(read_frames(open_clip(path), None))


def levels(path: Path) -> list[int]:
    """Grey level of each frame, in tens."""
    return [round(float(frame.mean()) / 10) for frame in read_frames(open_clip(path), None)]


def grey_frames(count: int) -> list[np.ndarray]:
    """Flat frames of grey level 10, 20, ..."""
    return [np.full((32, 32, 3), 10 * (t + 1), np.uint8) for t in range(count)]


def test_frames_of_a_varying_rate_are_shown_at_their_times(tmp_path, caplog):
    path = tmp_path / "phone.mp4"
    write_mp4(path, grey_frames(6), [0, 40, 80, 400, 440, 480])
    assert levels(path) == [1, 2, *[3] * 8, 4, 5, 6]
    assert frame_rate(open_clip(path)) == pytest.approx(25)
    assert count_frames(open_clip(path)) == 13
    assert "phone.mp4: varying frame rate; read at 25 frames per second, 7 frames are repeated" in caplog.text


def test_a_steady_video_keeps_its_frames_and_its_rate(tmp_path, caplog):
    path = tmp_path / "steady.mp4"
    write_mp4(path, grey_frames(6), [0, 33, 67, 100, 133, 167])
    assert levels(path) == [1, 2, 3, 4, 5, 6]
    assert frame_rate(open_clip(path)) == pytest.approx(30, rel=0.02)
    assert caplog.text == ""


def test_the_rate_in_the_header_does_not_stand_against_the_times(tmp_path):
    path = tmp_path / "wrong.mp4"
    write_mp4(path, grey_frames(6), [0, 50, 100, 150, 200, 250])
    assert frame_rate(open_clip(path)) == pytest.approx(20, rel=0.02)


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_an_animation_keeps_its_delays(suffix, tmp_path):
    path = tmp_path / f"a.{suffix}"
    images = [Image.fromarray(frame) for frame in grey_frames(4)]
    images[0].save(path, save_all=True, append_images=images[1:], duration=[40, 40, 200, 80], loop=0)
    assert levels(path) == [1, 2, *[3] * 5, 4, 4]
    assert frame_rate(open_clip(path)) == pytest.approx(25)
    images[0].save(path, save_all=True, append_images=images[1:], duration=40, loop=0)
    assert levels(path) == [1, 2, 3, 4]
    assert frame_rate(open_clip(path)) == pytest.approx(25)


def test_pages_of_a_tiff_are_frames_without_a_rate(tmp_path):
    images = [Image.fromarray(frame) for frame in grey_frames(3)]
    images[0].save(tmp_path / "a.tif", save_all=True, append_images=images[1:])
    assert levels(tmp_path / "a.tif") == [1, 2, 3]
    assert frame_rate(open_clip(tmp_path / "a.tif")) is None


def test_the_constant_rate_keeps_every_time_to_half_an_interval():
    durations = RNG.choice([0.02, 0.041, 0.1, 0.03], 200)
    rate, repeats = constant_rate(durations)
    starts, read = np.cumsum(durations) - durations, (np.cumsum(repeats) - repeats) / rate
    assert np.abs(starts - read).max() <= 0.5 / rate + 1e-9


def test_a_file_that_shows_one_frame_for_an_hour_is_refused(tmp_path):
    images = [Image.fromarray(frame) for frame in grey_frames(3)]
    images[0].save(tmp_path / "a.gif", save_all=True, append_images=images[1:], duration=[20, 600_000, 20])
    with pytest.raises(ClipError, match="a.gif: frames are shown for 20 to 6e.05 ms; convert it"):
        levels(tmp_path / "a.gif")
