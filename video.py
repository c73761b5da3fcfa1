"""Writes results: PNG frames, MP4, GIF. Every file and folder gets its name only when it is complete."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import imageio.v3 as iio
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from clips import Frame
from errors import UserError

MAX_GIF_FPS = 50  # a GIF's shortest delay that browsers keep is two hundredths of a second
DIFFERENCE_GAIN = 5.0  # a change of one pixel is a matter of a few grey levels
_FRAME_NAME = re.compile(r"\d{4,}\.png")


def write_frames(folder: Path, frames: Iterable[Frame]) -> None:
    """Write frames as `0000.png`, `0001.png`, ...; a folder of frames that is there already is replaced.

    Raises:
        UserError: the folder holds other files, or the disk is full.
    """
    if folder.exists() and (other := [p.name for p in folder.iterdir() if not _FRAME_NAME.fullmatch(p.name)]):
        raise UserError(f"{folder}: holds {other[0]}, which is no frame of ours; move it or choose another result")
    temporary = Path(_made(tempfile.mkdtemp, folder))
    try:
        for number, frame in enumerate(frames):
            iio.imwrite(temporary / f"{number:04d}.png", frame, compress_level=1)
        if folder.exists():
            shutil.rmtree(folder)
        temporary.chmod(0o755)
        os.replace(temporary, folder)
    except OSError as error:
        raise UserError(f"{folder}: could not be written ({error.strerror or error}); make room") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


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
        return _replaced(path, lambda temporary: _gif(temporary, frames, delay))
    if path.suffix.lower() == ".mp4":
        return _replaced(path, lambda temporary: _mp4(temporary, frames, fps, crf))
    raise UserError(f"{path}: expected a result ending in .mp4 or .gif")


def write_array(path: Path, array: NDArray[np.generic]) -> None:
    """Write a .npy file.

    Raises:
        UserError: the disk is full.
    """

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.save(file, array)

    _replaced(path, write)


def side_by_side(driving: Sequence[Frame], result: Sequence[Frame]) -> list[Frame]:
    """`driving | result | difference`: the difference to the first result, times 5, around mid grey.

    Args:
        driving: T frames of any size; scaled to the height of the result.
        result: T frames (H, W, 3).
    """
    return [
        np.concatenate([_scaled(drive, len(frame)), frame, _difference(result[0], frame)], axis=1)
        for drive, frame in zip(driving, result, strict=True)
    ]


@dataclass(frozen=True)
class SheetRow:
    """Pictures of one generated clip for a contact sheet, uint8 (H, W, 3) each.

    Attributes:
        label: what the row shows.
        result: the result's onset and apex.
        driving: the driving clip's onset and apex; None without such a clip.
    """

    label: str
    result: tuple[Frame, ...]
    driving: tuple[Frame, ...] | None = None


def write_contact_sheet(path: Path, rows: Sequence[SheetRow], *, size: int = 256) -> None:
    """Write a `contact_sheet` as PNG.

    Raises:
        UserError: the disk is full.
    """
    sheet = contact_sheet(rows, size=size)
    _replaced(path, lambda temporary: iio.imwrite(temporary, sheet, extension=".png"))


def contact_sheet(rows: Sequence[SheetRow], *, size: int) -> Frame:
    """One line a clip: onset, apex and difference times 5, of the driving clip and of the result.

    Rows without a driving clip show the result alone.

    Args:
        size: height of a picture, pixels.
    """
    driven = any(row.driving is not None for row in rows)
    lines = [_text(f"{'driving: onset | apex | difference x5':<48}" * driven + "result: onset | apex | difference x5")]
    for row in rows:
        shown = [pair for pair in (row.driving, row.result) if pair is not None]
        pictures = [picture for onset, apex in shown for picture in _thirds(onset, apex, size)]
        lines += [_text(row.label), np.concatenate(pictures, axis=1)]
    width = max(line.shape[1] for line in lines)
    return np.concatenate(
        [np.pad(line, ((0, 0), (0, width - line.shape[1]), (0, 0)), constant_values=255) for line in lines]
    )


def _thirds(onset: Frame, apex: Frame, size: int) -> list[Frame]:
    onset, apex = (_scaled(frame, size) for frame in (onset, apex))
    return [onset, apex, _difference(onset, apex)]


def _scaled(frame: Frame, height: int) -> Frame:
    width = round(frame.shape[1] * height / frame.shape[0])
    return np.asarray(Image.fromarray(np.asarray(frame)).resize((width, height), Image.Resampling.BICUBIC))


def _difference(first: Frame, frame: Frame) -> Frame:
    change = DIFFERENCE_GAIN * (frame.astype(np.float32) - first)
    return np.clip(127.5 + change, 0, 255).astype(np.uint8)


def _text(text: str) -> Frame:
    font = ImageFont.load_default(18)
    page = Image.new("RGB", (int(font.getlength(text)) + 8, 26), "white")
    ImageDraw.Draw(page).text((4, 2), text, "black", font)
    return np.asarray(page)


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


def _replaced(path: Path, write) -> Path:
    handle, name = _made(tempfile.mkstemp, path)
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        temporary.chmod(0o644)
        os.replace(temporary, path)
    except (OSError, av.FFmpegError) as error:
        raise UserError(f"{path}: could not be written ({error}); make room or choose another result") from error
    finally:
        temporary.unlink(missing_ok=True)
    return path


def _made(make, path: Path):
    """A temporary file or folder beside a path, whose parent is made where it is missing."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return make(dir=path.parent, prefix=f".writing-{path.stem}-")
    except OSError as error:
        raise UserError(f"{path.parent}: expected a writable folder ({error.strerror})") from error
