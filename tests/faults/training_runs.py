"""Training runs in processes of their own, which tests kill, signal and resume."""

import contextlib
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import forkserver
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from unittest.mock import patch

ROOT = Path(__file__).parents[2]
CONTEXT = multiprocessing.get_context("forkserver")  # loads the libraries once for all runs
CONTEXT.set_forkserver_preload(["run", "train", "train_avd", "train_au", "tests.faults.training_runs"])


def _run(arguments: Sequence[str], output: str) -> None:
    import torch

    import run

    os.setsid()  # the run and its workers are one group, as in a terminal or a job
    with open(output, "ab") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    torch.set_num_threads(1)
    multiprocessing.set_start_method("fork", force=True)  # as in a program that no test started
    sys.exit(run.main(list(arguments)))


def start(arguments: Sequence[object], output: Path) -> ForkServerProcess:
    """Start `run.py` with arguments in a process group of its own; what it prints is appended to a file."""
    return _start(_run, [str(argument) for argument in arguments], str(output))


def _start(function: Callable[..., object], *arguments: object) -> ForkServerProcess:
    with patch.dict(os.environ, PYTHONPATH=str(ROOT)):  # Python 3.11 gives the server no path to preload from
        forkserver.ensure_running()
    process = CONTEXT.Process(target=function, args=arguments)
    process.start()
    return process


def load_libraries() -> None:
    """Wait until the libraries are loaded, so that the duration of a run can be measured."""
    _start(time.time).join()


def finish(process: ForkServerProcess, seconds: float = 120) -> int:
    """Wait for a run and its workers; returns the exit status, -N for signal N."""
    process.join(seconds)
    assert process.exitcode is not None, "the run hangs"
    deadline = time.monotonic() + 10
    while left := list(group_of(process)):
        assert time.monotonic() < deadline, f"processes are left: {left}"
        time.sleep(0.01)
    return process.exitcode


def signal_group(process: ForkServerProcess, number: int) -> None:
    """Send a signal to a run and all its workers, or to the run alone before it has a group."""
    assert process.pid is not None
    with contextlib.suppress(ProcessLookupError):
        if os.getpgid(process.pid) == process.pid:
            os.killpg(process.pid, number)
        else:
            os.kill(process.pid, number)


def group_of(process: ForkServerProcess) -> Iterator[int]:
    """Living processes of a run, without those that only wait to be collected."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state, _, group = folder.joinpath("stat").read_text().rpartition(")")[2].split()[:3]
            if int(group) == process.pid and state not in "ZX":
                yield int(folder.name)


def steps(folder: Path) -> list[int]:
    """Steps in `stats.jsonl` of a run folder."""
    return [json.loads(line)["step"] for line in (folder / "stats.jsonl").read_text(encoding="utf-8").splitlines()]


def newest_checkpoint(log_dir: Path) -> Path | None:
    """Checkpoint that was written last; None if there is none."""
    found = sorted(log_dir.glob("*/*-checkpoint.pth.tar"), key=lambda path: path.stat().st_mtime_ns)
    return found[-1] if found else None


def temporaries(folder: Path) -> list[Path]:
    """Temporary files below a folder."""
    return list(folder.rglob(".writing-*"))
