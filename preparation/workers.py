"""Processes that make clips, several at a time, and end with the process that started them."""

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


def in_processes(work: Callable[[Item], Result], items: Iterable[Item], count: int) -> Iterator[tuple[Item, Result]]:
    """Apply `work` to items as they come; results come as they are ready.

    No more items are taken than are being worked on, and as many again.

    Args:
        work: can be pickled.
        count: of processes; 1 works in this one.
    Raises:
        UserError: a process was ended from outside.
    """
    if count == 1:
        yield from ((item, work(item)) for item in items)
        return
    # Not forked: the networks that may be loaded here have threads, which do not survive it.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(count, context, _start)
    try:
        running: dict[Future[Result], Item] = {}
        for item in items:
            running[pool.submit(work, item)] = item
            if len(running) >= 2 * count:
                yield from _ready(running)
        while running:
            yield from _ready(running)
    except BrokenProcessPool as error:
        raise UserError(
            "a process that prepared clips was ended, perhaps for want of memory; run the same command again, with "
            "fewer prepare_params.workers"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _ready(running: dict[Future[Result], Item]) -> Iterator[tuple[Item, Result]]:
    done, _ = wait(running, return_when=FIRST_COMPLETED)
    for future in done:
        yield running.pop(future), future.result()


def _start() -> None:
    """One thread for each process; Ctrl-C is the starting process's affair, and its end is this one's, too."""
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None, "runs in a process that was started for it"

    def follow() -> None:
        parent.join()
        os._exit(1)  # the starting process was killed; nothing may be written beside the next run

    threading.Thread(target=follow, daemon=True).start()
