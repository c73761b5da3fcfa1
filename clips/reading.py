"""Clips on disk: frame folders, videos, strips of concatenated frames and single pictures.

Frames are uint8 H x W x 3 RGB. Nothing is guessed: what cannot be read is an error that names the file.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import imageio.v3 as iio
import numpy as np
from natsort import natsorted
from numpy.typing import NDArray
from PIL import Image, ImageOps

from errors import UserError, first_line

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})
VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".gif", ".avi", ".mkv", ".webm"})

Frame = NDArray[np.uint8]


class ClipError(UserError):
    """A clip cannot be used; the message names the file and the remedy."""


@dataclass(frozen=True)
class Clip:
    """A clip on disk.

    Attributes:
        name: folder or file name without extension, for clips of a pair list with the folders that the list names;
            landmark and action-unit files have the same.
        path: folder or file.
        frames: the frame files of a folder in natural order (`img9` before `img10`); empty for a single file.
    """

    name: str
    path: Path
    frames: tuple[Path, ...] = ()

    @property
    def label(self) -> str:
        """The name as a part of a file name."""
        return self.name.strip("./").replace("/", "_")

    @property
    def frame_numbers(self) -> tuple[int, ...] | None:
        """The numbers at the end of the frame files' names (46 of `reg_img46.jpg`); None where one has none, where
        two have the same, and for single files."""
        found = [re.search(r"[0-9]+$", path.stem) for path in self.frames]
        numbers = tuple(int(match[0]) for match in found if match)
        return numbers if numbers and len(set(numbers)) == len(found) else None

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that hold the clip's pictures."""
        return self.frames or (self.path,)


def open_clip(path: Path) -> Clip:
    """Find a clip's files.

    Raises:
        ClipError: neither a folder of pictures, nor a video, nor a picture.
    """
    if path.is_dir():
        frames = natsorted((p for p in path.iterdir() if _is(p, IMAGE_SUFFIXES)), key=lambda p: p.name)
        if not frames:
            inner = ", ".join(sorted(p.name for p in path.iterdir())[:3]) or "nothing"
            raise ClipError(f"{path}: expected frames ({', '.join(sorted(IMAGE_SUFFIXES))}), found {inner}")
        return Clip(path.name, path, tuple(frames))
    if not path.exists():
        raise ClipError(f"{path}: no such clip; expected a folder of frames, a video or a picture")
    if not _is(path, IMAGE_SUFFIXES | VIDEO_SUFFIXES):
        known = ", ".join(sorted(IMAGE_SUFFIXES | VIDEO_SUFFIXES))
        raise ClipError(f"{path}: expected a folder of frames or a file ending in {known}")
    return Clip(path.stem, path)


def find_clips(folder: Path) -> list[Clip]:
    """All clips of a folder in natural order; files of other types and hidden ones are left out.

    Raises:
        ClipError: no folder, no clips, or two of one name.
    """
    if not folder.is_dir():
        raise ClipError(f"{folder}: no such folder of clips; set dataset_params.root_dir")
    entries = (p for p in folder.iterdir() if not p.name.startswith("."))
    clips = [open_clip(p) for p in entries if p.is_dir() or _is(p, IMAGE_SUFFIXES | VIDEO_SUFFIXES)]
    if not clips:
        raise ClipError(f"{folder}: no clips; expected folders of frames, videos or strips")
    by_name: dict[str, Clip] = {}
    for clip in clips:
        if clip.name in by_name:
            raise ClipError(f"{clip.path} and {by_name[clip.name].path}: two clips of one name; rename one")
        by_name[clip.name] = clip
    return natsorted(clips, key=lambda clip: clip.name)


def read_frames(clip: Clip, frame_shape: tuple[int, int, int] | None) -> Iterator[Frame]:
    """Decode a clip frame by frame, each in its own size.

    Args:
        frame_shape: height, width, channels; the shape of one frame of a strip, up to scale. None: strips are square.
    Raises:
        ClipError: an unreadable frame, by name.
    """
    for path in clip.files:
        if path.suffix.lower() in VIDEO_SUFFIXES:
            yield from _read_video(path)
        elif clip.frames:
            yield read_picture(path)
        else:
            yield from _cut_strip(read_picture(path), frame_shape, path)


def read_picture(path: Path) -> Frame:
    """Read a picture of any depth and any number of channels as uint8 H x W x 3 RGB; transparency is dropped.

    Raises:
        ClipError: unreadable, or of a kind that has no 8-bit meaning.
    """
    try:
        picture = _decoded(path)
    except FileNotFoundError as error:
        raise ClipError(f"{path}: no such picture") from error
    except Exception as error:  # decoders raise errors of many libraries
        raise ClipError(f"{path}: unreadable picture ({first_line(error)}); replace or remove it") from error
    return _to_rgb(picture, path)


def _decoded(path: Path) -> NDArray[Any]:
    if path.suffix.lower() in (".tif", ".tiff"):
        return np.asarray(iio.imread(path, index=0))
    with Image.open(path) as picture:
        if picture.mode in ("RGB", "L"):  # most pictures; imageio would take a third longer
            ImageOps.exif_transpose(picture, in_place=True)
            return np.asarray(picture)
    return np.asarray(iio.imread(path, index=0, plugin="pillow", rotate=True))


def count_frames(clip: Clip) -> int:
    """Frames of a folder or video; a video is decoded, because what its header says may be wrong.

    Raises:
        ClipError: an unreadable video, by name.
    """
    if clip.frames or clip.path.suffix.lower() not in VIDEO_SUFFIXES - {".gif"}:
        return len(clip.frames) or sum(1 for _ in read_frames(clip, None))
    count = 0
    try:
        with av.open(str(clip.path)) as video:
            for _ in video.decode(video=0):
                count += 1
    except (av.FFmpegError, IndexError) as error:  # IndexError: no pictures in it
        raise ClipError(f"{clip.path}: unreadable after {count} frames ({first_line(error)}); replace it") from error
    return count


def frame_rate(clip: Clip) -> float | None:
    """Frames a second that a video file carries; None for pictures."""
    suffix = clip.path.suffix.lower()
    if clip.frames or suffix not in VIDEO_SUFFIXES:
        return None
    try:
        meta = iio.immeta(clip.path, plugin="pillow" if suffix == ".gif" else "pyav", exclude_applied=False)
    except Exception as error:  # decoders raise errors of many libraries
        raise ClipError(f"{clip.path}: unreadable video ({first_line(error)}); replace or remove it") from error
    if suffix == ".gif":
        duration = meta.get("duration")
        return 1000 / duration if duration else None
    return float(meta["fps"])


def _is(path: Path, suffixes: frozenset[str]) -> bool:
    return path.suffix.lower() in suffixes and not path.name.startswith(".")


def _read_video(path: Path) -> Iterator[Frame]:
    plugin = "pillow" if path.suffix.lower() == ".gif" else "pyav"
    count = 0
    try:
        for frame in iio.imiter(path, plugin=plugin, **({"mode": "RGB"} if plugin == "pillow" else {})):
            count += 1
            yield _to_rgb(np.asarray(frame), path)
    except ClipError:
        raise
    except Exception as error:  # decoders raise errors of many libraries
        raise ClipError(f"{path}: unreadable after {count} frames ({first_line(error)}); replace it") from error
    if not count:
        raise ClipError(f"{path}: a video without frames; replace or remove it")


def _cut_strip(strip: Frame, frame_shape: tuple[int, int, int] | None, path: Path) -> Iterator[Frame]:
    """Cut a picture of frames side by side; a picture of one frame's shape is a clip of one frame."""
    height, width = strip.shape[:2]
    frame_width = height if frame_shape is None else height * frame_shape[1] / frame_shape[0]
    count = round(width / frame_width)
    if count < 2:
        yield strip
        return
    if width % count:
        raise ClipError(f"{path}: {width} x {height} is no row of {count} equal frames; use a folder of frames")
    for start in range(0, width, width // count):
        yield strip[:, start : start + width // count]


def _to_rgb(picture: NDArray[Any], path: Path) -> Frame:
    if picture.dtype == np.uint16:
        picture = np.round(picture / 257).astype(np.uint8)
    elif picture.dtype == bool:
        picture = picture.astype(np.uint8) * 255
    elif picture.dtype != np.uint8:
        raise ClipError(f"{path}: expected 8 or 16 bits a channel, got {picture.dtype}; convert it")
    if picture.ndim == 2:
        picture = picture[:, :, None]
    if picture.ndim != 3 or picture.shape[2] not in (1, 2, 3, 4):
        raise ClipError(f"{path}: expected a grey, RGB or RGBA picture, got an array of shape {picture.shape}")
    channels = picture[:, :, :3] if picture.shape[2] > 2 else picture[:, :, :1]
    return np.ascontiguousarray(np.broadcast_to(channels, (*picture.shape[:2], 3)))
