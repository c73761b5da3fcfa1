"""`--mode prepare` against Ctrl-C, SIGTERM and SIGKILL, with worker processes."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.faults.test_prepare_faults import prepare, write_data_set
from tests.test_prepare import ROOT, contents

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="signals and /proc")
CLIPS = ("sub01_a", "sub02_b", "sub03_c", "sub04_d", "sub05_e", "sub06_f")


_started: list[subprocess.Popen] = []


@pytest.fixture(autouse=True)
def _no_process_left():
    """Processes of a test that fails end, too."""
    yield
    while _started:
        job = _started.pop()
        for process in processes_of(job.pid):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        job.communicate()


def start_command(command: list[str], folder: Path) -> subprocess.Popen:
    """Start a program in a session of its own, as a terminal or a cluster does."""
    job = subprocess.Popen(
        [sys.executable, *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    _started.append(job)
    return job


def start(folder: Path, workers: int) -> subprocess.Popen:
    """Start `--mode prepare`."""
    arguments = ["--mode", "prepare", "--config", "prepare.yaml", "--set", f"prepare_params.workers={workers}"]
    return start_command([str(ROOT / "run.py"), *arguments], folder)


def processes_of(session: int) -> list[int]:
    """Processes of a session that still run."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            status, _, _, its_session = path.read_text().rsplit(")", 1)[1].split()[:4]
        except OSError:
            continue
        if int(its_session) == session and status not in "ZX":
            found.append(int(path.parent.name))
    return found


def wait_until_alone(session: int, seconds: float = 5) -> None:
    """Wait until no process of a session is left."""
    end = time.monotonic() + seconds
    while left := processes_of(session):
        assert time.monotonic() < end, f"processes {left} are left"
        time.sleep(0.02)


def wait_for_work(folder: Path, job: subprocess.Popen, clips: int) -> None:
    """Wait until a run holds the folder, so many clips are finished and others are being made, or it has ended."""
    out = folder / "out"
    owner = out / ".lock-owner.json"
    end = time.monotonic() + 60
    while job.poll() is None:
        holds = owner.exists() and f'"process": {job.pid},' in owner.read_text()
        if holds and len(list(out.glob("t*/*"))) >= clips and list(out.glob(".prepare/making/*")):
            return
        assert time.monotonic() < end, "no work within a minute"
        time.sleep(0.005)
    assert job.returncode == 0, job.communicate()


@pytest.mark.parametrize(
    ("number", "whole_group"),
    [(signal.SIGINT, True), (signal.SIGTERM, False)],
    ids=["Ctrl-C in a terminal", "kill"],
)
def test_a_signal_ends_every_process_with_one_line(tmp_path, number, whole_group):
    write_data_set(tmp_path, CLIPS, frames=20)
    job = start(tmp_path, workers=2)
    wait_for_work(tmp_path, job, clips=1)
    if whole_group:
        os.killpg(job.pid, number)
    else:
        job.send_signal(number)
    _, said = job.communicate(timeout=10)
    assert job.returncode == 128 + number
    assert "Traceback" not in said
    assert said.strip().splitlines()[-1].startswith("stopped; ")
    wait_until_alone(job.pid, seconds=1)
    assert not [name for name in contents(tmp_path / "out") if "making" in name or ".writing" in name]


SLEEPERS = """
from preparation.workers import run_in_processes
code = "import time; open('started-{}', 'w'); time.sleep(60)"
list(run_in_processes(exec, [code.format(number) for number in range(2)], 2))
"""


def test_workers_end_with_a_process_that_is_killed(tmp_path):
    job = start_command(["-c", SLEEPERS], tmp_path)
    end = time.monotonic() + 60
    while len(list(tmp_path.iterdir())) < 2:
        assert time.monotonic() < end, "no work within a minute"
        time.sleep(0.02)
    job.kill()
    wait_until_alone(job.pid, seconds=2)


KILLED_WHILE_A_WORKER_STARTS = """
import os, signal
from multiprocessing import resource_tracker, util
from preparation.workers import run_in_processes
resource_tracker.ensure_running()
start = util.spawnv_passfds
def start_and_die(*arguments):
    start(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)
util.spawnv_passfds = start_and_die
list(run_in_processes(exec, ["pass"] * 2, 2))
"""


def test_a_worker_whose_starter_is_killed_says_nothing(tmp_path):
    job = start_command(["-c", KILLED_WHILE_A_WORKER_STARTS], tmp_path)
    _, said = job.communicate(timeout=30)
    assert job.returncode == -signal.SIGKILL
    assert said == ""
    wait_until_alone(job.pid)


def test_the_second_signal_ends_every_process_at_once(tmp_path):
    write_data_set(tmp_path, CLIPS, frames=20)
    job = start(tmp_path, workers=2)
    wait_for_work(tmp_path, job, clips=1)
    os.killpg(job.pid, signal.SIGINT)
    os.killpg(job.pid, signal.SIGINT)
    job.communicate(timeout=10)
    assert job.returncode in (130, -signal.SIGINT)
    wait_until_alone(job.pid)


def finished(job: subprocess.Popen, folder: Path) -> None:
    """Wait for a run that ends by itself."""
    _, said = job.communicate(timeout=120)
    assert job.returncode == 0, said
    assert not [name for name in contents(folder / "out") if "making" in name or ".writing" in name]


def test_interrupted_runs_lose_and_change_nothing(tmp_path, monkeypatch, request):
    """With `--fuzz 3000`, 30 kills and 10 signals at random moments."""
    rounds = max(1, request.config.getoption("--fuzz") // 75)
    chance = random.Random(0)
    write_data_set(tmp_path, CLIPS, frames=12)
    monkeypatch.chdir(tmp_path)
    assert prepare() == 0
    whole = contents(tmp_path / "out")
    shutil.rmtree(tmp_path / "out")
    for attempt in range(rounds):
        number = signal.SIGKILL if attempt % 4 != 1 else chance.choice([signal.SIGINT, signal.SIGTERM])
        job = start(tmp_path, workers=2)
        wait_for_work(tmp_path, job, clips=chance.randrange(len(CLIPS)))
        time.sleep(chance.uniform(0, 0.3))
        with suppress(ProcessLookupError):  # it may have ended
            os.kill(job.pid, number)
        _, said = job.communicate(timeout=20)
        wait_until_alone(job.pid, seconds=3)
        assert "Traceback" not in said, said
        assert job.returncode in (0, 128 + number, -number), said
        for path in (tmp_path / "out").glob("t*/*/*.png"):
            name = str(path.relative_to(tmp_path / "out"))
            assert path.read_bytes() == whole[name], name
        if attempt % 2 or attempt == rounds - 1:
            finished(start(tmp_path, workers=2), tmp_path)
            assert contents(tmp_path / "out") == whole
            shutil.rmtree(tmp_path / "out")
