"""Worker processes that make several clips at a time and end with the process that started them."""

import multiprocessing
import os
import pickle
import threading
import traceback
from collections.abc import Callable, Generator, Iterable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from queue import SimpleQueue
from typing import Any, Generic, NamedTuple, TypeVar

import cv2

from core.stop_signal import die_with_parent, signals_held_back
from errors import UserError
from preparation.worker_process import WorkerProcess

Item = TypeVar("Item")
Result = TypeVar("Result")


def run_in_processes(
    work: Callable[[Item], Result], items: Iterable[Item], count: int
) -> Generator[tuple[Item, Result], None, None]:
    """Apply `work` to every item, and yield items and results in the order in which they are finished.

    At most two items per process are taken from `items` ahead of their results. Where the caller stops early, by
    Ctrl-C too, the processes are killed.

    Args:
        work: a function that can be pickled.
        count: number of processes; 1 works in this process.
    Raises:
        UserError: a process was killed.
    """
    if count == 1:
        yield from ((item, work(item)) for item in items)
        return
    pool: _Pool[Item, Result] = _Pool(work, count)
    try:
        for item in items:
            pool.submit(item)
            if pool.unfinished >= 2 * count:
                yield pool.next_result()
        while pool.unfinished:
            yield pool.next_result()
    finally:
        pool.kill()


class _Answer(NamedTuple):
    item: Any
    result: Any
    error: Exception | None


class _Pool(Generic[Item, Result]):
    """Processes that are started as items come. A thread per process hands it items and waits for the results.

    `concurrent.futures` joins its processes when the program ends, which blocks where Ctrl-C has interrupted it.

    Attributes:
        unfinished: number of items whose results have not been returned.
    """

    def __init__(self, work: Callable[[Item], Result], count: int):
        self.unfinished = 0
        self._work, self._count = work, count
        self._processes: list[BaseProcess] = []
        self._items: SimpleQueue[list[Any]] = SimpleQueue()
        self._answers: SimpleQueue[_Answer] = SimpleQueue()

    def submit(self, item: Item) -> None:
        """Queue an item."""
        if len(self._processes) < self._count:
            self._start_process()
        self._items.put([item])
        self.unfinished += 1

    def next_result(self) -> tuple[Item, Result]:
        """Wait for an item to be finished; returns it with its result, or raises the error of `work`."""
        answer = self._answers.get()
        self.unfinished -= 1
        if answer.error is not None:
            raise answer.error
        return answer.item, answer.result

    def kill(self) -> None:
        """End all processes at once."""
        for process in self._processes:
            if process.pid is not None:
                process.kill()
                process.join()
        for _ in self._processes:
            self._items.put([])

    def _start_process(self) -> None:
        # Spawned, because the networks that may be loaded in this process have threads, which do not survive a fork.
        ours, theirs = multiprocessing.Pipe()
        process = WorkerProcess(target=_serve, args=(self._work, theirs), daemon=True)
        with signals_held_back():  # in the process and in the thread for good: this process alone decides when to stop
            self._processes.append(process)
            process.start()
            threading.Thread(target=self._hand_over, args=(ours,), daemon=True).start()
        theirs.close()

    def _hand_over(self, connection: Connection) -> None:
        while queued := self._items.get():
            (item,) = queued
            result, error = None, None
            try:
                connection.send(item)
                result, error = connection.recv()
            except (EOFError, OSError):
                error = UserError(
                    "a worker process was killed, perhaps because memory ran out; run the same command again with "
                    "fewer prepare_params.workers"
                )
            except Exception as failure:  # an item or an error that cannot be pickled
                error = failure
            self._answers.put(_Answer(item, result, error))


def _serve(work: Callable[[Any], Any], connection: Connection) -> None:
    """Work off items in a worker process until the starting process kills it or ends."""
    _end_with_parent()
    cv2.setNumThreads(1)
    while True:
        try:
            item = connection.recv()
        except (EOFError, OSError):
            return
        result, error = None, None
        try:
            result = work(item)
        except Exception as failure:
            failure.add_note(traceback.format_exc())
            error = failure
        try:
            connection.send((result, error))
        except (TypeError, AttributeError, pickle.PicklingError) as failure:  # raised before anything is sent
            connection.send((None, RuntimeError(f"{error or result!r} cannot be pickled: {failure}")))


def _end_with_parent() -> None:
    """Kill this process when the starting process ends: it must not write beside the next run."""
    die_with_parent()
    started_by = multiprocessing.parent_process()
    assert started_by is not None, "runs in a worker process"

    def exit_with_parent() -> None:  # on other systems than Linux, and where the parent ended before
        started_by.join()
        os._exit(1)

    threading.Thread(target=exit_with_parent, daemon=True).start()
