"""The one way in which files are written: under a temporary name beside the target, which is then renamed.

A file or folder under its final name is therefore always complete, whenever the program or the machine stops. Temporary
names are hidden, random and never follow a link, so that several processes may write to one folder. They name host and
process, so that a later run can remove those of a process that was killed.
"""

import errno
import os
import re
import secrets
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from errors import UserError

TEMPORARY_PREFIX = ".writing-"
_HOST = re.sub(r"[^A-Za-z0-9]", "_", socket.gethostname())[:64]
_TEMPORARY_NAME = re.compile(
    rf"{re.escape(TEMPORARY_PREFIX)}(?P<host>[A-Za-z0-9_]*)-(?P<process>\d{{1,10}})-[0-9a-f]{{16}}.*"
)


class WriteError(UserError):
    """A result could not be written; what stood under its name before still does."""


@contextmanager
def replacing_file(path: Path, remedy: str = "make room or choose another place") -> Iterator[Path]:
    """Write a file and rename it when it is complete.

    Args:
        path: final name; missing parent folders are created.
        remedy: what the user can do where it cannot be written; ends the message.
    Yields:
        A temporary path with the suffix of `path`, which the block creates; it is removed where the block fails.
    Raises:
        WriteError: the disk is full or the folder is not writable.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = _temporary(path)
        try:
            yield temporary
            _flush(temporary)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise WriteError(f"{path}: could not be written ({error.strerror or error}); {remedy}") from error


@contextmanager
def replacing_folder(path: Path, remedy: str = "make room or choose another place") -> Iterator[Path]:
    """Fill a new folder and put it in the place of the one that is there, if any.

    Args and errors as `replacing_file`.

    Yields:
        An empty temporary folder; it is removed where the block fails.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = _temporary(path)
        try:
            temporary.mkdir()
            yield temporary
            _put_folder(temporary, path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise WriteError(f"{path}: could not be written ({error.strerror or error}); {remedy}") from error


@contextmanager
def replacing_entries(folder: Path, remedy: str = "make room or choose another place") -> Iterator[Path]:
    """Write several files and folders, and move them into a folder when all of them are complete.

    Args:
        folder: created if it is missing; its other entries stay.
        remedy: as in `replacing_file`.
    Yields:
        An empty temporary folder for the new entries; it is removed where the block fails.
    Raises:
        WriteError: the disk is full or the folder is not writable.
    """
    place, temporary = folder, folder / temporary_name()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            temporary.mkdir()
            yield temporary
            for entry in sorted(temporary.iterdir()):
                place = folder / entry.name
                if entry.is_dir():
                    _put_folder(entry, place)
                else:
                    os.replace(entry, place)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except WriteError as error:
        raise WriteError(str(error).replace(str(temporary), str(folder))) from error
    except OSError as error:
        raise WriteError(f"{place}: could not be written ({error.strerror or error}); {remedy}") from error


def write_bytes(path: Path, data: bytes, remedy: str = "make room or choose another place") -> bool:
    """Write a file, unless it holds these bytes already; arguments and errors as `replacing_file`.

    Returns:
        Whether it was written.
    """
    if path.is_file() and path.read_bytes() == data:
        return False
    with replacing_file(path, remedy) as temporary:
        temporary.write_bytes(data)
    return True


def write_text(path: Path, text: str, remedy: str = "make room or choose another place") -> bool:
    """`write_bytes` of UTF-8 text; line ends stay as they are in `text`."""
    return write_bytes(path, text.encode("utf-8"), remedy)


def temporary_name(suffix: str = "") -> str:
    """Name of a temporary file or folder of this process, which nobody else uses."""
    return f"{TEMPORARY_PREFIX}{_HOST}-{os.getpid()}-{secrets.token_hex(8)}{suffix}"


def remove_abandoned(folder: Path) -> None:
    """Remove the temporary files and folders that dead processes of this machine left in a folder (not below it)."""
    try:
        entries = [entry for entry in os.scandir(folder) if entry.name.startswith(TEMPORARY_PREFIX)]
    except OSError:
        return
    for entry in entries:
        name = _TEMPORARY_NAME.fullmatch(entry.name)
        if name is None or name["host"] != _HOST or _is_alive(int(name["process"])):
            continue
        _remove(entry.path)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # it belongs to another user
        return True
    return True


def _temporary(path: Path) -> Path:
    return path.with_name(temporary_name(path.suffix if len(path.suffix) <= 16 else ""))


def _put_folder(new: Path, path: Path) -> None:
    """Move a folder to the place of the one that is there, which other processes may replace at the same time.

    Raises:
        OSError: a file is there, or the folder cannot be moved.
    """
    if path.exists() and not path.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "a file stands where a folder is expected", str(path))
    previous = _temporary(path)
    try:
        while True:
            with suppress(FileNotFoundError):
                os.replace(path, previous)
            try:
                os.replace(new, path)
                return
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                _remove(previous)  # another process has put its folder there: replace it, too
    finally:
        if previous.exists() and not path.exists():  # an error or a signal between the two moves
            os.replace(previous, path)
        _remove(previous)


def _remove(path: Path | str) -> None:
    """Remove a file, a link or a folder, as far as it can be."""
    with suppress(OSError):
        os.unlink(path)
    shutil.rmtree(path, ignore_errors=True)


def _flush(path: Path) -> None:
    """Wait until the file's bytes are on the disk: a rename may get there before them."""
    handle = os.open(path, os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
