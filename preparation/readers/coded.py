"""Reads data sets that `data_sets` describes, with or without a coding sheet."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from clips.reading import ClipError, open_clip, read_frames, read_image
from errors import UserError
from preparation.clip_record import ClipRecord, LeftOut, Listing, Remark
from preparation.readers.description import (
    Columns,
    DataSet,
    FolderKey,
    folder_key,
    part_of,
)
from preparation.readers.header import shortened
from preparation.readers.labels import (
    MissingApex,
    check_duration,
    check_span,
    read_facs,
    read_movement,
    read_rate,
    with_movement,
    without_apex,
)
from preparation.readers.layout import (
    ClipFolder,
    Frames,
    Release,
    choose_release,
    find_releases,
    has_colour,
    read_frames_of,
    subfolders,
)
from preparation.readers.matching import match_rows, read_rows
from preparation.readers.sheets import Row, Unreadable


def read_coded(
    described: DataSet,
    root: Path,
    *,
    sheet: Path | None,
    release: str | None,
    fps: float | None,
    missing_apex: MissingApex,
) -> Listing:
    """Read a data set that is described by `described`; other arguments and errors as for `read_data_set`."""
    data_set, chosen = _find_form(described, root, release)
    if data_set.fps is None and fps is not None:
        data_set = replace(data_set, fps=fps)
    folders, left_out = _folders_by_key(data_set, [folder for part in chosen for folder in part.folders])
    left_out += [stray for part in chosen for stray in part.strays]
    remarks: tuple[Remark, ...] = ()
    clips: Sequence[tuple[ClipFolder, Row | None]] = [(folder, None) for folder in folders.values()]

    @cache  # several rows may belong to one recording
    def frames_of(folder: ClipFolder) -> Frames:
        return read_frames_of(folder.path, data_set.layout)

    if data_set.columns is not None:
        above = {parent for part in chosen for parent in part.path.parents if parent.is_relative_to(root)}
        inside = {root, *subfolders(root), *above, *(part.path for part in chosen)}
        places = (inside, {root.resolve().parent})
        rows, remarks = read_rows(data_set, data_set.columns, places, sheet)
        clips, unmatched = match_rows(data_set, data_set.columns, rows, folders, frames_of)
        left_out += unmatched
    elif sheet is not None:
        raise UserError(f"{sheet}: expected no sheet, because the labels of {data_set.kind} are its folder names")
    records = []
    for folder, row in clips:
        same_row: list[ClipRecord] = []
        for number, described in _movements(data_set, row):
            try:
                frames = _renumbered(described, row, frames_of(folder))
                record = _clip_record(described, folder, row, frames, missing_apex)
                same_row.append(record if number == 1 else replace(record, name=f"{record.name}_{number}"))
            except Unreadable as reason:
                left_out.append(LeftOut(row.where if row else folder.name, str(reason)))
        records += _with_other_movements(same_row)
    return Listing(tuple(records), tuple(left_out), remarks)


def _find_form(described: DataSet, root: Path, release: str | None) -> tuple[DataSet, list[Release]]:
    """The first form of a data set that is in a folder and, if the user names a release, has this one.

    Raises:
        UserError: there is none.
    """
    problem: UserError | None = None
    for form in (described, *described.other_forms):
        try:
            found = find_releases(root, form.layout)
            if release is not None and not form.all_releases:
                found = [choose_release(found, root, release)]
        except UserError as error:
            problem = problem or error
        else:
            return form, found if form.all_releases else [choose_release(found, root, release)]
    assert problem is not None, "there is a form"
    raise problem


def _renumbered(data_set: DataSet, row: Row | None, frames: Frames) -> Frames:
    """Frames of a video that begins at the onset of its row, numbered from there; other frames as they are."""
    if frames.files or row is None or data_set.columns is None:
        return frames
    onset, offset = row.frame(data_set.columns.movement.onset), row.frame(data_set.columns.movement.offset)
    count = len(frames.numbers)
    if onset is None or offset is None or offset <= count or count != offset - onset + 1:
        return frames
    remark = Remark(
        f"{row.where}: a video of {count} frames", f"begins at the onset {onset}, because it ends before it"
    )
    return Frames((), tuple(range(onset, offset + 1)), (*frames.remarks, remark))


def _folders_by_key(
    data_set: DataSet, folders: Sequence[ClipFolder]
) -> tuple[dict[FolderKey, ClipFolder], list[LeftOut]]:
    """Folders by the key of their rows; folders that differ in case or padding only are left out."""
    alike: dict[FolderKey, list[ClipFolder]] = {}
    for folder in folders:
        alike.setdefault(data_set.key(folder.parts), []).append(folder)
    reason = "the name of another folder differs in case or padding only; remove one"
    left_out = [LeftOut(folder.name, reason) for same in alike.values() if len(same) > 1 for folder in same]
    return {key: same[0] for key, same in alike.items() if len(same) == 1}, left_out


def _movements(data_set: DataSet, row: Row | None) -> Iterator[tuple[int, DataSet]]:
    """Movements of a row, counted from 1, each with the data set in whose description its columns are the only ones."""
    yield 1, data_set
    columns = data_set.columns
    if row is None or columns is None:
        return
    for number, movement in enumerate(columns.further, 2):
        if row.text(movement.onset) is not None or row.text(movement.offset) is not None:
            yield number, replace(data_set, columns=replace(columns, movement=movement))


def _with_other_movements(records: Sequence[ClipRecord]) -> list[ClipRecord]:
    """Records of one row; the first names the others."""
    if len(records) < 2:
        return list(records)
    first, *others = records
    remarks = tuple(
        Remark(f"another movement from {other.onset} to {other.offset}", f"clip {other.name}") for other in others
    )
    return [replace(first, remarks=(*first.remarks, *remarks)), *others]


# --- records ----------------------------------------------------------------------------------------------------------


def _clip_record(
    data_set: DataSet, folder: ClipFolder, row: Row | None, frames: Frames, missing_apex: MissingApex
) -> ClipRecord:
    """Record of a folder's clip, or of the part of a recording that a row names.

    Raises:
        Unreadable: the row, the folder's name and the frames contradict each other.
    """
    identity = data_set.identify(folder.parts)
    fps = data_set.fps
    if row is not None and data_set.columns is not None and data_set.columns.fps is not None:
        fps = read_rate(row, data_set.columns.fps) or fps
    if fps is None:
        remedy = "; set `fps`, or add the column" if data_set.needs_fps else ""
        column = data_set.columns.fps if data_set.columns else None
        raise Unreadable(f"{column or 'fps'}: expected frames per second, got nothing{remedy}")
    try:
        colour = data_set.colour
        if colour is None:
            colour = has_colour(
                read_image(frames.files[0]) if frames.files else next(read_frames(open_clip(folder.path), None))
            )
    except ClipError as error:
        raise Unreadable(str(error)) from error
    record = ClipRecord(
        name=identity.clip,
        subject=identity.subject,
        data_set=data_set.kind,
        source=folder.path,
        frames=frames.files,
        frame_numbers=frames.numbers,
        fps=fps,
        colour=colour,
        remarks=frames.remarks,
    )
    if row is None or data_set.columns is None:
        return _from_folder_names(data_set, record, folder, missing_apex)
    return _from_row(data_set, data_set.columns, record, folder, row, missing_apex)


def _from_folder_names(
    data_set: DataSet, record: ClipRecord, folder: ClipFolder, missing_apex: MissingApex
) -> ClipRecord:
    """Record in a data set without a sheet: all frames from onset to offset, the emotion from the folder's name."""
    numbers = record.frame_numbers
    if len(numbers) < 2:
        raise Unreadable(f"expected at least 2 frames, got {len(numbers)}")
    if (folder.parts[0], folder.parts[-1]) != (record.subject, record.name):
        remark = Remark(f"folder {folder.name}", f"renamed to {record.name}, without padding, as in other folders")
        record = replace(record, remarks=(*record.remarks, remark))
    if data_set.emotion_level is not None:
        record = replace(record, emotion=folder.parts[data_set.emotion_level].lower())
    found = f"{data_set.kind}: no apex"
    movement = without_apex(found, None, numbers[0], numbers[-1], numbers, missing_apex)
    return check_duration(with_movement(record, movement))


def _from_row(
    data_set: DataSet,
    columns: Columns,
    record: ClipRecord,
    folder: ClipFolder,
    row: Row,
    missing_apex: MissingApex,
) -> ClipRecord:
    """The record with the labels of its row; of a recording, only the frames from onset to offset."""
    movement = read_movement(row, columns.movement, record.frame_numbers, missing_apex)
    facs, facs_remarks = read_facs(row, columns.facs) if columns.facs else (None, ())
    remarks = (*record.remarks, *row.remarks)
    written = tuple(
        part_of(folder.parts[level], data_set.key_parts.get(level, "(.*)")) for level in data_set.key_levels
    )
    if columns.row_key(row) == folder_key(written) and written != columns.folder_names(row):
        found = f"{row.where}: {'/'.join(columns.folder_names(row))}"
        remarks += (Remark(found, f"matched to folder {folder.name}, which differs in case or padding only"),)
    if columns.span is not None:
        remarks += check_span(row, *columns.span, movement, record.frame_numbers)
    record = check_duration(with_movement(replace(record, remarks=remarks), movement))
    emotion = row.text(columns.emotion) if columns.emotion else None
    unused = tuple(
        Remark(f"{row.where}, {column}: {shortened(cell)}", "not used")
        for column in columns.unused
        if (cell := row.text(column)) is not None
    )
    record = replace(record, emotion=emotion, facs=facs, remarks=(*record.remarks, *facs_remarks, *unused))
    if not data_set.recordings:
        return record
    record = replace(record, name=f"{record.name}_{movement.onset}")
    if not record.frames:  # a video is decoded from its first frame
        return record
    inside = [i for i, n in enumerate(record.frame_numbers) if movement.onset <= n <= movement.offset]
    part = slice(inside[0], inside[-1] + 1)
    return replace(record, frames=record.frames[part], frame_numbers=record.frame_numbers[part])
