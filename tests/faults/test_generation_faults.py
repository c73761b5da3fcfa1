"""Faults of values, arguments, folders and disks while clips are generated."""

import logging
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import run
from modules.warp.model import WarpModel
from tests.faults.generation_runs import MODES, NAME, TIMES, command, contents, main, only_line, rows
from tests.faults.training_runs import temporaries


@pytest.fixture
def pairs(warp_experiment, clips_root, tmp_path):
    """The command that animates the pairs, and its folder of results."""
    return command("pairs", warp_experiment, clips_root, tmp_path / "log"), tmp_path / "log" / "warp" / "animation"


# --- values that are not finite ---------------------------------------------------------------------------------------


def spoil(monkeypatch, part: str, value: float, calls: set[int]) -> None:
    """Make a frame of some batches hold a value that is not finite: of two frames each, the second."""
    original, count = WarpModel.generate, iter(range(1000))

    def spoiled(self, encoded, source, driving, condition=None):
        result = original(self, encoded, source, driving, condition)
        if next(count) in calls:
            values = result["prediction"] if part == "prediction" else driving["landmarks"]
            with torch.inference_mode():
                values[1, 0, 1] = value
        return result

    monkeypatch.setattr(WarpModel, "generate", spoiled)


@pytest.mark.parametrize(
    ("part", "value"), [("prediction", np.nan), ("prediction", -np.inf), ("landmarks", np.nan), ("landmarks", 1e30)]
)
@pytest.mark.parametrize("mode", MODES)
def test_values_that_are_not_finite_are_reported_and_nothing_is_written(
    mode, part, value, warp_experiment, clips_root, tmp_path, monkeypatch, caplog
):
    spoil(monkeypatch, part, value, {1})
    size = ("--set", "animate_params.batch_size=2", "--set", "reconstruction_params.batch_size=2")
    assert main(*command(mode, warp_experiment, clips_root, tmp_path / "log"), *size) == 2
    message = only_line(caplog)
    found = "image has values that are not finite" if part == "prediction" else "keypoints are far outside the frame"
    assert f"frame 3: the generated {found}; check the landmarks of source and driving clip" in message
    assert "006" in message or "022_3_3" in message
    assert {path.name for path in (tmp_path / "log").rglob("*") if path.is_file()} <= {"log.txt"}


def test_clips_with_such_values_are_counted_and_left_out(pairs, monkeypatch, caplog):
    arguments, folder = pairs
    caplog.set_level("INFO")
    spoil(monkeypatch, "prediction", np.nan, {0})
    assert main(*arguments, "--set", "dataset_params.on_bad_clip=skip") == 0
    assert "1 left out" in caplog.text
    assert [row["source"] for row in rows(folder)] == ["022_3_3"]


# --- values of the command line ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--onset", 1, "--apex", 3, "--offset", 10**9), "expected at most"),
        (("--onset", 10**9, "--apex", 2 * 10**9, "--offset", 3 * 10**9), "expected at most"),
        ((*TIMES, "--frames", 10**12), "expected at most"),
        ((*TIMES, "--fps", "1e300"), "--fps: expected frames per second from 0.1 to 10,000"),
        ((*TIMES, "--fps", "0.001"), "--fps: expected frames per second from 0.1 to 10,000"),
        ((*TIMES, "--fps", "nan"), "--fps: expected a finite number"),
    ],
)
def test_impossible_lengths_and_rates_are_refused(arguments, message, pairs, clips_root, tmp_path, caplog):
    single = ["--source", clips_root / "test" / "006", "--au", "4", "--result", tmp_path / "out.mp4"]
    assert main(*pairs[0], *single, *arguments) == 2
    assert message in only_line(caplog)


@pytest.mark.parametrize("fps", ["0.1", "0.3", "10000", "59.94"])
@pytest.mark.parametrize("suffix", ["mp4", "gif"])
def test_all_rates_within_the_limits_can_be_written(fps, suffix, pairs, clips_root, tmp_path):
    single = ["--source", clips_root / "test" / "006", "--au", "4", "--result", tmp_path / f"out.{suffix}"]
    assert main(*pairs[0], *single, *TIMES, "--fps", fps) == 0
    assert len(list(tmp_path.glob(f"out*.{suffix}"))) == 1


def test_a_single_test_clip_is_an_error(pairs, clips_root, caplog):
    shutil.rmtree(clips_root / "test" / "006")
    assert main(*pairs[0]) == 2
    assert "expected at least two test clips to animate each by the others, got one; add clips" in only_line(caplog)


# --- folders and disks ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "make"),
    [
        ("", Path.touch),
        ("results.csv", Path.mkdir),
        (".manifests", Path.touch),
        ("log.txt", Path.mkdir),
        (NAME, Path.touch),
        (f"{NAME}.mp4", lambda path: (path / "kept").mkdir(parents=True)),
        (NAME, lambda path: (path / "thesis").mkdir(parents=True)),
        ("contact_sheet.png", lambda path: (path / "kept").mkdir(parents=True)),
    ],
)
def test_files_and_folders_in_the_place_of_results_are_named(place, make, pairs, caplog):
    arguments, folder = pairs
    folder.parent.mkdir(parents=True)
    if place:
        folder.mkdir()
    make(folder / place)
    assert main(*arguments) == 2
    assert (place or "animation") in only_line(caplog)
    assert (folder / place).exists(), "it is kept"
    assert temporaries(folder.parent) == []


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: (path.with_name("out_frames")).touch()])
def test_a_result_that_cannot_be_replaced_is_refused_first(make, warp_experiment, clips_root, tmp_path, caplog):
    (tmp_path / "log").mkdir()
    make(tmp_path / "log" / "out.mp4")
    assert main(*command("file", warp_experiment, clips_root, tmp_path / "log")) == 2
    assert re.search(r"out\S*: expected a .*, got a .*; .*choose another", only_line(caplog))


def _run_as_nobody(arguments: list[str], output: Path) -> None:
    logging.getLogger().addHandler(logging.FileHandler(output))
    os.setgid(65534)
    os.setuid(65534)
    os._exit(run.main(arguments))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root, to become another user")
@pytest.mark.parametrize("mode", MODES)
def test_read_only_results_are_named(mode, warp_experiment, clips_root, tmp_path):
    arguments = command(mode, warp_experiment, clips_root, tmp_path / "log")
    assert main(*arguments) == 0
    for path in (tmp_path, *tmp_path.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    (tmp_path / "cache").chmod(0o777)
    output = tmp_path / "cache" / "output"
    parents = [folder for folder in tmp_path.parents if folder != Path("/")]
    modes = {folder: folder.stat().st_mode for folder in parents}
    for folder in parents:
        folder.chmod(modes[folder] | 0o111)
    try:
        arguments = [*arguments, "--set", "animate_params.crf=5"]
        process = multiprocessing.get_context("fork").Process(target=_run_as_nobody, args=(arguments, output))
        process.start()
        process.join()
    finally:
        for folder, mode_ in modes.items():
            folder.chmod(mode_)
    text = output.read_text()
    assert process.exitcode == 2, text
    assert len(text.splitlines()) == 1
    assert "permission" in text.lower()


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 2 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("needs root, to mount a small disk")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="tmpfs")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("left", [20, 100, 300])
def test_a_full_disk_is_named_and_nothing_is_lost(mode, left, warp_experiment, clips_root, small_disk, caplog):
    arguments = command(mode, warp_experiment, clips_root, small_disk / "log")
    (small_disk / "filler").write_bytes(bytes((2048 - left) * 1024))
    first = main(*arguments)
    assert first in (0, 2)
    if first == 2:
        assert "o space left" in only_line(caplog)
    assert temporaries(small_disk) == []
    (small_disk / "filler").unlink()
    assert main(*arguments) == 0


def test_an_old_version_of_the_result_stays_where_the_disk_is_full(pairs, monkeypatch):
    arguments, folder = pairs
    assert main(*arguments) == 0
    before = contents(folder)

    def full(*a, **b):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("output.video.np.save", full)
    assert main(*arguments, "--set", "animate_params.crf=5") == 2
    assert contents(folder) == before


def test_frames_that_another_run_puts_there_at_the_same_time_are_replaced(tmp_path, monkeypatch):
    """Two processes replace one folder: the second finds a folder where it has just moved one away."""
    from core.files import replacing_folder

    original, raced = os.replace, []

    def racing(source, target):
        original(source, target)
        if not raced and Path(source) == tmp_path / "out":
            raced.append(1)
            (tmp_path / "out").mkdir()
            (tmp_path / "out" / "other").touch()

    (tmp_path / "out").mkdir()
    monkeypatch.setattr("core.files.os.replace", racing)
    with replacing_folder(tmp_path / "out") as place:
        (place / "mine").touch()
    assert raced
    assert os.listdir(tmp_path / "out") == ["mine"]
    assert os.listdir(tmp_path) == ["out"]
