"""Names and bytes of files that people bring; only regular files are opened: FIFOs would hang the program."""

import os
import stat
from pathlib import Path

from errors import UserError

MIB = 2**20
MAX_PATH_BYTES = 4095  # of Linux; names of files and folders have at most 255
MAX_NAME_BYTES = 255
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


def check_regular_file(path: Path, *, max_bytes: int | None = None) -> os.stat_result:
    """Check that a path is a file that can be opened, without opening it.

    Args:
        max_bytes: largest size that makes sense for this kind of file; None: any size.
    Raises:
        UserError: the path is missing, is no regular file, cannot be looked at, or is too large.
    """
    try:
        status = path.stat()
    except FileNotFoundError as error:
        reason = "a link to a file that does not exist" if path.is_symlink() else "no such file"
        raise UserError(f"{path}: {reason}{searched_folder(path)}; correct the path") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the name
        raise UserError(
            f"{path}: unreadable ({getattr(error, 'strerror', None) or error})".replace("\0", "")
        ) from error
    kind = stat.S_IFMT(status.st_mode)
    if kind != stat.S_IFREG:
        raise UserError(f"{path}: expected a file, got {_KINDS.get(kind, 'something else')}")
    if max_bytes is not None and status.st_size > max_bytes:
        size, limit = status.st_size / MIB, max_bytes / MIB
        raise UserError(f"{path}: has {size:.1f} MiB, expected at most {limit:g}; is this the right file?")
    return status


def searched_folder(path: Path) -> str:
    """Return ` in FOLDER` for a relative path that was not found, so that a message names where it was looked for."""
    return "" if path.is_absolute() else f" in {Path.cwd()}"


def checked_path(text: str) -> Path:
    """Return a path with `~` expanded.

    Raises:
        ValueError: no file can have that name.
    """
    if not text:
        raise ValueError("expected a path, got an empty text")
    if "\0" in text:
        raise ValueError("expected a path, got one with a NUL character")
    try:
        path = Path(text).expanduser()
    except RuntimeError as error:
        raise ValueError(f"expected a path, got a home folder that does not exist: {text.split('/')[0]}") from error
    if len(os.fsencode(path)) > MAX_PATH_BYTES or any(len(os.fsencode(name)) > MAX_NAME_BYTES for name in path.parts):
        raise ValueError(
            f"expected a path of at most {MAX_PATH_BYTES} bytes, and names of at most {MAX_NAME_BYTES}; shorten it"
        )
    return path


def read_file(path: Path, *, max_bytes: int) -> bytes:
    """Read a regular file whole.

    Raises:
        UserError: as `check_regular_file`, or the file cannot be read.
    """
    check_regular_file(path, max_bytes=max_bytes)
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: unreadable ({error.strerror or error}); check its permissions") from error
