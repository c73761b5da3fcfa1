import os
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import get_args

import imageio.v3 as iio
import numpy as np
import openpyxl
import pandas as pd
import pytest

from clips.files import subject_of
from config.preparation import PrepareParams
from errors import UserError
from faces.action_units import ACTION_UNITS
from faces.facs import parse_code
from faces.landmarks import read_landmarks
from preparation.action_units import coded_curves
from preparation.clip_record import ClipRecord, Listing
from preparation.readers import KINDS, data_sets, read_data_set
from preparation.readers.data_sets import DATA_SETS
from preparation.timing import clip_timing
from tests import data_set_layouts
from tests.conftest import face_landmarks, write_clip
from tests.data_set_layouts import (
    CASME2_CLIPS,
    CASME3_CLIPS,
    FOUR_DME_CLIPS,
    MAKERS,
    SAMM_CLIPS,
    SMIC_CLIPS,
    Mini,
    draw_noise,
    make_4dme,
    make_casme2,
    make_casme3,
    make_dfme,
    make_mmew,
    make_samm,
    make_smic_hs,
    make_smic_hs_e,
    write_frames,
    write_sheet,
)

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "data"


def named(listing: Listing) -> dict[str, ClipRecord]:
    return {clip.name: clip for clip in listing.clips}


def remarks(clip: ClipRecord) -> list[tuple[str, str]]:
    return [(remark.found, remark.done) for remark in clip.remarks]


def reasons(listing: Listing) -> dict[str, str]:
    assert all("\n" not in out.reason for out in listing.left_out)
    return {out.name: out.reason for out in listing.left_out}


def set_cell(row: int, column: str, value: object):
    """An edit of one cell; rows as spreadsheet programs count them."""

    def edit(table):
        header = next(line for line in table if column in line)
        table[row - 1][header.index(column)] = value

    return edit


SMIC = ("smic-hs", "smic-hs-e")


# --- every reader -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", MAKERS)
def test_every_data_set_is_read_completely(kind, tmp_path):
    listing = read_data_set(kind, MAKERS[kind](tmp_path / "set"))
    again = read_data_set(kind, tmp_path / "set")
    assert listing == again
    assert not listing.left_out
    assert not listing.remarks
    assert len(listing.clips) in (2, 3, 4)
    for clip in listing.clips:
        assert clip.data_set == kind
        assert subject_of(clip.name) == clip.subject
        assert [int("".join(filter(str.isdigit, p.stem))[-8:]) % 10**4 for p in clip.frames] == [
            n % 10**4 for n in clip.frame_numbers
        ]
        assert clip.frame_numbers == tuple(range(clip.onset, clip.offset + 1))
        assert all(path.is_file() for path in clip.frames)
        assert clip.apex is None if kind in (*SMIC, "casme3-c") else clip.onset < clip.apex < clip.offset
        assert clip.facs is None if kind in SMIC else parse_code(clip.facs, alternatives="flag", others="leave_out")
        assert clip.emotion is None if kind in ("samm-long", "casme3-c") else clip.emotion


def test_every_data_set_has_its_config_and_its_miniature():
    assert get_args(PrepareParams.model_fields["data_set"].annotation) == KINDS
    assert {path.stem for path in (ROOT / "config").glob("prepare-*.yaml")} == {f"prepare-{kind}" for kind in KINDS}
    assert list(MAKERS) == list(data_sets.DATA_SETS)


def test_the_example_of_adding_a_data_set_is_read(tmp_path, monkeypatch):
    page = (ROOT / "docs" / "adding_a_data_set.md").read_text(encoding="utf-8")
    description, maker = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    readers, layouts = dict(vars(data_sets)), dict(vars(data_set_layouts))
    exec(description, readers)
    exec(maker, layouts)
    monkeypatch.setitem(data_sets.DATA_SETS, "exdb", readers["EXDB"])
    listing = read_data_set("exdb", layouts["make_exdb"](tmp_path))
    assert not listing.left_out
    assert [(clip.name, clip.apex, clip.facs) for clip in listing.clips] == [
        ("exdb-p7_clip3", 4, "4+7"),
        ("exdb-p12_clip1", 99, "L12"),
    ]


def test_names_and_subjects_are_unique_in_all_data_sets(tmp_path):
    listings = {kind: read_data_set(kind, make(tmp_path / kind)) for kind, make in MAKERS.items()}
    names = [clip.name for listing in listings.values() for clip in listing.clips]
    assert len(set(names)) == len(names)
    subjects = {kind: {clip.subject for clip in listing.clips} for kind, listing in listings.items()}
    assert subjects["smic-hs"] == subjects["smic-hs-e"] == {"s1", "s3", "s20"}, "these are the same people"
    del subjects["smic-hs-e"]
    assert len(set().union(*subjects.values())) == sum(map(len, subjects.values()))


@pytest.mark.parametrize(
    ("kind", "fps", "colour", "name"),
    [
        ("casme2", 200, True, "sub17_EP01_13"),
        ("casme", 60, True, "casme-sub08_EP12_2_1"),
        ("casme-sq", 30, True, "casme-sq-s21_happy3_2"),
        ("samm", 200, False, "022_3_3"),
        ("samm-long", 200, False, "036_7_long_996"),
        ("casme3-c", 30, True, "spNO230_c1_1"),
        ("meb", 100, True, "person2_second"),
        ("smic-hs", 100, True, "s3_po_05"),
        ("smic-hs-e", 100, True, "s3_po_05_e"),
        ("casme3", 30, True, "spNO2_h_96"),
        ("mmew", 90, True, "mmew-s1_02-001"),
        ("4dme", 60, False, "4dme-11_11_02_b"),
        ("dfme", 500, True, "dfme-sub0009_12"),
    ],
)
def test_rates_colours_and_names(kind, fps, colour, name, tmp_path):
    clip = named(read_data_set(kind, MAKERS[kind](tmp_path / "set")))[name]
    assert (clip.fps, clip.colour) == (fps, colour)


def test_frames_come_in_the_order_of_their_numbers(tmp_path):
    clip = named(read_data_set("casme2", make_casme2(tmp_path / "set")))["sub01_EP02_01f"]
    assert clip.frame_numbers == (96, 97, 98, 99, 100, 101, 102, 103)
    assert [path.name for path in clip.frames][3:5] == ["img99.jpg", "img100.jpg"]
    assert (clip.onset, clip.apex, clip.offset, clip.emotion, clip.facs) == (96, 99, 103, "disgust", "4+7")


@pytest.mark.parametrize("kind", ["casme2", "samm"])
def test_clips_are_listed_in_natural_order(kind, tmp_path):
    names = [clip.name for clip in read_data_set(kind, MAKERS[kind](tmp_path / "set")).clips]
    expected = {
        "casme2": ["sub01_EP02_01f", "sub01_EP03_02", "sub02_EP09_10f", "sub17_EP01_13"],
        "samm": ["006_1_2", "006_1_10", "022_3_3"],
    }
    assert names == expected[kind]


# --- releases and sheets ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("release", "frame", "around", "edition"),
    [
        ("CASME2_RAW_selected", "img{}.jpg", 0, "20140508"),
        ("CASME2-RAW", "img{}.jpg", 5, "20190701"),
        ("Cropped", "reg_img{}.jpg", 0, "20190701"),
        ("Cropped_original", "crop_img{:03d}.jpg", 0, "20140508"),
    ],
)
def test_releases_and_editions_of_casme2(release, frame, around, edition, tmp_path):
    clips = [replace(clip, around=around) for clip in CASME2_CLIPS]
    make_casme2(tmp_path / "set", clips, release=release, frame=frame, edition=edition)
    listing = read_data_set("casme2", tmp_path / "set")
    assert not listing.left_out
    clip = listing.clips[0]
    assert (clip.onset, clip.offset, len(clip.frames)) == (96, 103, 8 + 2 * around)
    assert not clip.remarks
    assert read_data_set("casme2", tmp_path / "set" / release).clips == listing.clips, "the sheet beside the root"


def test_two_releases_need_a_choice(tmp_path):
    make_casme2(tmp_path / "set")
    make_casme2(tmp_path / "set", CASME2_CLIPS[:2], release="faces/Cropped", frame="reg_img{}.jpg")
    with pytest.raises(UserError, match="expected one release, found CASME2_RAW_selected, faces/Cropped; name one"):
        read_data_set("casme2", tmp_path / "set")
    assert read_data_set("casme2", tmp_path / "set", release="cropped").clips[0].frames[0].name == "reg_img96.jpg"
    with pytest.raises(UserError, match="expected a release 'Raw', found CASME2_RAW_selected, faces/Cropped"):
        read_data_set("casme2", tmp_path / "set", release="Raw")


def test_the_newer_edition_is_used_with_a_remark(tmp_path):
    make_casme2(tmp_path / "set", edit=set_cell(2, "Estimated Emotion", "fear"))
    make_casme2(tmp_path / "set", edition="20140508")
    listing = read_data_set("casme2", tmp_path / "set")
    assert listing.clips[0].emotion == "fear"
    what = "CASME2-coding-20140508.xlsx beside CASME2-coding-20190701.xlsx"
    assert [(r.found, r.done) for r in listing.remarks] == [(what, "CASME2-coding-20190701.xlsx is used")]
    old = tmp_path / "set" / "CASME2-coding-20140508.xlsx"
    assert read_data_set("casme2", tmp_path / "set", sheet=old).clips[0].emotion == "disgust"


def test_both_releases_of_smic_are_read_and_the_high_speed_camera_only(tmp_path):
    make_smic_hs(tmp_path / "set")
    make_smic_hs(tmp_path / "set", SMIC_CLIPS[:1], camera="VIS")
    make_smic_hs(tmp_path / "set", SMIC_CLIPS[:2], release="SMIC_all_cropped", frame="reg_image{}.bmp")
    raw = read_data_set("smic-hs", tmp_path / "set", release="SMIC_all_raw")
    assert [(clip.name, clip.emotion) for clip in raw.clips] == [
        ("s1_ne_01", "negative"),
        ("s3_po_05", "positive"),
        ("s20_sur_01", "surprise"),
    ]
    assert raw.clips[0].onset == 17597115
    cropped = read_data_set("smic-hs", tmp_path / "set", release="SMIC_all_cropped")
    assert [clip.frames[0].name for clip in cropped.clips] == ["reg_image17597115.bmp", "reg_image95.bmp"]
    direct = tmp_path / "set" / "SMIC_all_raw" / "HS"
    assert len(read_data_set("smic-hs", direct.rename(direct.with_name("clips"))).clips) == 3, "the root may be renamed"


def test_folders_above_a_release_may_be_named_like_subjects(tmp_path):
    make_4dme(tmp_path / "disks" / "disk1")
    assert len(read_data_set("4dme", tmp_path / "disks").clips) == 2
    make_mmew(tmp_path / "faces" / "sets")
    assert len(read_data_set("mmew", tmp_path / "faces").clips) == 2


def test_smic_extended_keeps_the_frames_around_the_movement(tmp_path):
    make_smic_hs_e(tmp_path / "set", [replace(clip, around=3, onset=clip.onset + 9) for clip in SMIC_CLIPS])
    clip = read_data_set("smic-hs-e", tmp_path / "set").clips[0]
    assert (clip.name, clip.frame_numbers[0], clip.onset, clip.offset) == ("s1_ne_01_e", 17597121, 17597124, 17597131)
    assert len(clip.frames) == 14


def write_further_movements(path: Path, rows: list[list[object]]) -> None:
    movements = [f"{name}{i}F" for i in ("", 2, 3) for name in ("Onset", "Offset")]
    header = ["Subject", "Filename", "Unnamed: 2", *movements, "Unnamed: 9", "FirstF", "LastF", "TotalVL", "Emotion"]
    write_sheet(path, [header, *rows], "HS")


def test_second_and_third_movements_of_smic_extended_are_clips(tmp_path):
    clips = [replace(SMIC_CLIPS[1], around=60, onset=200), replace(SMIC_CLIPS[2], around=9, onset=100)]
    root = make_smic_hs_e(tmp_path / "set", clips)
    (root / "SMIC-HS-E_annotation_2019.xlsx").unlink()
    sheet = root / "SMIC-E_raw image" / "HS_long" / "SMIC-HS-E_annotation.xlsx"
    rows = [
        [3, "s3_po_05", None, 200, 207, 215, 230, 240, 251, None, 140, 267, 128, "positive"],
        [20, "s20_sur_01", None, 100, 107, 110, None, "", "", None, 91, 120, 30, "surprise"],
    ]
    write_further_movements(sheet, rows)
    listing = read_data_set("smic-hs-e", root / "SMIC-E_raw image")
    assert [(c.name, c.onset, c.offset, c.emotion, len(c.frames)) for c in listing.clips] == [
        ("s3_po_05_e", 200, 207, "positive", 128),
        ("s3_po_05_e_2", 215, 230, "positive", 128),
        ("s3_po_05_e_3", 240, 251, "positive", 128),
        ("s20_sur_01_e", 100, 107, "surprise", 26),
    ]
    assert {clip.subject for clip in listing.clips} == {"s3", "s20"}
    assert reasons(listing) == {
        "SMIC-HS-E_annotation.xlsx, row 3": "Offset2F: expected a frame number, got nothing",
    }
    assert remarks(listing.clips[0]) == [
        ("another movement from 215 to 230", "clip s3_po_05_e_2"),
        ("another movement from 240 to 251", "clip s3_po_05_e_3"),
    ]
    what = "SMIC-HS-E_annotation.xlsx, row 3, FirstF to LastF: 91 to 120"
    assert (what, "ignored: the folder has the frames 91 to 116") in remarks(listing.clips[3])
    rows[0][11] = 210
    write_further_movements(sheet, rows)
    found = named(read_data_set("smic-hs-e", root / "SMIC-E_raw image"))["s3_po_05_e_2"]
    assert [done for _, done in remarks(found)] == [
        "ignored: the folder has the frames 140 to 267",
        "ignored: onset 215 or offset 230 lies outside",
    ]


def test_recordings_of_casme3_are_cut_and_may_hold_several_clips(tmp_path):
    clips = (*CASME3_CLIPS, Mini("spNO.2", "h", "12", 105, length=10, around=4, emotion="happy"))
    listing = read_data_set("casme3", make_casme3(tmp_path / "set", clips))
    assert [clip.name for clip in listing.clips] == ["spNO1_a_3", "spNO2_h_96", "spNO2_h_105"]
    assert [(c.frame_numbers[0], c.frame_numbers[-1]) for c in listing.clips] == [(3, 10), (96, 103), (105, 114)]
    assert listing.clips[0].frames[0].as_posix().endswith("spNO.1/a/color/3.jpg")
    write_frames(listing.clips[0].source.parents[1] / "b" / "color", "b", range(9), "{}.jpg", draw_noise)
    assert not read_data_set("casme3", tmp_path / "set").left_out, "most recordings show no micro-expression"


def test_the_old_workbook_of_casme3_names_macro_expressions_too(tmp_path):
    def with_type(table):
        table[0].append("Expression type")
        table[1][5] = 4  # a number, which workbooks of this kind hold as 4.0
        for row, kind in zip(table[1:], ("Micro-expression", "Macro-expression"), strict=True):
            row.append(kind)

    listing = read_data_set("casme3", make_casme3(tmp_path / "set", sheet="CAS(ME)3_part_A_v2.xls", edit=with_type))
    assert [(c.name, c.onset, c.facs) for c in listing.clips] == [("spNO1_a_3", 3, "4")]
    assert [(r.found, r.done) for r in listing.remarks] == [
        ("CAS(ME)3_part_A_v2.xls: 1 rows whose Expression type is not that of micro-expressions", "left out")
    ]


@pytest.mark.parametrize(
    ("kind", "old", "new"),
    [
        ("casme2", "CASME2-coding-20190701.xlsx", "CASME2-coding-20210101.csv"),
        ("samm", "SAMM_Micro_FACS_Codes_v2.xlsx", "SAMM_20181215_Micro_FACS_Codes_v2.xlsx"),
        ("smic-hs-e", "SMIC-HS-E_annotation_2019.xlsx", "labels of SMIC.xlsx"),
        ("casme3", "cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx", "CAS(ME)3_part_A_v3.xlsx"),
        ("mmew", "MMEW_Micro_Exp.xlsx", "MMEW_Micro_Exp.csv"),
        ("4dme", "4DME_Labelling_Micro_release v1.xlsx", "4DME_Labelling_Micro_release v2.xlsx"),
        ("dfme", "DFME_testA.xlsx", "DFME_validation.xlsx"),
    ],
)
def test_sheets_of_other_names_are_recognised_by_their_columns(kind, old, new, tmp_path):
    root = MAKERS[kind](tmp_path / "set")
    expected = read_data_set(kind, root)
    if kind == "dfme":
        (root / "DFME_training.xlsx").rename(root / "part one.xlsx")
    if new.endswith(".csv"):
        pd.read_excel(root / old, dtype=str).to_csv(root / new, index=False)
        (root / old).unlink()
    else:
        (root / old).rename(root / new)
    write_sheet(root / "frames.csv", [["Subject", "Filename", "note"], ["01", "EP02_01f", "x"]])
    (root / "broken.xlsx").write_bytes(b"PK no sheet")
    listing = read_data_set(kind, root)
    assert [(clip.name, clip.onset, clip.facs) for clip in listing.clips] == [
        (clip.name, clip.onset, clip.facs) for clip in expected.clips
    ]
    assert not listing.left_out
    if kind != "dfme":
        assert [(r.found, r.done) for r in listing.remarks] == [
            (f"{new}: not a documented name", "used, because it has the columns")
        ]


def test_two_sheets_of_other_names_need_a_choice(tmp_path):
    root = make_mmew(tmp_path / "set")
    sheet = root / "MMEW_Micro_Exp.xlsx"
    pd.read_excel(sheet, dtype=str).to_csv(root / "labels.csv", index=False)
    sheet.rename(root / "labels.xlsx")
    assert len(read_data_set("mmew", root).clips) == 2, "one sheet in two formats"
    (root / "labels.csv").rename(root / "other.csv")
    with pytest.raises(UserError, match="expected one coding sheet, found .*labels.xlsx and .*other.csv; set `sheet`"):
        read_data_set("mmew", root)


def test_columns_are_recognised_whatever_their_case_and_blanks(tmp_path):
    def edit(table):
        table[0][:] = ["subject", "FileName", "Onset Frame", "apex_frame", "Offset  Frame", "action units", "emotion"]
        table[0][6] = "Estimated emotion"

    assert len(read_data_set("casme2", make_casme2(tmp_path / "set", edit=edit)).clips) == 4


def test_numbers_with_decimals_name_folders(tmp_path):
    root = make_casme2(tmp_path / "set", edition="20140508")
    sheet = root / "CASME2-coding-20140508.xlsx"
    table = pd.read_excel(sheet, dtype={"Subject": float, "OnsetFrame": float})
    table.to_csv(root / "CASME2-coding-20140508.csv", index=False)
    sheet.unlink()
    assert "1.0,EP02_01f,96.0" in (root / "CASME2-coding-20140508.csv").read_text(encoding="utf-8")
    listing = read_data_set("casme2", root)
    assert len(listing.clips) == 4
    assert not listing.left_out


@pytest.mark.parametrize("kind", ["casme2", "smic-hs", "casme3", "mmew", "dfme"])
def test_leftovers_of_archives_and_file_servers_are_ignored(kind, tmp_path):
    root = MAKERS[kind](tmp_path / "set")
    expected = read_data_set(kind, root)
    copy = tmp_path / "copy"
    shutil.copytree(root, copy)
    for path in copy.rglob("*"):
        if path.is_file():
            path.rename(path.with_name(f"._{path.name}"))
    copy.rename(root / "__MACOSX")
    for folder in [root, *(path for path in root.rglob("*") if path.is_dir() and "__MACOSX" not in path.parts)]:
        (folder / "@eaDir" / "thumbs").mkdir(parents=True)
        (folder / "@eaDir" / "thumbs" / "img1.jpg").write_bytes(b"")
        (folder / "._img96.jpg").write_bytes(b"\0\5\26\7")
        for name in ("Thumbs.db", ".DS_Store", "desktop.ini"):
            (folder / name).write_bytes(b"x")
    (root / "$RECYCLE.BIN" / "S-1-5").mkdir(parents=True)
    listing = read_data_set(kind, root)
    assert listing.clips == expected.clips
    assert not listing.left_out


def test_leftovers_beside_loose_clips_are_ignored(tmp_path):
    write_clip(tmp_path, "ann_smiles", 1, 3)
    (tmp_path / "__MACOSX" / "ann_smiles").mkdir(parents=True)
    (tmp_path / "@eaDir").mkdir()
    listing = read_data_set("folder", tmp_path, fps=100)
    assert [clip.name for clip in listing.clips] == ["ann_smiles"]
    assert not listing.left_out


def test_sheets_may_be_csv_and_elsewhere(tmp_path):
    make_samm(tmp_path / "set")
    (tmp_path / "set" / "SAMM_Micro_FACS_Codes_v2.xlsx").unlink()
    rows = [["007"], []]
    rows.append(["Filename", "Onset Frame", "Apex Frame", "Offset Frame", "Action Units", "Estimated Emotion"])
    rows += [[c.name, c.onset, f"{c.apex}.0", c.offset, c.code, c.emotion] for c in SAMM_CLIPS]
    write_sheet(tmp_path / "elsewhere" / "codes.csv", rows)
    listing = read_data_set("samm", tmp_path / "set", sheet=tmp_path / "elsewhere" / "codes.csv")
    assert [clip.apex for clip in listing.clips] == [9999, 5565, 703]


# --- corrections ------------------------------------------------------------------------------------------------------


def test_blank_columns_are_left_out_with_a_remark(tmp_path):
    listing = read_data_set("casme2", make_casme2(tmp_path / "set", blank_columns=True))
    assert len(listing.clips) == 4
    what = "CASME2-coding-20190701.xlsx: 2 columns without a name"
    assert [(r.found, r.done) for r in listing.remarks] == [(what, "left out")]


def test_columns_that_went_through_pandas_are_blank_too(tmp_path):
    def edit(table):
        for row, cell in zip(table, ("Unnamed: 2", *[""] * 4), strict=True):
            row.insert(2, cell)

    listing = read_data_set("casme2", make_casme2(tmp_path / "set", edit=edit))
    assert [r.found for r in listing.remarks] == ["CASME2-coding-20190701.xlsx: 1 columns without a name"]


@pytest.mark.parametrize(
    ("cell", "shown", "why"),
    [
        (None, "empty", "no apex: the sheet gives none"),
        ("/", "/", "no apex: the sheet gives none"),
        (95, "95", "no apex: before the onset 96"),
        (-1, "-1", "no apex: before the onset 96"),
        (104, "104", "no apex: after the offset 103"),
    ],
)
def test_missing_and_misplaced_apexes_are_none_with_a_remark(cell, shown, why, tmp_path):
    make_casme2(tmp_path / "set", edit=set_cell(2, "ApexFrame", cell))
    clip = read_data_set("casme2", tmp_path / "set").clips[0]
    what = f"CASME2-coding-20190701.xlsx, row 2, ApexFrame: {shown}"
    assert clip.apex is None
    assert remarks(clip) == [(what, why)]
    clip = read_data_set("casme2", tmp_path / "set", missing_apex="midpoint").clips[0]
    assert clip.apex == 99
    said = f"{why.removeprefix('no apex: ')}; 99, halfway from onset to offset (missing_apex: midpoint)"
    assert remarks(clip) == [(what, said)]


def test_an_apex_at_the_onset_is_kept_and_its_curves_only_fall(tmp_path):
    make_casme2(tmp_path / "set", edit=set_cell(2, "ApexFrame", 96))
    for rule in ("leave", "midpoint"):
        clip = read_data_set("casme2", tmp_path / "set", missing_apex=rule).clips[0]
        assert (clip.onset, clip.apex, clip.facs) == (96, 96, "4+7")
        what = "CASME2-coding-20190701.xlsx, row 2, ApexFrame: 96"
        assert remarks(clip) == [(what, "the onset itself: the first frame is the strongest")]
    units = coded_curves(clip, clip_timing(clip, trim=True, length=None), np.zeros((8, 68, 2)), 2.0)
    for number in (4, 7):
        curve = units.values[:, ACTION_UNITS.index(number), 0]
        assert curve[[0, -1]] == pytest.approx([0.4, 0])
        assert (np.diff(curve) < 0).all()
    assert np.count_nonzero(units.values[0]) == 4
    make_casme2(tmp_path / "raw", [replace(CASME2_CLIPS[0], around=2)], edit=set_cell(2, "ApexFrame", 96))
    clip = read_data_set("casme2", tmp_path / "raw").clips[0]
    assert (clip.apex, len(clip.frames)) == (96, 12)
    with pytest.raises(ValueError, match="the apex is the onset, and the course up to it is unknown"):
        coded_curves(clip, clip_timing(clip, trim=False, length=None), np.zeros((12, 68, 2)), 2.0)


def test_an_apex_that_is_not_a_frame_is_none(tmp_path):
    make_casme2(tmp_path / "set")
    next((tmp_path / "set").rglob("sub01/EP02_01f/img99.jpg")).unlink()
    clip = read_data_set("casme2", tmp_path / "set").clips[0]
    assert clip.apex is None
    assert remarks(clip)[0][1] == "no apex: there is no such frame"


def test_smic_gets_a_midpoint_apex_only_on_request(tmp_path):
    make_smic_hs(tmp_path / "set")
    clip = read_data_set("smic-hs", tmp_path / "set").clips[1]
    assert (clip.apex, clip.remarks) == (None, ())
    clip = read_data_set("smic-hs", tmp_path / "set", missing_apex="midpoint").clips[1]
    assert clip.apex == 98
    assert remarks(clip) == [("smic-hs: no apex", "98, halfway from onset to offset (missing_apex: midpoint)")]


@pytest.mark.parametrize(("length", "seconds"), [(101, None), (102, "0.51"), (600, "3.00")])
def test_clips_longer_than_a_micro_expression_are_kept_with_a_remark(length, seconds, tmp_path):
    clip = read_data_set("casme2", make_casme2(tmp_path / "set", [replace(CASME2_CLIPS[0], length=length)])).clips[0]
    assert len(clip.frames) == length
    expected = [(f"{seconds} s from onset to offset", "longer than a micro-expression (0.5 s); kept")]
    assert remarks(clip) == (expected if seconds else [])


@pytest.mark.parametrize("name", ["EP09f", "EP1", "EP03_02f", "EP19_01_2f"])
def test_clips_of_casme2_may_have_one_number_or_more(name, tmp_path):
    clips = [replace(CASME2_CLIPS[0], name=name), CASME2_CLIPS[1]]
    listing = read_data_set("casme2", make_casme2(tmp_path / "set", clips))
    assert f"sub01_{name}" in named(listing)
    assert not listing.left_out


def test_the_published_workbook_of_casme3_has_no_emotions_and_its_own_tab(tmp_path):
    root = make_casme3(tmp_path / "set")
    (root / "cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx").unlink()
    head = ["Subject", "Filename", "Onset", "Apex", "Offset", "AU", "Expression type", "Objective class"]
    rows = [[c.subject, c.name, c.onset, c.apex, c.offset, "4+15+R10", "Micro-expression", "VII"] for c in CASME3_CLIPS]
    rows.append(["spNO.1", "a", 1, 2, 9, 5, "Macro-expression", "II"])
    path = root / "CAS(ME)3_part_A_v2.xlsx"
    with pd.ExcelWriter(path) as book:
        pd.DataFrame(rows, columns=head).to_excel(book, sheet_name="AU+Emotion", index=False)
        blinks = pd.DataFrame([["spNO.1", "a", 3, 6]], columns=["Subject", "Filename", "Onset", "Offset"])
        blinks.to_excel(book, sheet_name="eye blink", index=False)
    path.rename(root / "CAS(ME)3_part_A_v2.xls")
    listing = read_data_set("casme3", root)
    assert [(c.name, c.facs, c.emotion) for c in listing.clips] == [
        ("spNO1_a_3", "4+15+R10", None),
        ("spNO2_h_96", "4+15+R10", None),
    ]
    sheet = "CAS(ME)3_part_A_v2.xls"
    assert [(r.found, r.done) for r in listing.remarks] == [
        (f"{sheet}: no column emotion", "left empty"),
        (f"{sheet}: 1 rows whose Expression type is not that of micro-expressions", "left out"),
    ]


def test_the_known_rows_of_casme3_are_corrected_or_doubted(tmp_path):
    clips = [replace(CASME3_CLIPS[0], onset=3 + 2 * i) for i in range(800)]

    def edit(table):
        table[797][2:5] = [1812, 1824, 0]

    root = tmp_path / "set"
    make_casme3(root, clips[:1], edit=lambda table: None)
    sheet = root / "cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx"
    table = [["Subject", "Filename", "Onset", "Apex", "Offset", "AU", "Objective class", "emotion"]]
    table += [["spNO.1", "a", c.onset, c.apex, c.offset, "4", 1, "fear"] for c in clips]
    write_sheet(sheet, table, "label", edit)
    folder = root / "part_A" / "data" / "part_A_split" / "part_A" / "spNO.1" / "a" / "color"
    frame = (folder / "3.jpg").read_bytes()
    for number in range(3, 1850):
        (folder / f"{number}.jpg").write_bytes(frame if number < 4 else b"")
    listing = read_data_set("casme3", root)
    corrected = named(listing)["spNO1_a_1812"]
    assert (corrected.apex, corrected.offset) == (1824, 1845)
    what = f"{sheet.name}, row 798, Offset: 0"
    assert (what, "1845 (tvaranka/meb, and CAS(ME)3_part_A_v2.xls)") in remarks(corrected)
    doubted = {found for clip in listing.clips for found, _ in remarks(clip) if "doubtful" in found}
    assert doubted == {f"{sheet.name}, row {row}: doubtful (tvaranka/meb)" for row in (130, 710, 751, 800)}


def many(template: Mini, count: int, name: str) -> list[Mini]:
    """So many clips that the row of a known error is among them."""
    return [replace(template, name=name.format(i + 1), onset=84, length=8) for i in range(count)]


def test_the_known_offset_of_casme2_is_corrected_where_it_is_wrong(tmp_path):
    clips = many(CASME2_CLIPS[0], 62, "EP02_{:02d}")
    make_casme2(tmp_path / "wrong", clips, edit=set_cell(62, "OffsetFrame", 19))
    clip = named(read_data_set("casme2", tmp_path / "wrong"))["sub01_EP02_61"]
    assert clip.offset == 91
    assert remarks(clip) == [("CASME2-coding-20190701.xlsx, row 62, OffsetFrame: 19", "91 (tvaranka/meb)")]
    make_casme2(tmp_path / "right", clips, edit=set_cell(62, "OffsetFrame", 90))
    clip = named(read_data_set("casme2", tmp_path / "right"))["sub01_EP02_61"]
    assert (clip.offset, clip.remarks) == (90, ())
    make_casme2(tmp_path / "other", clips, edit=set_cell(61, "OffsetFrame", 19))
    listing = read_data_set("casme2", tmp_path / "other")
    assert reasons(listing) == {
        "CASME2-coding-20190701.xlsx, row 61": "OffsetFrame: expected a frame after the onset 84, got 19"
    }


def test_the_known_offset_of_samm_is_corrected(tmp_path):
    clips = [replace(clip, onset=5732) for clip in many(SAMM_CLIPS[0], 58, "006_1_{}")]
    listing = read_data_set("samm", make_samm(tmp_path / "set", clips, edit=set_cell(71, "Offset Frame", 573)))
    clip = named(listing)["006_1_57"]
    assert clip.offset == 5739
    assert remarks(clip) == [("SAMM_Micro_FACS_Codes_v2.xlsx, row 71, Offset Frame: 573", "5739 (tvaranka/meb)")]


def test_the_exchanged_rows_of_4dme_are_corrected_where_they_are_exchanged(tmp_path):
    clips = [replace(FOUR_DME_CLIPS[1], name=f"clip{i}", onset=1 + 100 * i, code="4") for i in range(147)]

    def exchange(table):
        table[145][1], table[146][1] = table[146][1], table[145][1]

    make_4dme(tmp_path / "wrong", clips, edit=exchange)
    found = named(read_data_set("4dme", tmp_path / "wrong"))
    right = named(read_data_set("4dme", make_4dme(tmp_path / "right", clips)))
    assert len(found) == 147
    for name in ("4dme-11_clip144", "4dme-11_clip145"):
        assert (found[name].onset, found[name].frame_numbers) == (right[name].onset, right[name].frame_numbers)
        assert not right[name].remarks
    sheet = "4DME_Labelling_Micro_release v1.xlsx"
    assert remarks(found["4dme-11_clip144"]) == [
        (f"{sheet}, row 146: folder 11/clip145", "11/clip144: exchanged (tvaranka/meb)")
    ]
    assert remarks(found["4dme-11_clip145"]) == [
        (f"{sheet}, row 147: folder 11/clip144", "11/clip145: exchanged (tvaranka/meb)")
    ]


def test_correct_rows_of_4dme_are_not_exchanged(tmp_path):
    clips = [replace(FOUR_DME_CLIPS[1], name=f"clip{i}", length=5) for i in range(147)]
    assert not any(clip.remarks for clip in read_data_set("4dme", make_4dme(tmp_path / "alike", clips)).clips)

    def corrupt(table):
        for row in (145, 146):
            table[row][5] = 999

    clips = [replace(clip, onset=1 + i) for i, clip in enumerate(clips)]
    listing = read_data_set("4dme", make_4dme(tmp_path / "wrong", clips, edit=corrupt))
    assert list(reasons(listing).values()) == [
        "Offset: expected one of the frames from 145 to 149, got 999",
        "Offset: expected one of the frames from 146 to 150, got 999",
    ]


@pytest.mark.parametrize(
    ("code", "facs", "done"),
    [
        ("R12 or R14", "R12 or R14", "first alternative used; R14 left out"),
        ("4(k)+7", "4(k)+7", "AU4(k) marked as optional; used like the others"),
        ("4+24", "4+24", "AU24 left out, because no network uses it"),
        ("?", None, "no FACS code: the coders give none"),
        ("4+x", "4+x", "'x' left out: no action unit"),
        ("x", None, "no FACS code: FACS code 'x': expected action units such as 4+L12B or AU4=2.0,L12=1, got 'x'"),
        ("12B+L12C", "12B+L12C", "left out: AU12: expected one intensity on each side, got two"),
        ("24+16", "24+16", "AU24, AU16 left out, because no network uses it"),
    ],
)
def test_unusual_facs_codes_get_a_remark(code, facs, done, tmp_path):
    make_samm(tmp_path / "set", edit=set_cell(15, "Action Units", code))
    clip = read_data_set("samm", tmp_path / "set").clips[0]
    assert clip.facs == facs
    assert remarks(clip) == [(f"SAMM_Micro_FACS_Codes_v2.xlsx, row 15, Action Units: {code}", done)]


def test_a_remark_on_a_code_is_in_the_report_once(tmp_path):
    make_samm(tmp_path / "set", edit=set_cell(15, "Action Units", "4+24"))
    record = read_data_set("samm", tmp_path / "set").clips[0]
    units = coded_curves(record, clip_timing(record, trim=True, length=None), np.zeros((8, 68, 2)), 2.0)
    assert not units.remarks
    assert [remark.done for remark in record.remarks] == ["AU24 left out, because no network uses it"]


@pytest.mark.parametrize("code", ["7B", "L2", "12R", "R12 + R15", 4, "4\N{FULLWIDTH COMMA}7", "AU 1+2", None])
def test_usual_facs_codes_get_no_remark(code, tmp_path):
    make_samm(tmp_path / "set", edit=set_cell(15, "Action Units", code))
    clip = read_data_set("samm", tmp_path / "set").clips[0]
    assert clip.facs == (None if code is None else str(code))
    assert clip.remarks == ()


def test_folders_of_another_padding_or_case_are_matched_with_a_remark(tmp_path):
    make_casme3(tmp_path / "c", folders={"spNO.1": "spNo.1"})
    clip = read_data_set("casme3", tmp_path / "c").clips[0]
    assert (clip.name, clip.subject) == ("spNO1_a_3", "spNO1")
    what = "cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx, row 2: spNO.1/a"
    assert remarks(clip) == [(what, "matched to folder spNo.1/a/color, which differs in case or padding only")]
    make_smic_hs(tmp_path / "s", [replace(SMIC_CLIPS[0], subject="s01", name="s01_ne_01"), SMIC_CLIPS[1]])
    clip = read_data_set("smic-hs", tmp_path / "s").clips[0]
    assert (clip.name, clip.subject) == ("s1_ne_01", "s1")
    what = "folder s01/micro/negative/s01_ne_01"
    assert remarks(clip) == [(what, "renamed to s1_ne_01, without padding, as in other folders")]
    make_smic_hs_e(tmp_path / "e", edit=set_cell(2, "Filename", "s01_ne_01"))
    clip = read_data_set("smic-hs-e", tmp_path / "e").clips[0]
    assert clip.name == "s1_ne_01_e"
    assert remarks(clip)[0][1] == "matched to folder s1/s1_ne_01, which differs in case or padding only"


def test_a_second_spelling_of_an_emotion_is_replaced_with_a_remark(tmp_path):
    make_casme3(tmp_path / "set", edit=set_cell(2, "emotion", "Others"))
    clip = read_data_set("casme3", tmp_path / "set").clips[0]
    assert clip.emotion == "others"
    what = "cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx, row 2, emotion: Others"
    assert remarks(clip) == [(what, "others, as in other rows")]


def test_frames_with_unusual_names_or_short_padding_are_sorted_by_number(tmp_path):
    make_samm(tmp_path / "set", SAMM_CLIPS, digits=4)
    folder = tmp_path / "set" / "SAMM" / "006" / "006_1_2"
    for number in (9997, 10000, 10001):
        (folder / f"006_{number}.jpg").rename(folder / f"001-1-2 {number}.jpg")
    clips = named(read_data_set("samm", tmp_path / "set"))
    assert clips["006_1_2"].frame_numbers == (9996, 9997, 9998, 9999, 10000, 10001, 10002, 10003)
    assert [path.stem[-4:] for path in clips["006_1_2"].frames][:5] == ["9996", "9997", "9998", "9999", "0000"]
    what = "3 frame names unlike the others of the data set, such as 001-1-2 9997.jpg"
    assert remarks(clips["006_1_2"]) == [(what, "frames sorted by the numbers at the ends of their names")]
    assert clips["022_3_3"].frames[0].name == "022_0700.jpg"
    assert clips["022_3_3"].remarks == ()


def test_repeated_rows_are_merged_and_contradictory_rows_left_out(tmp_path):
    def repeat(table):
        table.append(list(table[1]))

    clip = read_data_set("casme2", make_casme2(tmp_path / "same", edit=repeat)).clips[0]
    assert remarks(clip) == [("CASME2-coding-20190701.xlsx, row 6: repeats row 2", "ignored")]

    def contradict(table):
        table.append([*table[1][:5], "12", *table[1][6:]])

    listing = read_data_set("casme2", make_casme2(tmp_path / "other", edit=contradict))
    assert "sub01_EP02_01f" not in named(listing)
    assert reasons(listing) == {
        "sub01/EP02_01f": "CASME2-coding-20190701.xlsx: rows 2 and 6 belong to one clip and differ; remove all but one"
    }


# --- clips that are left out ------------------------------------------------------------------------------------------


def test_folders_without_a_row_and_rows_without_a_folder_are_listed(tmp_path):
    make_casme2(tmp_path / "set", edit=set_cell(3, "Filename", "EP99_01"))
    assert reasons(read_data_set("casme2", tmp_path / "set")) == {
        "CASME2-coding-20190701.xlsx, row 3": "Subject, Filename: no folder sub01/EP99_01",
        "sub01/EP03_02": "no row in CASME2-coding-20190701.xlsx",
    }


@pytest.mark.parametrize(
    ("column", "cell", "reason"),
    [
        ("OnsetFrame", "4l", "OnsetFrame: expected a number, got '4l'"),
        ("OnsetFrame", 96.5, "OnsetFrame: expected a frame number, got '96.5'"),
        ("OnsetFrame", None, "OnsetFrame: expected a frame number, got nothing"),
        ("ApexFrame", "late", "ApexFrame: expected a number, got 'late'"),
        ("OffsetFrame", 95, "OffsetFrame: expected a frame after the onset 96, got 95"),
        ("OffsetFrame", 104, "OffsetFrame: expected one of the frames from 96 to 103, got 104"),
        ("OnsetFrame", 90, "OnsetFrame: expected one of the frames from 96 to 103, got 90"),
        ("OffsetFrame", "#REF!", "OffsetFrame: expected a frame number, got nothing"),
        ("OffsetFrame", "inf", "OffsetFrame: expected a frame number, got 'inf'"),
    ],
)
def test_corrupt_cells_are_named(column, cell, reason, tmp_path):
    make_casme2(tmp_path / "set", edit=set_cell(2, column, cell))
    listing = read_data_set("casme2", tmp_path / "set")
    assert reasons(listing) == {"CASME2-coding-20190701.xlsx, row 2": reason}
    assert len(listing.clips) == 3


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        (None, "Fps: expected frames per second, got nothing"),
        (0, "Fps: expected frames per second, got 0"),
        ("inf", "Fps: expected frames per second, got inf"),
        ("fast", "Fps: expected a number, got 'fast'"),
    ],
)
def test_frame_rates_of_dfme_come_from_its_sheet(cell, reason, tmp_path):
    make_dfme(tmp_path / "set", edit=lambda table: table[1].__setitem__(7, cell if "0008" in table[1][0] else 300))
    listing = read_data_set("dfme", tmp_path / "set")
    assert [clip.fps for clip in listing.clips] == [300]
    assert reasons(listing) == {"DFME_training.xlsx, row 2": reason}


def test_frames_without_numbers_and_with_equal_numbers_are_named(tmp_path):
    make_casme2(tmp_path / "set")
    base = tmp_path / "set" / "CASME2_RAW_selected"
    (base / "sub01" / "EP02_01f" / "img97.jpg").rename(base / "sub01" / "EP02_01f" / "img97 (copy).jpg")
    (base / "sub01" / "EP03_02" / "img97.jpg").rename(base / "sub01" / "EP03_02" / "img098.jpg")
    for path in (base / "sub02" / "EP09_10f").iterdir():
        path.unlink()
    (base / "sub17" / "EP01_13" / "img99.jpg").rename(base / "sub17" / "EP01_13" / ".img99.jpg")
    listing = read_data_set("casme2", tmp_path / "set")
    said = list(reasons(listing).values())
    assert said[:2] == [
        "img97 (copy).jpg: expected a name that ends in the number of the frame",
        "img098.jpg and img98.jpg: two frames with the same number",
    ]
    assert "EP09_10f: expected frames" in said[2]
    assert [clip.name for clip in listing.clips] == ["sub17_EP01_13"]
    assert len(listing.clips[0].frames) == 7


def test_corrupt_folder_names_are_named(tmp_path):
    make_casme2(tmp_path / "set")
    base = tmp_path / "set" / "CASME2_RAW_selected"
    (base / "sub01" / "EP02_01f").rename(base / "sub01" / "E_02_01f")
    (base / "sub17").rename(base / "sub1x")
    listing = read_data_set("casme2", tmp_path / "set")
    assert reasons(listing) == {
        "CASME2-coding-20190701.xlsx, row 2": "Subject, Filename: no folder sub01/EP02_01f",
        "CASME2-coding-20190701.xlsx, row 5": "Subject, Filename: no folder sub17/EP01_13",
        "sub1x": "expected a folder name as in sub01/EP02_01f/img46.jpg, got 'sub1x'",
        "sub01/E_02_01f": "expected a folder name as in sub01/EP02_01f/img46.jpg, got 'E_02_01f'",
    }


def test_folders_that_differ_in_padding_only_are_left_out(tmp_path):
    make_smic_hs(tmp_path / "set", [*SMIC_CLIPS, replace(SMIC_CLIPS[0], subject="s01", name="s01_ne_01")])
    reason = "the name of another folder differs in case or padding only; remove one"
    assert reasons(read_data_set("smic-hs", tmp_path / "set")) == {
        "s01/micro/negative/s01_ne_01": reason,
        "s1/micro/negative/s1_ne_01": reason,
    }


def test_folders_that_contradict_their_clips_are_named(tmp_path):
    make_smic_hs(
        tmp_path / "s",
        [*SMIC_CLIPS, Mini("s4", "s5_ne_01", emotion="negative"), Mini("s4", "s4_po_01", emotion="negative")],
    )
    assert reasons(read_data_set("smic-hs", tmp_path / "s")) == {
        "s4/micro/negative/s5_ne_01": "expected a clip of s4, got s5_ne_01",
        "s4/micro/negative/s4_po_01": "expected a clip of negative, got s4_po_01, which is positive",
    }
    make_samm(tmp_path / "m", [*SAMM_CLIPS, Mini("007", "008_1_1", "4")])
    assert list(reasons(read_data_set("samm", tmp_path / "m")).values()) == ["expected a clip of 007, got 008_1_1"]


# --- wrong inputs -----------------------------------------------------------------------------------------------------


def test_unknown_kinds_are_named(tmp_path):
    with pytest.raises(UserError, match=f"expected a data set among {', '.join(KINDS)}, got 'casme4'"):
        read_data_set("casme4", tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_absent_and_empty_roots_are_named(kind, tmp_path):
    with pytest.raises(UserError, match="absent: no such"):
        read_data_set(kind, tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty: expected .*, found (nothing|none|no folders)"):
        read_data_set(kind, tmp_path / "empty")


@pytest.mark.parametrize("kind", [kind for kind in MAKERS if kind not in ("samm", "meb")])
def test_the_wrong_root_is_named(kind, tmp_path):
    make_samm(tmp_path / "set")
    with pytest.raises(UserError, match=r"set: expected clips such as .*, found SAMM, SAMM_Micro_FACS_Codes_v2\.xlsx"):
        read_data_set(kind, tmp_path / "set")


@pytest.mark.parametrize("kind", [kind for kind in MAKERS if kind != "smic-hs"])
def test_absent_sheets_are_named(kind, tmp_path):
    MAKERS[kind](tmp_path / "set")
    for path in [*(tmp_path / "set").glob("*.xlsx")]:
        path.unlink()
    with pytest.raises(
        UserError,
        match="expected the coding sheet .*with the columns .*, found none; set `sheet`, and `columns`",
    ):
        read_data_set(kind, tmp_path / "set")
    with pytest.raises(UserError, match=r"codes\.xlsx: no such sheet"):
        read_data_set(kind, tmp_path / "set", sheet=tmp_path / "codes.xlsx")


OWN_NAMES = {
    "casme": {"OnsetF": "first frame", "AUs": "codes of both coders"},
    "samm-long": {"Onset": "t1", "Filename": "video", "Type": "kind"},
    "casme3-c": {"sub": "person", "offset": "until"},
}


@pytest.mark.parametrize("kind", sorted(OWN_NAMES))
def test_columns_may_have_names_that_the_user_gives(kind, tmp_path):
    own = OWN_NAMES[kind]
    spelled = {other: name for name in own for other in (name, *DATA_SETS[kind].columns.spellings.get(name, ()))}

    def rename(table):
        header = next(row for row in table if any(cell in spelled for cell in row))
        header[:] = [own[spelled[cell]] if cell in spelled else cell for cell in header]

    MAKERS[kind](tmp_path / "set", edit=rename)
    with pytest.raises(UserError, match="for columns of other names, set `columns`|and `columns` for columns of other"):
        read_data_set(kind, tmp_path / "set")
    MAKERS[kind](tmp_path / "plain")
    listing = read_data_set(kind, tmp_path / "set", columns=own)
    assert [clip.facs for clip in listing.clips] == [
        clip.facs for clip in read_data_set(kind, tmp_path / "plain").clips
    ]
    assert not listing.left_out


def test_names_of_columns_that_a_sheet_has_not_are_refused(tmp_path):
    make_casme2(tmp_path / "set")
    with pytest.raises(UserError, match="columns: expected names among Subject, Filename, .*; got 'Onset'"):
        read_data_set("casme2", tmp_path / "set", columns={"Onset": "OnsetFrame"})
    with pytest.raises(UserError, match="columns: expected none, because the labels of smic-hs are its folder names"):
        read_data_set("smic-hs", tmp_path / "set", columns={"Onset": "OnsetFrame"})


def test_merged_cells_of_subjects_are_filled(tmp_path):
    make_casme2(tmp_path / "set", edit=set_cell(3, "Subject", ""))
    listing = read_data_set("casme2", tmp_path / "set")
    assert not listing.left_out
    (clip,) = (clip for clip in listing.clips if clip.name == "sub01_EP03_02")
    assert [remark.done for remark in clip.remarks] == ["01, as in the row above, because merged cells have one value"]


@pytest.mark.parametrize("suffix", [".xlsx", ".xls", ".csv"])
def test_unreadable_sheets_are_named(suffix, tmp_path):
    make_casme2(tmp_path / "set")
    sheet = tmp_path / f"broken{suffix}"
    sheet.write_bytes(b"\xff\xfe\x81 no sheet")
    with pytest.raises(UserError, match=rf"broken\{suffix}: expected the columns .*") as caught:
        read_data_set("casme2", tmp_path / "set", sheet=sheet)
    assert "\n" not in str(caught.value)


def test_sheets_cut_short_are_named(tmp_path):
    sheet = make_casme2(tmp_path / "set") / "CASME2-coding-20190701.xlsx"
    sheet.write_bytes(sheet.read_bytes()[:-200])
    with pytest.raises(UserError, match=r"CASME2-coding-20190701\.xlsx: expected a readable"):
        read_data_set("casme2", tmp_path / "set")


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (
            set_cell(1, "ApexFrame", "Apex"),
            r"expected the column 'ApexFrame', found Subject, Filename, OnsetFrame, Apex, ",
        ),
        (set_cell(1, "ApexFrame", "OnsetFrame"), "expected the column 'ApexFrame', found"),
        (lambda table: table[0].append("Subject"), "expected one column 'Subject', found several; remove all but one"),
        (lambda table: table.clear(), "expected the columns Subject,Filename,OnsetFrame,.*; found none of them"),
        (lambda table: table.pop(0), "expected the columns Subject,Filename,OnsetFrame,.*; found none of them"),
        (lambda table: table.__delitem__(slice(1, None)), "expected rows below the header in row 1, found none"),
    ],
)
def test_missing_columns_and_rows_are_named(edit, message, tmp_path):
    make_casme2(tmp_path / "set", edit=edit)
    with pytest.raises(UserError, match=message):
        read_data_set("casme2", tmp_path / "set")


def test_blank_rows_count_and_further_columns_may_repeat(tmp_path):
    def edit(table):
        for row in table:
            row += ["note", "note"]
        table[1][2] = "x"
        for at in (0, 0, 3):
            table.insert(at, [None] * 9)

    make_casme2(tmp_path / "set", edit=edit)
    listing = read_data_set("casme2", tmp_path / "set")
    assert list(reasons(listing)) == ["CASME2-coding-20190701.xlsx, row 5"]
    assert len(listing.clips) == 3


def test_a_workbook_without_the_documented_tab_is_read_where_one_tab_has_the_columns(tmp_path):
    make_samm(tmp_path / "set")
    path = tmp_path / "set" / "SAMM_Micro_FACS_Codes_v2.xlsx"
    book = openpyxl.load_workbook(path)
    book["MICRO_ONLY"].title = "micro"
    book.save(path)
    assert len(read_data_set("samm", tmp_path / "set").clips) == 3
    book.copy_worksheet(book["micro"]).title = "copy"
    book.save(path)
    with pytest.raises(UserError, match="expected the sheet 'MICRO_ONLY', or one with .*, found micro, copy"):
        read_data_set("samm", tmp_path / "set")
    del book["copy"], book["micro"]
    book.create_sheet("notes")
    book.save(path)
    with pytest.raises(UserError, match="expected the sheet 'MICRO_ONLY', or one with .*, found ALL, notes"):
        read_data_set("samm", tmp_path / "set")


def test_a_sheet_in_two_places_is_named(tmp_path):
    make_casme2(tmp_path / "set")
    sheet = tmp_path / "set" / "CASME2-coding-20190701.xlsx"
    (tmp_path / "set" / "CASME2_RAW_selected" / sheet.name).write_bytes(sheet.read_bytes())
    with pytest.raises(UserError, match="expected one coding sheet, found .* and .*; set `sheet`"):
        read_data_set("casme2", tmp_path / "set")
    (tmp_path / sheet.name).write_bytes(b"not looked at, because there is one in the root")
    sheet.unlink()
    assert len(read_data_set("casme2", tmp_path / "set").clips) == 4


def test_arguments_that_do_not_fit_the_kind_are_named(tmp_path):
    make_smic_hs(tmp_path / "set")
    with pytest.raises(UserError, match="x.csv: expected no sheet, because the labels of smic-hs are its folder names"):
        read_data_set("smic-hs", tmp_path / "set", sheet=Path("x.csv"))
    with pytest.raises(
        UserError, match="fps: expected none, because the clips of smic-hs have their own frame rate, got 50"
    ):
        read_data_set("smic-hs", tmp_path / "set", fps=50)
    with pytest.raises(UserError, match="release: expected none, because folder has no releases, got 'raw'"):
        read_data_set("folder", tmp_path / "set", release="raw")


def test_a_data_set_of_which_nothing_can_be_used_is_an_error(tmp_path):
    make_casme2(tmp_path / "set", CASME2_CLIPS[:1], edit=set_cell(2, "OnsetFrame", "x"))
    message = "no clip can be used; 1 reasons, such as CASME2-coding-20190701.xlsx, row 2: OnsetFrame: expected"
    with pytest.raises(UserError, match=message):
        read_data_set("casme2", tmp_path / "set")


def test_mmew_takes_micro_expressions_only(tmp_path):
    listing = read_data_set("mmew", make_mmew(tmp_path / "set"))
    assert all("Micro_Expression" in clip.source.parts for clip in listing.clips)
    assert [clip.emotion for clip in listing.clips] == ["happiness", "anger"]


# --- loose clips ------------------------------------------------------------------------------------------------------


def test_folders_of_frames_need_only_a_frame_rate(tmp_path):
    write_clip(tmp_path, "s3_po_05", 0, 12)
    write_clip(tmp_path, "ann_smiles", 1, 3)
    write_frames(tmp_path / "grey", "grey", [3, 1, 2], "{}.png", lambda clip, t: np.full((8, 8, 3), t, np.uint8))
    for t in range(2):
        iio.imwrite(tmp_path / "grey" / f"{t + 1}.png", np.full((8, 8), t, np.uint8))
    (tmp_path / "notes").mkdir()
    listing = read_data_set("folder", tmp_path, fps=100)
    clips = named(listing)
    assert list(clips) == ["ann_smiles", "grey", "s3_po_05"]
    clip = clips["s3_po_05"]
    assert (clip.subject, clip.data_set, clip.fps, clip.colour) == ("s3", "folder", 100, True)
    assert (clip.onset, clip.apex, clip.offset, clip.emotion, clip.facs, clip.landmarks) == (None,) * 6
    assert clip.frame_numbers == tuple(range(1, 13))
    assert [path.name for path in clip.frames][-2:] == ["img11.png", "img12.png"]
    assert not clips["grey"].colour
    assert "notes: expected frames" in reasons(listing)["notes"]
    with pytest.raises(UserError, match=r"no clip can be used; .* expected a frame rate, got none; set `fps`"):
        read_data_set("folder", tmp_path)


def test_loose_frames_come_in_the_order_of_their_numbers(tmp_path):
    for name in ("b1", "a2", "a10", "b9"):
        write_frames(tmp_path / "clip", "clip", [name], "{}.png", draw_noise)
    clip = read_data_set("folder", tmp_path, fps=25).clips[0]
    assert clip.frame_numbers == (1, 2, 9, 10)
    assert [path.stem for path in clip.frames] == ["b1", "a2", "b9", "a10"]


def test_frames_without_numbers_count_from_0(tmp_path):
    write_frames(tmp_path / "clip", "clip", [1, 2], "{}.png", lambda clip, t: np.full((8, 8, 3), t, np.uint8))
    for name, new in (("1", "neutral"), ("2", "smile")):
        (tmp_path / "clip" / f"{name}.png").rename(tmp_path / "clip" / f"{new}.png")
    clip = read_data_set("folder", tmp_path, fps=25).clips[0]
    assert (clip.frame_numbers, [path.stem for path in clip.frames]) == ((0, 1), ["neutral", "smile"])


ANNOTATIONS = [
    ["name", "subject", "onset", "apex", "offset", "fps", "emotion", "facs"],
    ["A1", "Ann", 2, 4, 6, 50, "joy", "12"],
    ["b", "ANN", 2, "", "", "", "", ""],
]


def test_annotations_label_loose_clips(tmp_path):
    for name in ("a01", "b", "c"):
        write_clip(tmp_path, name, 0, 6)
    write_sheet(tmp_path / "annotations.csv", ANNOTATIONS)
    listing = read_data_set("folder", tmp_path, fps=100)
    clips = named(listing)
    clip = clips["a01"]
    assert (clip.subject, clip.onset, clip.apex, clip.offset) == ("Ann", 2, 4, 6)
    assert (clip.fps, clip.emotion, clip.facs) == (50, "joy", "12")
    assert remarks(clip) == [("annotations.csv, row 2: A1", "matched to a01, which differs in case or padding only")]
    assert (clips["b"].subject, clips["b"].onset, clips["b"].offset, clips["b"].fps) == ("Ann", 2, None, 100)
    assert remarks(clips["b"]) == [("subject ANN", "Ann, as in other clips")]
    assert remarks(clips["c"]) == [("no row named c", "the clip has no labels")]
    assert not listing.left_out


def test_annotations_that_match_no_clip_or_frame_are_named(tmp_path):
    for name in ("a1", "b", "c", "d", "e"):
        write_clip(tmp_path, name, 0, 6)
    rows = [["x", *ANNOTATIONS[1][1:]], ["c", "", 9, "", "", "", "", ""], ["d", *ANNOTATIONS[1][1:]], ["d", *[""] * 7]]
    rows.append(["e", "", "", "", "", 0, "", ""])
    write_sheet(tmp_path / "annotations.csv", [*ANNOTATIONS, *rows])
    assert reasons(read_data_set("folder", tmp_path, fps=100)) == {
        "annotations.csv, row 4": f"name: no clip 'x' in {tmp_path}",
        "c": "annotations.csv, row 5, onset: expected one of the frames from 1 to 6, got 9",
        "d": "annotations.csv: rows 6 and 7 belong to one clip and differ; remove all but one",
        "e": "annotations.csv, row 8, fps: expected frames per second, got 0",
    }
    write_sheet(tmp_path / "more.csv", [["name", "on set"], ["b", 1]])
    with pytest.raises(UserError, match="more.csv: row 1: expected columns among name,subject,.*; got 'on set'"):
        read_data_set("folder", tmp_path, fps=100, sheet=tmp_path / "more.csv")
    with pytest.raises(UserError, match="less.csv: no such table of labels"):
        read_data_set("folder", tmp_path, fps=100, sheet=tmp_path / "less.csv")


def test_files_beside_a_loose_clip_belong_to_it(tmp_path):
    for name in ("a", "b", "c"):
        write_clip(tmp_path, name, 0, 6)
    np.save(tmp_path / "a.npy", face_landmarks())
    np.save(tmp_path / "b.onset.npy", face_landmarks())
    (tmp_path / "a_au.csv").write_text("frame, AU01_r\n", encoding="utf-8")
    for suffix in ("npy", "pts"):
        (tmp_path / f"c.{suffix}").write_bytes(b"")
    listing = read_data_set("folder", tmp_path, fps=100)
    clips = named(listing)
    assert (clips["a"].landmarks, clips["a"].au_table) == (tmp_path / "a.npy", tmp_path / "a_au.csv")
    assert (clips["b"].landmarks, clips["b"].au_table) == (tmp_path / "b.onset.npy", None)
    assert reasons(listing) == {"c": "expected one of c.npy and c.pts beside the clip, found both; remove one"}


def test_names_that_are_invalid_file_names_are_replaced_with_a_remark(tmp_path):
    for name in ("ann #1", "Take.2", "take-2"):
        write_clip(tmp_path, name, 0, 3)
    listing = read_data_set("folder", tmp_path, fps=100)
    assert remarks(named(listing)["ann-1"]) == [("name ann #1", "renamed to ann-1: letters, digits, _ and - only")]
    assert reasons(listing) == {
        str(tmp_path / "take-2"): f"has the same name take-2 as {tmp_path / 'Take.2'}; rename one"
    }


def write_video(path: Path, frames: int = 7, fps: int = 37) -> None:
    pictures = np.stack([np.full((32, 32, 3), (30 * t, 90, 200), np.uint8) for t in range(frames)])
    iio.imwrite(path, pictures, plugin="pyav", codec="libx264", fps=fps)


def test_videos_have_their_own_frame_rate_and_count_from_0(tmp_path):
    write_video(tmp_path / "ann_1.mp4")
    write_video(tmp_path / "bob_1.mp4")
    (tmp_path / "cut.mp4").write_bytes((tmp_path / "ann_1.mp4").read_bytes()[:300])
    np.save(tmp_path / "ann_1.npy", face_landmarks())
    write_sheet(tmp_path / "annotations.csv", [["name", "onset", "offset", "facs"], ["ann_1", 0, 6, "R12"]])
    listing = read_data_set("video", tmp_path)
    ann, bob = listing.clips
    assert (ann.name, ann.subject, ann.source, ann.frames) == ("ann_1", "ann", tmp_path / "ann_1.mp4", ())
    assert ann.frame_numbers == tuple(range(7))
    assert ann.fps == pytest.approx(37)
    assert ann.colour
    assert (ann.onset, ann.apex, ann.offset, ann.facs) == (0, None, 6, "R12")
    assert ann.landmarks == tmp_path / "ann_1.npy"
    assert bob.onset is None
    assert "unreadable" in reasons(listing)["cut"]
    assert read_data_set("video", tmp_path / "bob_1.mp4").clips[0].name == "bob_1"


def test_videos_in_subfolders_are_named_after_them(tmp_path):
    root = tmp_path / "CASME2_compressed"
    for folder in ("sub01", "sub02", "__MACOSX"):
        (root / folder).mkdir(parents=True)
    for name in ("sub01/EP02_01f", "sub01/EP10_2", "sub02/EP02_01f"):
        write_video(root / f"{name}.mp4")
    write_video(root / "__MACOSX" / "x.mp4")
    np.save(root / "sub02" / "EP02_01f.npy", face_landmarks())
    write_sheet(root / "annotations.csv", [["name", "onset", "offset", "facs"], ["sub02_EP02_01f", 0, 6, "R12"]])
    clips = read_data_set("video", root).clips
    assert [(clip.name, clip.subject, clip.facs) for clip in clips] == [
        ("sub01_EP02_01f", "sub01", None),
        ("sub01_EP10_2", "sub01", None),
        ("sub02_EP02_01f", "sub02", "R12"),
    ]
    assert clips[2].landmarks == root / "sub02" / "EP02_01f.npy"


# --- real clips -------------------------------------------------------------------------------------------------------

needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the real clips are not part of the repository")


@needs_shared
@pytest.mark.parametrize(("folder", "count"), [("driving", 2), ("driving_fpb", 3)])
def test_real_micro_expressions_are_read(folder, count):
    listing = read_data_set("folder", SHARED / "me" / folder, fps=100)
    assert not listing.left_out
    assert len(listing.clips) == count
    for clip in listing.clips:
        assert len(clip.frames) == len(os.listdir(clip.source))
        assert clip.frame_numbers == tuple(range(len(clip.frames)))
        assert read_landmarks(clip.landmarks).shape == (1, 68, 2)
    clips = named(listing)
    assert (clips["022_3_3"].subject, clips["022_3_3"].colour) == ("022", False)
    assert clips["s3_po_05"].subject == "s3"
    assert clips["s3_po_05"].colour == (folder == "driving"), "the FPB authors made the clip grey"


@needs_shared
def test_real_videos_are_read():
    listing = read_data_set("video", SHARED / "faces")
    assert not listing.left_out
    assert len(listing.clips) == 13
    for clip in listing.clips:
        assert len(read_landmarks(clip.landmarks)) == len(clip.frame_numbers)
        assert 10 <= clip.fps <= 30
        assert clip.colour
