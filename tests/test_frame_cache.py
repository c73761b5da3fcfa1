import os
import shutil
import tracemalloc
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from unittest.mock import patch

import imageio.v3 as iio
import numpy as np
import pytest

from clips import frame_cache
from clips.crop import resize_frame
from clips.frame_cache import FrameCache
from clips.reading import ClipError, open_clip
from core.files import WriteError, temporary_name

SHAPE = (16, 16, 3)


@pytest.fixture
def clip_folder(tmp_path) -> Path:
    folder = tmp_path / "clip"
    folder.mkdir()
    for t in range(3):
        iio.imwrite(folder / f"{t}.png", np.full((32, 24, 3), 40 * t, np.uint8))
    return folder


def test_frames_are_decoded_once(tmp_path, clip_folder):
    with patch.object(frame_cache, "read_frames", wraps=frame_cache.read_frames) as decode:
        first = FrameCache(tmp_path / "cache", SHAPE).add(open_clip(clip_folder))
        second = FrameCache(tmp_path / "cache", SHAPE).add(open_clip(clip_folder))
    assert decode.call_count == 1
    assert first.key == second.key
    assert second.frames().shape == (3, *SHAPE)
    assert [int(frame[0, 0, 0]) for frame in second.frames()] == [0, 40, 80]
    assert second.sizes.tolist() == [[32, 24]] * 3


def test_changed_files_are_decoded_again(tmp_path, clip_folder):
    cache = FrameCache(tmp_path / "cache", SHAPE)
    before = cache.add(open_clip(clip_folder))
    frame = clip_folder / "1.png"
    stat = frame.stat()
    iio.imwrite(frame, np.full((32, 24, 3), 41, np.uint8))
    os.utime(frame, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # as a copy that keeps the times
    after = cache.add(open_clip(clip_folder))
    assert after.key != before.key
    assert after.frames()[1, 0, 0, 0] == 41


def test_every_frame_shape_has_its_own_file(tmp_path, clip_folder):
    clip = open_clip(clip_folder)
    small, large = (FrameCache(tmp_path / "cache", shape).add(clip) for shape in (SHAPE, (20, 20, 3)))
    assert small.frames().shape[1:] == SHAPE
    assert large.frames().shape[1:] == (20, 20, 3)
    assert FrameCache(tmp_path / "cache", None).add(clip).frames().shape == (3, 32, 24, 3)


def test_the_same_frames_elsewhere_use_the_same_file(tmp_path, clip_folder):
    cache = FrameCache(tmp_path / "cache", SHAPE)
    copy = shutil.copytree(clip_folder, tmp_path / "copy")
    assert cache.add(open_clip(clip_folder)).key == cache.add(open_clip(copy)).key


def _add(arguments: tuple[Path, Path]) -> str:
    cache, clip = arguments
    return FrameCache(cache, SHAPE).add(open_clip(clip)).key


def test_several_processes_can_share_a_folder(tmp_path, clip_folder):
    with ProcessPoolExecutor(2) as pool:
        keys = set(pool.map(_add, [(tmp_path / "cache", clip_folder)] * 4))
    assert len(keys) == 1
    assert len(list((tmp_path / "cache").iterdir())) == 2, "frames and their description, no temporary file"


def test_an_interrupted_write_leaves_no_file(tmp_path, clip_folder):
    cache = FrameCache(tmp_path / "cache", SHAPE)
    with patch.object(frame_cache, "resize_frame", side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        cache.add(open_clip(clip_folder))
    assert list((tmp_path / "cache").iterdir()) == []
    assert len(cache.add(open_clip(clip_folder))) == 3


def test_a_full_disk_is_an_error(tmp_path, clip_folder):
    cache = FrameCache(tmp_path / "cache", SHAPE)
    full = OSError(28, "No space left on device")
    with patch.object(frame_cache, "_write_frames", side_effect=full), pytest.raises(WriteError, match="No space left"):
        cache.add(open_clip(clip_folder))


def test_without_a_folder_frames_live_as_long_as_their_clips(clip_folder):
    cache = FrameCache(None, SHAPE)
    clip = cache.add(open_clip(clip_folder))
    path = clip.path
    del cache
    assert clip.frames().shape == (3, *SHAPE)
    del clip
    assert not path.exists()


def test_frames_of_several_sizes_need_a_frame_shape(tmp_path, clip_folder):
    iio.imwrite(clip_folder / "3.png", np.zeros((30, 24, 3), np.uint8))
    cached = FrameCache(tmp_path / "cache", SHAPE).add(open_clip(clip_folder))
    assert cached.sizes.tolist() == [[32, 24]] * 3 + [[30, 24]]
    with pytest.raises(ClipError, match=r"3\.png: \[30, 24\], but other frames \[32, 24\]; set"):
        FrameCache(tmp_path / "cache", None).add(open_clip(clip_folder))


def test_landmarks_are_scaled_about_the_pixel_centres(tmp_path, clip_folder):
    ramp = np.repeat(np.arange(24, dtype=np.uint8)[None, :, None] * 10, 32, axis=0).repeat(3, axis=2)
    for t in range(3):
        iio.imwrite(clip_folder / f"{t}.png", ramp)
    cached = FrameCache(tmp_path / "cache", (64, 48, 3)).add(open_clip(clip_folder))
    landmark = np.array([[[10.0, 20.0]]])
    x, y = cached.to_resized(landmark)[0, 0]
    assert (x, y) == (20.5, 40.5)
    assert (cached.frames()[0, 40, 20, 0] + cached.frames()[0, 40, 21, 0]) / 2 == pytest.approx(100, abs=1)
    np.testing.assert_allclose(cached.to_own(cached.to_resized(landmark)), landmark)
    np.testing.assert_allclose(cached.from_own(cached.to_own(landmark)), landmark)


def test_computed_arrays_are_stored_per_setting(tmp_path, clip_folder):
    cache = FrameCache(tmp_path / "cache", SHAPE)
    cached = cache.add(open_clip(clip_folder))
    calls = []

    def make():
        calls.append(1)
        return np.arange(3)

    for settings in ("a", "a", "b"):
        np.testing.assert_array_equal(cache.compute_once(cached, settings, make), np.arange(3))
    assert len(calls) == 2


def damage(path: Path, how: str) -> None:
    """Damage a file of the cache."""
    data = path.read_bytes()
    changed = {
        "truncated": data[: len(data) // 2],
        "emptied": b"",
        "zeroed": bytes(len(data)),
        "end zeroed": data[:-20] + bytes(20),
        "foreign": b"something else",
        "pickle": b"\x80\x04\x95" + data,
        "valid JSON": b"[1, 2]",
        "other values": b'{"sizes": 3, "fps": "x", "checksum": null, "clip": 1}',
        "nested": b"[" * 100_000,
    }
    path.write_bytes(changed[how])


WAYS = ["truncated", "emptied", "zeroed", "end zeroed", "foreign", "pickle", "valid JSON", "other values", "nested"]


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("suffix", [".npy", ".json"])
def test_a_damaged_entry_is_decoded_anew(suffix, how, tmp_path, clip_folder, caplog):
    cache = FrameCache(tmp_path / "cache", SHAPE)
    cached = cache.add(open_clip(clip_folder))
    before = np.array(cached.frames())
    damage(cached.path.with_suffix(suffix), how)
    again = FrameCache(tmp_path / "cache", SHAPE).add(open_clip(clip_folder))
    np.testing.assert_array_equal(again.frames(), before)
    assert again.sizes.tolist() == cached.sizes.tolist()
    assert "damaged" in caplog.text
    caplog.clear()
    cache.add(open_clip(clip_folder))
    assert caplog.text == ""


@pytest.mark.parametrize("how", WAYS)
def test_a_damaged_array_is_computed_anew(how, tmp_path, clip_folder, caplog):
    cache = FrameCache(tmp_path / "cache", SHAPE)
    cached = cache.add(open_clip(clip_folder))
    cache.compute_once(cached, "a", lambda: np.arange(100.0))
    (path,) = (tmp_path / "cache").glob("*.npz")
    damage(path, how)
    np.testing.assert_array_equal(cache.compute_once(cached, "a", lambda: np.arange(100.0)), np.arange(100.0))
    assert "computed anew" in caplog.text
    np.testing.assert_array_equal(cache.compute_once(cached, "a", lambda: np.zeros(1)), np.arange(100.0))


def test_files_are_as_readable_as_the_umask_says(tmp_path, clip_folder):
    FrameCache(tmp_path / "cache", SHAPE).add(open_clip(clip_folder))
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "cache").iterdir()} == {0o666 & ~current_umask()}


def current_umask() -> int:
    """File-mode mask of this process."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_temporaries_of_dead_processes_are_removed(tmp_path, clip_folder, monkeypatch):
    cache = FrameCache(tmp_path / "cache", SHAPE)
    (cache.folder / temporary_name(".npy")).write_bytes(b"half")
    monkeypatch.setattr("core.files._is_alive", lambda process: False)
    FrameCache(tmp_path / "cache", SHAPE)
    assert list(cache.folder.iterdir()) == []


def test_one_frame_at_a_time_is_held_in_memory(tmp_path, monkeypatch):
    size = 64 * 64 * 3

    def many(clip, frame_shape):
        return (np.full((64, 64, 3), t % 256, np.uint8) for t in range(2000))

    monkeypatch.setattr(frame_cache, "read_frames", many)
    (tmp_path / "clip").mkdir()
    iio.imwrite(tmp_path / "clip" / "0.png", np.zeros((4, 4, 3), np.uint8))
    cache = FrameCache(tmp_path / "cache", None)
    tracemalloc.start()
    cached = cache.add(open_clip(tmp_path / "clip"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(cached) == 2000
    assert cached.frames()[1999, 0, 0, 0] == 1999 % 256
    assert peak < 300 * size


@pytest.mark.parametrize("size", [(8, 8), (64, 64)])
def test_resizing_keeps_a_constant_image_constant(size):
    flat = np.full((32, 32, 3), 77, np.uint8)
    assert (resize_frame(flat, (*size, 3)) == 77).all()


def test_shrinking_averages_and_enlarging_interpolates():
    columns = np.uint8([0, 0, 0, 200, 100, 100, 100, 100])
    image = np.broadcast_to(columns[None, :, None], (8, 8, 3)).copy()
    np.testing.assert_array_equal(resize_frame(image, (2, 2, 3))[0, :, 0], [50, 100])
    step = np.repeat(np.uint8([[0, 0, 200, 200]]), 4, axis=0)[..., None].repeat(3, axis=2)
    assert 0 < resize_frame(step, (16, 16, 3))[8, 7, 0] < 100, "no copy of the nearest pixel"


def test_pixel_size_is_that_of_a_resized_pixel(tmp_path, clip_folder):
    cached = FrameCache(tmp_path / "cache", (64, 96, 3)).add(open_clip(clip_folder))
    np.testing.assert_allclose(cached.pixel_size, [24 / 96, 32 / 64])
