"""Ctrl-C and SIGTERM: as exceptions that end a mode, or as a request to stop after the current training step."""

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

log = logging.getLogger("train")
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Terminated(KeyboardInterrupt):
    """SIGTERM, raised like Ctrl-C so that temporary files are removed and workers end."""


_received: list[type[KeyboardInterrupt]] = []


@contextmanager
def interrupts_as_exceptions() -> Iterator[None]:
    """Raise KeyboardInterrupt on Ctrl-C and `Terminated` on SIGTERM; the second signal kills the process at once.

    Outside the main thread, which alone receives signals, nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def receive(number: int, frame: FrameType | None) -> None:
        for other in SIGNALS:
            signal.signal(other, signal.SIG_DFL)
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
    """Records SIGINT and SIGTERM while it is entered, instead of stopping at once; the second one of a kind stops.

    Attributes:
        number: of the signal received; None before.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "StopSignal":
        for number in SIGNALS:
            self._previous[number] = signal.signal(number, self._receive)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.number = number
        log.warning("stopping after this step; press again to stop at once")
        signal.signal(number, self._previous[number])


def ignore_interrupt(worker: int) -> None:
    """Ignore Ctrl-C in a data-loader worker: it reaches every process of the terminal, and the training process alone
    decides."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
