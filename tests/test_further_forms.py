"""Data sets in other forms: compressed videos, recordings, sheets without a header, folders as for MEB."""

import shutil
from dataclasses import replace
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest

from errors import UserError
from preparation.readers import read_data_set
from preparation.source_frames import source_frames
from tests import data_set_layouts as layouts
from tests.data_set_layouts import Mini, make_casme2
from tests.test_readers import reasons, remarks


def write_video(path: Path, frames: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    iio.imwrite(
        path, np.stack([np.full((16, 16, 3), 15 * i % 256, np.uint8) for i in range(frames)]), fps=30, codec="mpeg4"
    )


def test_compressed_videos_of_casme2_are_read_with_its_sheet(tmp_path):
    clips = (Mini("01", "EP02_01f", onset=3), Mini("01", "EP03_02", onset=400), Mini("02", "EP09_10f", onset=400))
    make_casme2(tmp_path, clips, release="frames")
    shutil.rmtree(tmp_path / "frames")
    base = tmp_path / "CASME2_compressed"
    write_video(base / "sub01" / "EP02_01f.avi", 14)
    write_video(base / "sub01" / "EP03_02.avi", 8)
    write_video(base / "sub02" / "EP09_10f.avi", 9)
    write_video(base / "sub02" / "other.avi", 9)
    listing = read_data_set("casme2", tmp_path)
    whole, cut = listing.clips
    assert whole.name == "sub01_EP02_01f"
    assert (whole.frame_numbers, whole.onset, whole.offset) == (tuple(range(1, 15)), 3, 10)
    assert (cut.frame_numbers, cut.onset, cut.offset) == (tuple(range(400, 408)), 400, 407)
    assert remarks(cut)[0] == (
        "CASME2-coding-20190701.xlsx, row 3: a video of 8 frames",
        "begins at the onset 400, because it ends before it",
    )
    assert reasons(listing) == {
        "CASME2-coding-20190701.xlsx, row 4": "OnsetFrame: expected one of the frames from 1 to 9, got 400",
        "sub02/other": "expected a folder name as in sub01/EP02_01f/img46.jpg, got 'other.avi'",
    }
    frames = list(source_frames(whole, range(2, 10)))
    assert [round(frame.mean() / 15) for frame in frames] == list(range(2, 10)), "frame 3 is the third"


def test_frames_are_preferred_to_compressed_videos(tmp_path):
    make_casme2(tmp_path)
    write_video(tmp_path / "CASME2_compressed" / "sub01" / "EP02_01f.avi", 120)
    assert all(clip.frames for clip in read_data_set("casme2", tmp_path).clips)
    videos = read_data_set("casme2", tmp_path, release="CASME2_compressed").clips
    assert [clip.name for clip in videos] == ["sub01_EP02_01f"]


@pytest.mark.parametrize("header", [False, True])
def test_recordings_of_casme_squared_are_cut(tmp_path, header):
    clips = [replace(clip, around=3) for clip in layouts.CASME_SQUARED_CLIPS]
    layouts.make_casme_squared(tmp_path, clips, recordings=True, header=header)
    listing = read_data_set("casme-sq", tmp_path)
    assert not listing.left_out
    assert [clip.name for clip in listing.clips] == ["casme-sq-s15_0401_96", "casme-sq-s21_0402_550"]
    assert [clip.frame_numbers for clip in listing.clips] == [tuple(range(96, 104)), tuple(range(550, 558))]
    layouts.make_casme_squared(tmp_path, clips, header=header)
    assert listing != read_data_set("casme-sq", tmp_path), "clips are preferred"
    assert listing == read_data_set("casme-sq", tmp_path, release="rawpic")


def test_rows_of_a_sheet_without_header_have_their_numbers(tmp_path):
    layouts.make_casme_squared(tmp_path, edit=lambda table: table[1].__setitem__(4, 0))
    assert reasons(read_data_set("casme-sq", tmp_path)) == {
        "CAS(ME)^2code_final(Updated).xlsx, row 2": "offset: expected a frame after the onset 550, got 0"
    }


def test_a_sheet_of_casme_squared_without_its_tabs_is_named(tmp_path):
    layouts.make_casme_squared(tmp_path)
    (tmp_path / "CAS(ME)^2code_final(Updated).xlsx").unlink()
    (tmp_path / "code.csv").write_text("1,anger1_1,96,99,103,4,negative,micro-expression,anger\n")
    with pytest.raises(UserError, match=r"code\.csv: subject: expected another tab .* names the folder of .*row 1"):
        read_data_set("casme-sq", tmp_path)


def test_macro_expressions_of_long_videos_are_left_out(tmp_path):
    layouts.make_samm_long(tmp_path, edit=lambda table: table[-1].__setitem__(7, "Macro"))
    listing = read_data_set("samm-long", tmp_path)
    assert [clip.name for clip in listing.clips] == ["031_2_long_96", "031_2_long_300"]
    assert [remark.done for remark in listing.remarks] == ["left out"]


@pytest.mark.parametrize("folder", ["{subject}/{name}", "{subject}/micro/{emotion}/{name}"])
def test_folders_of_meb_match_numbers_without_letters(tmp_path, folder):
    clips = [Mini("sub01", "EP02_01f"), Mini("sub02", "EP01", onset=8)]

    def numbers(table):
        for row in table[1:]:
            row[0] = int(row[0][3:])

    layouts.make_meb(tmp_path, clips, folder=folder, edit=numbers)
    listing = read_data_set("meb", tmp_path)
    assert not listing.left_out
    assert [(clip.name, clip.subject, clip.fps) for clip in listing.clips] == [
        ("sub1_EP02_01f", "sub1", 100),
        ("sub2_EP01", "sub2", 100),
    ]


def test_the_frame_rate_of_meb_may_be_a_setting(tmp_path):
    layouts.make_meb(tmp_path, edit=lambda table: [row.pop() for row in table])
    assert [clip.fps for clip in read_data_set("meb", tmp_path, fps=90).clips] == [90, 90]
    with pytest.raises(UserError, match="fps: expected frames per second, got nothing; set `fps`, or add the column"):
        read_data_set("meb", tmp_path)


def test_folders_of_frames_are_found_at_any_depth(tmp_path):
    for folder in ("sub01/a", "sub01/b", "sub02/day1/a", "c_1"):
        layouts.write_frames(tmp_path / folder, folder, range(1, 4), "{}.png", layouts.draw_noise)
    layouts.write_frames(tmp_path / "c_1" / "masks", "masks", range(1, 4), "{}.png", layouts.draw_noise)
    (tmp_path / "empty").mkdir()
    (tmp_path / "annotations.csv").write_text("name;onset;offset\nsub01_b;1,0;3,0\n")
    listing = read_data_set("folder", tmp_path, fps=50)
    assert [(clip.name, clip.subject) for clip in listing.clips] == [
        ("c_1", "c"),
        ("sub01_a", "sub01"),
        ("sub01_b", "sub01"),
        ("sub02_day1_a", "sub02"),
    ]
    assert [clip.offset for clip in listing.clips] == [None, None, 3, None]
    assert list(reasons(listing)) == ["empty"]


@pytest.mark.parametrize(
    ("separator", "encoding", "first"),
    [(";", "utf-8-sig", "sep=;\n"), ("\t", "utf-16", ""), (";", "gbk", ""), ("\t", "gb18030", ""), (",", "cp1252", "")],
)
def test_sheets_with_any_separator_encoding_and_decimal_mark_are_read(tmp_path, separator, encoding, first):
    make_casme2(tmp_path)
    (tmp_path / "CASME2-coding-20190701.xlsx").unlink()
    emotion = "na\xefve" if encoding == "cp1252" else "\u538c\u6076"
    mark = "." if separator == "," else ","
    rows = [["Subject", "Filename", "OnsetFrame", "ApexFrame", "OffsetFrame", "Action Units", "Estimated Emotion"]]
    rows += [
        [f"1{mark}0", "EP02_01f", f"96{mark}0", f"99{mark}00", "103", "4+7", emotion],
        ["2", "EP09_10f", "96", "-"],
    ]
    rows[2] += ["103", "L12", "sad", ""]
    text = first + "\n".join(separator.join(row) for row in rows) + "\n\n" + separator * 3 + "\n"
    (tmp_path / "coding.csv").write_bytes(text.encode(encoding))
    clips = read_data_set("casme2", tmp_path).clips
    assert [(clip.name, clip.onset, clip.apex, clip.emotion) for clip in clips] == [
        ("sub01_EP02_01f", 96, 99, emotion),
        ("sub02_EP09_10f", 96, None, "sad"),
    ]


@pytest.mark.parametrize("folder", ["{subject}/{name}", "{subject}/color"])
def test_part_c_of_casme3_is_read_in_other_layouts(tmp_path, folder):
    listing = read_data_set("casme3-c", layouts.make_casme3_c(tmp_path, folder=folder))
    assert not listing.left_out
    first, second = ("1", "2") if "{name}" in folder else ("", "")
    assert {clip.name for clip in listing.clips} == {
        f"spNO216_c{first}_96",
        f"spNO216_c{second}_8",
        f"spNO230_c{first}_1",
    }


def test_tables_beside_loose_clips_may_be_workbooks(tmp_path):
    layouts.write_frames(tmp_path / "a", "a", range(1, 4), "{}.png", layouts.draw_noise)
    (tmp_path / "a_au.xlsx").touch()
    layouts.write_sheet(tmp_path / "annotations.xlsx", [["name", "onset", "offset"], ["a", 1, 3]])
    (clip,) = read_data_set("folder", tmp_path, fps=50).clips
    assert (clip.offset, clip.au_table) == (3, tmp_path / "a_au.xlsx")
    (tmp_path / "annotations.csv").touch()
    with pytest.raises(UserError, match=r"expected one of .*annotations\.csv and .*annotations\.xlsx, found both"):
        read_data_set("folder", tmp_path, fps=50)


def test_columns_in_the_spelling_of_other_editions_are_read(tmp_path):
    names = ["Subject", "Filename", "Onset Frame", "Apex Frame", "Offset Frame", "Action Units", "Estimated Emotion"]

    def rename(table):
        for row in table:
            del row[4]
        table[0][:] = names

    clips = read_data_set("casme", layouts.make_casme(tmp_path, edit=rename)).clips
    assert [(clip.onset, clip.apex, clip.facs, clip.emotion) for clip in clips] == [
        (1, 4, "4+L9", "disgust"),
        (40, 43, "L14", "contempt"),
    ]
