"""Writes `report.html` and `contact_sheet.png`: prepared clips, corrections, and what was left out and why."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from config.preparation import PrepareParams
from core.files import write_bytes
from faces.facs import parse_code
from output.clip_page import ClipPage, Heading, Table
from preparation.clip_maker import THUMBNAIL
from preparation.clip_record import LeftOut, Remark
from preparation.clip_rows import prepared_row
from preparation.clip_task import has_code
from preparation.prepared_folder import SPLITS, PreparedFolder
from preparation.tables import PreparedClip

SHEET_COLUMNS, SHEET_CLIPS = 5, 100  # clips per row of the contact sheet, and at most on it
LABEL = 18  # height of a label on the contact sheet, pixels
_BATCH = 64  # clips whose pictures are made at the same time


def write_report(
    clips: Sequence[PreparedClip],
    left_out: Sequence[LeftOut],
    remarks: Sequence[Remark],
    params: PrepareParams,
    prepared: PreparedFolder,
) -> Path:
    """Write report and contact sheet, unless they have the same content already.

    Args:
        clips: prepared clips.
        left_out: clips, rows and folders that were left out.
        remarks: on the data set as a whole.
    Returns:
        Path of the report.
    """
    subjects = len({clip.subject for clip in clips})
    frames = sum(clip.row["frames"] for clip in clips)
    heading = Heading(
        f"{params.data_set}: {len(clips)} clips prepared, {len(left_out)} left out",
        (
            f"{subjects} subjects, {frames} frames; from {params.root_dir.as_posix()}",
            "An apex that the release does not give is estimated: the frame in which the landmarks, without head "
            "motion, are farthest from those of the onset.",
        ),
    )
    kept = [(clip.name, clip.kept) for clip in clips if clip.kept is not None]
    tables = (
        Table("Left out", ("name", "reason"), [(out.name, out.reason) for out in left_out]),
        Table("Kept from earlier runs", ("clip", "why it cannot be made again"), kept),
        Table("Corrected or decided in the data set", ("found", "done"), [(r.found, r.done) for r in remarks]),
        _count_table("Clips by emotion", clips, lambda clip: [clip.row["emotion"] or "unknown"]),
        _count_table("Clips by action unit", clips, _action_unit_names),
        _count_table("Clips by subject", clips, lambda clip: [clip.subject]),
    )
    with ClipPage(prepared.path / "report.html", "remark") as page, ThreadPoolExecutor() as pool:
        for start in range(0, len(clips), _BATCH):
            for row in pool.map(lambda clip: prepared_row(clip, prepared), clips[start : start + _BATCH]):
                page.add(row)
        path = page.write(heading, tables)
    if clips:
        write_bytes(prepared.path / "contact_sheet.png", _contact_sheet(clips[:SHEET_CLIPS], prepared))
    return path


def _count_table(title: str, clips: Sequence[PreparedClip], values: Callable[[PreparedClip], Iterable[str]]) -> Table:
    """Number of clips per value of a property, in total, for training and for test, the most frequent first."""
    of_split = {split: Counter[str]() for split in SPLITS}
    for clip in clips:
        of_split[clip.split].update(values(clip))
    total = of_split["train"] + of_split["test"]
    rows = [(value, count, of_split["train"][value], of_split["test"][value]) for value, count in total.most_common()]
    return Table(title, (title.removeprefix("Clips by "), "clips", "train", "test"), rows, bars=True)


def _action_unit_names(clip: PreparedClip) -> list[str]:
    """Action units in the FACS code of a clip."""
    if not has_code(clip.row["facs"]):
        return ["no code"]
    try:
        units = parse_code(clip.row["facs"], alternatives="flag", others="leave_out")
    except ValueError:
        return ["unreadable code"]
    return [f"AU{unit}" for unit in sorted({unit.au for unit in units})] or ["others"]


def _contact_sheet(clips: Sequence[PreparedClip], prepared: PreparedFolder) -> bytes:
    """Picture of the thumbnails with their names, as PNG."""
    rows = -(-len(clips) // SHEET_COLUMNS)
    width, height = 2 * THUMBNAIL + 6, THUMBNAIL + LABEL + 6
    sheet = Image.new("RGB", (SHEET_COLUMNS * width, rows * height), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for number, clip in enumerate(clips):
        x, y = number % SHEET_COLUMNS * width, number // SHEET_COLUMNS * height
        with Image.open(prepared.thumbnail(clip.name)) as thumbnail:
            sheet.paste(thumbnail, (x, y + LABEL))
        draw.text((x + 2, y + 1), clip.name, "black", font)
    picture = cv2.cvtColor(np.asarray(sheet), cv2.COLOR_RGB2BGR)
    return cv2.imencode(".png", picture)[1].tobytes()
