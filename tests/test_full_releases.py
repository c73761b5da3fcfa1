"""Releases with as many rows as the published ones, and their patterns of names: every clip and every code is read.

Names, times and codes are generated. Folders hold only the frames that the sheet names.
"""

import csv
import random
from collections.abc import Iterable, Sequence
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import openpyxl
import pytest

from faces.facs import parse_code
from preparation.clip_record import Listing
from preparation.readers import read_data_set

CODES = {
    "casme2": ("4", "4+7", "L12", "R2+15", "1+2", "12+15", "4+L10", "14+17", "R12", "7+12", "L14", "?"),
    "samm": (
        *("7B", "R14A", "R12 + R15", "L2", "A12", "7C+A12B", "A9E+ref(10)", "A1B+A2C", "(R6 or R12)+R15", "A/L12"),
        *("4D+ref(6)+7C+43E", "10A/B", "R14+17+soft focus", "B18+25", "T23", "T28+14", "24+T18+16", "12 or R14"),
    ),
    "casme3": ("4", "1+2", "4+7", "R10", "R12", "57", "61", "4+M58", "18", "1+2+5", "4+15+R10"),
    "mmew": ("4", "12L", "4R+7", "10R", "6+12", "1+2", "14", "4+7"),
    "dfme": ("4", "12", "4+7+AD38", "1+2+5+AD38+M58", "AD31", "4+24", "6+12", "1，2", "L10+15"),
}
SMIC_SUBJECTS = (*range(1, 7), 8, 9, *range(11, 16), 18, 19, 20)


@pytest.fixture
def choose() -> random.Random:
    return random.Random(0)


def write_rows(path: Path, rows: Iterable[Sequence[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


def write_folder(folder: Path, names: Iterable[str]) -> None:
    """Empty frames."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()


def times(choose: random.Random, longest: int) -> tuple[int, int, int]:
    """Onset, apex and offset."""
    onset = choose.randint(1, 9000)
    offset = onset + choose.randint(longest // 3, longest)
    return onset, choose.randint(onset + 1, offset), offset


def check(listing: Listing, count: int, subjects: int) -> None:
    """Check that every row became a clip and no code was lost."""
    assert len(listing.clips) == count
    assert not listing.left_out
    assert len({clip.name for clip in listing.clips}) == count
    assert len({clip.subject for clip in listing.clips}) == subjects
    assert not any("no FACS code: FACS code" in remark.done for clip in listing.clips for remark in clip.remarks)
    for code in {clip.facs for clip in listing.clips} - {None}:
        assert parse_code(code, alternatives="flag", others="leave_out") is not None


def test_all_255_clips_of_casme2_are_read(choose, tmp_path):
    rows: list[list[object]] = []
    for i in range(255):
        subject, film = i % 26 + 1, i // 26
        name = f"EP{film + 1:02d}{choose.choice(('f', '_01', '_02f', '_10f', '_1_2'))}"
        onset, apex, offset = times(choose, 100)
        rows.append(
            [f"{subject:02d}", name, "", onset, "/" if i < 21 else apex, offset, CODES["casme2"][i % 12], "fear"]
        )
        write_folder(
            tmp_path / f"CASME2_RAW_selected/sub{subject:02d}/{name}", (f"img{n}.jpg" for n in {onset, apex, offset})
        )
    rows[30][4] = rows[30][3]
    head = [
        "Subject",
        "Filename",
        "Unnamed: 2",
        "OnsetFrame",
        "ApexFrame",
        "OffsetFrame",
        "Action Units",
        "Estimated Emotion",
    ]
    write_rows(tmp_path / "CASME2-coding-20190701.csv", [head, *rows])
    listing = read_data_set("casme2", tmp_path)
    check(listing, 255, 26)
    assert sum(clip.apex is None for clip in listing.clips) == 21
    assert sum(clip.apex == clip.onset for clip in listing.clips) == 1
    assert sum(clip.facs is None for clip in listing.clips) == len(range(11, 255, 12)), "coded as ?"


def test_all_195_clips_of_casme_are_read(choose, tmp_path):
    iio.imwrite(tmp_path / "frame.png", np.zeros((2, 2, 3), np.uint8))
    rows: list[list[object]] = []
    for i in range(195):
        subject, name = i % 19 + 1, f"EP{i // 19 + 1:02d}_{choose.randint(1, 9)}{choose.choice(('', '_1', 'f'))}"
        onset, apex, offset = times(choose, 30)
        rows.append(
            [subject, name, "", onset, apex, apex + 1 if i % 10 == 0 else "", offset, "", CODES["casme2"][i % 11]]
        )
        rows[-1].append("disgust")
        folder = tmp_path / f"Cropped/sub{subject:02d}/{name}"
        folder.mkdir(parents=True)
        for n in {onset, apex, offset}:
            (folder / f"reg_img{n}.jpg").hardlink_to(tmp_path / "frame.png")
    head = [
        "Subject",
        "Filename",
        "Unnamed: 2",
        "OnsetF",
        "ApexF1",
        "ApexF2",
        "OffsetF",
        "Unnamed: 7",
        "AUs",
        "Emotion",
    ]
    write_rows(tmp_path / "CASME.csv", [head, *rows])
    listing = read_data_set("casme", tmp_path)
    check(listing, 195, 19)
    assert sum(", ApexF2: " in remark.found for clip in listing.clips for remark in clip.remarks) == 20


SQUARED_SUBJECTS = tuple(f"s{n}" for n in (15, 16, *range(19, 28), *range(29, 38), 38, 40))
SQUARED_VIDEOS = {"disgust1": "0101", "disgust2": "0102", "anger1": "0401", "anger2": "0402", "happy1": "0502"}


def write_squared(folder: Path, choose: random.Random) -> list[tuple[str, str, int, int, int]]:
    """Write the workbook of CAS(ME)^2, 300 macro- and 57 micro-expressions; returns folders and times of the latter."""
    book = openpyxl.Workbook()
    folders = []
    for i in range(357):
        at, video = i % 22, list(SQUARED_VIDEOS)[i // 22 % 5]
        name = f"{video}_{i // 110 + 1}"
        onset, apex, offset = times(choose, 15)
        kind = "micro-expression" if i % 6 == 0 and i < 342 else "macro-expression"
        book.active.append([at + 1, name, onset, apex, offset, "4+7", "negative", kind, "anger"])
        if kind.startswith("micro"):
            folders.append((SQUARED_SUBJECTS[at], name, onset, apex, offset))
    subjects, videos = book.create_sheet("naming rule2"), book.create_sheet("naming rule1")
    for at, subject in enumerate(SQUARED_SUBJECTS, 1):
        subjects.append([None, subject, at])
    for video, code in SQUARED_VIDEOS.items():
        videos.append([code, video])
    book.save(folder / "CAS(ME)^2code_final(Updated).xlsx")
    return folders


@pytest.mark.parametrize("recordings", [False, True], ids=["selectedpic", "rawpic"])
def test_all_57_micro_expressions_of_casme_squared_are_read(choose, tmp_path, recordings):
    for subject, name, *numbers in write_squared(tmp_path, choose):
        video = name.split("_")[0]
        where = (
            f"rawpic/{subject}/{subject[1:]}_{SQUARED_VIDEOS[video]}{video}films"
            if recordings
            else f"selectedpic/{subject}/{name}"
        )
        write_folder(tmp_path / where, (f"img{n}.jpg" for n in numbers))
    listing = read_data_set("casme-sq", tmp_path)
    assert len(listing.clips) == 57
    assert len({clip.name for clip in listing.clips}) == 57
    assert not listing.left_out
    assert [remark.found for remark in listing.remarks] == [
        "CAS(ME)^2code_final(Updated).xlsx: 300 rows whose type is not that of micro-expressions"
    ]


def test_all_159_micro_expressions_of_samm_long_videos_are_read(choose, tmp_path):
    head = [
        "Subject",
        "Filename",
        "Inducement Code",
        "Onset",
        "Apex",
        "Offset",
        "Duration",
        "Type",
        "Action Units",
        "Notes",
    ]
    rows: list[list[object]] = [["SAMM Long Videos"], *[[]] * 8, head]
    for i in range(502):
        subject, video = i % 30 + 6, i // 30 % 5 + 1
        onset, apex, offset = times(choose, 100)
        kind = "Macro" if i >= 159 else "Micro - 1/2"
        code = CODES["samm"][i % 18]
        rows.append(
            [subject, f"{subject:03d}_{video}_{i // 150 + 1}", 1, onset, apex, offset, offset - onset, kind, code]
        )
        if kind != "Macro":
            names = (f"{subject:03d}_{video}_{n:04d}.jpg" for n in {onset, apex, offset})
            write_folder(tmp_path / f"SAMM_longvideos/{subject:03d}_{video}", names)
    write_rows(tmp_path / "SAMM_LongVideos_V3_Release.csv", rows)
    listing = read_data_set("samm-long", tmp_path)
    check(listing, 159, 30)
    assert all(clip.facs for clip in listing.clips)


def test_all_159_clips_of_samm_are_read_and_no_code_is_lost(choose, tmp_path):
    rows: list[list[object]] = [["SAMM"], *[[]] * 12]
    rows.append(
        ["Subject", "Filename", "Inducement Code", "Onset Frame", "Apex Frame", "Offset Frame", "Duration", "Micro"]
    )
    rows[-1] += ["Action Units", "Estimated Emotion", "Objective Classes", "Notes"]
    for i in range(159):
        subject = i % 29 + 6
        name = f"{subject:03d}_{i // 29 + 1}_{choose.randint(1, 12)}"
        onset, apex, offset = times(choose, 100)
        rows.append(
            [
                subject,
                name,
                1,
                onset,
                apex,
                offset,
                offset - onset,
                "Micro - 1/2",
                CODES["samm"][i % 18],
                "Other",
                7,
                "",
            ]
        )
        digits = choose.choice((4, 5))
        names = (f"{subject:03d}_{n:0{digits}d}.jpg" for n in {onset, apex, offset})
        write_folder(tmp_path / f"SAMM/{subject:03d}/{name}", names)
    write_rows(tmp_path / "SAMM_20181215_Micro_FACS_Codes_v2.csv", rows)
    listing = read_data_set("samm", tmp_path)
    check(listing, 159, 29)
    assert all(clip.facs for clip in listing.clips)
    moving = [parse_code(clip.facs, alternatives="flag", others="leave_out") for clip in listing.clips]
    assert sum(not units for units in moving) == len(range(16, 159, 18)), "only 24+T18+16 moves nothing"


def smic_names(choose: random.Random, count: int) -> list[tuple[str, str, str]]:
    """Subject, emotion and clip; the numbers of the clips are those of the release: 70, 51 and 43 of 164."""
    emotions = [("negative", "ne")] * 70 + [("positive", "po")] * 51 + [("surprise", "sur")] * 43
    names = []
    for i, (emotion, code) in enumerate(emotions[:count]):
        subject = f"s{SMIC_SUBJECTS[i % 16]}"
        names.append((subject, emotion, f"{subject}_{code}_{i // 16 + 1:02d}"))
    return names


def test_all_164_clips_of_smic_are_read(choose, tmp_path):
    for subject, emotion, name in smic_names(choose, 164):
        first = choose.randint(10**7, 9 * 10**7)
        names = (f"image{n}.bmp" for n in range(first, first + 11))
        write_folder(tmp_path / f"SMIC_all_raw/HS/{subject}/micro/{emotion}/{name}", names)
    listing = read_data_set("smic-hs", tmp_path)
    check(listing, 164, 16)
    counts = [
        sum(clip.emotion == emotion for clip in listing.clips) for emotion in ("negative", "positive", "surprise")
    ]
    assert counts == [70, 51, 43]


def test_all_166_movements_of_the_157_clips_of_smic_extended_are_read(choose, tmp_path):
    movements = [f"{edge}{i}F" for i in ("", 2, 3) for edge in ("Onset", "Offset")]
    rows: list[list[object]] = [["Subject", "Filename", *movements, "FirstF", "LastF", "TotalVL", "Emotion"]]
    for i, (subject, emotion, name) in enumerate(smic_names(choose, 157)):
        first = choose.randint(10**7, 9 * 10**7)
        edges: list[object] = [first + n for n in (30, 50, 70, 95, 110, 130)]
        shown = 6 if i == 5 else 4 if i < 8 else 2
        rows.append([subject, name, *edges[:shown], *[""] * (6 - shown), first, first + 239, 240, emotion])
        names = (f"image{n}.jpg" for n in (first, *edges, first + 239))
        write_folder(tmp_path / f"SMIC-E_raw image/HS_long/SMIC-HS-E/{subject}/{name}", names)
    write_rows(tmp_path / "SMIC-E_raw image/HS_long/SMIC-HS-E_annotation.csv", rows)
    listing = read_data_set("smic-hs-e", tmp_path / "SMIC-E_raw image")
    check(listing, 166, 16)
    assert len({clip.source for clip in listing.clips}) == 157


def test_all_860_clips_of_casme3_are_read(choose, tmp_path):
    rows: list[list[object]] = [["Subject", "Filename", "Onset", "Apex", "Offset", "AU", "Objective class", "emotion"]]
    for i in range(860):
        subject, recording = f"spNO.{i % 94 + 1}", "abcdefghijklm"[i // 94 % 5]
        onset, apex, offset = times(choose, 14)
        apex = onset if i % 16 == 0 and i < 55 * 16 else apex
        folder = subject.replace("NO", "No") if i % 94 == 0 else subject
        write_folder(tmp_path / f"part_A/data/{folder}/{recording}/color", (f"{n}.jpg" for n in {onset, apex, offset}))
        rows.append(
            [subject, recording, onset, apex, 0 if i == 796 else offset, CODES["casme3"][i % 11], "III", "fear"]
        )
        if i == 796:
            rows[-1][2:5] = [1812, 1824, 0]
            write_folder(tmp_path / f"part_A/data/{folder}/{recording}/color", ("1812.jpg", "1824.jpg", "1845.jpg"))
    write_rows(tmp_path / "cas(me)3_part_A_ME_label_JpgIndex_v2.csv", rows)
    listing = read_data_set("casme3", tmp_path)
    check(listing, 860, 94)
    assert sum(clip.apex == clip.onset for clip in listing.clips) == 54
    assert sum("1845 (tvaranka/meb" in remark.done for clip in listing.clips for remark in clip.remarks) == 1


def test_all_166_clips_of_casme3_part_c_are_read(choose, tmp_path):
    rows: list[list[object]] = [["sub", "count", "onset", "offset", "au"]]
    for i in range(166):
        subject, count = 201 + i % 31, i // 31 + 1
        onset, _, offset = times(choose, 14)
        rows.append(
            [f"spNO.{subject}", count, onset, offset, "4\N{FULLWIDTH COMMA}7" if i == 16 else CODES["casme3"][i % 5]]
        )
        write_folder(tmp_path / f"part_C/{subject}/{count}/color", (f"{n}.jpg" for n in (onset, offset)))
    write_rows(tmp_path / "CAS(ME)3_part_C_ME.csv", rows)
    check(read_data_set("casme3-c", tmp_path), 166, 31)


def test_all_300_clips_of_mmew_are_read(choose, tmp_path):
    rows: list[list[object]] = [["Subject", "Filename", "OnsetFrame", "ApexFrame", "OffsetFrame", "Action Units"]]
    rows[0] += ["Estimated Emotion", "remarks"]
    for i in range(300):
        subject, emotion = i % 36 + 1, ("happiness", "anger", "surprise", "disgust", "fear", "sadness", "others")[i % 7]
        name = f"S{subject:02d}-{i // 36 + 1:02d}-{choose.randint(1, 9):03d}"
        onset, apex, offset = times(choose, 45)
        rows.append([subject, name, onset, apex, offset, CODES["mmew"][i % 8], emotion, ""])
        write_folder(tmp_path / f"MMEW/Micro_Expression/{emotion}/{name}", (f"{n}.jpg" for n in {onset, apex, offset}))
    write_rows(tmp_path / "MMEW_Micro_Exp.csv", rows)
    check(read_data_set("mmew", tmp_path), 300, 36)


def test_all_2629_clips_of_dfme_are_read(choose, tmp_path):
    iio.imwrite(tmp_path / "frame.png", np.zeros((8, 8, 3), np.uint8))
    head = ["Subject", "Filename", "OnsetFrame", "ApexFrame", "OffsetFrame", "Emotion", "EmotionId", "Fps", "AU"]
    first = 1
    for part, count, subjects in (("training", 1856, 176), ("testA", 474, 42), ("testB", 299, 41)):
        rows: list[list[object]] = [head]
        for i in range(count):
            subject = f"sub{first + i % subjects:04d}"
            name, fps = f"{subject}_{i // subjects + 1:02d}", choose.choice((200, 300, 500))
            onset, apex, offset = sorted(choose.sample(range(1, 100), 3))
            rows.append([subject, name, onset, apex, offset, "Fear", 3, fps, CODES["dfme"][i % 9]])
            folder = tmp_path / part / name
            folder.mkdir(parents=True)
            for n in (onset, apex, offset):
                (folder / f"{n}.png").hardlink_to(tmp_path / "frame.png")
        write_rows(tmp_path / f"DFME_{part}.csv", rows)
        first += subjects
    check(read_data_set("dfme", tmp_path), 2629, 259)
