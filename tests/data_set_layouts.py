"""Miniature copies of the data sets' layouts: folders, frame names and coding sheets as documented, made-up content."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import openpyxl

Draw = Callable[[str, int], np.ndarray]
"""Draws a frame of a clip: its name in the record, the frame from 0 -> uint8 (H, W, 3) RGB."""
Table = list[list[Any]]
Edit = Callable[[Table], None]
"""Changes a sheet, header included, before it is written."""


def draw_noise(clip: str, frame: int) -> np.ndarray:
    """A small picture of colours that depend on clip and frame."""
    return np.random.default_rng([frame, *clip.encode()]).integers(0, 256, (12, 16, 3), np.uint8)


@dataclass(frozen=True)
class Mini:
    """One clip. The numbers of its frames begin at `first`.

    Attributes:
        subject: as the sheet has it.
        name: of the folder, as the sheet has it.
        code: FACS code.
        onset: number of the frame; the apex is 3 frames later, the offset `length` - 1.
        length: frames from onset to offset.
        around: frames before the onset and after the offset.
        emotion: as sheets have it, in folder names negative, positive or surprise.
    """

    subject: str
    name: str
    code: Any = "4"
    onset: int = 96
    length: int = 8
    around: int = 0
    emotion: str = "surprise"

    @property
    def apex(self) -> int:
        """Number of the frame."""
        return self.onset + 3

    @property
    def offset(self) -> int:
        """Number of the frame."""
        return self.onset + self.length - 1

    @property
    def numbers(self) -> range:
        """Of all its frames; 96 to 103 shows that 100 comes after 99."""
        return range(self.onset - self.around, self.offset + self.around + 1)


CASME_CLIPS = (
    Mini("1", "EP01_5", "4+L9", 1, emotion="disgust"),
    Mini("8", "EP12_2_1", "L14", 40, emotion="contempt"),
)
CASME2_CLIPS = (
    Mini("01", "EP02_01f", "4+7", emotion="disgust"),
    Mini("01", "EP03_02", 12, emotion="happiness"),
    Mini("02", "EP09_10f", "L12", emotion="happiness"),
    Mini("17", "EP01_13", "R2+15", emotion="surprise"),
)
SAMM_CLIPS = (
    Mini("006", "006_1_2", "7B", 9996, emotion="Anger"),
    Mini("006", "006_1_10", "R14A", 5562, emotion="Contempt"),
    Mini("022", "022_3_3", "R12 + L15C", 700, emotion="Sadness"),
)
CASME_SQUARED_CLIPS = (
    Mini("1", "anger1_1", "4+7", 96, emotion="negative"),
    Mini("7", "happy3_2", "R12", 550, emotion="positive"),
)
SAMM_LONG_CLIPS = (
    Mini("031", "031_2_3", "4B", 96, around=4),
    Mini("031", "031_2_5", "L12 + R14", 300, around=4),
    Mini("036", "036_7_1", "14", 996, around=2),
)
SMIC_CLIPS = (
    Mini("s1", "s1_ne_01", emotion="negative", onset=17597115),
    Mini("s3", "s3_po_05", emotion="positive", onset=95),
    Mini("s20", "s20_sur_01", emotion="surprise", onset=1),
)
CASME3_CLIPS = (
    Mini("spNO.1", "a", "4", 3, around=2, emotion="disgust"),
    Mini("spNO.2", "h", "1+2", 96, around=6, emotion="fear"),
)
CASME3_C_CLIPS = (
    Mini("spNO.216", "1", "4+7", 96, around=5),
    Mini("spNO.216", "2", "12", 8),
    Mini("spNO.230", "1", "1\N{FULLWIDTH COMMA}2", 1),
)
MMEW_CLIPS = (
    Mini("1", "S01-02-001", "6+12", 1, emotion="happiness"),
    Mini("2", "S02-01-003", "4", 1, emotion="anger"),
)
FOUR_DME_CLIPS = (
    Mini("2", "2_01_a", "4(k)+7", 1, emotion="Negative"),
    Mini("11", "11_02_b", "12", 1, emotion="Positive"),
)
DFME_CLIPS = (
    Mini("sub0008", "sub0008_01", "4+24", 1, emotion="Disgust"),
    Mini("sub0009", "sub0009_12", "12", 1, emotion="Happiness"),
)
MEB_CLIPS = (
    Mini("person1", "first", "4", 1),
    Mini("person2", "second", "12", 96),
)


def write_frames(folder: Path, clip: str, numbers: Sequence[int], name: str, draw: Draw, *, grey: bool = False) -> None:
    """Write frames whose names hold their numbers, as `img{}.jpg`."""
    folder.mkdir(parents=True, exist_ok=True)
    for frame, number in enumerate(numbers):
        picture = draw(clip, frame)
        picture = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY if grey else cv2.COLOR_RGB2BGR)
        assert cv2.imwrite(str(folder / name.format(number)), picture)


def write_sheet(path: Path, table: Table, tab: str = "Sheet1", edit: Edit | None = None) -> None:
    """Write an .xlsx workbook, or a .csv file."""
    if edit:
        edit(table)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".csv":
        lines = [",".join("" if cell is None else str(cell) for cell in row) for row in table]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return
    book = openpyxl.Workbook()
    book.active.title = tab
    for row in table:
        book.active.append(row)
    book.save(path)


def write_old_workbook(path: Path, table: Table) -> None:
    """Write an .xls file of the oldest kind (BIFF2), whose numbers are all floating-point as in later ones."""

    def record(kind: int, content: bytes) -> bytes:
        return kind.to_bytes(2, "little") + len(content).to_bytes(2, "little") + content

    content = record(0x0009, b"\x07\x00\x10\x00")
    for y, row in enumerate(table):
        for x, cell in enumerate(row):
            place = y.to_bytes(2, "little") + x.to_bytes(2, "little") + bytes(3)
            if isinstance(cell, str):
                text = cell.encode("ascii")
                content += record(0x0004, place + bytes([len(text)]) + text)
            elif cell is not None:
                content += record(0x0003, place + np.float64(cell).tobytes())
    path.write_bytes(content + record(0x000A, b""))


def make_casme(
    root: Path, clips: Sequence[Mini] = CASME_CLIPS, *, draw: Draw = draw_noise, edit: Edit | None = None
) -> Path:
    """CASME: cropped clips; the sheet has two columns for the apex and blank ones."""
    for c in clips:
        folder = root / "Cropped" / f"sub{int(c.subject):02d}" / c.name
        write_frames(folder, f"casme-sub{int(c.subject):02d}_{c.name}", c.numbers, "reg_img{}.jpg", draw)
    table: Table = [["Subject", "Filename", "OnsetF", "ApexF1", "ApexF2", "OffsetF", "AUs", "Emotion"]]
    table += [[int(c.subject), c.name, c.onset, c.apex, None, c.offset, c.code, c.emotion] for c in clips]
    write_sheet(root / "CASME.xlsx", table, edit=edit)
    return root


def make_casme2(
    root: Path,
    clips: Sequence[Mini] = CASME2_CLIPS,
    *,
    draw: Draw = draw_noise,
    release: str = "CASME2_RAW_selected",
    frame: str = "img{}.jpg",
    edition: str = "20190701",
    blank_columns: bool = False,
    edit: Edit | None = None,
) -> Path:
    """CASME II: raw, selected or cropped (`Cropped`, `reg_img{}.jpg`), with one of the two coding sheets."""
    for clip in clips:
        name = f"sub{clip.subject}_{clip.name}"
        write_frames(root / release / f"sub{clip.subject}" / clip.name, name, clip.numbers, frame, draw)
    table: Table = [
        ["Subject", "Filename", "OnsetFrame", "ApexFrame", "OffsetFrame", "Action Units", "Estimated Emotion"]
    ]
    for c in clips:
        subject = c.subject if edition == "20190701" else int(c.subject)
        table.append([subject, c.name, c.onset, c.apex, c.offset, c.code, c.emotion])
    if blank_columns:
        table = [[*row[:2], None, *row[2:5], None, *row[5:]] for row in table]
    write_sheet(root / f"CASME2-coding-{edition}.xlsx", table, edit=edit)
    return root


def make_casme_squared(
    root: Path,
    clips: Sequence[Mini] = CASME_SQUARED_CLIPS,
    *,
    draw: Draw = draw_noise,
    recordings: bool = False,
    header: bool = False,
    edit: Edit | None = None,
) -> Path:
    """CAS(ME)^2: clips, or recordings; the sheet has no header as distributed, and tabs that name the folders of
    subjects 1, 2, ... (s15, s16, ...) and of videos (`anger1` is 0401)."""
    folders = {c.subject: f"s{int(c.subject) + 14}" for c in clips}
    codes = {c.name.rsplit("_", 1)[0]: f"{400 + at:04d}" for at, c in enumerate(clips, 1)}
    for c in clips:
        folder, name, video = folders[c.subject], c.name, c.name.rsplit("_", 1)[0]
        if recordings:
            where = root / "rawpic" / folder / f"{folder[1:]}_{codes[video]}{video}films"
            write_frames(where, f"casme-sq-{folder}_{codes[video]}_{c.onset}", c.numbers, "img{}.jpg", draw)
        else:
            write_frames(
                root / "selectedpic" / folder / name, f"casme-sq-{folder}_{name}", c.numbers, "img{}.jpg", draw
            )
    table: Table = [["subject", "video", "onset", "apex", "offset", "AU", "emotion", "type", "self-report"]]
    for c in clips:
        row = [int(c.subject), c.name, c.onset, c.apex, c.offset, c.code, c.emotion, "micro-expression", "anger"]
        table.append(row)
    path = root / "CAS(ME)^2code_final(Updated).xlsx"
    write_sheet(path, table if header else table[1:], "CASFEcode_final", edit)
    book = openpyxl.load_workbook(path)
    subjects, videos = book.create_sheet("naming rule2"), book.create_sheet("naming rule1")
    for subject, folder in folders.items():
        subjects.append([None, folder, int(subject)])
    for video, code in codes.items():
        videos.append([code, video])
    book.save(path)
    return root


SAMM_COLUMNS = (
    *("Subject", "Filename", "Inducement Code", "Onset Frame", "Apex Frame", "Offset Frame", "Duration", "Micro"),
    *("Action Units", "Estimated Emotion", "Objective Classes", "Notes"),
)


def make_samm(
    root: Path,
    clips: Sequence[Mini] = SAMM_CLIPS,
    *,
    draw: Draw = draw_noise,
    folder: str = "SAMM",
    digits: int = 5,
    edit: Edit | None = None,
) -> Path:
    """SAMM: grey frames, a sheet with 13 rows above its header and a second tab."""
    for clip in clips:
        where = root / folder / clip.subject / clip.name
        write_frames(where, clip.name, clip.numbers, f"{clip.subject}_{{:0{digits}d}}.jpg", draw, grey=True)
    table: Table = [["SAMM" if line == 0 else None, f"note {line}"] for line in range(13)]
    table.append(list(SAMM_COLUMNS))
    for c in clips:
        times = [c.onset, c.apex, c.offset, c.length, "Micro - 1/2"]
        table.append([int(c.subject), c.name, 3, *times, c.code, c.emotion, 7, None])
    path = root / "SAMM_Micro_FACS_Codes_v2.xlsx"
    write_sheet(path, table, "MICRO_ONLY", edit)
    book = openpyxl.load_workbook(path)
    book.create_sheet("ALL", 0)
    book.save(path)
    return root


SAMM_LONG_COLUMNS = (
    *("Subject", "Filename", "Inducement Code", "Onset", "Apex", "Offset", "Duration", "Type", "Action Units", "Notes"),
)


def make_samm_long(
    root: Path, clips: Sequence[Mini] = SAMM_LONG_CLIPS, *, draw: Draw = draw_noise, edit: Edit | None = None
) -> Path:
    """SAMM Long Videos: grey recordings, a sheet with 9 rows above its header."""
    for c in clips:
        video = c.name.rsplit("_", 1)[0]
        name = f"{video}_long_{c.onset}"
        write_frames(root / "SAMM_longvideos" / video, name, c.numbers, f"{video}_{{:04d}}.jpg", draw, grey=True)
    table: Table = [["SAMM Long Videos" if line == 0 else None, f"note {line}"] for line in range(9)]
    table.append(list(SAMM_LONG_COLUMNS))
    for c in clips:
        times = [c.onset, c.apex, c.offset, c.length]
        table.append([int(c.subject), c.name, 3, *times, "Micro - 1/2", c.code, None])
    write_sheet(root / "SAMM_LongVideos_V2_Release.xlsx", table, edit=edit)
    return root


def make_smic_hs(
    root: Path,
    clips: Sequence[Mini] = SMIC_CLIPS,
    *,
    draw: Draw = draw_noise,
    release: str = "SMIC_all_raw",
    camera: str = "HS",
    frame: str = "image{}.bmp",
) -> Path:
    """SMIC-HS: raw or cropped (`SMIC_all_cropped`, `reg_image{}.bmp`), without any sheet; other cameras likewise."""
    for clip in clips:
        where = root / release / camera / clip.subject / "micro" / clip.emotion / clip.name
        write_frames(where, clip.name, clip.numbers, frame, draw)
    return root


def make_smic_hs_e(
    root: Path, clips: Sequence[Mini] = SMIC_CLIPS, *, draw: Draw = draw_noise, edit: Edit | None = None
) -> Path:
    """SMIC-HS-E: frames before and after the movement where `around` says so."""
    base = root / "SMIC-E_raw image" / "HS_long" / "SMIC-HS-E"
    for clip in clips:
        write_frames(base / clip.subject / clip.name, f"{clip.name}_e", clip.numbers, "image{:08d}.jpg", draw)
    table: Table = [["Filename", "OnsetF", "OffsetF", "Emotion"]]
    table += [[c.name, c.onset, c.offset, c.emotion] for c in clips]
    write_sheet(root / "SMIC-HS-E_annotation_2019.xlsx", table, edit=edit)
    return root


def make_casme3(
    root: Path,
    clips: Sequence[Mini] = CASME3_CLIPS,
    *,
    draw: Draw = draw_noise,
    folders: dict[str, str] | None = None,
    sheet: str = "cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx",
    edit: Edit | None = None,
) -> Path:
    """Part A of CAS(ME)^3: whole recordings with depth beside colour.

    Args:
        folders: subjects whose folders are spelled otherwise than in the sheet.
    """
    base = root / "part_A" / "data" / "part_A_split" / "part_A"
    recordings: dict[tuple[str, str], list[Mini]] = {}
    for clip in clips:
        recordings.setdefault((clip.subject, clip.name), []).append(clip)
    for (subject, name), same in recordings.items():
        where = base / (folders or {}).get(subject, subject) / name
        numbers = range(min(c.numbers[0] for c in same), max(c.numbers[-1] for c in same) + 1)
        write_frames(where / "color", f"{subject.replace('.', '')}_{name}", numbers, "{}.jpg", draw)
        write_frames(where / "depth", "depth", numbers[:1], "{}.png", draw_noise)
    table: Table = [["Subject", "Filename", "Onset", "Apex", "Offset", "AU", "Objective class", "emotion"]]
    table += [[c.subject, c.name, c.onset, c.apex, c.offset, c.code, 1, c.emotion] for c in clips]
    if sheet.endswith(".xls"):
        if edit:
            edit(table)
        write_old_workbook(root / sheet, table)
    else:
        write_sheet(root / sheet, table, "label", edit)
    return root


def make_casme3_c(
    root: Path,
    clips: Sequence[Mini] = CASME3_C_CLIPS,
    *,
    draw: Draw = draw_noise,
    folder: str = "{subject}/{name}/color",
    edit: Edit | None = None,
) -> Path:
    """Part C of CAS(ME)^3: one folder per clip, or per subject."""
    for c in clips:
        where = root / "part_C" / folder.format(subject=c.subject, name=c.name)
        name = f"{c.subject.replace('.', '')}_c{c.name if '{name}' in folder else ''}_{c.onset}"
        write_frames(where, name, c.numbers, "{}.jpg", draw)
    table: Table = [["sub", "count", "onset", "offset", "au"]]
    table += [[c.subject, int(c.name), c.onset, c.offset, c.code] for c in clips]
    write_sheet(root / "CAS(ME)3_part_C_ME.xlsx", table, edit=edit)
    return root


def make_mmew(
    root: Path, clips: Sequence[Mini] = MMEW_CLIPS, *, draw: Draw = draw_noise, edit: Edit | None = None
) -> Path:
    """MMEW: emotion first, macro-expressions beside."""
    for clip in clips:
        subject, rest = clip.name.split("-", 1)
        where = root / "MMEW" / "Micro_Expression" / clip.emotion / clip.name
        write_frames(where, f"mmew-s{int(subject[1:])}_{rest}", clip.numbers, "{}.jpg", draw)
        write_frames(
            root / "MMEW" / "Macro_Expression" / f"S{clip.subject}" / clip.emotion, "macro", [1], "{}.jpg", draw
        )
    table: Table = [
        [
            "Subject",
            "Filename",
            "OnsetFrame",
            "ApexFrame",
            "OffsetFrame",
            "Action Units",
            "Estimated Emotion",
            "remarks",
        ]
    ]
    table += [[c.subject, c.name, c.onset, c.apex, c.offset, c.code, c.emotion, None] for c in clips]
    write_sheet(root / "MMEW_Micro_Exp.xlsx", table, edit=edit)
    return root


def make_4dme(
    root: Path, clips: Sequence[Mini] = FOUR_DME_CLIPS, *, draw: Draw = draw_noise, edit: Edit | None = None
) -> Path:
    """4DME: grey clips; the sheet has further columns."""
    for clip in clips:
        where = root / "gray_micro" / clip.subject / clip.name
        write_frames(where, f"4dme-{clip.subject}_{clip.name}", clip.numbers, "{}.jpg", draw, grey=True)
    table: Table = [["sub_ID", "fold_name", "Emotion", "Onset", "Apex", "Offset", "AUs", "AU4", "eye blink", "fold"]]
    table += [[int(c.subject), c.name, c.emotion, c.onset, c.apex, c.offset, c.code, 1, 0, 1] for c in clips]
    write_sheet(root / "4DME_Labelling_Micro_release v1.xlsx", table, edit=edit)
    return root


def make_dfme(
    root: Path, clips: Sequence[Mini] = DFME_CLIPS, *, draw: Draw = draw_noise, edit: Edit | None = None
) -> Path:
    """DFME: sheets of a training and a test part; the first half of the clips is in the training part."""
    half = (len(clips) + 1) // 2
    for part, some in (("training", clips[:half]), ("testA", clips[half:])):
        for clip in some:
            write_frames(root / part / clip.name, f"dfme-{clip.name}", clip.numbers, "{}.png", draw)
        table: Table = [
            *[["Subject", "Filename", "OnsetFrame", "ApexFrame", "OffsetFrame", "Emotion", "EmotionId", "Fps", "AU"]],
            *[[c.subject, c.name, c.onset, c.apex, c.offset, c.emotion, 1, 500, c.code] for c in some],
        ]
        write_sheet(root / f"DFME_{part}.xlsx", table, edit=edit)
    return root


def make_meb(
    root: Path,
    clips: Sequence[Mini] = MEB_CLIPS,
    *,
    draw: Draw = draw_noise,
    folder: str = "{subject}/{name}",
    edit: Edit | None = None,
) -> Path:
    """Folders and a sheet as for MEB."""
    for c in clips:
        where = root / "clips" / folder.format(subject=c.subject, name=c.name, emotion=c.emotion)
        write_frames(where, f"{c.subject}_{c.name}", c.numbers, "{}.jpg", draw)
    table: Table = [["subject", "material", "onset", "apex", "offset", "AU", "emotion", "fps"]]
    table += [[c.subject, c.name, c.onset, c.apex, c.offset, c.code, c.emotion, 100] for c in clips]
    write_sheet(root / "labels.xlsx", table, edit=edit)
    return root


MAKERS = {
    "casme": make_casme,
    "casme2": make_casme2,
    "casme-sq": make_casme_squared,
    "samm": make_samm,
    "samm-long": make_samm_long,
    "smic-hs": make_smic_hs,
    "smic-hs-e": make_smic_hs_e,
    "casme3": make_casme3,
    "casme3-c": make_casme3_c,
    "mmew": make_mmew,
    "4dme": make_4dme,
    "dfme": make_dfme,
    "meb": make_meb,
}
"""Makes the layout of each data set."""
