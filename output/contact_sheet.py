"""Contact sheets: onset, apex and their difference, one row per generated clip."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from clips.reading import Frame
from core.files import replacing_file
from errors import printable
from output.video import difference_image, resize_to_height

MAX_ROWS = 20  # at most this many clips per sheet, the first of a list


@dataclass(frozen=True)
class SheetRow:
    """Frames of one generated clip for a contact sheet, uint8 (H, W, 3) each.

    Attributes:
        label: text above the row.
        result: onset and apex of the result.
        driving: onset and apex of the driving clip; None if there is no driving clip.
    """

    label: str
    result: tuple[Frame, ...]
    driving: tuple[Frame, ...] | None = None


def write_batch_sheet(path: Path, clips: Iterable[tuple[int, Callable[[], SheetRow]]]) -> None:
    """Write the sheet of a batch, whose clips need not be finished in the order of their list.

    Args:
        clips: position in the list, from 0, and a function that makes the row, called when the clip is finished.
    """
    rows = {number: make_row() for number, make_row in clips if number < MAX_ROWS}
    write_contact_sheet(path, [row for _, row in sorted(rows.items())])


def write_contact_sheet(path: Path, rows: Sequence[SheetRow], *, size: int = 256) -> None:
    """Write a `contact_sheet` as PNG; without rows no file is written.

    Raises:
        WriteError: the disk is full.
    """
    if not rows:
        return
    sheet = contact_sheet(rows, size=size)
    with replacing_file(path) as temporary:
        Image.fromarray(sheet).save(temporary, format="PNG")


def contact_sheet(rows: Sequence[SheetRow], *, size: int) -> Frame:
    """Draw one row per clip: onset, apex and five times their difference, of the driving clip and of the result.

    Rows without a driving clip show the result alone.

    Args:
        size: height of each image, pixels.
    """
    any_driving = any(row.driving is not None for row in rows)
    heading = f"{'driving: onset | apex | difference x5':<48}" * any_driving + "result: onset | apex | difference x5"
    strips = [_text_strip(heading)]
    for row in rows:
        clips = [clip for clip in (row.driving, row.result) if clip is not None]
        images = [image for onset, apex in clips for image in _onset_apex_difference(onset, apex, size)]
        strips += [_text_strip(row.label), np.concatenate(images, axis=1)]
    width = max(strip.shape[1] for strip in strips)
    return np.concatenate(
        [np.pad(strip, ((0, 0), (0, width - strip.shape[1]), (0, 0)), constant_values=255) for strip in strips]
    )


def _onset_apex_difference(onset: Frame, apex: Frame, size: int) -> list[Frame]:
    onset, apex = (resize_to_height(frame, size) for frame in (onset, apex))
    return [onset, apex, difference_image(onset, apex)]


def _text_strip(text: str) -> Frame:
    text = printable(text)
    font = ImageFont.load_default(18)
    page = Image.new("RGB", (int(font.getlength(text)) + 8, 26), "white")
    ImageDraw.Draw(page).text((4, 2), text, "black", font)
    return np.asarray(page)
