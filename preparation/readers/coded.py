"""Reads data sets that `data_sets` describes, with or without a coding sheet."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from clips.reading import ClipError, read_image
from errors import UserError
from preparation.clip_record import ClipRecord, LeftOut, Listing, Remark
from preparation.readers.description import Columns, DataSet, FolderKey, KnownError, KnownExchange, folder_key
from preparation.readers.labels import (
    MissingApex,
    in_order,
    read_facs,
    read_movement,
    read_rate,
    with_movement,
    without_apex,
)
from preparation.readers.layout import (
    ClipFolder,
    Frames,
    choose_release,
    find_releases,
    has_colour,
    read_frames_of,
    subfolders,
)
from preparation.readers.sheets import Row, Unreadable, find_parts, find_sheet, merge_repeats, read_sheet

Labelled = tuple[ClipFolder, Row]
FramesOf = Callable[[ClipFolder], Frames]
RowFits = Callable[[ClipFolder, Row], bool]
"""Tests that onset, apex and offset of a row are in order and that the folder has these frames."""


def read_coded(
    data_set: DataSet, root: Path, *, sheet: Path | None, release: str | None, missing_apex: MissingApex
) -> Listing:
    """Read a data set that is described by `data_set`; other arguments and errors as for `read_data_set`."""
    found = find_releases(root, data_set.layout)
    chosen = found if data_set.all_releases else [choose_release(found, root, release)]
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
        rows, remarks = _read_rows(data_set, data_set.columns, places, sheet)
        clips, unmatched = _match_rows(data_set, data_set.columns, rows, folders, frames_of)
        left_out += unmatched
    elif sheet is not None:
        raise UserError(f"{sheet}: expected no sheet, because the labels of {data_set.kind} are its folder names")
    records = []
    for folder, row in clips:
        try:
            records.append(_clip_record(data_set, folder, row, frames_of(folder), missing_apex))
        except Unreadable as reason:
            left_out.append(LeftOut(row.where if row else folder.name, str(reason)))
    return Listing(tuple(records), tuple(left_out), remarks)


def _folders_by_key(
    data_set: DataSet, folders: Sequence[ClipFolder]
) -> tuple[dict[FolderKey, ClipFolder], list[LeftOut]]:
    """Folders by the key of their rows; folders that differ in case or padding only are left out."""
    alike: dict[FolderKey, list[ClipFolder]] = {}
    for folder in folders:
        key = folder_key(folder.parts[level] for level in data_set.key_levels)
        alike.setdefault(key, []).append(folder)
    reason = "the name of another folder differs in case or padding only; remove one"
    left_out = [LeftOut(folder.name, reason) for same in alike.values() if len(same) > 1 for folder in same]
    return {key: same[0] for key, same in alike.items() if len(same) == 1}, left_out


# --- rows -------------------------------------------------------------------------------------------------------------


def _read_rows(
    data_set: DataSet, columns: Columns, places: Sequence[Iterable[Path]], given: Path | None
) -> tuple[list[Row], tuple[Remark, ...]]:
    """Rows of micro-expressions in the coding sheet, with one spelling per emotion."""
    remarks: tuple[Remark, ...] = ()
    if data_set.sheet_parts is not None and given is None:
        paths = find_parts(places, data_set.sheet_parts)
    else:
        path, remarks = find_sheet(places, data_set.sheets, given)
        paths = [path]
    rows = []
    for path in paths:
        sheet = read_sheet(path, columns.names, tab=data_set.tab)
        micro = [row for row in sheet.rows if _is_micro(row, columns)]
        remarks += sheet.remarks
        if columns.only is not None and len(micro) < len(sheet.rows):
            others = len(sheet.rows) - len(micro)
            found = f"{path.name}: {others} rows whose {columns.only[0]} is not {columns.only[1]}"
            remarks += (Remark(found, "left out"),)
        rows += micro
    for wrong, right in data_set.spellings.items():
        why = f"{right}, as in other rows"
        rows = [r.with_cell(columns.emotion, right, why) if r.text(columns.emotion) == wrong else r for r in rows]
    return rows, remarks


def _is_micro(row: Row, columns: Columns) -> bool:
    if columns.only is None or columns.only[0] not in row.cells:
        return True
    return row.cells[columns.only[0]].casefold() == columns.only[1].casefold()


def _match_rows(
    data_set: DataSet, columns: Columns, rows: Sequence[Row], folders: dict[FolderKey, ClipFolder], frames_of: FramesOf
) -> tuple[list[Labelled], list[LeftOut]]:
    """Match rows to the folders of their frames; known errors are corrected, repeated rows are merged."""
    keys = [columns.row_key(row) for row in rows]
    named = set(keys)
    labelled = [(folders[key], row) for key, row in zip(keys, rows, strict=True) if key in folders]
    left_out = [
        LeftOut(row.where, f"no folder {'/'.join(columns.folder_names(row))}")
        for key, row in zip(keys, rows, strict=True)
        if key not in folders
    ]
    if not data_set.recordings:
        where = " and ".join(sorted({row.sheet for row in rows}))
        left_out += [LeftOut(folders[key].name, f"no row in {where}") for key in folders if key not in named]

    def fits(folder: ClipFolder, row: Row) -> bool:
        try:
            return in_order(row, columns.movement, frames_of(folder).numbers)
        except Unreadable:
            return False

    for exchange in data_set.exchanges:
        labelled = _exchange_rows(exchange, labelled, fits)
    for error in data_set.errors:
        labelled = [(folder, _correct_row(error, folder, row, fits)) for folder, row in labelled]
    single, contradictory = _merge_repeated_rows(labelled, data_set, columns)
    return single, left_out + contradictory


def _exchange_rows(exchange: KnownExchange, labelled: list[Labelled], fits: RowFits) -> list[Labelled]:
    """Swap the folders of two rows that are known to be exchanged, if both rows then fit."""
    places = [place for index in exchange.indices for place, (_, row) in enumerate(labelled) if row.index == index]
    if len(places) != 2:
        return labelled
    (folder, row), (other_folder, other) = (labelled[place] for place in places)
    if fits(folder, row) or fits(other_folder, other) or not (fits(other_folder, row) and fits(folder, other)):
        return labelled
    exchanged = list(labelled)
    for place, now, changed, was in ((places[0], other_folder, row, folder), (places[1], folder, other, other_folder)):
        remark = Remark(f"{changed.where}: folder {was.name}", f"{now.name}: exchanged ({exchange.source})")
        exchanged[place] = (now, replace(changed, remarks=(*changed.remarks, remark)))
    return exchanged


def _correct_row(error: KnownError, folder: ClipFolder, row: Row, fits: RowFits) -> Row:
    """The row with a known error corrected, if it then fits."""
    if row.index != error.index or fits(folder, row):
        return row
    corrected = row.with_cell(error.column, str(error.value), f"{error.value} ({error.source})")
    return corrected if fits(folder, corrected) else row


def _merge_repeated_rows(
    labelled: Sequence[Labelled], data_set: DataSet, columns: Columns
) -> tuple[list[Labelled], list[LeftOut]]:
    """One row per clip: equal rows are merged, clips with contradictory rows are left out."""
    alike: dict[tuple[str, ...], list[Labelled]] = {}
    for folder, row in labelled:
        part = (row.cells[columns.movement.onset],) if data_set.recordings else ()
        alike.setdefault((str(folder.path), *part), []).append((folder, row))
    single, left_out = [], []
    for same in alike.values():
        try:
            single.append((same[0][0], merge_repeats([row for _, row in same])))
        except Unreadable as reason:
            left_out.append(LeftOut(same[0][0].name, str(reason)))
    return single, left_out


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
        fps = read_rate(row, data_set.columns.fps)
    if fps is None:
        raise Unreadable("expected a frame rate in the sheet, got nothing")
    try:
        colour = has_colour(read_image(frames.files[0])) if data_set.colour is None else data_set.colour
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
    return with_movement(record, without_apex(found, None, numbers[0], numbers[-1], numbers, missing_apex))


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
    written = tuple(folder.parts[level] for level in data_set.key_levels)
    if columns.row_key(row) == folder_key(written) and written != columns.folder_names(row):
        found = f"{row.where}: {'/'.join(columns.folder_names(row))}"
        remarks += (Remark(found, f"matched to folder {folder.name}, which differs in case or padding only"),)
    record = with_movement(replace(record, remarks=remarks), movement)
    record = replace(record, emotion=row.text(columns.emotion), facs=facs, remarks=(*record.remarks, *facs_remarks))
    if not data_set.recordings:
        return record
    inside = [i for i, n in enumerate(record.frame_numbers) if movement.onset <= n <= movement.offset]
    part = slice(inside[0], inside[-1] + 1)
    return replace(
        record,
        name=f"{record.name}_{movement.onset}",
        frames=record.frames[part],
        frame_numbers=record.frame_numbers[part],
    )
