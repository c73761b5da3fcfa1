"""Contact sheets: onset, apex and their difference of generated clips, a row per clip."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import imageio.v3 as iio
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from clips.reading import Frame
from core.files import replacing_file
from output.video import difference, scaled

MAX_ROWS = 20  # clips on the contact sheet, from the start of a list


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
    """Write a `contact_sheet` as PNG; nothing where there are no rows.

    Raises:
        WriteError: the disk is full.
    """
    if not rows:
        return
    sheet = contact_sheet(rows, size=size)
    with replacing_file(path) as temporary:
        iio.imwrite(temporary, sheet, extension=".png")


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
    onset, apex = (scaled(frame, size) for frame in (onset, apex))
    return [onset, apex, difference(onset, apex)]


def _text(text: str) -> Frame:
    font = ImageFont.load_default(18)
    page = Image.new("RGB", (int(font.getlength(text)) + 8, 26), "white")
    ImageDraw.Draw(page).text((4, 2), text, "black", font)
    return np.asarray(page)
