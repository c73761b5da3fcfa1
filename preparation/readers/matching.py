"""Reads the rows of a coding sheet, corrects its known errors and matches rows to the folders of their frames."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from preparation.clip_record import LeftOut, Remark
from preparation.readers.description import (
    Columns,
    DataSet,
    FolderKey,
    KnownDoubt,
    KnownError,
    KnownExchange,
)
from preparation.readers.finding import find_parts, find_sheet
from preparation.readers.labels import in_order
from preparation.readers.layout import ClipFolder, Frames
from preparation.readers.sheets import Row, Unreadable, merge_repeats, read_sheet, shortened

Labelled = tuple[ClipFolder, Row]
FramesOf = Callable[[ClipFolder], Frames]
RowFits = Callable[[ClipFolder, Row], bool]
"""Tests that onset, apex and offset of a row are in order and that the folder has these frames."""


def read_rows(
    data_set: DataSet, columns: Columns, places: Sequence[Iterable[Path]], given: Path | None
) -> tuple[list[Row], tuple[Remark, ...]]:
    """Rows of micro-expressions in the coding sheet, with one spelling per emotion."""
    remarks: tuple[Remark, ...] = ()
    if data_set.sheet_parts is not None and given is None:
        paths = find_parts(places, data_set.sheet_parts, columns.names)
    else:
        path, remarks = find_sheet(places, data_set.sheets, columns.names, given)
        paths = [path]
    rows = []
    for path in paths:
        sheet = read_sheet(path, columns.names, optional=columns.optional_names, tab=data_set.tab)
        micro = [row for row in sheet.rows if _is_micro(row, columns)]
        remarks += sheet.remarks
        for column in sorted(set(columns.optional) - sheet.columns):
            remarks += (Remark(f"{path.name}: no column {column}", "left empty"),)
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


def match_rows(
    data_set: DataSet, columns: Columns, rows: Sequence[Row], folders: dict[FolderKey, ClipFolder], frames_of: FramesOf
) -> tuple[list[Labelled], list[LeftOut]]:
    """Match rows to the folders of their frames; known errors are corrected, repeated rows are merged."""
    keys = [columns.row_key(row) for row in rows]
    named = set(keys)
    labelled = [(folders[key], row) for key, row in zip(keys, rows, strict=True) if key in folders]
    left_out = [
        LeftOut(row.where, f"no folder {shortened('/'.join(columns.folder_names(row)))}")
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
    known = columns.only is None or not any(columns.only[0] in row.cells for row in rows)
    for error in data_set.errors if known else ():
        labelled = [(folder, _correct_row(error, folder, row, fits)) for folder, row in labelled]
    for doubt in data_set.doubts if known else ():
        labelled = [(folder, _doubt_row(doubt, row)) for folder, row in labelled]
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


def _doubt_row(doubt: KnownDoubt, row: Row) -> Row:
    if row.index != doubt.index:
        return row
    remark = Remark(f"{row.where}: doubtful ({doubt.source})", "used as it stands; compare it with the frames")
    return replace(row, remarks=(*row.remarks, remark))


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
