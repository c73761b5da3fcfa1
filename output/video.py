"""Writers of PNG frames, MP4 and GIF; no file or folder appears under its final name before it is complete.

Frames are written as they come and read again where they are needed, so that memory does not grow with the clip.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import overload

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clips.reading import Frame
from core.files import replacing_file, replacing_folder
from core.stop_signal import raise_if_interrupted
from errors import UserError
from output.gif import write_gif

MAX_GIF_FPS = 50  # browsers slow down GIFs with a delay below two hundredths of a second
DIFFERENCE_GAIN = 5.0  # a movement of one pixel changes a frame by a few grey levels only
_REMEDY = "make room or choose another result"
_FRAME_NAME = re.compile(r"\d{4,}\.png")


class FrameSequence(Sequence[Frame]):
    """Frames that are made or read one at a time, each time they are asked for.

    Args:
        length: number of frames.
        read: returns the frame of a number from 0, uint8 (H, W, 3).
    """

    def __init__(self, length: int, read: Callable[[int], Frame]):
        self._numbers = range(length)
        self._read = read

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, index: int) -> Frame: ...

    @overload
    def __getitem__(self, index: slice) -> "FrameSequence": ...

    def __getitem__(self, index: int | slice) -> "Frame | FrameSequence":
        if isinstance(index, slice):
            numbers = self._numbers[index]
            return FrameSequence(len(numbers), lambda i: self._read(numbers[i]))
        return self._read(self._numbers[index])


def check_frame_folder(folder: Path) -> None:
    """Check that a folder of frames may be created or replaced.

    Raises:
        UserError: it is a file, or holds other files.
    """
    if not folder.is_dir():
        if folder.exists():
            raise UserError(f"{folder}: expected a folder of frames, got a file; move it or choose another result")
    elif other := [p.name for p in folder.iterdir() if not _FRAME_NAME.fullmatch(p.name)]:
        raise UserError(f"{folder}: holds {other[0]}, which is not a generated frame; move it or choose another result")


def write_frames(folder: Path, frames: Iterable[Frame]) -> FrameSequence:
    """Write frames as `0000.png`, `0001.png`, ...; an existing folder of frames is replaced.

    Returns:
        The written frames.
    Raises:
        UserError: the folder holds other files, or the disk is full.
    """
    check_frame_folder(folder)
    count = 0
    with replacing_folder(folder, _REMEDY) as temporary:
        for frame in frames:
            raise_if_interrupted()
            Image.fromarray(frame).save(frame_path(temporary, count), compress_level=1)
            count += 1
    return written_frames(folder, count)


def written_frames(folder: Path, count: int) -> FrameSequence:
    """Frames of a folder that `write_frames` wrote."""
    return FrameSequence(count, lambda number: _read_png(frame_path(folder, number)))


def frame_path(folder: Path, number: int) -> Path:
    """File of a frame, counted from 0."""
    return folder / f"{number:04d}.png"


def write_video(path: Path, frames: Sequence[Frame], fps: float, *, crf: int) -> Path:
    """Write a video in the format of its suffix.

    Args:
        path: ending in .mp4 or .gif.
        frames: uint8 (H, W, 3) of one size.
        fps: frames per second; a GIF above 50 is slowed down, and its name gets `_slow2x` or the like.
        crf: libx264 quality, .mp4 only.
    Returns:
        Path of the file.
    Raises:
        UserError: unknown suffix, or the disk is full.
    """
    if path.suffix.lower() == ".gif":
        delay = max(round(100 / fps), 100 // MAX_GIF_FPS)  # hundredths of a second
        slowdown = fps * delay / 100
        if slowdown > 1.05:
            path = path.with_name(f"{path.stem}_slow{slowdown:.3g}x.gif")
        with replacing_file(path, _REMEDY) as temporary:
            write_gif(temporary, frames, delay)
    elif path.suffix.lower() == ".mp4":
        with replacing_file(path, _REMEDY) as temporary:
            _write_mp4(temporary, frames, fps, crf)
    else:
        raise UserError(f"{path}: expected a result ending in .mp4 or .gif")
    return path


def write_array(path: Path, array: NDArray[np.generic]) -> None:
    """Write a .npy file.

    Raises:
        UserError: the disk is full.
    """
    with replacing_file(path, _REMEDY) as temporary:
        np.save(temporary, array)


def side_by_side(driving: Sequence[Frame], result: Sequence[Frame]) -> FrameSequence:
    """Join frames as `driving | result | difference`; the difference is that to the first result frame, times 5.

    Args:
        driving: T frames of any size; scaled to the height of the result.
        result: T frames (H, W, 3).
    Raises:
        ValueError: they differ in number.
    """
    if len(driving) != len(result):
        raise ValueError(f"expected as many driving as result frames, got {len(driving)} and {len(result)}")
    first = result[0]

    def joined(number: int) -> Frame:
        frame = result[number]
        drive = resize_to_height(driving[number], len(frame))
        return np.concatenate([drive, frame, difference_image(first, frame)], axis=1)

    return FrameSequence(len(result), joined)


def resize_to_height(frame: Frame, height: int) -> Frame:
    """Resize a frame to a height in pixels, keeping its proportions."""
    width = round(frame.shape[1] * height / frame.shape[0])
    return np.asarray(Image.fromarray(np.asarray(frame)).resize((width, height), Image.Resampling.BICUBIC))


def difference_image(first: Frame, frame: Frame) -> Frame:
    """Return `amplified_difference` as uint8."""
    return amplified_difference(first, frame.astype(np.float32)).astype(np.uint8)


def amplified_difference(first: Frame, frames: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the change since `first` times `DIFFERENCE_GAIN`, around mid grey: (..., H, W, 3) in [0, 255]."""
    return np.clip(127.5 + DIFFERENCE_GAIN * (frames - first), 0, 255)


def _write_mp4(path: Path, frames: Sequence[Frame], fps: float, crf: int) -> None:
    height, width = frames[0].shape[:2]
    padding = ((0, height % 2), (0, width % 2), (0, 0))  # yuv420p needs even sides
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
        stream.width, stream.height = width + width % 2, height + height % 2
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": str(crf), "preset": "medium"}
        for frame in frames:
            raise_if_interrupted()
            padded = np.pad(frame, padding, mode="edge")
            container.mux(stream.encode(av.VideoFrame.from_ndarray(padded, format="rgb24")))
        container.mux(stream.encode())


def _read_png(path: Path) -> Frame:
    with Image.open(path) as image:
        return np.asarray(image)
