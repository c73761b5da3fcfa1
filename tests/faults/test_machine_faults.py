"""Every mode on a machine that fails: permissions, full disks and memory that end a run in one line."""

import errno
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch
import yaml

from clips.frame_cache import FrameCache
from core import files
from generation.engine import Engine
from tests.conftest import another_user, tiny_experiment
from tests.faults.generation_runs import CODES, command, contents, main, only_line
from tests.faults.training_runs import temporaries

MODES = ("pairs", "au-list", "reconstruction", "file")
posix = pytest.mark.skipif(not hasattr(os, "seteuid"), reason="permissions of POSIX")


# --- permissions ------------------------------------------------------------------------------------------------------


@pytest.fixture
def shared_folder(clips_root, checkpoint_once, monkeypatch):
    """The working directory of another user: data set, experiments, list of codes and a checkpoint."""
    folder = Path(tempfile.mkdtemp())
    shutil.copytree(clips_root, folder / "data")
    shutil.copy(checkpoint_once, folder / "tiny.pth.tar")
    (folder / "data" / "codes.csv").write_text(CODES, encoding="utf-8")
    for name, family in (("tiny", None), ("warp", {"family": "warp"})):
        experiment = tiny_experiment(Path("data"), train_params__num_epochs=1)
        experiment["model_params"] = family or experiment["model_params"]
        if family:
            del experiment["train_params"]
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(experiment), encoding="utf-8")
    for name in ("cache", "log"):
        (folder / name).mkdir()
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o644)
    monkeypatch.chdir(folder)
    yield folder
    for path in folder.rglob("*"):
        path.chmod(0o777)
    shutil.rmtree(folder)


TRAIN = ("--config", "tiny.yaml")
RESUME = (*TRAIN, "--checkpoint", "tiny.pth.tar")
PAIRS = command("pairs", Path("warp.yaml"), Path("data"), Path("log"))
ONE = command("file", Path("warp.yaml"), Path("data"), Path("log"))


@posix
@pytest.mark.parametrize(
    ("arguments", "place", "mode"),
    [
        (TRAIN, "tiny.yaml", 0o000),
        (TRAIN, "log", 0o555),
        (TRAIN, "log", 0o000),
        (TRAIN, "cache", 0o555),
        (TRAIN, "cache", 0o000),
        (TRAIN, "data", 0o000),
        (TRAIN, "data/train", 0o000),
        (TRAIN, "data/train/a", 0o000),
        (TRAIN, "data/train/a/img1.png", 0o000),
        (TRAIN, "data/landmarks", 0o000),
        (TRAIN, "data/landmarks/a.npy", 0o000),
        (RESUME, "tiny.pth.tar", 0o000),
        (RESUME, ".", 0o555),
        ((*TRAIN, "--mode", "train_avd", "--checkpoint", "tiny.pth.tar"), "tiny.pth.tar", 0o000),
        ((*TRAIN, "--mode", "train_au"), "data/au/a.csv", 0o000),
        ((*TRAIN, "--mode", "train_au"), "data/au", 0o000),
        (PAIRS, "data/test/006", 0o000),
        (PAIRS, "cache", 0o555),
        (PAIRS, "log", 0o555),
        (ONE, "log", 0o555),
        (ONE, "data/test/006/img1.png", 0o000),
        ((*PAIRS, "--au-list", "data/codes.csv"), "data/codes.csv", 0o000),
        ((*TRAIN, "--mode", "animate", "--checkpoint", "tiny.pth.tar"), "tiny.pth.tar", 0o000),
        (("--config", "warp.yaml", "--mode", "reconstruction"), "data/test/022_3_3", 0o000),
        (("--config", "warp.yaml", "--mode", "check"), "log", 0o555),
    ],
)
def test_what_another_user_may_not_read_or_write_is_named(shared_folder, caplog, arguments, place, mode):
    Path(place).chmod(mode)
    with another_user():
        assert main(*arguments) == 2
    message = only_line(caplog)
    assert place == "." or place in message
    assert "ermission denied" in message
    Path(place).chmod(0o777)
    assert temporaries(shared_folder) == []


# --- full disk, no memory ---------------------------------------------------------------------------------------------


class Failing:
    """Stand-in for a function whose call of a number, from 0, fails; counts the calls."""

    def __init__(self, monkeypatch, target: object, name: str):
        self.original, self.fail_at, self.error, self.calls = getattr(target, name), -1, None, 0
        monkeypatch.setattr(target, name, lambda *a, **b: self(*a, **b))

    def arm(self, fail_at: int, error: BaseException | None) -> None:
        self.calls, self.fail_at, self.error = 0, fail_at, error

    def __call__(self, *arguments, **settings):
        self.calls += 1
        if self.calls - 1 == self.fail_at:
            raise self.error
        return self.original(*arguments, **settings)


@pytest.mark.parametrize("mode", MODES)
def test_a_disk_that_is_full_at_any_write_loses_nothing(
    mode, warp_experiment, clips_root, tmp_path, monkeypatch, caplog, pytestconfig
):
    """Two writes per mode, and with `--fuzz 3000` 150."""
    flush = Failing(monkeypatch, files, "_flush")
    arguments = command(mode, warp_experiment, clips_root, tmp_path / "log")
    assert main(*arguments) == 0
    whole, writes, moments = contents(tmp_path / "log"), flush.calls, random.Random(mode)
    for _ in range(max(2, pytestconfig.getoption("--fuzz") // 20)):
        shutil.rmtree(tmp_path / "log")
        shutil.rmtree(tmp_path / "cache")
        flush.arm(moments.randrange(writes), OSError(errno.ENOSPC, "No space left on device"))
        caplog.clear()
        assert main(*arguments) == 2
        assert "No space left on device" in only_line(caplog)
        assert temporaries(tmp_path) == []
        finished = contents(tmp_path / "log") if (tmp_path / "log").exists() else {}
        assert all(whole[name] == digest for name, digest in finished.items() if not name.endswith("results.csv"))
        flush.arm(-1, None)
        assert main(*arguments) == 0
        assert contents(tmp_path / "log") == whole


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("[enforce fail at alloc_cpu.cpp:1] . DefaultCPUAllocator: can't allocate memory: you tried"),
    ],
    ids=["Python", "GPU", "CPU"],
)
@pytest.mark.parametrize("mode", ["pairs", "au-list", "reconstruction"])
def test_memory_that_runs_out_keeps_the_clips_before(
    mode, error, warp_experiment, clips_root, tmp_path, monkeypatch, caplog
):
    arguments = command(mode, warp_experiment, clips_root, tmp_path / "log")
    generate = Failing(monkeypatch, Engine, "_encode")
    generate.arm(1, error)
    assert main(*arguments) == 2
    assert "out of memory" in only_line(caplog)
    assert "use a smaller batch_size, frame_shape" in only_line(caplog)
    assert temporaries(tmp_path) == []
    finished = contents(tmp_path / "log")
    assert len([name for name in finished if name.endswith("0000.png")]) == 1
    caplog.clear()
    caplog.set_level("INFO")
    generate.arm(-1, None)
    assert main(*arguments) == 0
    assert "(1 were there before, 0 left out)" in caplog.text
    again = contents(tmp_path / "log")
    assert all(again[name] == digest for name, digest in finished.items() if not name.endswith("results.csv"))


def test_memory_that_runs_out_while_a_clip_is_read_is_one_line(warp_experiment, clips_root, monkeypatch, caplog):
    Failing(monkeypatch, FrameCache, "_decode").arm(0, MemoryError())
    assert main(*command("pairs", warp_experiment, clips_root, Path("log"))) == 2
    assert "out of memory" in only_line(caplog)
    assert temporaries(Path.cwd()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="tmpfs")
@pytest.mark.parametrize("place", ["log", "cache"])
@pytest.mark.parametrize("mode", ["pairs", "reconstruction", "check"])
def test_a_disk_that_is_mounted_read_only_is_named(mode, place, warp_experiment, clips_root, tmp_path, caplog):
    (tmp_path / place).mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "ro,size=1m", "tmpfs", str(tmp_path / place)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount")
    try:
        status = main(*command(mode, warp_experiment, clips_root, tmp_path / "log"))
    finally:
        subprocess.run(["umount", "-l", str(tmp_path / place)], check=True)
    assert status == 2
    assert re.search("Read-only file system|not writable; check its permissions", only_line(caplog))
    assert str(tmp_path / place) in only_line(caplog)
