"""Modes that generate clips against kills and signals, and several runs at once."""

import os
import random
import signal
import sys
import threading
import time

import pytest

import animate
from core.stop_signal import Terminated, interrupts_as_exceptions
from generation.engine import Engine
from output.video import write_frames
from tests.conftest import write_clip
from tests.faults.generation_runs import MODES, command, contents, main
from tests.faults.training_runs import finish, load_libraries, signal_group, start, temporaries

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("mode", MODES)
def test_a_signal_drops_the_clip_and_leaves_the_earlier_result(
    mode, number, warp_experiment, clips_root, tmp_path, monkeypatch, caplog
):
    arguments = command(mode, warp_experiment, clips_root, tmp_path / "log")
    assert main(*arguments) == 0
    before = contents(tmp_path / "log")
    original = Engine._generate

    def interrupted(self, *a):
        for count, generated in enumerate(original(self, *a)):
            if count == 2:
                os.kill(os.getpid(), number)
            yield generated

    monkeypatch.setattr(Engine, "_generate", interrupted)
    settings = ("--set", "animate_params.crf=5", "--set", "reconstruction_params.format=.gif")  # other keys
    caplog.clear()
    assert main(*arguments, *settings) == 128 + number
    assert contents(tmp_path / "log") == before
    assert temporaries(tmp_path / "log") == []
    warnings = [record.getMessage() for record in caplog.records if record.levelname != "INFO"]
    assert warnings == ["stopped; what was finished is kept, run the same command again to resume"]


def test_a_signal_during_check_ends_it(warp_experiment, clips_root, tmp_path, monkeypatch):
    monkeypatch.setattr("check.animation_pairs", lambda params: os.kill(os.getpid(), signal.SIGTERM))
    assert main(*command("check", warp_experiment, clips_root, tmp_path / "log")) == 143


class _Interrupts:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_that_arrives_in_a_destructor_is_not_lost(tmp_path):
    """Python prints the exception of a destructor or of a library's callback and goes on."""
    import numpy as np

    def frames():
        for number in range(5):
            last.append(number)
            guards.clear()
            yield np.zeros((8, 8, 3), np.uint8)

    last, guards = [], [_Interrupts()]
    with pytest.raises(Terminated), interrupts_as_exceptions():
        write_frames(tmp_path / "out", frames())
    assert last == [0]
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("mode", MODES)
def test_killed_runs_resume_to_the_same_results(mode, warp_experiment, clips_root, tmp_path, pytestconfig):
    """One kill per mode; `--fuzz 3000`: 30 kills and 10 signals."""
    kills = max(1, pytestconfig.getoption("--fuzz") // 100)
    rng = random.Random(mode if kills == 1 else None)
    expected = tmp_path / "expected"
    assert main(*command(mode, warp_experiment, clips_root, expected)) == 0
    load_libraries()
    began = time.monotonic()
    assert finish(start(command(mode, warp_experiment, clips_root, tmp_path / "timed"), tmp_path / "output")) == 0
    duration = time.monotonic() - began
    numbers = [signal.SIGKILL] * kills + [signal.SIGTERM, signal.SIGINT] * (kills // 6)
    for attempt, number in enumerate(numbers):
        results = tmp_path / f"results{attempt}"
        arguments = command(mode, warp_experiment, clips_root, results)
        process = start(arguments, tmp_path / f"output{attempt}")
        time.sleep(rng.uniform(0.2, 1) * duration)
        signal_group(process, number)
        status = finish(process)
        if number != signal.SIGKILL:
            assert status in (0, 128 + number, -number), "ended before, by the signal, or before the program listened"
            assert "Traceback" not in (tmp_path / f"output{attempt}").read_text()
            assert temporaries(results) == []
        assert main(*arguments) == 0
        assert contents(results) == contents(expected)
        assert temporaries(results) == []


def test_eight_runs_into_one_folder_and_one_cache_make_each_clip_once(
    warp_experiment, clips_root, tmp_path, monkeypatch, caplog
):
    import numpy as np

    np.save(clips_root / "landmarks" / "third.npy", write_clip(clips_root / "test", "third", 7))
    made = []
    original = animate._animate_pair

    def counting(*arguments):
        made.append(arguments[-1].name)
        return original(*arguments)

    monkeypatch.setattr(animate, "_animate_pair", counting)
    statuses = []
    arguments = command("pairs", warp_experiment, clips_root, tmp_path / "log")
    threads = [threading.Thread(target=lambda: statuses.append(main(*arguments))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [0] * 8
    assert len(made) == len(set(made)) == 6
    together = contents(tmp_path / "log")
    assert main(*command("pairs", warp_experiment, clips_root, tmp_path / "alone")) == 0
    assert contents(tmp_path / "alone") == together
    assert temporaries(tmp_path / "log") == []
    assert not list((tmp_path / "log").rglob("*.lock"))


def test_processes_with_different_lists_merge_their_rows(warp_experiment, clips_root, tmp_path):
    commands = [command(mode, warp_experiment, clips_root, tmp_path / "log") for mode in ("pairs", "au-list")]
    processes = [start(arguments, tmp_path / f"out{i}") for i, arguments in enumerate(commands)]
    assert [finish(process) for process in processes] == [0, 0]
    table = (tmp_path / "log" / "warp" / "animation" / "results.csv").read_text().splitlines()
    assert len(table) == 1 + 2 + 2
