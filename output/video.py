"""Writers of PNG frames, MP4 and GIF; no file or folder appears under its final name before it is complete."""

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

MAX_GIF_FPS = 50  # browsers slow down GIFs with a delay below two hundredths of a second
DIFFERENCE_GAIN = 5.0  # a movement of one pixel changes a frame by a few grey levels only
_REMEDY = "make room or choose another result"
_FRAME_NAME = re.compile(r"\d{4,}\.png")


def write_frames(folder: Path, frames: Iterable[Frame]) -> None:
    """Write frames as `0000.png`, `0001.png`, ...; an existing folder of frames is replaced.

    Raises:
        UserError: the folder holds other files, or the disk is full.
    """
    if folder.exists() and (other := [p.name for p in folder.iterdir() if not _FRAME_NAME.fullmatch(p.name)]):
        raise UserError(f"{folder}: holds {other[0]}, which is not a generated frame; move it or choose another result")
    with replacing_folder(folder, _REMEDY) as temporary:
        for number, frame in enumerate(frames):
            iio.imwrite(temporary / f"{number:04d}.png", frame, compress_level=1)


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
            _write_gif(temporary, frames, delay)
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


def side_by_side(driving: Sequence[Frame], result: Sequence[Frame]) -> list[Frame]:
    """Join frames as `driving | result | difference`; the difference is that to the first result frame, times 5.

    Args:
        driving: T frames of any size; scaled to the height of the result.
        result: T frames (H, W, 3).
    """
    return [
        np.concatenate([resize_to_height(drive, len(frame)), frame, difference_image(result[0], frame)], axis=1)
        for drive, frame in zip(driving, result, strict=True)
    ]


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
            padded = np.pad(frame, padding, mode="edge")
            container.mux(stream.encode(av.VideoFrame.from_ndarray(padded, format="rgb24")))
        container.mux(stream.encode())


def _write_gif(path: Path, frames: Sequence[Frame], delay: int) -> None:
    """Write a GIF with one palette and no dithering; both would flicker more than a micro-expression moves."""
    sample = [frames[i] for i in np.linspace(0, len(frames) - 1, min(len(frames), 8)).round().astype(int)]
    palette = Image.fromarray(np.concatenate(sample)).quantize(256, method=Image.Quantize.MEDIANCUT)
    images = [Image.fromarray(f).quantize(palette=palette, dither=Image.Dither.NONE) for f in frames]
    images[0].save(
        path, format="GIF", save_all=True, append_images=images[1:], duration=delay * 10, loop=0, optimize=False
    )
