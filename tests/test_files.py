"""Atomic writing of files and folders."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from core.files import WriteError, replacing_entries, replacing_file, replacing_folder, write_bytes, write_text


def write_half(path: Path, error: BaseException) -> None:
    """Begin a file, then fail."""
    with replacing_file(path) as temporary:
        temporary.write_text("half")
        raise error


def fill_half(path: Path, error: BaseException) -> None:
    """Begin a folder, then fail."""
    with replacing_folder(path) as temporary:
        (temporary / "new.png").write_text("half")
        raise error


def begin_entries(folder: Path) -> None:
    """Begin several entries of a folder, then fail."""
    with replacing_entries(folder) as place:
        (place / "clip.mp4").touch()
        raise KeyError


def fill(path: Path, name: str) -> None:
    """Write a folder with one file."""
    with replacing_folder(path) as temporary:
        (temporary / name).touch()


def test_a_file_appears_when_it_is_complete(tmp_path):
    path = tmp_path / "new" / "table.csv"
    with replacing_file(path) as temporary:
        temporary.write_text("half")
        assert not path.exists()
        assert temporary.parent == path.parent, "a rename needs one file system"
        assert temporary.suffix == ".csv"
    assert path.read_text() == "half"
    assert os.listdir(path.parent) == ["table.csv"]


def test_a_failed_file_leaves_the_previous_one(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("before")
    with pytest.raises(KeyError):
        write_half(path, KeyError())
    with pytest.raises(WriteError, match=r"table\.csv: could not be written \(No space left on device\); make room"):
        write_half(path, OSError(28, "No space left on device"))
    assert path.read_text() == "before"
    assert os.listdir(tmp_path) == ["table.csv"]


def test_a_link_is_replaced_and_its_target_kept(tmp_path):
    target, link = tmp_path / "thesis.txt", tmp_path / "results.csv"
    target.write_text("ten years")
    link.symlink_to(target)
    write_text(link, "rows")
    assert target.read_text() == "ten years"
    assert not link.is_symlink()
    assert link.read_text() == "rows"


def test_permissions_are_those_of_any_new_file(tmp_path):
    (tmp_path / "plain").write_text("")
    write_text(tmp_path / "ours", "")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_equal_contents_are_not_written_again(tmp_path):
    path = tmp_path / "a.json"
    assert write_bytes(path, b"1")
    before = path.stat().st_mtime_ns, path.stat().st_ino
    assert not write_bytes(path, b"1")
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == before
    assert write_bytes(path, b"2")


def test_many_writers_of_one_file_leave_one_whole_version(tmp_path):
    versions = [str(i) * 10_000 for i in range(10)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda text: write_text(tmp_path / "shared.txt", text), versions * 5))
    assert (tmp_path / "shared.txt").read_text() in versions
    assert os.listdir(tmp_path) == ["shared.txt"]


def test_a_folder_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "frames"
    path.mkdir()
    (path / "old.png").write_text("old")
    with pytest.raises(WriteError, match="make room"):
        fill_half(path, OSError(28, "No space left on device"))
    assert os.listdir(path) == ["old.png"]
    with replacing_folder(path) as temporary:
        (temporary / "new.png").write_text("new")
        assert os.listdir(path) == ["old.png"]
    assert os.listdir(path) == ["new.png"]
    assert os.listdir(tmp_path) == ["frames"]


def test_a_file_in_the_place_of_a_folder_is_kept(tmp_path):
    (tmp_path / "frames").write_text("ten years")
    with pytest.raises(WriteError, match="frames: could not be written .a file stands where a folder is expected"):
        fill(tmp_path / "frames", "new.png")
    assert (tmp_path / "frames").read_text() == "ten years"
    assert os.listdir(tmp_path) == ["frames"]


def test_a_link_to_a_folder_is_replaced_and_its_target_kept(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "old.png").touch()
    (tmp_path / "frames").symlink_to(tmp_path / "thesis")
    fill(tmp_path / "frames", "new.png")
    assert os.listdir(tmp_path / "thesis") == ["old.png"]
    assert os.listdir(tmp_path / "frames") == ["new.png"]
    assert sorted(os.listdir(tmp_path)) == ["frames", "thesis"]


def test_a_folder_stays_where_the_program_stops_between_the_two_moves(tmp_path, monkeypatch):
    fill(tmp_path / "frames", "old.png")
    moves, original = [], os.replace

    def interrupted(source, target):
        moves.append(target)
        if len(moves) == 2:
            raise KeyboardInterrupt
        original(source, target)

    monkeypatch.setattr("core.files.os.replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fill(tmp_path / "frames", "new.png")
    assert os.listdir(tmp_path / "frames") == ["old.png"]
    assert os.listdir(tmp_path) == ["frames"]


def test_several_entries_appear_together(tmp_path):
    (tmp_path / "kept.txt").touch()
    (tmp_path / "clip").mkdir()
    (tmp_path / "clip" / "old.png").touch()
    with pytest.raises(KeyError):
        begin_entries(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["clip", "kept.txt"]
    with replacing_entries(tmp_path) as place:
        (place / "clip.mp4").touch()
        (place / "clip").mkdir()
        assert sorted(path.name for path in tmp_path.iterdir() if path != place) == ["clip", "kept.txt"]
    assert sorted(os.listdir(tmp_path)) == ["clip", "clip.mp4", "kept.txt"]
    assert os.listdir(tmp_path / "clip") == []


def test_a_place_that_is_no_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match=r"file/a\.csv: could not be written"):
        write_text(tmp_path / "file" / "a.csv", "rows")
