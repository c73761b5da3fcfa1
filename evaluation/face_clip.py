"""Clips at the working size of the judge, with the 68 landmarks of their first frame.

Legend: T frames, H x W image.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from clips.reading import Clip, ClipError, Frame, read_frames
from faces.alignment import LEFT_EYE, RIGHT_EYE, eye_distance

WORKING_SIDE = 256  # longer side of the frames in which clips are compared, pixels


@dataclass(frozen=True)
class FaceClip:
    """A clip that is ready to be measured.

    Attributes:
        frames: (T, H, W, 3) uint8, longer side `WORKING_SIDE`.
        landmarks: (68, 2), xy, pixels of `frames`, of the first frame.
        length: number of frames of the clip on disk, of which `frames` may be a selection.
        fps: frames per second on disk; None if they are unknown.
    """

    frames: NDArray[np.uint8]
    landmarks: NDArray[np.float64]
    length: int
    fps: float | None = None

    @property
    def eye_distance(self) -> float:
        """Distance of the eye centres, pixels."""
        return eye_distance(self.landmarks)

    @property
    def step(self) -> float:
        """Frames on disk per frame of `frames`."""
        return (self.length - 1) / max(len(self.frames) - 1, 1)


def upright_rotation(landmarks: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the (2, 2) matrix R such that `vectors @ R` have the x axis along the line of the eyes."""
    x, y = landmarks[LEFT_EYE].mean(axis=0) - landmarks[RIGHT_EYE].mean(axis=0)
    length = np.hypot(x, y)
    return np.array([[x, -y], [y, x]]) / length


def resized(frame: Frame, side: int = WORKING_SIDE) -> Frame:
    """Scale a frame so that its longer side has `side` pixels."""
    height, width = frame.shape[:2]
    scale = side / max(height, width)
    if scale == 1:
        return np.asarray(frame)
    kind = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(np.asarray(frame), size, interpolation=kind), np.uint8)


def scaled_points(points: NDArray[np.float64], old: tuple[int, int], new: tuple[int, int]) -> NDArray[np.float64]:
    """Map points (..., 2), xy, from a frame of one (height, width) to the same frame of another size."""
    factor = np.array([new[1] / old[1], new[0] / old[0]])
    scaled: NDArray[np.float64] = (points + 0.5) * factor - 0.5
    return scaled


def read_working_frames(clip: Clip, max_frames: int) -> tuple[NDArray[np.uint8], int, tuple[int, int]]:
    """Read a clip, scaled to the working size.

    Args:
        max_frames: of a longer clip, this many frames, evenly spread from the first to the last, are kept.
    Returns:
        (T, H, W, 3) frames, the number of frames on disk, and their height and width.
    Raises:
        ClipError: a frame is unreadable, or frames differ in size.
    """
    kept: list[tuple[int, Frame]] = []
    stride, count = 1, 0
    size: tuple[int, int] | None = None
    last: Frame | None = None
    for count, frame in enumerate(_read_all(clip)):
        size = size or frame.shape[:2]
        if frame.shape[:2] != size:
            raise ClipError(
                f"{clip.path}: frame {count} has {frame.shape[1]} x {frame.shape[0]} pixels, the first has "
                f"{size[1]} x {size[0]}; expected one size"
            )
        last = resized(frame)
        if count % stride == 0:
            kept.append((count, last))
        if len(kept) > 2 * max_frames:  # of long clips, every second frame is dropped as they come
            kept, stride = kept[::2], 2 * stride
    if size is None or last is None:
        raise ClipError(f"{clip.path}: a clip without frames")
    if kept[-1][0] != count:
        kept.append((count, last))
    if len(kept) > max_frames:
        chosen = np.linspace(0, len(kept) - 1, max_frames).round().astype(int)
        kept = [kept[i] for i in chosen]
    return np.stack([frame for _, frame in kept]), count + 1, size


def _read_all(clip: Clip) -> Iterator[Frame]:
    """Read the frames of a clip.

    Raises:
        ClipError: unreadable, or a number is missing among its frame files.
    """
    numbers = clip.frame_numbers
    if numbers is not None and (missing := _missing_number(numbers)) is not None:
        raise ClipError(f"{clip.path}: frame {missing} is missing between {min(numbers)} and {max(numbers)}")
    yield from read_frames(clip, None)


def _missing_number(numbers: tuple[int, ...]) -> int | None:
    """Return the first number that is missing in a sequence with a constant step; None if none is."""
    ordered = np.sort(numbers)
    if len(ordered) < 3:
        return None
    steps = np.diff(ordered)
    usual = int(np.median(steps))
    wrong = np.flatnonzero(steps > usual)
    return None if not len(wrong) else int(ordered[wrong[0]] + usual)
