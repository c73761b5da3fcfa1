"""Finds the clips of a release by the names of their folders, and sorts their frames."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from clips.reading import IMAGE_SUFFIXES, VIDEO_SUFFIXES, ClipError, Frame, count_frames, open_clip
from errors import UserError
from parsing.files import searched_folder
from parsing.folders import is_leftover
from preparation.clip_record import LeftOut, Remark
from preparation.readers.sheets import Unreadable

_DEPTH = 6  # folders between the root and the subjects: the deepest documented layout has 4


@dataclass(frozen=True)
class Layout:
    """Folder names of a data set.

    Attributes:
        levels: regular expressions, one per level from the subject's folder down to the folder of the frames. Beside a
            level that is a plain name, other folders are expected and ignored.
        example: path that messages show.
        parent: regular expression of the folder that holds the first level, where other data sets have the same levels.
        frame: documented regular expression of frame names without suffix; None: undocumented.
    """

    levels: tuple[str, ...]
    example: str
    parent: str | None = None
    frame: str | None = None


@dataclass(frozen=True)
class ClipFolder:
    """A folder of frames, or a video in its place.

    Attributes:
        path: of the folder or video.
        parts: folder names, one per level of the layout; of a video, the name without suffix.
    """

    path: Path
    parts: tuple[str, ...]

    @property
    def name(self) -> str:
        """Name of the folder in messages."""
        return "/".join(self.parts)


@dataclass(frozen=True)
class Release:
    """One of the forms in which a data set is distributed, such as raw or cropped.

    Attributes:
        path: folder that holds the first level.
        folders: folders of the clips, in the order of their names.
        strays: folders whose names do not fit the layout.
        videos: the clips are videos instead of folders.
    """

    path: Path
    folders: tuple[ClipFolder, ...]
    strays: tuple[LeftOut, ...]
    videos: bool = False


@dataclass(frozen=True)
class Frames:
    """Frames of a folder in the order of their numbers; of a video, which has no files, counted from 1."""

    files: tuple[Path, ...]
    numbers: tuple[int, ...]
    remarks: tuple[Remark, ...] = ()


def subfolders(folder: Path) -> list[Path]:
    """Folders in a folder, sorted by name, without hidden ones and leftovers of systems and programs."""
    with os.scandir(folder) as entries:  # needs no call to the file system for each of many frames
        names = sorted(entry.name for entry in entries if entry.is_dir())
    return [path for name in names if not is_leftover(path := folder / name)]


def find_releases(root: Path, layout: Layout) -> list[Release]:
    """Find every folder, the root included, that holds clips of this layout.

    Raises:
        UserError: the root does not exist, or no folder holds such clips.
    """
    if not root.is_dir():
        raise UserError(f"{root}: no such folder{searched_folder(root)}; expected the folder of the unpacked data set")
    found, waiting = [], [(root, 0)]
    while waiting:
        folder, depth = waiting.pop(0)
        inside = subfolders(folder)
        if folder == root or layout.parent is None or _matches(layout.parent, folder.name):
            first = [p for p in inside if _matches(layout.levels[0], p.name)]
            release = _read_release(folder, first, layout)
            if not any(has_pictures(clip.path) for clip in release.folders):
                release = _read_videos(folder, first, layout)
            if release.folders:
                found.append(release)
                inside = [p for p in inside if p not in first]
        if depth < _DEPTH:
            waiting += [(p, depth + 1) for p in inside]
    for i, release in enumerate(found):
        odd = [p for p in subfolders(release.path) if not _matches(layout.levels[0], p.name)]
        odd = [p for p in odd if not any(other.path.is_relative_to(p) for other in found)]
        found[i] = replace(release, strays=(*(_stray(p.name, p.name, layout) for p in odd), *release.strays))
    if not found:
        names = ", ".join(p.name for p in sorted(root.iterdir())[:3]) or "nothing"
        raise UserError(f"{root}: expected clips such as {layout.example}, found {names}")
    return found


def choose_release(releases: Sequence[Release], root: Path, wanted: str | None) -> Release:
    """Choose the only release, or the one below the folder `wanted`.

    Raises:
        UserError: none or several fit.
    """
    names = [release.path.relative_to(root).as_posix() for release in releases]
    fitting = [
        release
        for release, name in zip(releases, names, strict=True)
        if wanted is None or wanted.casefold() in {name.casefold(), *name.casefold().split("/")}
    ]
    if wanted is None and len(fitting) > 1:  # frames are better than compressed videos
        fitting = [release for release in fitting if not release.videos] or fitting
    if len(fitting) == 1:
        return fitting[0]
    if wanted is not None and not fitting:
        raise UserError(f"{root}: expected a release {wanted!r}, found {', '.join(names)}")
    raise UserError(f"{root}: expected one release, found {', '.join(names)}; name one of them with `release`")


def read_frames_of(folder: Path, layout: Layout) -> Frames:
    """Find the frames of a folder or video.

    Raises:
        Unreadable: no frames, a frame without a number, or two with the same number.
    """
    try:
        clip = open_clip(folder)
        if folder.is_file():
            return Frames((), tuple(range(1, count_frames(clip) + 1)))
    except ClipError as error:
        raise Unreadable(str(error)) from error
    files = clip.frames
    by_number: dict[int, Path] = {}
    for file in sorted(files):
        digits = re.search(r"[0-9]+$", file.stem)
        if digits is None:
            raise Unreadable(f"{file.name}: expected a name that ends in the number of the frame")
        if other := by_number.get(int(digits[0])):
            raise Unreadable(f"{other.name} and {file.name}: two frames with the same number")
        by_number[int(digits[0])] = file
    numbers = tuple(sorted(by_number))
    frames = Frames(tuple(by_number[number] for number in numbers), numbers)
    odd = [file.name for file in files if layout.frame and not _matches(layout.frame, file.stem)]
    if not odd:
        return frames
    found = f"{len(odd)} frame names unlike the others of the data set, such as {odd[0]}"
    done = "frames sorted by the numbers at the ends of their names"
    return replace(frames, remarks=(Remark(found, done),))


def has_colour(picture: Frame) -> bool:
    """True if the channels of a picture, (H, W, 3), differ anywhere."""
    return bool((picture != picture[..., :1]).any())


def has_pictures(folder: Path) -> bool:
    """True if a folder holds frames, hidden files apart."""
    return any(p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith(".") for p in folder.iterdir())


def _matches(pattern: str, name: str) -> bool:
    return re.fullmatch(pattern, name, re.IGNORECASE) is not None


def _read_videos(folder: Path, first: list[Path], layout: Layout) -> Release:
    """A release whose videos stand in the place of the folders of frames."""
    *above, last = layout.levels
    if re.escape(last) == last:  # a folder of the same name in every clip
        return Release(folder, (), ())
    parents = [ClipFolder(folder, ())]
    if above:
        parents = list(_read_release(folder, first, replace(layout, levels=tuple(above))).folders)
    videos = [
        ClipFolder(path, (*parent.parts, path.stem))
        for parent in parents
        for path in sorted(parent.path.iterdir())
        if path.suffix.lower() in VIDEO_SUFFIXES and not path.name.startswith(".") and path.is_file()
    ]
    fitting = [video for video in videos if _matches(last, video.parts[-1])]
    strays = [_stray(video.name, video.path.name, layout) for video in videos if video not in fitting]
    return Release(folder, tuple(fitting), tuple(strays), videos=True)


def _read_release(folder: Path, first: list[Path], layout: Layout) -> Release:
    reached = [ClipFolder(path, (path.name,)) for path in first]
    strays = []
    for level in layout.levels[1:]:
        deeper = []
        for parent in reached:
            for path in subfolders(parent.path):
                inner = ClipFolder(path, (*parent.parts, path.name))
                if _matches(level, path.name):
                    deeper.append(inner)
                elif re.escape(level) != level:
                    strays.append(_stray(inner.name, path.name, layout))
        reached = deeper
    return Release(folder, tuple(reached), tuple(strays))


def _stray(path: str, name: str, layout: Layout) -> LeftOut:
    return LeftOut(path, f"expected a folder name as in {layout.example}, got {name!r}")
