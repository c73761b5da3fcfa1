import os
import shutil
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from unittest.mock import patch

import imageio.v3 as iio
import numpy as np
import pytest

from clips import frame_cache
from clips.frame_cache import FrameCache, resize_frame
from clips.reading import ClipError, open_clip
from core.files import WriteError

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
    with patch.object(frame_cache.np, "save", side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        cache.add(open_clip(clip_folder))
    assert list((tmp_path / "cache").iterdir()) == []
    assert len(cache.add(open_clip(clip_folder))) == 3


def test_a_full_disk_is_an_error(tmp_path, clip_folder):
    cache = FrameCache(tmp_path / "cache", SHAPE)
    full = OSError(28, "No space left on device")
    with patch.object(frame_cache.np, "save", side_effect=full), pytest.raises(WriteError, match="No space left"):
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
