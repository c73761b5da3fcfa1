"""Record of the files of a finished clip, by which a later run distinguishes a complete clip from a damaged one."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeAlias

Manifest: TypeAlias = dict[str, tuple[int, str]]
"""Path relative to a folder, with `/` -> size in bytes and digest of the content; JSON reads it as lists."""


def describe_files(folder: Path, paths: Iterable[Path]) -> Manifest:
    """Sizes and digests of files below a folder.

    Raises:
        OSError: a file cannot be read.
    """
    return {path.relative_to(folder).as_posix(): (path.stat().st_size, _digest(path)) for path in paths}


def first_damaged(folder: Path, manifest: Mapping[str, tuple[int, str] | list[object]]) -> str | None:
    """Relative path of the first file that is missing, unreadable or not as it was written; None if all are."""
    for name, (size, digest) in manifest.items():
        path = folder / name
        try:
            if path.stat().st_size != size or _digest(path) != digest:
                return name
        except OSError:
            return name
    return None


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
