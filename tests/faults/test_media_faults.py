"""Damaged pictures and videos: frames or one line, nothing else."""

import contextlib
import io
import os
import struct
from functools import lru_cache
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from clips.frame_cache import FrameCache
from clips.pictures import is_sequence, read_sequence, sequence_durations
from clips.reading import ClipError, open_clip

RNG = np.random.default_rng(0)
FRAMES = RNG.integers(0, 256, (3, 16, 16, 3), np.uint8)
SAVED = {
    ".png": {"format": "PNG"},
    ".jpg": {"format": "JPEG"},
    ".tif": {"format": "TIFF", "compression": "tiff_lzw"},
    ".bmp": {"format": "BMP"},
    ".webp": {"format": "WEBP", "save_all": True, "append_images": [Image.fromarray(FRAMES[1])], "duration": 40},
    ".gif": {"format": "GIF", "save_all": True, "append_images": [Image.fromarray(FRAMES[1])], "duration": 40},
    ".jp2": {"format": "JPEG2000"},
    ".avif": {"format": "AVIF"},
}
VIDEOS = (".mp4", ".avi", ".mkv", ".mov")


@lru_cache
def whole_file(suffix: str) -> bytes:
    """A small file of a format."""
    buffer = io.BytesIO()
    if suffix in SAVED:
        Image.fromarray(FRAMES[0]).save(buffer, **SAVED[suffix])
        return buffer.getvalue()
    with av.open(buffer, "w", format={".mkv": "matroska"}.get(suffix, suffix[1:])) as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width = stream.height = 16
        stream.pix_fmt = "yuv420p"
        for frame in FRAMES:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return buffer.getvalue()


@st.composite
def damaged(draw: st.DrawFn) -> tuple[str, bytes]:
    """A format, and a file of it with a few changes."""
    suffix = draw(st.sampled_from([*SAVED, *VIDEOS]))
    data = bytearray(whole_file(suffix))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        match draw(st.sampled_from(["set", "cut", "insert", "remove", "zero", "maximum"])):
            case "set" if data:
                data[at] = draw(st.integers(0, 255))
            case "cut":
                del data[at:]
            case "insert":
                data[at:at] = draw(st.binary(min_size=1, max_size=8))
            case "remove":
                del data[at : at + draw(st.integers(1, 16))]
            case "zero":
                data[at : at + 4] = bytes(len(data[at : at + 4]))
            case "maximum":
                data[at : at + 4] = b"\xff" * len(data[at : at + 4])
    return suffix, bytes(data)


@given(damaged())
def test_a_damaged_file_gives_frames_or_one_line(tmp_path_factory, file):
    suffix, data = file
    folder = tmp_path_factory.mktemp("media", numbered=True)
    path = folder / f"a{suffix}"
    path.write_bytes(data)
    try:
        clip = FrameCache(folder / "cache", (8, 8, 3)).add(open_clip(path))
    except ClipError as error:
        message = str(error)
        assert str(path) in message
        assert len(message.splitlines()) == 1
    else:
        assert clip.frames().shape[1:] == (8, 8, 3)
        assert len(clip) > 0


@pytest.mark.parametrize("suffix", [*SAVED, *VIDEOS])
def test_the_undamaged_files_are_read(suffix, tmp_path):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(whole_file(suffix))
    expected = 3 if suffix in VIDEOS else 2 if suffix in (".webp", ".gif") else 1
    assert len(FrameCache(tmp_path / "cache", None).add(open_clip(path))) == expected


def shared_case(name: str) -> Path:
    """An input that once ended in a traceback."""
    path = Path(__file__).parents[3] / "shared" / "cases" / "faults" / name
    if not path.exists():
        pytest.skip("needs ../shared/cases")
    return path


def test_a_tiff_with_a_broken_directory_is_refused(tmp_path):
    with pytest.raises(ClipError, match=r"9f7c42\.tif: unreadable"):
        FrameCache(tmp_path, (8, 8, 3)).add(open_clip(shared_case("media_cache_9f7c42.tif")))


def test_a_tiff_with_a_broken_second_directory_is_refused(tmp_path):
    data = bytearray(whole_file(".tif"))
    (directory,) = struct.unpack_from("<I", data, 4)
    (entries,) = struct.unpack_from("<H", data, directory)
    struct.pack_into("<I", data, directory + 2 + 12 * entries, len(data))
    (tmp_path / "a.tif").write_bytes(bytes(data) + bytes(6))
    for read in (is_sequence, sequence_durations, lambda path: list(read_sequence(path))):
        with contextlib.suppress(ClipError):
            assert read(tmp_path / "a.tif") is False


def test_a_video_with_undecodable_metadata_is_read(tmp_path):
    assert len(FrameCache(tmp_path, (8, 8, 3)).add(open_clip(shared_case("media_cache_f48695.mp4")))) > 0


@pytest.mark.parametrize("suffix", [".png", ".tif", ".mp4", ".gif"])
@pytest.mark.parametrize("kind", ["FIFO", "device"])
def test_what_is_no_file_is_refused_and_not_waited_for(kind, suffix, tmp_path):
    folder = tmp_path / "clip"
    folder.mkdir()
    path = folder / f"a{suffix}"
    if kind == "FIFO":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    for clip in [path, *([folder] if suffix in (".png", ".tif") else [])]:
        with pytest.raises(ClipError, match=f"expected a file, got a {kind}"):
            FrameCache(tmp_path / "cache", (8, 8, 3)).add(open_clip(clip))
