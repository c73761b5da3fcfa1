"""Ctrl-C and SIGTERM as exceptions, and the exit status of run.py."""

import os
import signal
import subprocess
import sys

import pytest

import run
from core.stop_signal import Terminated, interrupts_as_exceptions, uninterrupted


@pytest.mark.parametrize(("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)])
def test_a_signal_is_an_exception_and_handlers_return(number, raised):
    before = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(KeyboardInterrupt) as error, interrupts_as_exceptions():
        os.kill(os.getpid(), number)
    assert error.type is raised
    assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] == before


class _Interrupts:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_error_after_a_signal_that_a_library_dropped_is_the_signal():
    def fail():
        with interrupts_as_exceptions():
            _Interrupts()
            raise OSError("Immediate exit requested")

    with pytest.raises(KeyboardInterrupt) as error:
        fail()
    assert str(error.value.__cause__) == "Immediate exit requested"


def test_an_interrupt_in_a_short_block_is_raised_after_it():
    done = []

    def work():
        with interrupts_as_exceptions():
            with uninterrupted():
                os.kill(os.getpid(), signal.SIGINT)
                done.append("in the block")
            done.append("after it")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["in the block"]


def test_the_second_signal_kills_at_once():
    code = (
        "import os, signal\nfrom core.stop_signal import interrupts_as_exceptions\n"
        "with interrupts_as_exceptions():\n"
        "    try: os.kill(os.getpid(), signal.SIGTERM)\n"
        "    except KeyboardInterrupt: os.kill(os.getpid(), signal.SIGINT)\n"
        "print('still here')"
    )
    root = os.path.dirname(run.__file__)
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (-signal.SIGINT, "")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_mode_ends_with_one_line(number, status, monkeypatch, caplog):
    monkeypatch.setattr(run, "run", lambda parsed: os.kill(os.getpid(), number))
    assert run.main(["--config", "x.yaml"]) == status
    assert [record.message.split(";")[0] for record in caplog.records] == ["stopped"]


def test_run_py_loads_its_libraries_where_interrupts_are_handled():
    code = "import sys, run; print([name for name in ('pydantic', 'yaml', 'numpy', 'torch') if name in sys.modules])"
    root = os.path.dirname(run.__file__)
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
