"""Readers of clips: folders of frames, videos, strips of joined frames and single images.

Frames are uint8 RGB, H x W x 3. An unreadable file is an error that names it; nothing is guessed or skipped.
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
from parsing.files import searched_folder

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})
VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".gif", ".avi", ".mkv", ".webm"})

Frame = NDArray[np.uint8]


class ClipError(UserError):
    """Error of a clip that cannot be used; the message names the file and the remedy."""


@dataclass(frozen=True)
class Clip:
    """Files of a clip.

    Attributes:
        name: folder or file name without extension, with the folders that a pair list names; landmark and action-unit
            files have the same name.
        path: folder or file.
        frames: frame files of a folder in natural order (`img9` before `img10`); empty for a single file.
    """

    name: str
    path: Path
    frames: tuple[Path, ...] = ()

    @property
    def label(self) -> str:
        """Name of the clip, usable in a file name."""
        return self.name.strip("./").replace("/", "_")

    @property
    def frame_numbers(self) -> tuple[int, ...] | None:
        """Numbers at the end of the frame file names (46 in `reg_img46.jpg`); None for single files, and if a number is
        missing or occurs twice."""
        found = [re.search(r"[0-9]+$", path.stem) for path in self.frames]
        numbers = tuple(int(match[0]) for match in found if match)
        return numbers if numbers and len(set(numbers)) == len(found) else None

    @property
    def files(self) -> tuple[Path, ...]:
        """All files with image data."""
        return self.frames or (self.path,)


def open_clip(path: Path) -> Clip:
    """Find the files of a clip.

    Raises:
        ClipError: `path` is neither a folder of images, nor a video, nor an image.
    """
    if path.is_dir():
        frames = natsorted((p for p in path.iterdir() if _has_suffix(p, IMAGE_SUFFIXES)), key=lambda p: p.name)
        if not frames:
            inner = ", ".join(sorted(p.name for p in path.iterdir())[:3]) or "nothing"
            raise ClipError(f"{path}: expected frames ({', '.join(sorted(IMAGE_SUFFIXES))}), found {inner}")
        return Clip(path.name, path, tuple(frames))
    if not path.exists():
        raise ClipError(
            f"{path}: no such clip{searched_folder(path)}; expected a folder of frames, a video or an image"
        )
    if not _has_suffix(path, IMAGE_SUFFIXES | VIDEO_SUFFIXES):
        known = ", ".join(sorted(IMAGE_SUFFIXES | VIDEO_SUFFIXES))
        raise ClipError(f"{path}: expected a folder of frames or a file ending in {known}")
    return Clip(path.stem, path)


def find_clips(folder: Path) -> list[Clip]:
    """Find all clips of a folder, in natural order; hidden files and files of other types are ignored.

    Raises:
        ClipError: there is no such folder, it holds no clips, or two of the same name.
    """
    if not folder.is_dir():
        raise ClipError(f"{folder}: no such folder of clips{searched_folder(folder)}; set dataset_params.root_dir")
    entries = (p for p in folder.iterdir() if not p.name.startswith("."))
    clips = [open_clip(p) for p in entries if p.is_dir() or _has_suffix(p, IMAGE_SUFFIXES | VIDEO_SUFFIXES)]
    if not clips:
        raise ClipError(f"{folder}: no clips; expected folders of frames, videos or strips")
    by_name: dict[str, Clip] = {}
    for clip in clips:
        if clip.name in by_name:
            raise ClipError(f"{clip.path} and {by_name[clip.name].path}: two clips of the same name; rename one")
        by_name[clip.name] = clip
    return natsorted(clips, key=lambda clip: clip.name)


def read_frames(clip: Clip, frame_shape: tuple[int, int, int] | None) -> Iterator[Frame]:
    """Decode a clip frame by frame, without resizing.

    Args:
        frame_shape: height, width, channels; ratio of a frame in a strip. None: frames in strips are square.
    Raises:
        ClipError: a frame is unreadable; the message names it.
    """
    for path in clip.files:
        if path.suffix.lower() in VIDEO_SUFFIXES:
            yield from _read_video(path)
        elif clip.frames:
            yield read_image(path)
        else:
            yield from _cut_strip(read_image(path), frame_shape, path)


def read_image(path: Path) -> Frame:
    """Read an image of any bit depth and number of channels as uint8 RGB, H x W x 3; transparency is dropped.

    Raises:
        ClipError: the image is missing or unreadable, or its values are neither of 8 nor of 16 bits.
    """
    try:
        image = _decode_image(path)
    except FileNotFoundError as error:
        raise ClipError(f"{path}: no such image") from error
    except Exception as error:  # decoders raise errors of many libraries
        raise ClipError(f"{path}: unreadable image ({first_line(error)}); replace or remove it") from error
    return _to_rgb(image, path)


def _decode_image(path: Path) -> NDArray[Any]:
    if path.suffix.lower() in (".tif", ".tiff"):
        return np.asarray(iio.imread(path, index=0))
    with Image.open(path) as image:
        if image.mode in ("RGB", "L"):  # the common modes; imageio takes a third longer
            ImageOps.exif_transpose(image, in_place=True)
            return np.asarray(image)
    return np.asarray(iio.imread(path, index=0, plugin="pillow", rotate=True))


def count_frames(clip: Clip) -> int:
    """Count the frames of a clip; a video is decoded, because the number in its header may be wrong.

    Raises:
        ClipError: the video is unreadable.
    """
    if clip.frames or clip.path.suffix.lower() not in VIDEO_SUFFIXES - {".gif"}:
        return len(clip.frames) or sum(1 for _ in read_frames(clip, None))
    return sum(1 for _ in _decode_video(clip.path))


def frame_rate(clip: Clip) -> float | None:
    """Return the frames per second stored in a video file; None for images.

    Raises:
        ClipError: the video is unreadable.
    """
    suffix = clip.path.suffix.lower()
    if clip.frames or suffix not in VIDEO_SUFFIXES:
        return None
    try:
        if suffix == ".gif":
            duration = iio.immeta(clip.path, plugin="pillow", exclude_applied=False).get("duration")
            return 1000 / duration if duration else None
        with av.open(str(clip.path)) as video:
            return float(video.streams.video[0].guessed_rate or 0) or None
    except Exception as error:  # decoders raise errors of many libraries
        raise ClipError(f"{clip.path}: unreadable video ({first_line(error)}); replace or remove it") from error


def _has_suffix(path: Path, suffixes: frozenset[str]) -> bool:
    return path.suffix.lower() in suffixes and not path.name.startswith(".")


def _read_video(path: Path) -> Iterator[Frame]:
    if path.suffix.lower() == ".gif":
        yield from (_to_rgb(np.asarray(frame), path) for frame in _decode_gif(path))
        return
    count = 0
    for frame in _decode_video(path):
        count += 1
        yield _to_rgb(frame.to_ndarray(format="rgb24"), path)
    if not count:
        raise ClipError(f"{path}: a video without frames; replace or remove it")


def _decode_video(path: Path) -> Iterator[av.VideoFrame]:
    """Decode a video by PyAV itself: imageio collects garbage after every file, which takes a while beside torch."""
    count = 0
    try:
        with av.open(str(path)) as video:
            for frame in video.decode(video=0):
                count += 1
                yield frame
    except (av.FFmpegError, IndexError) as error:  # IndexError: the file has no video stream
        raise _broken_video(path, count, error) from error


def _decode_gif(path: Path) -> Iterator[NDArray[Any]]:
    count = 0
    try:
        for frame in iio.imiter(path, plugin="pillow", mode="RGB"):
            count += 1
            yield frame
    except Exception as error:  # decoders raise errors of many libraries
        raise _broken_video(path, count, error) from error


def _broken_video(path: Path, count: int, error: Exception) -> ClipError:
    return ClipError(f"{path}: unreadable after {count} frames ({first_line(error)}); replace it")


def _cut_strip(strip: Frame, frame_shape: tuple[int, int, int] | None, path: Path) -> Iterator[Frame]:
    """Cut an image of joined frames into frames; an image with the ratio of one frame is a clip of one frame."""
    height, width = strip.shape[:2]
    frame_width = height if frame_shape is None else height * frame_shape[1] / frame_shape[0]
    count = round(width / frame_width)
    if count < 2:
        yield strip
        return
    if width % count:
        raise ClipError(f"{path}: {width} x {height} cannot be cut into {count} equal frames; use a folder of frames")
    for start in range(0, width, width // count):
        yield strip[:, start : start + width // count]


def _to_rgb(image: NDArray[Any], path: Path) -> Frame:
    if image.dtype == np.uint16:
        image = np.round(image / 257).astype(np.uint8)
    elif image.dtype == bool:
        image = image.astype(np.uint8) * 255
    elif image.dtype != np.uint8:
        raise ClipError(f"{path}: expected 8 or 16 bits per channel, got {image.dtype}; convert it")
    if image.ndim == 2:
        image = image[:, :, None]
    if image.ndim != 3 or image.shape[2] not in (1, 2, 3, 4):
        raise ClipError(f"{path}: expected a grey, RGB or RGBA image, got an array of shape {image.shape}")
    channels = image[:, :, :3] if image.shape[2] > 2 else image[:, :, :1]
    return np.ascontiguousarray(np.broadcast_to(channels, (*image.shape[:2], 3)))
