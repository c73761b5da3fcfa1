"""Locks of output folders."""

import multiprocessing
import os
import socket

import pytest

from core.files import TEMPORARY_PREFIX, remove_abandoned, temporary_name, write_text
from core.locks import claimed, folder_lock
from errors import UserError


def test_a_held_folder_is_refused_with_the_process_that_holds_it(tmp_path):
    with folder_lock(tmp_path / "run", "training"):
        with pytest.raises(UserError) as error, folder_lock(tmp_path / "run", "training"):
            pass
    message = str(error.value)
    assert f"in use for training by process {os.getpid()} on {socket.gethostname()} since 2" in message
    assert "\n" not in message


def test_a_released_folder_can_be_held_again(tmp_path):
    for _ in range(2):
        with folder_lock(tmp_path, "training"):
            pass


def test_the_lock_of_a_killed_process_is_free(tmp_path):
    process = multiprocessing.get_context("fork").Process(target=_hold_and_die, args=(tmp_path,))
    process.start()
    process.join()
    assert (tmp_path / ".lock-owner.json").exists()
    with folder_lock(tmp_path, "training"):
        pass


def _hold_and_die(folder):
    with folder_lock(folder, "training"):
        os._exit(9)


def _count_up(path):
    for _ in range(50):
        with claimed(path.with_name(".lock"), wait=True):
            write_text(path, str(int(path.read_text()) + 1))


def test_a_claim_admits_one_process_at_a_time(tmp_path):
    counter = tmp_path / "counter"
    counter.write_text("0")
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_count_up, args=(counter,)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert counter.read_text() == "200"
    assert os.listdir(tmp_path) == ["counter"], "the lock file is removed"


def test_a_claim_of_another_process_is_reported_without_waiting(tmp_path):
    with claimed(tmp_path / "new" / "lock", wait=True) as mine:
        with claimed(tmp_path / "new" / "lock", wait=False) as other:
            assert (mine, other) == (True, False)
        assert (tmp_path / "new" / "lock").exists(), "the file of the holder stays"
    with claimed(tmp_path / "new" / "lock", wait=False) as other:
        assert other


def test_temporaries_of_dead_processes_alone_are_removed(tmp_path):
    context = multiprocessing.get_context("fork")
    process = context.Process(target=_leave_temporaries, args=(tmp_path,))
    process.start()
    process.join()
    mine, other_host = tmp_path / temporary_name(".png"), tmp_path / f"{TEMPORARY_PREFIX}elsewhere-1-0123456789abcdef"
    foreign = tmp_path / f"{TEMPORARY_PREFIX}notes.txt"
    for path in (mine, other_host, foreign):
        path.write_text("x")
    assert len(list(tmp_path.iterdir())) == 5
    remove_abandoned(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([mine, other_host, foreign])


def _leave_temporaries(folder):
    (folder / temporary_name(".png")).write_text("x")
    (folder / temporary_name()).mkdir()
    os._exit(9)


def test_abandoned_links_are_removed_but_not_followed(tmp_path, monkeypatch):
    target = tmp_path / "target"
    target.mkdir()
    (target / "kept").write_text("x")
    monkeypatch.setattr("core.files._is_alive", lambda process: False)
    (tmp_path / temporary_name()).symlink_to(target)
    remove_abandoned(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["target"]
    assert (target / "kept").exists()
