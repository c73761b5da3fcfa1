"""Writer of GIF files, frame by frame: Pillow's own collects all frames of a clip in memory."""

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np
from PIL import Image, ImageChops
from PIL.GifImagePlugin import getdata, getheader

from clips.reading import Frame
from core.stop_signal import raise_if_interrupted

_SAMPLED_FRAMES = 8  # for the palette
Box: TypeAlias = tuple[int, int, int, int]  # left, top, right, bottom; pixels
_LONGEST_DELAY = 65535  # hundredths of a second, 16 bits in the file


def write_gif(path: Path, frames: Sequence[Frame], delay: int) -> None:
    """Write a GIF with one palette and no dithering; both would flicker more than a micro-expression moves.

    The bytes are those of `Image.save`: each frame holds the rectangle that differs from the previous one, and a frame
    without differences prolongs it.

    Args:
        frames: uint8 (H, W, 3) of one size.
        delay: between frames, hundredths of a second.
    """
    palette = _common_palette(frames)
    with path.open("wb") as file:
        shown, box, duration = None, (0, 0, 0, 0), 0  # the frame that is not written yet
        first = True
        for frame in frames:
            raise_if_interrupted()
            image = Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE)
            changed = None if shown is None else ImageChops.subtract_modulo(image, shown).getbbox(alpha_only=False)
            if shown is not None and changed is None:
                duration = min(duration + delay, _LONGEST_DELAY)
                continue
            if shown is not None:
                _write_image(file, shown, box, duration, first=first)
                first = False
            shown, box, duration = image, changed or (0, 0, *image.size), delay
        assert shown is not None, "a clip has frames"
        if not first:
            _write_image(file, shown, box, duration, first=False)
            file.write(b";")
            return
    shown.save(path, format="GIF", duration=10 * duration, loop=0, optimize=False)


def _write_image(file: BinaryIO, image: Image.Image, box: Box, delay: int, *, first: bool) -> None:
    """Write the part of a frame that changes; the first one with the header of the file."""
    settings = {"duration": 10 * delay, "loop": 0}
    if first:
        file.writelines(getheader(image, info=dict(settings))[0])
    part = image if box == (0, 0, *image.size) else image.crop(box)
    data = getdata(part, box[:2], **settings, include_color_table=not first)
    file.writelines(data)
    data.clear()  # Pillow keeps the list in a cycle of references, until the garbage collector comes by


def _common_palette(frames: Sequence[Frame]) -> Image.Image:
    chosen = np.linspace(0, len(frames) - 1, min(len(frames), _SAMPLED_FRAMES)).round().astype(int)
    sample = np.concatenate([frames[number] for number in chosen.tolist()])
    return Image.fromarray(sample).quantize(256, method=Image.Quantize.MEDIANCUT)
