"""Locks of output folders, held by the operating system: they end with the process that holds them, however it ends."""

import datetime
import json
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from core.files import write_text
from errors import UserError

log = logging.getLogger("core")

LOCK_NAME = ".lock"
_OWNER_NAME = ".lock-owner.json"


@contextmanager
def folder_lock(folder: Path, work: str) -> Iterator[None]:
    """Hold a folder for one process.

    Args:
        folder: created if it is missing.
        work: what the process does there, for the message to others, e.g. `training`.
    Raises:
        UserError: another process holds it; the message names host, process and since when.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK_NAME, timeout=0)
    if not _acquire(lock, folder):
        raise UserError(f"{folder}: {_owner(folder)}; wait until it ends, or choose another folder")
    try:
        owner = {"host": socket.gethostname(), "process": os.getpid(), "since": _now(), "work": work}
        write_text(folder / _OWNER_NAME, json.dumps(owner) + "\n")
        yield
    finally:
        with suppress(OSError):
            (folder / _OWNER_NAME).unlink(missing_ok=True)
        lock.release()


@contextmanager
def claimed(path: Path, *, wait: bool) -> Iterator[bool]:
    """Hold a lock file while one process works on what it stands for, and remove the file afterwards.

    Args:
        path: lock file; missing parent folders are created.
        wait: False does not wait for another process that holds it.
    Yields:
        True if this process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, timeout=-1 if wait else 0)
    held = _acquire(lock, path)
    try:
        yield held
    finally:
        if held:
            with suppress(OSError):  # those who wait for a removed lock file notice it and create a new one
                path.unlink()
            lock.release()


def _acquire(lock: FileLock, place: Path) -> bool:
    try:
        lock.acquire()
    except Timeout:
        return False
    except NotImplementedError:  # the file system has no locks
        log.warning("%s: this file system has no locks; do not run two commands into one folder", place)
    return True


def _owner(folder: Path) -> str:
    try:
        owner = json.loads((folder / _OWNER_NAME).read_text(encoding="utf-8"))
        return f"in use for {owner['work']} by process {owner['process']} on {owner['host']} since {owner['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "in use by another process"


def _now() -> str:
    return datetime.datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
