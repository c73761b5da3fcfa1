"""`report.html` and `contact_sheet.png`: what was prepared, what was put right, what was left out and why."""

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
from preparation.clip_record import LeftOut, Repair
from preparation.output import SPLITS, Output
from preparation.tables import PreparedClip

SHEET_COLUMNS, SHEET_CLIPS = 5, 100  # clips in a row of the contact sheet, and on it
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
    repairs: Sequence[Repair],
    params: PrepareParams,
    output: Output,
) -> Path:
    """Write report and contact sheet, where they are not there already.

    Args:
        clips: that were prepared.
        left_out: what was not.
        repairs: of the data set as a whole.
    Returns:
        The report's path.
    """
    subjects = len({clip.record.subject for clip in clips})
    frames = sum(len(clip.task.timing.times) for clip in clips)
    parts = [
        f"<h1>{escape(params.data_set)}: {len(clips)} clips prepared, {len(left_out)} left out</h1>",
        f"<p class=note>{subjects} subjects, {frames} frames; from {escape(params.root_dir.as_posix())}</p>",
        _left_out(left_out),
        "<h2>Clips by</h2><div class=counts>",
        _counts("emotion", clips, lambda clip: [clip.record.emotion or "not said"]),
        _counts("action unit", clips, _action_units),
        _counts("subject", clips, lambda clip: [clip.record.subject]),
        "</div>",
        _remarks(clips, repairs),
        "<h2>Clips</h2><p class=note>Onset with its landmarks, and apex, or the frame farthest from the onset where "
        "the release gives none.</p><div class=clips>",
        *(_clip(clip, output) for clip in clips),
        "</div>",
    ]
    head = f"<meta charset=utf-8><title>{escape(params.data_set)}</title><style>{_STYLE}</style>"
    path = output.folder / "report.html"
    body = "\n".join(parts)
    write_text(path, f"<!doctype html><html lang=en><head>{head}</head><body>\n{body}\n</body></html>\n")
    if clips:
        write_bytes(output.folder / "contact_sheet.png", _contact_sheet(clips[:SHEET_CLIPS], output))
    return path


def _left_out(left_out: Sequence[LeftOut]) -> str:
    if not left_out:
        return "<h2>Left out</h2><p>Nothing.</p>"
    return "<h2>Left out</h2>" + _table(("what", "why"), ((one.name, one.reason) for one in left_out))


def _remarks(clips: Sequence[PreparedClip], repairs: Sequence[Repair]) -> str:
    rows = [
        *(("the data set", repair.what, repair.done) for repair in repairs),
        *((clip.record.name, remark.what, remark.done) for clip in clips for remark in clip.remarks),
    ]
    if not rows:
        return "<h2>Put right or decided</h2><p>Nothing.</p>"
    return "<h2>Put right or decided</h2>" + _table(("clip", "found", "done"), rows)


def _counts(title: str, clips: Sequence[PreparedClip], values: Callable[[PreparedClip], Iterable[str]]) -> str:
    """Number of clips by a property, of training and of test, the most frequent first."""
    of_split = {split: Counter[str]() for split in SPLITS}
    for clip in clips:
        of_split[clip.task.split].update(values(clip))
    total = of_split["train"] + of_split["test"]
    most = max(total.values(), default=1)
    rows = "".join(
        f"<tr><td>{escape(value)}<td class=n>{count}<td class=n>{of_split['train'][value]}"
        f"<td class=n>{of_split['test'][value]}<td><span class=bar style='width:{90 * count / most:.0f}px'></span>"
        for value, count in total.most_common()
    )
    return f"<table><tr><th>{title}<th class=n>clips<th class=n>train<th class=n>test<th>{rows}</table>"


def _action_units(clip: PreparedClip) -> list[str]:
    """Action units that a clip's code names, however it writes them."""
    if not clip.task.has_code:
        return ["no code"]
    try:
        units = parse_code(clip.record.facs or "", alternatives="flag", others="leave_out")
    except ValueError:
        return ["unreadable code"]
    return [f"AU{unit}" for unit in sorted({unit.au for unit in units})] or ["others"]


def _clip(clip: PreparedClip, output: Output) -> str:
    record, timing = clip.record, clip.task.timing
    picture = base64.b64encode(output.thumbnail(record.name).read_bytes()).decode()
    said = [record.emotion, record.facs, f"{len(timing.times)} frames"]
    test = " class=test" if clip.task.split == "test" else ""
    return (
        f"<div class=clip><img loading=lazy alt='' src='data:image/jpeg;base64,{picture}'><b{test}>"
        f"{escape(record.name)}</b><br>{escape(record.subject)}, {clip.task.split}; "
        f"{escape(', '.join(part for part in said if part))}</div>"
    )


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ("<tr>" + "".join(f"<td>{escape(cell)}" for cell in row) for row in rows)
    return "<table><tr>" + "".join(f"<th>{name}" for name in header) + "\n".join(lines) + "</table>"


def _contact_sheet(clips: Sequence[PreparedClip], output: Output) -> bytes:
    """The thumbnails with their names, as PNG."""
    rows = -(-len(clips) // SHEET_COLUMNS)
    width, height = 2 * THUMBNAIL + 6, THUMBNAIL + LABEL + 6
    sheet = Image.new("RGB", (SHEET_COLUMNS * width, rows * height), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for number, clip in enumerate(clips):
        x, y = number % SHEET_COLUMNS * width, number // SHEET_COLUMNS * height
        with Image.open(output.thumbnail(clip.record.name)) as thumbnail:
            sheet.paste(thumbnail, (x, y + LABEL))
        draw.text((x + 2, y + 1), clip.record.name, "black", font)
    picture = cv2.cvtColor(np.asarray(sheet), cv2.COLOR_RGB2BGR)
    return cv2.imencode(".png", picture)[1].tobytes()
