"""Clips: folders of frames, videos, animated pictures, strips of joined frames and single images.

Frames are uint8 RGB, H x W x 3. An unreadable file is an error that names it; nothing is guessed or skipped.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from natsort import natsorted

from clips.pictures import IMAGE_SUFFIXES, ClipError, Frame, is_sequence, read_image
from clips.videos import VIDEO_SUFFIXES, animation_rate, read_animation, read_video, video_rate
from parsing.files import searched_folder
from parsing.folders import data_entries, is_leftover

__all__ = [
    "IMAGE_SUFFIXES",
    "VIDEO_SUFFIXES",
    "Clip",
    "ClipError",
    "Frame",
    "count_frames",
    "find_clips",
    "frame_rate",
    "open_clip",
    "read_frames",
    "read_image",
]
STRIP_LIKENESS = 0.7  # correlation of neighbouring parts from which a wide picture is a strip of frames


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
            if inside := _inner_clip(path):
                prepare = (
                    f"--mode prepare --config config/prepare-folder.yaml --set prepare_params.root_dir={path.parent}"
                )
                raise ClipError(
                    f"{path}: expected frames, found the clip {inside} one level too deep; move such clips up, or "
                    f"prepare them by {prepare}"
                )
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


def _inner_clip(folder: Path) -> str | None:
    """Name of a folder of frames or a video inside a folder; None if there is none."""
    for path in sorted(folder.iterdir()):
        if not is_leftover(path) and (
            _has_suffix(path, VIDEO_SUFFIXES)
            or (path.is_dir() and any(_has_suffix(frame, IMAGE_SUFFIXES) for frame in path.iterdir()))
        ):
            return path.name
    return None


def find_clips(folder: Path) -> list[Clip]:
    """Find all clips of a folder, in natural order, without files of other types and what `data_entries` leaves out.

    Raises:
        ClipError: there is no such folder, it holds no clips, or two of the same name.
    """
    if not folder.is_dir():
        raise ClipError(f"{folder}: no such folder of clips{searched_folder(folder)}; set dataset_params.root_dir")
    entries = data_entries(folder)
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
    if clip.frames:
        yield from (read_image(path) for path in clip.frames)
    elif _is_animation(clip.path):
        yield from read_animation(clip.path)
    elif clip.path.suffix.lower() in VIDEO_SUFFIXES:
        yield from read_video(clip.path)
    else:
        yield from _cut_strip(read_image(clip.path), frame_shape)


def count_frames(clip: Clip) -> int:
    """Count the frames of a clip; a video is decoded, because the number in its header may be wrong.

    Raises:
        ClipError: the video is unreadable.
    """
    return len(clip.frames) or sum(1 for _ in read_frames(clip, None))


def frame_rate(clip: Clip) -> float | None:
    """Return the frames per second stored in a video file or animated picture; None for images.

    Raises:
        ClipError: the video is unreadable.
    """
    if clip.frames:
        return None
    if _is_animation(clip.path):
        return animation_rate(clip.path)
    return video_rate(clip.path) if clip.path.suffix.lower() in VIDEO_SUFFIXES else None


def _is_animation(path: Path) -> bool:
    return path.suffix.lower() == ".gif" or is_sequence(path)


def _has_suffix(path: Path, suffixes: frozenset[str]) -> bool:
    return path.suffix.lower() in suffixes and not path.name.startswith(".")


def _cut_strip(strip: Frame, frame_shape: tuple[int, int, int] | None) -> Iterator[Frame]:
    """Cut an image of joined frames into frames; any other image is a clip of one frame.

    A strip has the width of several frames exactly, and neighbouring frames that resemble each other; a photograph in
    landscape format does not.
    """
    height, width = strip.shape[:2]
    frame_width = height if frame_shape is None else round(height * frame_shape[1] / frame_shape[0])
    count = width // max(frame_width, 1)
    if count < 2 or width % count or width // count != frame_width:
        yield strip
        return
    frames = [strip[:, start : start + frame_width] for start in range(0, width, frame_width)]
    likeness = [_correlation(one, next_one) for one, next_one in pairwise(frames)]
    yield from frames if np.mean(likeness) >= STRIP_LIKENESS else [strip]


def _correlation(one: Frame, other: Frame) -> float:
    """Correlation of the values of two images; 1 if both are flat."""
    a, b = (image.astype(np.float64) - image.mean() for image in (one, other))
    scale = np.sqrt((a * a).sum() * (b * b).sum())
    return float((a * b).sum() / scale) if scale else 1.0
