"""Reads the rows of a coding sheet, corrects its known errors and matches rows to the folders of their frames."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from errors import UserError
from preparation.clip_record import LeftOut, Remark
from preparation.readers.description import (
    Columns,
    DataSet,
    FolderKey,
    KnownDoubt,
    KnownError,
    KnownExchange,
    Translation,
    part_of,
)
from preparation.readers.finding import find_parts, find_sheet
from preparation.readers.header import shortened, shown
from preparation.readers.labels import in_order
from preparation.readers.layout import ClipFolder, Frames
from preparation.readers.sheets import Row, Sheet, Unreadable, merge_repeats, read_sheet

Labelled = tuple[ClipFolder, Row]
FramesOf = Callable[[ClipFolder], Frames]
RowFits = Callable[[ClipFolder, Row], bool]
"""Tests that onset, apex and offset of a row are in order and that the folder has these frames."""


def read_rows(
    data_set: DataSet, columns: Columns, places: Sequence[Iterable[Path]], given: Path | None
) -> tuple[list[Row], tuple[Remark, ...]]:
    """Rows of micro-expressions in the coding sheet, with one spelling per emotion."""
    remarks: tuple[Remark, ...] = ()
    header = columns.header
    if data_set.sheet_parts is not None and given is None:
        paths = find_parts(places, data_set.sheet_parts, header)
    else:
        path, remarks = find_sheet(places, data_set.sheets, header, given)
        paths = [path]
    rows = []
    for path in paths:
        sheet = read_sheet(path, header, tab=data_set.tab)
        micro = [row for row in _fill_merged(sheet.rows, columns) if _is_micro(row, columns)]
        remarks += sheet.remarks
        for column in sorted(set(columns.optional) - sheet.columns - set(columns.only or ())):
            remarks += (Remark(f"{path.name}: no column {column}", "left empty"),)
        if columns.only is not None and len(micro) < len(sheet.rows):
            others = len(sheet.rows) - len(micro)
            found = f"{path.name}: {others} rows whose {columns.only[0]} is not that of micro-expressions"
            remarks += (Remark(found, "left out"),)
        for translation in columns.translations:
            micro = _translate(micro, translation, sheet, path)
        rows += micro
    for wrong, right in data_set.spellings.items() if columns.emotion else ():
        assert columns.emotion is not None
        why = f"{right}, as in other rows"
        rows = [r.with_cell(columns.emotion, right, why) if r.text(columns.emotion) == wrong else r for r in rows]
    return rows, remarks


def _fill_merged(rows: Sequence[Row], columns: Columns) -> list[Row]:
    """The rows with the first cell that names a folder, usually the subject, where only the first of several merged
    cells holds it."""
    first, *others = columns.folder_columns
    filled: list[Row] = []
    for row in rows:
        above = filled[-1].text(first) if filled else None
        if above and row.text(first) is None and any(row.text(name) for name in others):
            row = row.with_cell(first, above, f"{above}, as in the row above, because merged cells have one value")
        filled.append(row)
    return filled


def _is_micro(row: Row, columns: Columns) -> bool:
    if columns.only is None or columns.only[0] not in row.cells:
        return True
    return re.fullmatch(columns.only[1], row.cells[columns.only[0]], re.IGNORECASE) is not None


def _translate(rows: Sequence[Row], translation: Translation, sheet: Sheet, path: Path) -> list[Row]:
    """The rows with cells translated as far as the other tabs of the workbook do.

    Raises:
        UserError: they translate none.
    """
    column, wanted = translation.column, re.compile(translation.wanted, re.IGNORECASE)
    known: dict[str, str] = {}
    for cells in sheet.other_rows:
        for at, cell in enumerate(cells):
            if wanted.fullmatch(cell):
                for beside in (*cells[at + 1 : at + 2], *reversed(cells[:at][-1:])):
                    known.setdefault(beside.casefold(), cell)
    translated = []
    for row in rows:
        cell = part_of(row.cells.get(column, ""), translation.part)
        found = cell if wanted.fullmatch(cell) else known.get(cell.casefold())
        translated.append(replace(row, cells=row.cells | {column: found}) if found else row)
    if rows and all(row is other for row, other in zip(rows, translated, strict=True)):
        raise UserError(
            f"{path}: {column}: expected another tab of the workbook that names the folder of {rows[0].where} "
            f"({shown(rows[0].cells.get(column, ''))}), found none; use the workbook as it is distributed"
        )
    return translated


def match_rows(
    data_set: DataSet, columns: Columns, rows: Sequence[Row], folders: dict[FolderKey, ClipFolder], frames_of: FramesOf
) -> tuple[list[Labelled], list[LeftOut]]:
    """Match rows to the folders of their frames; known errors are corrected, repeated rows are merged."""
    keys = [columns.row_key(row) for row in rows]
    named = set(keys)
    labelled = [(folders[key], row) for key, row in zip(keys, rows, strict=True) if key in folders]
    where = ", ".join(columns.folder_columns)
    left_out = [
        LeftOut(row.where, f"{where}: no folder {shortened('/'.join(columns.folder_names(row)))}")
        for key, row in zip(keys, rows, strict=True)
        if key not in folders
    ]
    if not data_set.recordings:
        sheets = " and ".join(sorted({row.sheet for row in rows}))
        left_out += [LeftOut(folders[key].name, f"no row in {sheets}") for key in folders if key not in named]

    def fits(folder: ClipFolder, row: Row) -> bool:
        try:
            return in_order(row, columns.movement, frames_of(folder).numbers)
        except Unreadable:
            return False

    for exchange in data_set.exchanges:
        labelled = _exchange_rows(exchange, labelled, fits)
    only = columns.only[0] if columns.only and columns.only[0] in columns.optional else None
    known = not any(only in row.cells for row in rows)
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
