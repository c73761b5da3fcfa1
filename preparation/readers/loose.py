"""Reads clips of any other origin: folders of frames, or videos, in a folder and below it, with or without a table of
labels.

The table is `annotations.csv` (or a workbook) beside the clips, or given by the user, with the column `name` and any of
`subject`, `onset`, `apex`, `offset`, `fps`, `emotion` and `facs`. Beside a clip `NAME` there may be its landmarks,
`NAME.npy`, `.csv` or `.pts` (also `NAME.onset.npy` and so on), and its table of action units, `NAME_au.csv`.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from natsort import natsorted

from clips.files import LANDMARK_SUFFIXES, normalised_name, subject_of
from clips.reading import (
    VIDEO_SUFFIXES,
    Clip,
    ClipError,
    count_frames,
    frame_rate,
    open_clip,
    read_frames,
    read_image,
)
from errors import UserError
from parsing.files import searched_folder
from preparation.clip_record import ClipRecord, LeftOut, Listing, Remark
from preparation.readers.header import Header, shown
from preparation.readers.labels import (
    MissingApex,
    MovementColumns,
    check_frame,
    read_facs,
    read_movement,
    read_rate,
    with_movement,
)
from preparation.readers.layout import has_colour, has_pictures, subfolders
from preparation.readers.sheets import Row, Unreadable, merge_repeats, read_sheet

ANNOTATIONS = "annotations.csv"
_TABLE_SUFFIXES = (".csv", ".tsv", ".xlsx", ".xls")
COLUMNS = ("name", "subject", "onset", "apex", "offset", "fps", "emotion", "facs")


def read_loose(
    kind: str,
    root: Path,
    *,
    videos: bool,
    sheet: Path | None,
    fps: float | None,
    missing_apex: MissingApex,
    columns: Mapping[str, str],
) -> Listing:
    """Read the clips of a folder, or one video; other arguments and errors as for `read_data_set`.

    Args:
        videos: True reads the videos in the folder as clips, False the folders in it.
    """
    paths = _video_files(root) if videos else _frame_folders(root)
    rows, left_out, remarks = _read_annotations(root, paths, sheet, columns)
    clips: list[ClipRecord] = []
    spellings: dict[str, str] = {}
    for path in paths:
        try:
            row = merge_repeats(rows[path]) if path in rows else None
            clip = _with_labels(_read_clip(kind, root, path, row, fps), row, missing_apex)
            if rows and row is None:
                clip = _with_remark(clip, f"no row named {_name(path, root)}", "the clip has no labels")
            clips.append(_with_known_subject(clip, spellings))
        except (Unreadable, ClipError) as reason:
            left_out.append(LeftOut(_name(path, root), str(reason)))
    return Listing(tuple(clips), tuple(left_out), remarks)


def _frame_folders(root: Path) -> list[Path]:
    if not root.is_dir():
        raise UserError(
            f"{root}: no such folder{searched_folder(root)}; expected one that contains a folder of frames per clip"
        )
    folders, waiting = [], subfolders(root)
    while waiting:
        folder = waiting.pop()
        inside = [] if has_pictures(folder) else [path for path in subfolders(folder) if not path.is_symlink()]
        waiting += inside
        if not inside:
            folders.append(folder)
    if not folders:
        raise UserError(f"{root}: expected one folder of frames per clip, found no folders")
    return natsorted(folders, key=lambda path: path.relative_to(root).parts)


def _video_files(root: Path) -> list[Path]:
    if root.is_file():
        return [root]
    if not root.is_dir():
        raise UserError(f"{root}: no such video, and no such folder of videos{searched_folder(root)}")
    videos, folders = [], [root]
    while folders:
        folder = folders.pop()
        inside = [p for p in folder.iterdir() if p.suffix.lower() in VIDEO_SUFFIXES and not p.name.startswith(".")]
        videos += [path for path in inside if path.is_file()]
        folders += [path for path in subfolders(folder) if not path.is_symlink()]
    if not videos:
        raise UserError(f"{root}: expected videos ({', '.join(sorted(VIDEO_SUFFIXES))}), found none")
    return natsorted(videos, key=lambda path: path.relative_to(root).parts)


def _name(path: Path, root: Path) -> str:
    """Name of the clip, which begins with the folders below the root (`sub01/EP02_01f.avi` is `sub01_EP02_01f`); a dot
    in a folder's name does not begin a suffix."""
    inner = path.relative_to(root).parts[:-1] if path != root else ()
    return "_".join((*inner, path.name if path.is_dir() else path.stem))


# --- annotations ------------------------------------------------------------------------------------------------------


def _read_annotations(
    root: Path, paths: Sequence[Path], given: Path | None, columns: Mapping[str, str]
) -> tuple[dict[Path, list[Row]], list[LeftOut], tuple[Remark, ...]]:
    """Rows of each clip, rows without a clip, and remarks on the table."""
    if given is None:
        place = (root if root.is_dir() else root.parent) / ANNOTATIONS
        tables = [file for suffix in _TABLE_SUFFIXES if (file := place.with_suffix(suffix)).is_file()]
        if len(tables) > 1:
            raise UserError(f"expected one of {' and '.join(map(str, tables))}, found both; remove one")
        if not tables:
            return {}, [], ()
        given = tables[0]
    if not given.is_file():
        raise UserError(f"{given}: no such table of labels")
    table = read_sheet(given, Header(("name",), known=COLUMNS).with_given(columns))
    alike: dict[str, list[Path]] = {}
    for path in paths:
        alike.setdefault(normalised_name(_name(path, root)), []).append(path)
    rows: dict[Path, list[Row]] = {}
    left_out = []
    for row in table.rows:
        known = alike.get(normalised_name(row.cells["name"]), [])
        exact = [path for path in known if _name(path, root) == row.cells["name"]]
        if not (exact or len(known) == 1):
            left_out.append(LeftOut(row.where, f"name: no clip {shown(row.cells['name'])} in {root}"))
            continue
        path = (exact or known)[0]
        if not exact:
            done = f"matched to {_name(path, root)}, which differs in case or padding only"
            row = replace(row, remarks=(Remark(f"{row.where}: {row.cells['name']}", done),))
        rows.setdefault(path, []).append(row)
    return rows, left_out, table.remarks


# --- clips ------------------------------------------------------------------------------------------------------------


def _read_clip(kind: str, root: Path, path: Path, row: Row | None, fps: float | None) -> ClipRecord:
    """Record of a folder or video, without the labels of its frames.

    Raises:
        Unreadable: the clip has no frame rate.
        ClipError: the clip cannot be read.
    """
    clip = open_clip(path)
    stem = path.name if path.is_dir() else path.stem
    if clip.frames:
        numbers, frames = _frames_by_number(clip)
        colour = has_colour(read_image(frames[0]))
    else:
        numbers, frames = tuple(range(count_frames(clip))), ()
        colour = has_colour(next(read_frames(clip, None)))
    with _named_row(row):
        rate = (row and read_rate(row, "fps")) or frame_rate(clip) or fps
    if rate is None:
        raise Unreadable("expected a frame rate, got none; set `fps`, or add the column fps")
    return ClipRecord(
        name=_name(path, root),
        subject=(row and row.text("subject")) or subject_of(_name(path, root)),
        data_set=kind,
        source=path,
        frames=frames,
        frame_numbers=numbers,
        fps=rate,
        colour=colour,
        landmarks=_beside(path, (stem, f"{stem}.onset"), LANDMARK_SUFFIXES),
        au_table=_beside(path, (f"{stem}_au",), _TABLE_SUFFIXES),
    )


def _frames_by_number(clip: Clip) -> tuple[tuple[int, ...], tuple[Path, ...]]:
    """Numbers and files of the frames, sorted by number; frames without numbers are counted from 0 in natural order."""
    if clip.frame_numbers is None:
        return tuple(range(len(clip.frames))), clip.frames
    pairs = sorted(zip(clip.frame_numbers, clip.frames, strict=True))
    return tuple(number for number, _ in pairs), tuple(file for _, file in pairs)


def _beside(path: Path, stems: Sequence[str], suffixes: Sequence[str]) -> Path | None:
    """File beside a clip that belongs to it; None if there is none.

    Raises:
        Unreadable: there are several.
    """
    found = [p for stem in stems for suffix in suffixes if (p := path.with_name(stem + suffix)).is_file()]
    if len(found) > 1:
        raise Unreadable(
            f"expected one of {' and '.join(p.name for p in found)} beside the clip, found both; remove one"
        )
    return found[0] if found else None


def _with_labels(clip: ClipRecord, row: Row | None, missing_apex: MissingApex) -> ClipRecord:
    """The clip with onset, apex, offset, emotion and FACS code of its row.

    Raises:
        Unreadable: the row does not fit the frames of the clip.
    """
    if row is None:
        return clip
    facs, remarks = read_facs(row, "facs")
    clip = replace(clip, emotion=row.text("emotion"), facs=facs, remarks=(*clip.remarks, *row.remarks, *remarks))
    with _named_row(row):
        times = {column: row.frame(column) for column in ("onset", "apex", "offset")}
        if times["onset"] is None or times["offset"] is None:
            for column, frame in times.items():
                if frame is not None:
                    check_frame(column, frame, clip.frame_numbers)
            return replace(clip, onset=times["onset"], apex=times["apex"], offset=times["offset"])
        columns = MovementColumns("onset", "apex" if "apex" in row.cells else None, "offset")
        return with_movement(clip, read_movement(row, columns, clip.frame_numbers, missing_apex))


@contextmanager
def _named_row(row: Row | None) -> Iterator[None]:
    """Name the row in the reason of an `Unreadable`."""
    try:
        yield
    except Unreadable as reason:
        raise Unreadable(f"{row.where}, {reason}" if row else str(reason)) from reason


def _with_known_subject(clip: ClipRecord, spellings: dict[str, str]) -> ClipRecord:
    """The clip, with its subject spelled as in earlier clips."""
    known = spellings.setdefault(normalised_name(clip.subject), clip.subject)
    if known == clip.subject:
        return clip
    return replace(_with_remark(clip, f"subject {clip.subject}", f"{known}, as in other clips"), subject=known)


def _with_remark(clip: ClipRecord, found: str, done: str) -> ClipRecord:
    return replace(clip, remarks=(*clip.remarks, Remark(found, done)))
