"""Entries of the folders of a data set, without what operating systems and archive programs leave there."""

import logging
from functools import lru_cache
from pathlib import Path

_LEFTOVERS = frozenset(
    {
        *("@eadir", "#recycle", "@recycle", "@tmp", "#snapshot"),  # network drives
        *("__macosx", ".ds_store", "icon\r"),  # macOS
        *(
            "$recycle.bin",
            "system volume information",
            "recycler",
            "thumbs.db",
            "ehthumbs.db",
            "desktop.ini",
        ),  # Windows
        "lost+found",  # Linux
        "__pycache__",  # Python
    }
)
_MAX_NAMED = 5

log = logging.getLogger("clips")


def is_leftover(path: Path) -> bool:
    """True for hidden files and for what operating systems, archive and office programs leave beside others."""
    return path.name.startswith((".", "~$")) or path.name.casefold() in _LEFTOVERS


def data_entries(folder: Path) -> list[Path]:
    """Return the entries of a folder by name, without leftovers, empty folders and links to nothing.

    One line per folder and process reports what is left out, apart from hidden files.
    """
    kept, ignored = [], []
    for path in sorted(folder.iterdir()):
        reason = _reason_to_ignore(path)
        if reason is None:
            kept.append(path)
        elif not path.name.startswith("."):
            ignored.append(f"{path.name} ({reason})")
    if ignored:
        more = f" and {len(ignored) - _MAX_NAMED} more" if len(ignored) > _MAX_NAMED else ""
        _report(f"{folder}: {len(ignored)} ignored: {', '.join(ignored[:_MAX_NAMED])}{more}")
    return kept


def _reason_to_ignore(path: Path) -> str | None:
    if is_leftover(path):
        return "left by another program"
    if path.is_symlink() and not path.exists():
        return f"a link to {path.readlink()}, which does not exist"
    if path.is_dir() and all(map(is_leftover, path.iterdir())):
        return "an empty folder"
    return None


@lru_cache(maxsize=1000)
def _report(line: str) -> None:
    """Log a line once, although the folders of a data set are searched several times."""
    log.warning("%s", line)
