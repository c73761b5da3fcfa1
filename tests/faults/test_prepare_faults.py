"""`--mode prepare` against damaged files, missing inputs, hostile names, folders that fail, and a second run."""

import csv
import errno
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import hypothesis.strategies as st
import imageio.v3 as iio
import numpy as np
import pytest
import yaml
from hypothesis import given

from core.locks import folder_lock
from parsing.cells import plain_cell
from preparation import clip_maker, source_frames
from preparation.clip_state import parse_state, state_text
from preparation.folds import file_names
from preparation.tables import COLUMNS, PreparedClip, read_table, write_tables
from run import main
from tests.conftest import another_user
from tests.test_prepare import contents, report_of, times, write_release

CLIPS = ("sub01_a", "sub02_b", "sub03_c")


def write_data_set(folder: Path, clips: tuple[str, ...] = CLIPS, frames: int = 6) -> Path:
    """Clips with landmarks beside them and a table of labels; returns the experiment file that prepares them."""
    rows = ["name,subject,onset,apex,offset,emotion,facs"]
    for name in clips:
        write_release(folder / "release", name, frames=frames)
        (folder / "release" / f"{name}.landmarks.npy").rename(folder / "release" / f"{name}.onset.npy")
        rows.append(f"{name},{name[:5]},47,49,{45 + frames},happiness,L12+4B")
    (folder / "release" / "annotations.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return write_experiment(folder)


def write_experiment(folder: Path, **changes) -> Path:
    """The experiment file of such a data set; paths are relative to `folder`."""
    section = {
        "data_set": "folder",
        "root_dir": "release",
        "output_dir": "out",
        "workers": 1,
        "fps": 200.0,
        "crop_params": {"size": 64},
        "landmark_params": {"backend": "files"},
        **changes,
    }
    path = folder / "prepare.yaml"
    path.write_text(yaml.safe_dump({"format": 2, "prepare_params": section}), encoding="utf-8")
    return path


def prepare(**changes) -> int:
    """Prepare the data set of the working directory."""
    return main(["--mode", "prepare", "--config", str(write_experiment(Path.cwd(), **changes))])


@pytest.fixture(scope="module")
def _prepared_once(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("prepared")
    write_data_set(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert prepare() == 0
    return folder


@pytest.fixture
def made(_prepared_once, tmp_path) -> Path:
    """A data set and what was prepared from it, in the working directory; returns the prepared folder."""
    shutil.copytree(_prepared_once, tmp_path, dirs_exist_ok=True)
    return Path("out")


@pytest.fixture
def data_set(_prepared_once, tmp_path) -> Path:
    """A copy of the data set in the working directory."""
    return Path(shutil.copytree(_prepared_once / "release", tmp_path / "release"))


@pytest.fixture(scope="module")
def whole(_prepared_once) -> dict[str, bytes]:
    """Files of the prepared folder."""
    return contents(_prepared_once / "out")


def one_line(caplog) -> str:
    """The error of the last run, which is one line."""
    errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) == 1
    assert "\n" not in errors[0]
    caplog.clear()
    return errors[0]


def warnings(caplog) -> list[str]:
    """Warnings of the last run."""
    found = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    caplog.clear()
    return found


# --- damaged files of the prepared folder -----------------------------------------------------------------------------


DAMAGES = {
    "deleted": lambda path: path.unlink(),
    "emptied": lambda path: path.write_bytes(b""),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "flipped": lambda path: path.write_bytes(path.read_bytes()[:-9] + bytes([path.read_bytes()[-9] ^ 4]) + b"12345678"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_files_are_made_again(made, whole, damage):
    for path in (
        "train/sub01_a/0003.png",
        "landmarks/sub02_b.npy",
        "au/sub03_c.csv",
        ".prepare/thumbnails/sub03_c.jpg",
    ):
        DAMAGES[damage](made / path)
    assert prepare() == 0
    assert contents(made) == whole


def test_a_foreign_frame_and_a_second_copy_are_removed(made, whole):
    shutil.copy(made / "train" / "sub01_a" / "0000.png", made / "train" / "sub01_a" / "0000 (copy).png")
    shutil.copytree(made / "train" / "sub02_b", made / "test" / "sub02_b")
    assert prepare() == 0
    assert contents(made) == whole


RECORDS = [
    *(b"", b"{", b"[]", b"null", b"7", b"\xff\xfe", b"[" * 20_000, b'{"frames": ' + b"9" * 5000 + b"}"),
    *(b'{"frames": []}', b'{"onset": {"key": 1}}', b'{"onset": {"key": "x", "landmarks": [[1, NaN]]}}'),
]


@pytest.mark.parametrize("at", range(4))
def test_damaged_records_are_made_again(made, whole, at):
    for name, text in zip(CLIPS, RECORDS[3 * at :], strict=False):
        (made / ".prepare" / "clips" / f"{name}.json").write_bytes(text)
    assert prepare() == 0
    assert contents(made) == whole


@pytest.mark.parametrize("part", ["onset", "frames", "landmarks", "action_units", "listed"])
def test_records_of_another_form_are_made_again(made, whole, part):
    for name, value in zip(
        CLIPS, (3, {"key": None}, {"key": "x", "files": {"../../x": 1}, "row": {"a": []}}), strict=True
    ):
        path = made / ".prepare" / "clips" / f"{name}.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), part: value, "digest": None}))
    assert prepare() == 0
    assert contents(made) == whole


def test_a_changed_digit_of_a_record_is_noticed(made, whole):
    path = made / ".prepare" / "clips" / "sub01_a.json"
    text = path.read_text()
    side = json.loads(text)["frames"]["side"]
    path.write_text(text.replace(f'"side": {side}', f'"side": {side + 1}'))
    assert prepare() == 0
    assert contents(made) == whole


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["key", "files", "x"]), inner),
)


@given(st.dictionaries(st.sampled_from(["onset", "frames", "landmarks", "action_units", "failure", "listed"]), JSON))
def test_any_json_is_read_as_a_valid_record(record):
    state = parse_state(json.dumps(record).encode())
    assert parse_state(state_text(state).encode()) == state
    assert all(isinstance(part, dict) for part in state.values())


@given(st.binary(max_size=60))
def test_any_bytes_are_read_as_a_record(data):
    assert isinstance(parse_state(data), dict)


def without_manifests(folder: Path) -> None:
    """Make records as earlier versions wrote them."""
    for path in (folder / ".prepare" / "clips").iterdir():
        state = json.loads(path.read_text())
        del state["digest"], state["listed"]
        for stage in ("frames", "landmarks", "action_units"):
            del state[stage]["files"]
        path.write_text(json.dumps(state, sort_keys=True) + "\n")


def test_folders_without_manifests_are_taken_over(made, whole):
    without_manifests(made)
    before = times(made)
    assert prepare() == 0
    changed = {name for name, _ in before.items() ^ times(made).items()}
    assert changed == {f".prepare/clips/{name}.json" for name in CLIPS}
    assert contents(made) == whole


def test_damaged_clips_of_folders_without_manifests_are_made_again(made, whole):
    without_manifests(made)
    DAMAGES["truncated"](made / "train" / "sub01_a" / "0003.png")
    DAMAGES["emptied"](made / "landmarks" / "sub02_b.npy")
    DAMAGES["truncated"](made / "au" / "sub03_c.csv")
    assert prepare() == 0
    assert contents(made) == whole


# --- errors that pass -------------------------------------------------------------------------------------------------


def fail(monkeypatch, place, function: str, error: Exception, times: int, only: str = "") -> list[str]:
    """Let a function raise an error in its first calls with a path that contains `only`; returns its calls."""
    whole, calls = getattr(place, function), []

    def failing(*args, **names):
        if only in str(args[0]):
            calls.append(str(args[0]))
            if len(calls) <= times:
                try:
                    raise error
                except OSError as cause:
                    raise source_frames.ClipError(f"{args[0]}: unreadable image") from cause
        return whole(*args, **names)

    monkeypatch.setattr(place, function, failing)
    return calls


BROKEN = OSError(errno.EIO, "Input/output error")


def test_a_frame_that_cannot_be_read_once_is_read_again(data_set, whole, monkeypatch):
    fail(monkeypatch, source_frames, "read_image", BROKEN, 1, "sub02_b/img49")
    assert prepare() == 0
    assert contents(Path("out")) == whole


def test_a_frame_that_cannot_be_read_in_one_run_is_read_in_the_next(data_set, whole, monkeypatch):
    with monkeypatch.context() as patch:
        fail(patch, source_frames, "read_image", BROKEN, 99, "sub02_b/img49")
        assert prepare() == 0
    assert "sub02_b" in report_of(Path("out"))
    assert not list(Path("out").glob("t*/sub02_b"))
    assert prepare() == 0
    assert contents(Path("out")) == whole


@pytest.mark.parametrize("error", [MemoryError("Unable to allocate 9 GiB"), BROKEN])
def test_a_clip_for_which_memory_or_files_fail_is_made_by_the_next_run(data_set, whole, monkeypatch, error):

    def fails(*args, **names):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(clip_maker, "track" if isinstance(error, MemoryError) else "listed_part", fails)
        assert prepare() == 2
    assert prepare() == 0
    assert contents(Path("out")) == whole


def test_failures_that_earlier_versions_recorded_are_tried_again(made, whole):
    path = made / ".prepare" / "clips" / "sub02_b.json"
    state = json.loads(path.read_text())
    key = state["landmarks"]["key"]
    shutil.rmtree(made / "train" / "sub02_b")
    path.write_text(json.dumps({"onset": state["onset"], "error": {"key": key, "reason": "img49.png: unreadable"}}))
    assert prepare() == 0
    assert contents(made) == whole


def test_failures_of_the_content_are_recorded(data_set, tmp_path, monkeypatch):
    iio.imwrite(tmp_path / "release" / "sub02_b" / "img49.png", np.zeros((99, 250, 3), np.uint8))
    assert prepare() == 0
    calls = fail(monkeypatch, source_frames, "read_image", BROKEN, 0)
    assert prepare() == 0
    assert calls == []
    assert "img49.png: 250 x 99 among frames of 250 x 250" in report_of(Path("out"))


def test_old_files_stay_until_new_ones_are_complete(made, whole, monkeypatch, caplog):
    def full(path, frame):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(clip_maker, "write_png", full)
    assert prepare(crop_params={"size": 48}) == 2
    assert "No space left on device" in one_line(caplog)
    assert contents(made) == whole


# --- missing inputs ---------------------------------------------------------------------------------------------------


def lists(folder: Path) -> dict[str, bytes]:
    """Everything in a prepared folder but its report."""
    return {name: data for name, data in contents(folder).items() if name != "report.html"}


def hide_two_clips() -> None:
    """A drive of which only a part is there."""
    for name in CLIPS[:2]:
        shutil.rmtree(Path("release") / name)


def hide_landmarks() -> None:
    """One clip of which the landmarks are gone."""
    Path("release/sub02_b.onset.npy").unlink()


def empty_frames() -> None:
    """Frames of one clip that are there, but empty."""
    for path in Path("release/sub03_c").iterdir():
        path.write_bytes(b"")


@pytest.mark.parametrize(
    ("hide", "lost"), [(hide_two_clips, CLIPS[:2]), (hide_landmarks, CLIPS[1:2]), (empty_frames, CLIPS[2:])]
)
def test_finished_clips_stay_when_inputs_go_missing(made, whole, caplog, hide, lost):
    shutil.copytree("release", "elsewhere")
    hide()
    assert prepare() == 0
    assert lists(made) == {name: data for name, data in whole.items() if name != "report.html"}
    (warning,) = [text for text in warnings(caplog) if "kept" in text]
    assert f"{len(lost)} in total" in warning
    assert lost[0] in warning
    assert "prepare_params.remove_missing=true" in warning
    assert "Kept from earlier runs" in report_of(made)
    shutil.rmtree("release")
    shutil.move("elsewhere", "release")
    assert prepare() == 0
    assert contents(made) == whole


def test_a_wrong_folder_of_landmarks_is_an_error_that_keeps_every_clip(made, whole, caplog):
    assert prepare(landmark_params={"backend": "files", "dir": "landmark"}) == 2
    assert "no clip could be prepared, 3 finished ones are kept" in one_line(caplog)
    assert lists(made) == {name: data for name, data in whole.items() if name != "report.html"}


def test_missing_clips_are_removed_on_request(made):
    hide_landmarks()
    assert prepare(remove_missing=True) == 0
    left = [name for name in contents(made) if "sub02" in name and not name.startswith(".prepare/clips")]
    assert left == ["splits/sub02.txt"][:0]
    assert "sub02" not in (made / "clips.csv").read_text()


def test_kept_clips_of_other_settings_are_named(made):
    hide_landmarks()
    assert prepare(crop_params={"size": 48}) == 0
    report = report_of(made)
    assert "other settings" in report
    assert iio.imread(made / "train" / "sub02_b" / "0000.png").shape[0] == 64
    assert iio.imread(made / "train" / "sub01_a" / "0000.png").shape[0] == 48


def test_clips_of_earlier_versions_are_kept_too(made, whole):
    without_manifests(made)
    hide_two_clips()
    assert prepare() == 0
    tables = {name: whole[name] for name in ("clips.csv", "pairs.csv", "splits/sub01.txt")}
    assert {name: data for name, data in contents(made).items() if name in tables} == tables


def test_damaged_clips_that_cannot_be_made_again_stay_but_are_not_listed(made, whole, caplog):
    hide_two_clips()
    DAMAGES["truncated"](made / "train" / "sub01_a" / "0003.png")
    assert prepare() == 0
    assert any("sub01_a" in text and "damaged" in text for text in warnings(caplog))
    assert len(list((made / "train" / "sub01_a").iterdir())) == 5
    with (made / "clips.csv").open(newline="") as file:
        assert [row["name"] for row in csv.DictReader(file)] == ["sub02_b", "sub03_c"]


# --- two runs ---------------------------------------------------------------------------------------------------------


def test_of_two_runs_into_one_folder_the_second_is_refused(made, whole, caplog):
    with folder_lock(made, "preparing clips"):
        assert prepare(crop_params={"size": 48}) == 2
        message = one_line(caplog)
    assert f"in use for preparing clips by process {os.getpid()}" in message
    assert " since 2" in message
    assert contents(made) == whole


# --- names ------------------------------------------------------------------------------------------------------------


HOSTILE = ["../../ESCAPED", "a/b", "a_b", "a\\b", "..", "con", "x" * 300, "\u00e9t\u00e9 \u5f20"]


def test_subjects_name_no_files_outside_the_folder(tmp_path):
    hostile = [*HOSTILE, str(tmp_path / "ABSOLUTE")]
    clips = tuple(f"sub{number:02d}_x" for number in range(len(hostile)))
    write_data_set(tmp_path, clips, frames=4)
    with (tmp_path / "release" / "annotations.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["name", "subject", "onset", "apex", "offset", "emotion"])
        for name, subject in zip(clips, hostile, strict=True):
            writer.writerow([name, subject, 47, 48, 49, "=cmd|' /C calc'!A0<script>alert(1)</script>"])
    before = {path for path in tmp_path.rglob("*") if "out" not in path.parts}
    assert prepare() == 0
    assert {path for path in tmp_path.rglob("*") if "out" not in path.parts} == before
    folds = {path.name: path.read_text() for path in Path("out/splits").iterdir()}
    assert sorted(folds.values()) == [f"{name}\n" for name in clips]
    assert {"a_b.txt", "\u00e9t\u00e9 \u5f20.txt"} < set(folds)
    with Path("out/clips.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["emotion"][:5] for row in rows} == {"'=cmd"}
    assert {plain_cell(row["emotion"])[:4] for row in rows} == {"=cmd"}
    assert "<script>" not in Path("out/report.html").read_text(encoding="utf-8")


@given(st.lists(st.text(max_size=300), unique=True, max_size=8))
def test_every_subject_has_a_file_of_its_own_in_the_folder(subjects):
    names = file_names(subjects)
    assert list(names) == subjects
    assert len({name.casefold() for name in names.values()}) == len(subjects)
    for name in names.values():
        assert Path(name).name == name
        assert len(name.encode()) <= 255
        assert not name.startswith(".")


def test_tables_give_back_cells_that_look_like_formulas(tmp_path):
    row = dict.fromkeys(COLUMNS, "") | {
        "name": "a",
        "split": "train",
        "emotion": "=1+1",
        "facs": "'=1",
        "crop_x": "-0.5",
    }
    prepared = SimpleNamespace(path=tmp_path)
    write_tables([PreparedClip(row, ())], prepared)
    assert ",'=1+1,''=1," in (tmp_path / "clips.csv").read_text()
    assert read_table(prepared) == {"a": row}


def test_names_that_are_not_utf8_are_escaped(data_set, caplog):
    os.rename(b"release/sub02_b", b"release/sub\xb0\xa1_b")
    os.rename("release/sub02_b.onset.npy", b"release/sub\xb0\xa1_b.onset.npy")
    assert prepare() in (0, 2)
    assert all(text.isprintable() for text in warnings(caplog))


@pytest.mark.parametrize("length", [240, 248, 255])
def test_long_names_of_clips_work_or_are_refused_in_one_line(tmp_path, caplog, length):
    write_data_set(tmp_path, ("sub01_a", "sub02_b"))
    name = f"sub03_{'c' * (length - 6)}"
    shutil.copytree("release/sub02_b", f"release/{name}")
    Path("landmarks").mkdir()
    for clip in ("sub01_a", "sub02_b", name):
        if length < 252:
            shutil.copy("release/sub02_b.onset.npy", f"landmarks/{clip}.npy")
    if prepare(landmark_params={"backend": "files", "dir": "landmarks"}) == 0:
        assert list(Path("out").glob("t*/sub03_*"))
    else:
        assert length > 240
        one_line(caplog)


# --- folders that fail ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["out", "out/train", "out/.prepare/clips", "out/landmarks"])
def test_a_file_in_the_place_of_a_folder_is_one_line(data_set, caplog, place):
    if place != "out":
        Path("out/.prepare").mkdir(parents=True)
    Path(place).write_text("a file")
    assert prepare() == 2
    assert place.split("/")[-1] in one_line(caplog)
    Path(place).unlink()
    assert prepare() == 0


@pytest.fixture
def open_folder(data_set, monkeypatch):
    """A working directory with the data set, which every user may enter."""
    folder = Path(tempfile.mkdtemp())
    shutil.copytree(data_set, folder / "release")
    write_experiment(folder)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    monkeypatch.chdir(folder)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.skipif(sys.platform == "win32", reason="permissions of POSIX")
@pytest.mark.parametrize("place", [".", "out", "out/train", "out/.prepare/clips"])
def test_a_folder_that_cannot_be_written_is_one_line(open_folder, whole, caplog, place):
    if place != ".":
        for folder in ("out", "out/train", "out/.prepare", "out/.prepare/clips"):
            Path(folder).mkdir()
            Path(folder).chmod(0o777)
    Path(place).chmod(0o555)
    with another_user():
        assert main(["--mode", "prepare", "--config", "prepare.yaml"]) == 2
    assert "ermission denied" in one_line(caplog)
    Path(place).chmod(0o777)
    assert prepare() == 0
    assert contents(Path("out")) == whole


@contextmanager
def small_disk(place: Path, kilobytes: int):
    """Mount a small file system, where the system allows that."""
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root can mount a file system")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="tmpfs")
@pytest.mark.parametrize("kilobytes", [4, 60, 120, 200])
def test_a_full_disk_is_one_line_and_the_next_run_resumes(data_set, tmp_path, whole, caplog, kilobytes):
    with small_disk(tmp_path / "disk", kilobytes):
        assert prepare(output_dir="disk/out") == 2
        one_line(caplog)
        assert not [name for name in contents(Path("disk")) if ".writing" in name]
        subprocess.run(["mount", "-o", "remount,size=9m", str(tmp_path / "disk")], check=True)
        assert prepare(output_dir="disk/out") == 0
        assert contents(Path("disk/out")) == whole


def test_temporary_files_of_dead_processes_are_removed(made, whole):
    host = "".join(c if c.isalnum() else "_" for c in socket.gethostname())[:64]
    for folder in (".", "splits", "landmarks", "train", ".prepare/clips"):
        (made / folder / f".writing-{host}-999999999-{'0' * 16}.json").write_text("half")
    (made / ".prepare" / "making" / "left").mkdir(parents=True)
    assert prepare() == 0
    assert contents(made) == whole
    assert not (made / ".prepare" / "making").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="FIFOs of POSIX")
def test_a_fifo_among_the_frames_does_not_hang(data_set):
    Path("release/sub02_b/img49.png").unlink()
    os.mkfifo("release/sub02_b/img49.png")
    assert prepare() == 0
    assert "expected a file, got a folder, FIFO or device" in report_of(Path("out"))


@pytest.mark.parametrize("scale", [1e30, 1e5])
def test_landmarks_far_larger_than_the_frame_are_refused(data_set, scale):
    path = Path("release/sub02_b.onset.npy")
    landmarks = np.load(path)
    np.save(path, (landmarks - landmarks.mean(axis=0)) * scale)
    assert prepare() == 0
    assert "sub02_b" in report_of(Path("out")).split("Clips by")[0]
