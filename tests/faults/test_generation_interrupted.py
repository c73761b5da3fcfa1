"""Modes that generate clips against kills and signals, and several runs at once."""

import os
import random
import re
import shutil
import signal
import sys
import time

import numpy as np
import pytest

from core.stop_signal import Terminated, interrupts_as_exceptions
from generation.engine import Engine
from output.video import write_frames
from tests.conftest import write_clip
from tests.faults.generation_runs import MODES, command, contents, main, rows
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


@pytest.mark.parametrize("mode", [*MODES, "check"])
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
        shutil.rmtree(tmp_path / "cache")
        process = start(arguments, tmp_path / f"output{attempt}")
        time.sleep(rng.uniform(0.2, 1) * duration)
        signal_group(process, number)
        status = finish(process)
        if number != signal.SIGKILL:
            assert status in (0, 128 + number, -number), "ended before, by the signal, or before the program listened"
            assert "Traceback" not in (tmp_path / f"output{attempt}").read_text()
            assert temporaries(tmp_path) == []
        assert main(*arguments) == 0
        assert contents(results) == contents(expected)
        assert temporaries(tmp_path) == []


def test_eight_runs_into_one_folder_and_one_cache_make_each_clip_once(warp_experiment, clips_root, tmp_path):
    np.save(clips_root / "landmarks" / "third.npy", write_clip(clips_root / "test", "third", 7))
    modes = ("pairs", "au-list") * 4
    commands = [command(mode, warp_experiment, clips_root, tmp_path / "log") for mode in modes]
    outputs = [tmp_path / f"output{number}" for number in range(8)]
    processes = [start(*pair) for pair in zip(commands, outputs, strict=True)]
    texts = [output.read_text() for process, output in zip(processes, outputs, strict=True) if finish(process) == 0]
    assert len(texts) == 8, "all end with status 0"
    counts = re.findall(r"(\d+) clips in .* \((\d+) were there before, 0 left out\)", "\n".join(texts))
    assert sorted(int(clips) for clips, _ in counts) == [2] * 4 + [6] * 4
    assert sum(int(clips) - int(kept) for clips, kept in counts) == 6 + 2, "none is generated twice"
    results = tmp_path / "log" / "warp" / "animation"
    assert len({row["folder"] for row in rows(results)}) == len(rows(results)) == 6 + 2
    for mode in ("au-list", "pairs"):
        assert main(*command(mode, warp_experiment, clips_root, tmp_path / "alone")) == 0
    alone, together = contents(tmp_path / "alone"), contents(tmp_path / "log")
    for sheets in (alone, together):
        sheets.pop("warp/animation/contact_sheet.png")  # of the run that ended last
    assert alone == together
    assert temporaries(tmp_path) == []
    assert not list(results.rglob("*.lock"))
