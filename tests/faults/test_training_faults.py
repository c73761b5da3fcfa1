"""Training against kills, signals, full disks, small memory and broken numbers."""

import errno
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
import yaml

import run
from augmentation import augment
from clips.reading import ClipError
from core import stop_signal
from core.checkpoints import read_checkpoint
from core.files import temporary_name
from core.locks import folder_lock
from core.run_folder import create_run_folder
from frames_dataset import FramesDataset
from modules.tps.model import TPSModel
from tests.conftest import tiny_experiment
from tests.faults import training_runs
from tests.test_train import one_error, same

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs signals, /proc and tmpfs of Linux")

MODES = ("train", "train_avd", "train_au")
EPOCHS, REPEATS, BATCH = 2, 8, 4  # 4 steps per epoch
STEPS = EPOCHS * 2 * REPEATS // BATCH


@pytest.fixture(scope="module")
def experiment(_clips_once, checkpoint_once, tmp_path_factory) -> Path:
    """An experiment of eight steps in each mode that saves several times per epoch."""
    root = tmp_path_factory.mktemp("faults")
    changes = {"num_epochs": EPOCHS, "num_repeats": REPEATS, "batch_size": BATCH, "checkpoint_minutes": 1e-3}
    settings = tiny_experiment(shutil.copytree(_clips_once, root / "data"))
    for mode in MODES:
        settings[f"{mode}_params"] = {**settings.get(f"{mode}_params", {}), **changes, "dataloader_workers": 1}
    path = root / "tiny.yaml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return path


@pytest.fixture
def arguments(experiment, checkpoint_once):
    """Arguments that start a run of a mode, or resume it from its last checkpoint."""

    def build(mode: str, log_dir: Path) -> list[object]:
        last = training_runs.newest_checkpoint(log_dir)
        checkpoint = last or (checkpoint_once if mode == "train_avd" else None)
        given = ["--checkpoint", checkpoint] if checkpoint else []
        return ["--config", experiment, "--mode", mode, "--log-dir", log_dir, *given]

    return build


@pytest.fixture(scope="module")
def whole_runs() -> dict[str, tuple[Path, float]]:
    """Folder and duration of an uninterrupted run, by mode."""
    return {}


@pytest.fixture
def whole_run(whole_runs, arguments, tmp_path_factory):
    """Folder and duration of an uninterrupted run of a mode, which is trained once."""

    def get(mode: str) -> tuple[Path, float]:
        if mode not in whole_runs:
            log_dir = tmp_path_factory.mktemp(f"whole-{mode}")
            training_runs.load_libraries()
            began = time.monotonic()
            process = training_runs.start(arguments(mode, log_dir), log_dir / "printed.txt")
            assert training_runs.finish(process) == 0, (log_dir / "printed.txt").read_text()
            (folder,) = (path for path in log_dir.iterdir() if path.is_dir())
            whole_runs[mode] = folder, time.monotonic() - began
        return whole_runs[mode]

    return get


def check_equal_to_whole_run(log_dir: Path, whole: Path, mode: str) -> None:
    """Nothing is lost, nothing is repeated, no temporary file is left."""
    last = training_runs.newest_checkpoint(log_dir)
    assert last is not None
    assert last.name.startswith(f"{EPOCHS - 1:08d}")
    assert same(read_checkpoint(last), read_checkpoint(whole / last.name))
    assert training_runs.steps(last.parent) == list(range(STEPS))
    assert training_runs.temporaries(log_dir) == []
    assert (last.parent / "au_estimator.csv").exists() == (mode == "train_au")


@linux
@pytest.mark.parametrize("mode", MODES)
def test_a_run_that_is_killed_and_resumed_equals_an_uninterrupted_one(mode, arguments, whole_run, tmp_path, request):
    whole, seconds = whole_run(mode)
    kills = max(1, request.config.getoption("--fuzz") // 100)
    moments = random.Random(mode)
    log_dir = tmp_path / "log"
    log_dir.mkdir()
    printed = tmp_path / "printed.txt"
    for _ in range(kills):
        process = training_runs.start(arguments(mode, log_dir), printed)
        process.join(moments.uniform(0.2, 1) * seconds)
        training_runs.signal_group(process, signal.SIGKILL)
        status = training_runs.finish(process)
        assert status in (0, 2, -signal.SIGKILL), printed.read_text()
        if status != -signal.SIGKILL:  # it had finished
            check_equal_to_whole_run(log_dir, whole, mode)
            shutil.rmtree(log_dir)
            log_dir.mkdir()
    process = training_runs.start(arguments(mode, log_dir), printed)
    assert training_runs.finish(process) in (0, 2), printed.read_text()
    check_equal_to_whole_run(log_dir, whole, mode)
    assert "Traceback" not in printed.read_text()


@linux
@pytest.mark.parametrize("mode", MODES)
def test_a_signal_to_a_run_and_its_workers_saves_and_says_how_to_resume(mode, arguments, whole_run, tmp_path, request):
    whole, seconds = whole_run(mode)
    moments = random.Random(mode)
    log_dir = tmp_path / "log"
    log_dir.mkdir()
    for number in range(max(1, request.config.getoption("--fuzz") // 300)):
        printed = tmp_path / f"printed-{number}.txt"
        kind = (signal.SIGTERM, signal.SIGINT)[number % 2]
        process = training_runs.start(arguments(mode, log_dir), printed)
        _wait_for_steps(process, log_dir)
        process.join(moments.uniform(0, 0.3) * seconds if number else 0)
        training_runs.signal_group(process, kind)
        status = training_runs.finish(process)
        text = printed.read_text()
        assert "Traceback" not in text
        if status in (0, 2):  # it had finished
            check_equal_to_whole_run(log_dir, whole, mode)
            shutil.rmtree(log_dir)
            log_dir.mkdir()
            continue
        assert status == 128 + kind, text
        last = training_runs.newest_checkpoint(log_dir)
        assert f"resume by the same command with --checkpoint {last}" in text
        assert training_runs.temporaries(log_dir) == []
    printed = tmp_path / "printed.txt"
    process = training_runs.start(arguments(mode, log_dir), printed)
    assert training_runs.finish(process) in (0, 2), printed.read_text()
    check_equal_to_whole_run(log_dir, whole, mode)


def _wait_for_steps(process, log_dir: Path) -> None:
    """Wait until a run has logged a step, or has ended."""

    def logged() -> int:
        return sum(path.stat().st_size for path in log_dir.glob("*/stats.jsonl"))

    before = logged()
    while process.is_alive() and logged() <= before:
        time.sleep(0.01)


@linux
def test_the_second_signal_stops_at_once_without_orphans(experiment, tmp_path, monkeypatch):
    monkeypatch.setattr(stop_signal, "SAME_REQUEST_SECONDS", 0.0)
    monkeypatch.setattr("trainer.augment", lambda *_, **__: _ask_twice())
    arguments = ["--config", str(experiment), "--log-dir", str(tmp_path), "--set", "train_params.num_epochs=1"]
    assert run.main(arguments) == 128 + signal.SIGTERM
    assert training_runs.newest_checkpoint(tmp_path) is None
    assert multiprocessing.active_children() == []


def _ask_twice() -> None:
    for _ in range(2):
        os.kill(os.getpid(), signal.SIGTERM)
    raise AssertionError("the second signal did not stop the step")


def test_signals_that_follow_at_once_are_one_request():
    with stop_signal.StopSignal() as stop:
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
            os.kill(os.getpid(), number)
        assert stop.number == signal.SIGTERM


# --- two runs at once -------------------------------------------------------------------------------------------------


def test_the_second_run_that_resumes_in_a_folder_is_refused(checkpoint_once, experiment, tmp_path, caplog):
    shutil.copy(checkpoint_once, tmp_path / checkpoint_once.name)
    arguments = ["--config", str(experiment), "--checkpoint", str(tmp_path / checkpoint_once.name)]
    with folder_lock(tmp_path, "training"):
        assert run.main(arguments) == 2
    assert f"{tmp_path}: in use for training by process {os.getpid()}" in one_error(caplog)
    assert not (tmp_path / "stats.jsonl").exists()


def test_runs_that_start_in_one_second_get_folders_of_their_own(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(lambda _: create_run_folder(tmp_path / "log", "tiny"), range(8)))
    assert len(set(folders)) == 8


def test_temporary_files_of_killed_runs_are_removed_by_the_next_run(tmp_path):
    dead = multiprocessing.get_context("fork").Process(target=os._exit, args=(0,))
    dead.start()
    dead.join()
    places = [tmp_path / "old", tmp_path / "old" / "train-vis"]
    name = temporary_name(".tar").replace(f"-{os.getpid()}-", f"-{dead.pid}-")
    for place in places:
        place.mkdir()
        (place / name).write_bytes(b"half a checkpoint")
    create_run_folder(tmp_path, "new")
    assert training_runs.temporaries(tmp_path) == []


# --- the machine fails ------------------------------------------------------------------------------------------------


@pytest.fixture
def mounted(tmp_path):
    """Mounts a file system in memory of a size and with options; returns its folder."""
    folder = tmp_path / "small"
    folder.mkdir()

    def mount(size: str) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
        if os.getuid() or subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("needs the right to mount")
        return folder

    yield mount
    if os.path.ismount(folder):
        subprocess.run(["umount", "-l", str(folder)], check=True)


def in_one_process(experiment: Path, log_dir: Path, *changes: str) -> list[str]:
    """Arguments of a run without workers."""
    given = ["train_params.dataloader_workers=0", *changes]
    return ["--config", str(experiment), "--log-dir", str(log_dir), *(p for change in given for p in ("--set", change))]


@linux
@pytest.mark.parametrize(
    ("size", "place"),
    [
        ("4k", "config.yaml"),
        ("8k", "tensorboard"),
        ("12k", "stats.jsonl"),
        ("16k", "train-vis"),
        ("1m", "00000000-checkpoint.pth.tar"),
        ("16m", "00000001-checkpoint.pth.tar"),
    ],
)
def test_a_full_disk_ends_training_in_one_line_and_keeps_the_last_checkpoint(
    experiment, mounted, caplog, capfd, size, place
):
    folder = mounted(size)
    arguments = in_one_process(experiment, folder / "log", "train_params.checkpoint_minutes=null")
    assert run.main(arguments) == 2
    error = one_error(caplog)
    assert place in error
    assert "No space left on device" in error
    last = training_runs.newest_checkpoint(folder / "log")
    assert (str(last) if last else "no checkpoint is written yet") in error
    if last:
        read_checkpoint(last)
    assert training_runs.temporaries(folder) == []
    printed = capfd.readouterr()
    assert "Traceback" not in printed.out + printed.err
    assert "Logging error" not in printed.err


@linux
@pytest.mark.parametrize("resumed", [False, True])
def test_a_read_only_folder_is_refused_in_one_line(experiment, checkpoint_once, mounted, caplog, resumed):
    folder = mounted("32m")
    shutil.copy(checkpoint_once, folder / "00000000-checkpoint.pth.tar")
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    given = ["--checkpoint", str(folder / "00000000-checkpoint.pth.tar")] if resumed else []
    assert run.main([*in_one_process(experiment, folder / "log"), *given]) == 2
    assert str(folder) in one_error(caplog)


@linux
def test_shared_memory_that_is_too_small_for_the_workers_is_refused(experiment, tmp_path, mounted, monkeypatch, caplog):
    monkeypatch.setattr("core.devices.SHARED_MEMORY", mounted("100k"))
    assert run.main(["--config", str(experiment), "--log-dir", str(tmp_path / "log")]) == 2
    assert "0.1 MiB are free; set dataloader_workers to 0" in one_error(caplog)


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), "use a smaller batch_size"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "use a smaller batch_size"),
        (MemoryError(), "use a smaller batch_size"),
        (RuntimeError("DataLoader worker (pid 1) is killed by signal: Bus error."), "set dataloader_workers to 0"),
        (torch.linalg.LinAlgError("linalg.solve: the input matrix is singular.\nmore"), "a lower learning rate"),
    ],
)
def test_a_machine_that_is_too_small_ends_training_in_one_line(
    experiment, tmp_path, monkeypatch, caplog, error, advice
):
    def fail(self, batch, epoch):
        raise error

    monkeypatch.setattr(TPSModel, "losses", fail)
    assert run.main(in_one_process(experiment, tmp_path)) == 2
    assert advice in one_error(caplog)
    assert one_error(caplog).count("no checkpoint is written yet") == 1


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ClipError("clip b: damaged"), "clip b: damaged"),
        (OSError(errno.EIO, "Input/output error", "cache/b.npy"), "cache/b.npy: Input/output error; the disk"),
    ],
)
def test_an_error_of_a_data_loader_worker_is_one_line(
    experiment, tmp_path, monkeypatch, caplog, workers, error, message
):
    def fail(self, item):
        raise error

    monkeypatch.setattr(FramesDataset, "__getitem__", fail)
    arguments = [*in_one_process(experiment, tmp_path), "--set", f"train_params.dataloader_workers={workers}"]
    assert run.main(arguments) == 2
    assert message in one_error(caplog)
    assert "DataLoader" not in one_error(caplog)


# --- reports ----------------------------------------------------------------------------------------------------------


def test_resuming_a_finished_run_makes_the_report_that_it_lacks(experiment, whole_run, tmp_path, caplog):
    whole, _ = whole_run("train_au")
    last = f"{EPOCHS - 1:08d}-checkpoint.pth.tar"
    shutil.copy(whole / last, tmp_path / last)
    arguments = ["--config", str(experiment), "--mode", "train_au", "--checkpoint", str(tmp_path / last)]
    assert run.main(arguments) == 0
    assert (tmp_path / "au_estimator.csv").read_bytes() == (whole / "au_estimator.csv").read_bytes()
    assert run.main(arguments) == 2
    assert f"all {EPOCHS} epochs are finished; raise num_epochs" in one_error(caplog)


@linux
def test_a_signal_in_the_last_step_leaves_the_report_to_the_next_run(experiment, tmp_path, monkeypatch, caplog):
    steps = []

    def interrupting(*arguments, **settings):
        steps.append(1)
        if len(steps) == STEPS:
            os.kill(os.getpid(), signal.SIGTERM)
        return augment(*arguments, **settings)

    monkeypatch.setattr("trainer.augment", interrupting)
    arguments = ["--config", str(experiment), "--mode", "train_au", "--log-dir", str(tmp_path)]
    assert run.main(arguments) == 128 + signal.SIGTERM
    last = training_runs.newest_checkpoint(tmp_path)
    assert f"--checkpoint {last}" in caplog.text
    assert not (last.parent / "au_estimator.csv").exists()
    assert run.main([*arguments, "--checkpoint", str(last)]) == 0
    assert (last.parent / "au_estimator.csv").exists()
    assert len(steps) == STEPS
