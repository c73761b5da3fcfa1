"""Writes results: PNG frames, MP4, GIF. Every file and folder gets its name only when it is complete."""

import re
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import imageio.v3 as iio
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clips.reading import Frame
from core.files import replacing_file, replacing_folder
from errors import UserError

MAX_GIF_FPS = 50  # a GIF's shortest delay that browsers keep is two hundredths of a second
DIFFERENCE_GAIN = 5.0  # a change of one pixel is a matter of a few grey levels
_REMEDY = "make room or choose another result"
_FRAME_NAME = re.compile(r"\d{4,}\.png")


def write_frames(folder: Path, frames: Iterable[Frame]) -> None:
    """Write frames as `0000.png`, `0001.png`, ...; a folder of frames that is there already is replaced.

    Raises:
        UserError: the folder holds other files, or the disk is full.
    """
    if folder.exists() and (other := [p.name for p in folder.iterdir() if not _FRAME_NAME.fullmatch(p.name)]):
        raise UserError(f"{folder}: holds {other[0]}, which is no frame of ours; move it or choose another result")
    with replacing_folder(folder, _REMEDY) as temporary:
        for number, frame in enumerate(frames):
            iio.imwrite(temporary / f"{number:04d}.png", frame, compress_level=1)


def write_video(path: Path, frames: Sequence[Frame], fps: float, *, crf: int) -> Path:
    """Write a video in the format of its suffix.

    Args:
        path: ending in .mp4 or .gif.
        frames: uint8 (H, W, 3) of one size.
        fps: frames a second; a GIF above 50 is slowed down and says so in its name.
        crf: libx264 quality, .mp4 only.
    Returns:
        Where it was written.
    Raises:
        UserError: another suffix, or the disk is full.
    """
    if path.suffix.lower() == ".gif":
        delay = max(round(100 / fps), 100 // MAX_GIF_FPS)  # hundredths of a second
        slowdown = fps * delay / 100
        if slowdown > 1.05:
            path = path.with_name(f"{path.stem}_slow{slowdown:.3g}x.gif")
        with replacing_file(path, _REMEDY) as temporary:
            _gif(temporary, frames, delay)
    elif path.suffix.lower() == ".mp4":
        with replacing_file(path, _REMEDY) as temporary:
            _mp4(temporary, frames, fps, crf)
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


def side_by_side(driving: Sequence[Frame], result: Sequence[Frame]) -> list[Frame]:
    """`driving | result | difference`: the difference to the first result, times 5, around mid grey.

    Args:
        driving: T frames of any size; scaled to the height of the result.
        result: T frames (H, W, 3).
    """
    return [
        np.concatenate([scaled(drive, len(frame)), frame, difference(result[0], frame)], axis=1)
        for drive, frame in zip(driving, result, strict=True)
    ]


def scaled(frame: Frame, height: int) -> Frame:
    """A frame resized to a height in pixels, its proportions kept."""
    width = round(frame.shape[1] * height / frame.shape[0])
    return np.asarray(Image.fromarray(np.asarray(frame)).resize((width, height), Image.Resampling.BICUBIC))


def difference(first: Frame, frame: Frame) -> Frame:
    """The change between two frames of one size, times `DIFFERENCE_GAIN`, around mid grey."""
    change = DIFFERENCE_GAIN * (frame.astype(np.float32) - first)
    return np.clip(127.5 + change, 0, 255).astype(np.uint8)


def _mp4(path: Path, frames: Sequence[Frame], fps: float, crf: int) -> None:
    height, width = frames[0].shape[:2]
    padding = ((0, height % 2), (0, width % 2), (0, 0))  # yuv420p has even sides
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
        stream.width, stream.height = width + width % 2, height + height % 2
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": str(crf), "preset": "medium"}
        for frame in frames:
            padded = np.pad(frame, padding, mode="edge")
            container.mux(stream.encode(av.VideoFrame.from_ndarray(padded, format="rgb24")))
        container.mux(stream.encode())


def _gif(path: Path, frames: Sequence[Frame], delay: int) -> None:
    """One palette for all frames and no dithering: both would flicker more than a micro-expression moves."""
    shown = [frames[i] for i in np.linspace(0, len(frames) - 1, min(len(frames), 8)).round().astype(int)]
    palette = Image.fromarray(np.concatenate(shown)).quantize(256, method=Image.Quantize.MEDIANCUT)
    pictures = [Image.fromarray(f).quantize(palette=palette, dither=Image.Dither.NONE) for f in frames]
    pictures[0].save(
        path, format="GIF", save_all=True, append_images=pictures[1:], duration=delay * 10, loop=0, optimize=False
    )
