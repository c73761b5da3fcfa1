"""Ctrl-C and SIGTERM as a request to stop after the current step."""

import logging
import signal
from types import FrameType, TracebackType
from typing import Any

log = logging.getLogger("train")


class StopSignal:
    """Records SIGINT and SIGTERM while it is entered, instead of stopping at once; the second one of a kind stops.

    Attributes:
        number: of the signal received; None before.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "StopSignal":
        for number in (signal.SIGINT, signal.SIGTERM):
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
