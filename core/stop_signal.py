"""Ctrl-C and SIGTERM: as exceptions that end a mode, or as a request to stop after the current training step."""

import ctypes
import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

log = logging.getLogger("train")
SIGNALS = (signal.SIGINT, signal.SIGTERM)
SAME_REQUEST_SECONDS = 1.0
"""Signals that follow the first one within this time belong to it: `timeout` signals a process twice, once by its id
and once with its group, and torchrun passes on what the whole group has received."""
_SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of Linux


class Terminated(KeyboardInterrupt):
    """SIGTERM, raised like Ctrl-C so that temporary files are removed and workers end."""


_received: list[type[KeyboardInterrupt]] = []


@contextmanager
def interrupts_as_exceptions() -> Iterator[None]:
    """Raise KeyboardInterrupt on Ctrl-C and `Terminated` on SIGTERM; the second signal kills the process at once.

    Outside the main thread, which alone receives signals, nothing is changed.
    """
    if not _in_main_thread():
        yield
        return

    def receive(number: int, frame: FrameType | None) -> None:
        began = time.monotonic()

        def receive_again(again: int, frame: FrameType | None) -> None:
            if time.monotonic() - began > SAME_REQUEST_SECONDS:
                _kill_this_process(again)

        for other in SIGNALS:
            repeated = other == number == signal.SIGTERM
            signal.signal(other, receive_again if repeated else signal.SIG_DFL)
        _received.append(Terminated if number == signal.SIGTERM else KeyboardInterrupt)
        raise_if_interrupted()

    previous = {number: signal.signal(number, receive) for number in SIGNALS}
    try:
        yield
    finally:
        _received.clear()
        for number, handler in previous.items():
            signal.signal(number, handler)


def raise_if_interrupted() -> None:
    """Raise the interrupt that was received, for loops over frames and clips.

    Python drops the exception of a signal that arrives inside a destructor or a callback of a library.
    """
    if _received:
        raise _received[0]


def exit_status(interrupt: KeyboardInterrupt) -> int:
    """Exit status of an interrupted program: 128 + the number of the signal."""
    return 128 + (signal.SIGTERM if isinstance(interrupt, Terminated) else signal.SIGINT)


class StopSignal:
    """Records SIGINT and SIGTERM while it is entered, instead of stopping at once; the second one stops at once.

    Outside the main thread, which alone receives signals, nothing is changed.

    Attributes:
        number: of the signal received; None before.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._since = 0.0
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "StopSignal":
        if _in_main_thread():
            for number in SIGNALS:
                self._previous[number] = signal.signal(number, self._receive)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.number is None:
            self.number, self._since = number, time.monotonic()
            log.warning("stopping after this step; press again to stop at once")
        elif time.monotonic() - self._since > SAME_REQUEST_SECONDS:
            for other, handler in self._previous.items():
                signal.signal(other, handler)
            signal.raise_signal(number)


@contextmanager
def signals_held_back() -> Iterator[None]:
    """Deliver SIGINT and SIGTERM after the block. Processes that are started in it never receive them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)


def prepare_worker(worker: int) -> None:
    """Let a data-loader worker ignore the signals that reach every process of a terminal or a job: the training process
    decides when to stop, and ends its workers. A worker also ends when the training process dies."""
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        threading.Thread(target=_end_if_parent_asks, daemon=True).start()


def die_with_parent() -> None:
    """Kill this process when the one that started it ends, however it ends (on Linux; elsewhere nothing happens)."""
    if sys.platform == "linux":
        parent = os.getppid()
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before
            os._exit(1)


def _end_if_parent_asks() -> None:
    parent = multiprocessing.parent_process()
    while parent and signal.sigwaitinfo([signal.SIGTERM]).si_pid != parent.pid:
        pass
    os._exit(0)


def _kill_this_process(number: int) -> None:
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
