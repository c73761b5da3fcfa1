"""Writes `report.html` and `contact_sheet.png`: prepared clips, corrections, and clips that were left out and why."""

import base64
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from html import escape
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from config.preparation import PrepareParams
from core.files import write_bytes, write_text
from faces.facs import parse_code
from preparation.clip_maker import THUMBNAIL
from preparation.clip_record import LeftOut, Remark
from preparation.clip_task import has_code
from preparation.prepared_folder import SPLITS, PreparedFolder
from preparation.tables import PreparedClip, encodable

SHEET_COLUMNS, SHEET_CLIPS = 5, 100  # clips per row of the contact sheet, and at most on it
LABEL = 18  # height of a label on the contact sheet, pixels

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #222; max-width: 1180px; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem; margin-bottom: .2rem } h2 { font-size: 1.15rem; margin: 2rem 0 .6rem }
p.note { color: #666; margin-top: 0 } table { border-collapse: collapse }
td, th { padding: .15rem .7rem .15rem 0; text-align: left; vertical-align: top }
th { border-bottom: 1px solid #bbb; font-weight: 600 } td.n, th.n { text-align: right }
tr:nth-child(even) td { background: #f6f6f6 }
.counts { display: flex; flex-wrap: wrap; align-items: flex-start; gap: 0 3.5rem }
.bar { background: #7aa6d8; height: .7rem; display: block }
.clips { display: grid; grid-template-columns: repeat(auto-fill, minmax(228px, 1fr)); gap: 1rem }
.clip { font-size: 12px; line-height: 1.35 } .clip img { display: block; width: 224px; height: 112px }
.clip b { font-size: 13px; overflow-wrap: anywhere } .test { color: #a04000 }
"""


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
    parts = [
        f"<h1>{escape(params.data_set)}: {len(clips)} clips prepared, {len(left_out)} left out</h1>",
        f"<p class=note>{subjects} subjects, {frames} frames; from {escape(params.root_dir.as_posix())}</p>",
        _left_out_section(left_out),
        _kept_section(clips),
        "<h2>Clips by</h2><div class=counts>",
        _count_table("emotion", clips, lambda clip: [clip.row["emotion"] or "unknown"]),
        _count_table("action unit", clips, _action_unit_names),
        _count_table("subject", clips, lambda clip: [clip.subject]),
        "</div>",
        _remark_section(clips, remarks),
        "<h2>Clips</h2><p class=note>Onset with its landmarks, and apex (the frame farthest from the onset where the "
        "release gives none).</p><div class=clips>",
        *(_clip_card(clip, prepared) for clip in clips),
        "</div>",
    ]
    head = f"<meta charset=utf-8><title>{escape(params.data_set)}</title><style>{_STYLE}</style>"
    path = prepared.path / "report.html"
    body = encodable("\n".join(part for part in parts if part))
    write_text(path, f"<!doctype html><html lang=en><head>{head}</head><body>\n{body}\n</body></html>\n")
    if clips:
        write_bytes(prepared.path / "contact_sheet.png", _contact_sheet(clips[:SHEET_CLIPS], prepared))
    return path


def _left_out_section(left_out: Sequence[LeftOut]) -> str:
    if not left_out:
        return "<h2>Left out</h2><p>Nothing.</p>"
    return "<h2>Left out</h2>" + _html_table(("name", "reason"), ((out.name, out.reason) for out in left_out))


def _kept_section(clips: Sequence[PreparedClip]) -> str:
    rows = [(clip.name, clip.kept) for clip in clips if clip.kept is not None]
    return (
        "<h2>Kept from earlier runs</h2>" + _html_table(("clip", "why it cannot be made again"), rows) if rows else ""
    )


def _remark_section(clips: Sequence[PreparedClip], remarks: Sequence[Remark]) -> str:
    rows = [
        *(("(data set)", remark.found, remark.done) for remark in remarks),
        *((clip.name, remark.found, remark.done) for clip in clips for remark in clip.remarks),
    ]
    if not rows:
        return "<h2>Corrected or decided</h2><p>Nothing.</p>"
    return "<h2>Corrected or decided</h2>" + _html_table(("clip", "found", "done"), rows)


def _count_table(title: str, clips: Sequence[PreparedClip], values: Callable[[PreparedClip], Iterable[str]]) -> str:
    """Number of clips per value of a property, in total, for training and for test, the most frequent first."""
    of_split = {split: Counter[str]() for split in SPLITS}
    for clip in clips:
        of_split[clip.split].update(values(clip))
    total = of_split["train"] + of_split["test"]
    most = max(total.values(), default=1)
    rows = "".join(
        f"<tr><td>{escape(value)}<td class=n>{count}<td class=n>{of_split['train'][value]}"
        f"<td class=n>{of_split['test'][value]}<td><span class=bar style='width:{90 * count / most:.0f}px'></span>"
        for value, count in total.most_common()
    )
    return f"<table><tr><th>{title}<th class=n>clips<th class=n>train<th class=n>test<th>{rows}</table>"


def _action_unit_names(clip: PreparedClip) -> list[str]:
    """Action units in the FACS code of a clip."""
    if not has_code(clip.row["facs"]):
        return ["no code"]
    try:
        units = parse_code(clip.row["facs"], alternatives="flag", others="leave_out")
    except ValueError:
        return ["unreadable code"]
    return [f"AU{unit}" for unit in sorted({unit.au for unit in units})] or ["others"]


def _clip_card(clip: PreparedClip, prepared: PreparedFolder) -> str:
    row = clip.row
    picture = base64.b64encode(prepared.thumbnail(clip.name).read_bytes()).decode()
    labels = [row["emotion"], row["facs"], f"{row['frames']} frames"]
    test = " class=test" if clip.split == "test" else ""
    return (
        f"<div class=clip><img loading=lazy alt='' src='data:image/jpeg;base64,{picture}'><b{test}>"
        f"{escape(clip.name)}</b><br>{escape(clip.subject)}, {clip.split}; "
        f"{escape(', '.join(label for label in labels if label))}</div>"
    )


def _html_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ("<tr>" + "".join(f"<td>{escape(cell)}" for cell in row) for row in rows)
    return "<table><tr>" + "".join(f"<th>{name}" for name in header) + "\n".join(lines) + "</table>"


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
