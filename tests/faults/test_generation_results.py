"""Finished clips are verified and not believed, and names of clips never mix their results."""

import csv
import json
import multiprocessing
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import animate
from core.files import temporary_name
from generation.batch import _folder_names
from generation.records import FOLDER, Records
from output.video import write_video
from tests.conftest import write_clip
from tests.faults.generation_runs import NAME, command, contents, main, only_line, rows
from tests.faults.training_runs import temporaries


@pytest.fixture
def pairs(warp_experiment, clips_root, tmp_path):
    """The command that animates the pairs, and its folder of results."""
    return command("pairs", warp_experiment, clips_root, tmp_path / "log"), tmp_path / "log" / "warp" / "animation"


# --- finished clips are verified --------------------------------------------------------------------------------------


@pytest.fixture
def made(monkeypatch):
    """Names of the clips that are generated."""
    names = []
    original = animate._animate_pair
    monkeypatch.setattr(animate, "_animate_pair", lambda *a: names.append(a[-1].name) or original(*a))
    return names


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def shorten(path: Path) -> None:
    write_video(path, [np.zeros((8, 8, 3), np.uint8)] * 2, 25, crf=30)


def make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGE = [
    ("NAME/0000.png", Path.unlink),
    ("NAME/0003.png", empty),
    ("NAME/0005.png", flip),
    ("NAME.mp4", flip),
    ("NAME_comparison.mp4", truncate),
    ("NAME_keypoints.npy", flip),
    ("NAME", shutil.rmtree),
]
UNREADABLE = [  # damage that a decoder notices
    ("NAME/0000.png", truncate),
    ("NAME/0003.png", make_folder),
    ("NAME/0005.png", Path.unlink),
    ("NAME.SUFFIX", empty),
    ("NAME_comparison.SUFFIX", truncate),
    ("NAME_keypoints.npy", truncate),
]


def test_damaged_files_are_made_anew(pairs, made):
    arguments, folder = pairs
    assert main(*arguments) == 0
    before = contents(folder)
    for file, damage in DAMAGE:
        made.clear()
        damage(folder / file.replace("NAME", NAME))
        assert main(*arguments) == 0
        assert made == [NAME], file
        assert contents(folder) == before
    made.clear()
    assert main(*arguments) == 0
    assert made == []


@pytest.mark.parametrize("suffix", [".mp4", ".gif"])
def test_results_of_versions_without_records_are_verified_by_reading_them(suffix, pairs, made):
    arguments, folder = pairs
    arguments = [*arguments, "--set", f"animate_params.format={suffix}", "--set", "dataset_params.fps=25"]
    assert main(*arguments) == 0
    before, records = contents(folder), contents(folder / FOLDER)
    made.clear()
    shutil.rmtree(folder / FOLDER)
    assert main(*arguments) == 0
    assert made == []
    assert contents(folder / FOLDER) == records
    for file, damage in [*UNREADABLE, *([("NAME.SUFFIX", shorten)] if suffix == ".mp4" else [])]:
        shutil.rmtree(folder / FOLDER)
        made.clear()
        damage(folder / file.replace("NAME", NAME).replace(".SUFFIX", suffix))
        assert main(*arguments) == 0
        assert made == [NAME], file
        assert contents(folder) == before


def test_a_row_that_promises_many_frames_is_not_believed(pairs, made):
    arguments, folder = pairs
    assert main(*arguments) == 0
    shutil.rmtree(folder / FOLDER)
    text = (folder / "results.csv").read_text()
    (folder / "results.csv").write_text(text.replace(",6,", f",{10**15},"))
    made.clear()
    assert main(*arguments) == 0
    assert len(made) == 2


def test_a_damaged_record_is_no_record_of_anything(pairs, made):
    arguments, folder = pairs
    assert main(*arguments) == 0
    path = folder / FOLDER / f"{NAME}.json"
    whole = path.read_text()
    damaged = ["", "[]", "{", '{"row": 3, "files": []}', "[" * 100_000, '{"row": {}, "files": {}}']
    for content in [*damaged, whole.replace("[", "[1e999, ", 1), whole.replace("0000.png", "\\ud800")]:
        made.clear()
        path.write_text(content)
        assert main(*arguments) == 0
        assert made == [NAME], content[:80]


def test_records_name_files_inside_the_folder_only(pairs):
    arguments, folder = pairs
    assert main(*arguments) == 0
    path = folder / FOLDER / f"{NAME}.json"
    record = json.loads(path.read_text())
    columns = list(record["row"])
    assert Records(folder, columns).read(NAME) is not None
    for outside in ("../x", "/etc/passwd", "a/../../x", "a\0", "\ud800"):
        path.write_text(json.dumps({"row": record["row"], "files": {outside: [1, "x"]}}))
        assert Records(folder, columns).read(NAME) is None


def test_a_lost_table_is_restored_from_the_records(pairs, made):
    arguments, folder = pairs
    assert main(*arguments) == 0
    before = rows(folder)
    made.clear()
    (folder / "results.csv").write_bytes((folder / "results.csv").read_text().encode("utf-16"))
    assert main(*arguments) == 0
    assert made == []
    assert rows(folder) == before
    assert (folder / "results_unreadable_1.csv").exists()


def test_a_record_of_other_settings_is_replaced(pairs, made):
    arguments, folder = pairs
    assert main(*arguments) == 0
    made.clear()
    assert main(*arguments, "--set", "animate_params.crf=5") == 0
    assert len(made) == 2


def _leave_temporaries(*folders: Path) -> None:
    for folder in folders:
        (folder / temporary_name(".png")).touch()
    os._exit(0)


@pytest.mark.skipif(sys.platform == "win32", reason="fork")
@pytest.mark.parametrize("mode", ["pairs", "file"])
def test_files_of_killed_runs_are_removed(mode, warp_experiment, clips_root, tmp_path):
    log = tmp_path / "log"
    folders = (log,) if mode == "file" else (log / "warp" / "animation", log / "warp" / "animation" / FOLDER)
    folders[-1].mkdir(parents=True)
    process = multiprocessing.get_context("fork").Process(target=_leave_temporaries, args=folders)
    process.start()
    process.join()
    assert temporaries(log) != []
    assert main(*command(mode, warp_experiment, clips_root, log)) == 0
    assert temporaries(log) == []


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def with_pairs(pairs, clips_root):
    """Writes clips and a list of pairs of them; returns the command and the folder of results."""
    arguments, folder = pairs

    def write(names: list[str], listed: list[tuple[str, str]]):
        for number, name in enumerate(names):
            landmarks = write_clip(clips_root, name, number + 10)
            (clips_root / "landmarks" / name).parent.mkdir(parents=True, exist_ok=True)
            np.save(clips_root / "landmarks" / f"{name}.npy", landmarks)
        with (clips_root / "pairs.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("source", "driving"), *listed])
        return [*arguments, "--set", f"dataset_params.pairs_list={clips_root / 'pairs.csv'}"], folder

    return write


@pytest.mark.parametrize(
    ("names", "listed"),
    [
        (["a/b", "a_b", "c"], [("a/b", "c"), ("a_b", "c"), ("c", "a/b"), ("c", "a_b")]),
        (["x", "y-x", "z-y", "z"], [("x", "z-y"), ("y-x", "z")]),  # both z-y-x
        (["a", "a_comparison", "c"], [("a", "c"), ("a_comparison", "c")]),
    ],
)
def test_pairs_of_similar_names_have_folders_of_their_own(names, listed, with_pairs, made):
    arguments, folder = with_pairs(names, listed)
    assert main(*arguments) == 0
    first = rows(folder)
    assert [(row["source"], row["driving"]) for row in first] == listed
    assert len({row["folder"] for row in first}) == len(listed)
    assert first[0]["folder"] == f"{listed[0][1]}-{listed[0][0]}".replace("/", "_"), "the usual name stays"
    digests = [contents(folder / row["folder"])["0003.png"] for row in first]
    assert len(set(digests)) == len({source for source, _ in listed}), "each has the frames of its own source"
    made.clear()
    assert main(*arguments) == 0
    assert made == []
    assert rows(folder) == first


def test_names_that_look_like_formulas_are_found_in_lists(with_pairs):
    arguments, folder = with_pairs(["=1+1"], [("'=1+1", "006")])
    assert main(*arguments) == 0
    assert [row["source"] for row in rows(folder)] == ["'=1+1"]


@pytest.mark.skipif(sys.platform != "linux", reason="names of any bytes")
def test_names_of_any_bytes_are_resumed(with_pairs, made, clips_root, caplog):
    names = [os.fsdecode(b"\xd6\xd0\xce\xc4"), "=1+1", "n" * 218]
    for number, name in enumerate(names):
        np.save(clips_root / "landmarks" / f"{name}.npy", write_clip(clips_root / "test", name, number + 10))
    (clips_root / "landmarks" / "022_3_3.npy").unlink()
    shutil.rmtree(clips_root / "test" / "022_3_3")
    arguments, folder = with_pairs([], [])
    arguments = [*arguments[:-2], "--set", "animate_params.format=.png"]
    assert main(*arguments) == 0, caplog.text
    assert len(rows(folder)) == len(made) == 12
    assert "'=1+1" in {row["source"] for row in rows(folder)}
    made.clear()
    assert main(*arguments) == 0
    assert made == []
    assert len(rows(folder)) == 12


def test_names_never_lead_out_of_the_results(with_pairs, clips_root, tmp_path):
    arguments, folder = with_pairs(["outside", "a"], [])
    (clips_root / "lists" / "inner").mkdir(parents=True)
    (clips_root / "landmarks" / "inner").mkdir()
    for name in ("outside", "a"):
        shutil.copy(clips_root / "landmarks" / f"{name}.npy", clips_root / f"{name}.npy")
    path = clips_root / "lists" / "pairs.csv"
    absolute = clips_root / "a"
    path.write_text(f"source,driving\n../outside,006\ninner/../../outside,006\n{absolute},006\n", encoding="utf-8")
    before = contents(tmp_path)
    assert main(*arguments[:-1], f"dataset_params.pairs_list={path}") == 0
    assert [name for name in contents(tmp_path) if name not in before and not name.startswith(("log/", "cache/"))] == []
    assert len({row["folder"] for row in rows(folder)}) == 3


@example("a/b", {})
@given(st.text(max_size=300), st.dictionaries(st.sampled_from(["source", "driving"]), st.text(max_size=50)))
def test_folder_names_are_short_single_and_distinct(name, identity):
    names = _folder_names(name, identity)
    for folder in names:
        assert len(os.fsencode(folder)) <= 220
        assert "/" not in folder
        assert "\0" not in folder
        assert folder not in ("", ".", "..", "results.csv", "log.txt")
    other = _folder_names(name, {**identity, "source": identity.get("source", "") + "x"})
    assert other[-1] != names[-1]


@pytest.mark.parametrize(
    "cell", ["a**b", "*", "**", "[", "x" * 400, "9" * 300, "a\0b", ".", "..", "/", "~", "=x", "\\"]
)
@pytest.mark.parametrize("mode", ["pairs", "codes"])
def test_odd_names_in_lists_are_named_in_one_line(cell, mode, pairs, clips_root, caplog):
    path = clips_root / "list.csv"
    header, row = (
        ("source,driving", f"{cell},006") if mode == "pairs" else ("source,au,onset,apex,offset", f"{cell},4,1,4,8")
    )
    path.write_text(f"{header}\n{row}\n", encoding="utf-8")
    given_list = ["--set", f"dataset_params.pairs_list={path}"] if mode == "pairs" else ["--au-list", path]
    assert main(*pairs[0], *given_list) == 2
    assert "list.csv" in only_line(caplog)
