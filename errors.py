"""Mistakes of the user, failures of the machine, and the one line in which either is reported."""

import errno
import re

_REMEDIES = {
    errno.ENOSPC: "make room, or choose another place",
    errno.EDQUOT: "make room, or choose another place",
    errno.EACCES: "check the permissions, or choose another place",
    errno.EPERM: "check the permissions, or choose another place",
    errno.EROFS: "choose another place",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ENOTDIR: "a part of the path is a file; choose another path",
    errno.EISDIR: "a folder stands where a file is expected; choose another path",
    errno.ENOENT: "check the path",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENFILE: "raise the limit of open files (ulimit -n)",
    errno.EIO: "the disk reports a failure; try again, or choose another place",
}
_LESS_MEMORY = "use a smaller batch_size, frame_shape or dataloader_workers, or precision bf16-mixed"
_ALLOCATION = re.compile(r"out of memory|can't allocate memory|not enough memory", re.IGNORECASE)
_SHARED_MEMORY = re.compile(r"shared memory|bus error|/dev/shm|torch_\d+_\d+", re.IGNORECASE)
_WORKER_KILLED = re.compile(r"DataLoader worker.*(killed|exited)", re.IGNORECASE | re.DOTALL)


class UserError(ValueError):
    """A mistake of input: the message names the value, what was expected and the remedy. `run.py` prints it in one
    line and ends with status 2; every other exception is a bug and shows its traceback."""


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or the error's name where it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].strip()


def failure_of_machine(error: BaseException) -> str | None:
    """Describe an error that the operating system caused, in one line with its path and a remedy.

    Returns:
        None if the error is something else, a bug.
    """
    text = str(error)
    if isinstance(error, OSError):
        place = f"{printable(str(error.filename))}: " if error.filename is not None else ""
        return f"{place}{error.strerror or first_line(error)}; {_REMEDIES.get(error.errno or 0, 'check the path')}"
    if isinstance(error, UnicodeEncodeError) and error.reason == "surrogates not allowed":
        return f"{printable(str(error.object))[:200]}: a name that is not UTF-8; rename the file or folder"
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return f"out of memory ({first_line(error)}); {_LESS_MEMORY}"
    if isinstance(error, RuntimeError) and (_SHARED_MEMORY.search(text) or _WORKER_KILLED.search(text)):
        return (
            f"a data-loader worker died ({first_line(error)}); set dataloader_workers to 0, or enlarge the shared "
            "memory (/dev/shm) or the memory"
        )
    if isinstance(error, RuntimeError) and _ALLOCATION.search(text):
        return f"out of memory ({first_line(error)}); {_LESS_MEMORY}"
    return None


def printable(text: str) -> str:
    """Return a text that every terminal and log file takes: control characters and undecodable bytes are escaped."""
    escaped = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in escaped)
