"""The one way in which files are written: under a temporary name beside the target, which is then renamed.

A file or folder under its final name is therefore always complete, whenever the program or the machine stops. Temporary
names are hidden, random and never follow a link, so that several processes may write to one folder.
"""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from errors import UserError

TEMPORARY_PREFIX = ".writing-"


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
        temporary, previous = _temporary(path), _temporary(path)
        temporary.mkdir()
        try:
            yield temporary
            if path.exists():
                os.replace(path, previous)
            try:
                os.replace(temporary, path)
            except OSError:
                if previous.exists():
                    os.replace(previous, path)
                raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
            shutil.rmtree(previous, ignore_errors=True)
    except OSError as error:
        raise WriteError(f"{path}: could not be written ({error.strerror or error}); {remedy}") from error


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


def _temporary(path: Path) -> Path:
    return path.with_name(f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}{path.suffix}")


def _flush(path: Path) -> None:
    """Wait until the file's bytes are on the disk: a rename may get there before them."""
    handle = os.open(path, os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
