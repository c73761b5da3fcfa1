"""Texts that are kept on disk until a page or table is written, so that memory does not grow with their number."""

from __future__ import annotations

import tempfile
from typing import IO, NamedTuple


class Place(NamedTuple):
    """Position of a text in a spool."""

    offset: int
    size: int


class Spool:
    """Texts in a temporary file, which is deleted when the spool is closed."""

    def __init__(self) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile()

    def add(self, text: str) -> Place:
        """Append a text."""
        data = text.encode("utf-8", "backslashreplace")
        offset = self._file.seek(0, 2)
        self._file.write(data)
        return Place(offset, len(data))

    def read(self, place: Place) -> str:
        """Return a text."""
        self._file.seek(place.offset)
        return self._file.read(place.size).decode("utf-8")

    def close(self) -> None:
        """Delete the texts."""
        self._file.close()
