"""Distinguishes inputs that cannot be prepared from those that could not be read this time."""

import cv2

from clips.reading import ClipError
from errors import printable

MAKING_FAILURES = (ValueError, MemoryError, cv2.error)
"""Errors of making a clip that do not concern other clips."""


class UnreadableInput(ClipError):
    """A file was read differently before, or a read failed; the next run tries again."""


def may_pass(error: BaseException) -> bool:
    """True if a later attempt with the same files may succeed.

    Own checks of what was read raise errors without a cause; decoders and the operating system are causes. What they
    refuse is tried again, because a lost connection looks like a damaged file.
    """
    return isinstance(error, UnreadableInput | OSError | MemoryError | cv2.error) or error.__cause__ is not None


def is_unread(error: BaseException | None) -> bool:
    """True if the operating system is the cause: the file may be right."""
    return error is not None and (isinstance(error, OSError | MemoryError) or is_unread(error.__cause__))


def reason_of(error: BaseException) -> str:
    """Reason for which a clip is left out, in one line."""
    if isinstance(error, MemoryError) or (isinstance(error, cv2.error) and error.code == cv2.Error.StsNoMem):
        return "out of memory; use fewer prepare_params.workers"
    text = str(error).strip() or type(error).__name__
    return printable(text.splitlines()[0].strip())
