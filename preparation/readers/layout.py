"""Where the clips of a release lie, and the order of their frames."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from clips.reading import IMAGE_SUFFIXES, ClipError, Frame, open_clip
from errors import UserError
from preparation.clip_record import LeftOut, Repair
from preparation.readers.sheets import Unreadable

_DEPTH = 6  # folders between the root and the subjects: the deepest documented layout has 4


@dataclass(frozen=True)
class Layout:
    """Folder names of a data set.

    Attributes:
        levels: regular expressions, one a level from the subject's folder down to that of the frames; a level that is a
            plain name has siblings that hold something else.
        example: path that messages show.
        parent: regular expression of the folder that holds the first level, where data sets share names below it.
        frame: regular expression of frame names without suffix, as documented; None: it is not.
    """

    levels: tuple[str, ...]
    example: str
    parent: str | None = None
    frame: str | None = None


@dataclass(frozen=True)
class ClipFolder:
    """A folder of frames.

    Attributes:
        path: of the folder.
        parts: its names, one a level of the layout.
    """

    path: Path
    parts: tuple[str, ...]

    @property
    def name(self) -> str:
        """The folder as messages call it."""
        return "/".join(self.parts)


@dataclass(frozen=True)
class Release:
    """One of the forms in which a data set is distributed, such as raw or cropped.

    Attributes:
        path: folder that holds the first level.
        folders: of the clips, in the order of their names.
        strays: folders whose names fit no clip.
    """

    path: Path
    folders: tuple[ClipFolder, ...]
    strays: tuple[LeftOut, ...]


@dataclass(frozen=True)
class Frames:
    """Frames of a folder in the order of their numbers."""

    files: tuple[Path, ...]
    numbers: tuple[int, ...]
    repairs: tuple[Repair, ...] = ()


def subfolders(folder: Path) -> list[Path]:
    """Folders in a folder by name; hidden ones are left out."""
    with os.scandir(folder) as entries:  # knows folders without asking for each of many frames
        names = sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    return [folder / name for name in names]


def find_releases(root: Path, layout: Layout) -> list[Release]:
    """Every folder, the root included, that holds clips as the layout has them.

    Raises:
        UserError: no such folder, or none that holds clips.
    """
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; expected that of the data set as it was unpacked")
    found, waiting = [], [(root, 0)]
    while waiting:
        folder, depth = waiting.pop(0)
        inside = subfolders(folder)
        if folder == root or layout.parent is None or _fits(layout.parent, folder.name):
            first = [p for p in inside if _fits(layout.levels[0], p.name)]
            release = _read_release(folder, first, layout)
            if any(_has_pictures(clip.path) for clip in release.folders):
                found.append(release)
                inside = [p for p in inside if p not in first]
        if depth < _DEPTH:
            waiting += [(p, depth + 1) for p in inside]
    for i, release in enumerate(found):
        odd = [p for p in subfolders(release.path) if not _fits(layout.levels[0], p.name)]
        odd = [p for p in odd if not any(other.path.is_relative_to(p) for other in found)]
        found[i] = replace(release, strays=(*(_stray(p.name, p.name, layout) for p in odd), *release.strays))
    if not found:
        names = ", ".join(p.name for p in sorted(root.iterdir())[:3]) or "nothing"
        raise UserError(f"{root}: expected clips such as {layout.example}, found {names}")
    return found


def choose_release(releases: Sequence[Release], root: Path, wanted: str | None) -> Release:
    """The release that the user means: the only one, or that below the folder `wanted`.

    Raises:
        UserError: none, or several.
    """
    names = [release.path.relative_to(root).as_posix() for release in releases]
    fitting = [
        release
        for release, name in zip(releases, names, strict=True)
        if wanted is None or wanted.casefold() in {name.casefold(), *name.casefold().split("/")}
    ]
    if len(fitting) == 1:
        return fitting[0]
    if wanted is not None and not fitting:
        raise UserError(f"{root}: expected a release {wanted!r}, found {', '.join(names)}")
    raise UserError(f"{root}: expected one release, found {', '.join(names)}; name one of them by `release`")


def read_frames_of(folder: Path, layout: Layout) -> Frames:
    """The frames of a folder.

    Raises:
        Unreadable: no frames, a frame without a number, two of one number.
    """
    try:
        files = open_clip(folder).frames
    except ClipError as error:
        raise Unreadable(str(error)) from error
    by_number: dict[int, Path] = {}
    for file in sorted(files):
        digits = re.search(r"[0-9]+$", file.stem)
        if digits is None:
            raise Unreadable(f"{file.name}: expected a frame whose name ends in its number")
        if other := by_number.get(int(digits[0])):
            raise Unreadable(f"{other.name} and {file.name}: two frames of one number")
        by_number[int(digits[0])] = file
    numbers = tuple(sorted(by_number))
    frames = Frames(tuple(by_number[number] for number in numbers), numbers)
    odd = [file.name for file in files if layout.frame and not _fits(layout.frame, file.stem)]
    if not odd:
        return frames
    what = f"{len(odd)} frame names unlike the others of the data set, such as {odd[0]}"
    done = "frames are in the order of the numbers at the ends of their names"
    return replace(frames, repairs=(Repair(what, done),))


def has_colour(picture: Frame) -> bool:
    """Whether the channels of a picture, (H, W, 3), differ anywhere."""
    return bool((picture != picture[..., :1]).any())


def _fits(pattern: str, name: str) -> bool:
    return re.fullmatch(pattern, name, re.IGNORECASE) is not None


def _has_pictures(folder: Path) -> bool:
    return any(p.suffix.lower() in IMAGE_SUFFIXES for p in folder.iterdir())


def _read_release(folder: Path, first: list[Path], layout: Layout) -> Release:
    reached = [ClipFolder(path, (path.name,)) for path in first]
    strays = []
    for level in layout.levels[1:]:
        deeper = []
        for parent in reached:
            for path in subfolders(parent.path):
                inner = ClipFolder(path, (*parent.parts, path.name))
                if _fits(level, path.name):
                    deeper.append(inner)
                elif re.escape(level) != level:
                    strays.append(_stray(inner.name, path.name, layout))
        reached = deeper
    return Release(folder, tuple(reached), tuple(strays))


def _stray(where: str, name: str, layout: Layout) -> LeftOut:
    return LeftOut(where, f"expected a folder name as in {layout.example}, got {name!r}")
