"""Memory that the C library keeps after it was freed."""

import ctypes
from collections.abc import Callable


def return_free_memory() -> None:
    """Give freed memory back to the system, where the C library can do that (glibc).

    Blocks of a few megabytes, as networks need them, are cut into pieces by the small ones between them: a process that
    generates thousands of frames would grow although it keeps none of them.
    """
    if (trim := _malloc_trim()) is not None:
        trim(0)


def _malloc_trim() -> Callable[[int], int] | None:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # another C library, another system
        return None
