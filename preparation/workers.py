"""Worker processes that make several clips at a time and end with the process that started them."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

import cv2

from errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")


def run_in_processes(
    work: Callable[[Item], Result], items: Iterable[Item], count: int
) -> Iterator[tuple[Item, Result]]:
    """Apply `work` to every item, and yield items and results in the order in which they are finished.

    At most two items per process are taken from `items` ahead of their results.

    Args:
        work: a function that can be pickled.
        count: number of processes; 1 works in this process.
    Raises:
        UserError: a process was killed.
    """
    if count == 1:
        yield from ((item, work(item)) for item in items)
        return
    # Spawned, because the networks that may be loaded in this process have threads, which do not survive a fork.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(count, context, _initialise_worker)
    try:
        running: dict[Future[Result], Item] = {}
        for item in items:
            running[pool.submit(work, item)] = item
            if len(running) >= 2 * count:
                yield from _finished(running)
        while running:
            yield from _finished(running)
    except BrokenProcessPool as error:
        raise UserError(
            "a worker process was killed, perhaps because memory ran out; run the same command again with fewer "
            "prepare_params.workers"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _finished(running: dict[Future[Result], Item]) -> Iterator[tuple[Item, Result]]:
    done, _ = wait(running, return_when=FIRST_COMPLETED)
    for future in done:
        yield running.pop(future), future.result()


def _initialise_worker() -> None:
    """Use one thread, leave Ctrl-C to the starting process, and exit when that process ends."""
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None, "runs in a worker process"

    def exit_with_parent() -> None:
        parent.join()
        os._exit(1)  # the starting process was killed: a worker must not write beside the next run

    threading.Thread(target=exit_with_parent, daemon=True).start()
