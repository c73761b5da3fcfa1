"""Description of a data set of micro-expressions: its folders, its coding sheet, its names and its known errors."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from string import Formatter
from typing import NamedTuple

from clips.files import normalised_name
from errors import UserError
from preparation.readers.header import Header
from preparation.readers.labels import MovementColumns
from preparation.readers.layout import Layout
from preparation.readers.sheets import Row, Unreadable

MEB_LISTS = "tvaranka/meb"
"""Origin of most known errors, for messages."""
FolderKey = tuple[str, ...]
"""Folder names without differences of case and zero padding, by which rows and folders are matched."""


def folder_key(names: Iterable[str]) -> FolderKey:
    """Key of folder names."""
    return tuple(normalised_name(name) for name in names)


def part_of(name: str, pattern: str) -> str:
    """The group of a regular expression that matches a name; the whole name if it does not."""
    match = re.fullmatch(pattern, name, re.IGNORECASE)
    return match[1] if match else name


class Identity(NamedTuple):
    """Names of a subject and of its clip, unique in all data sets; the clip's begins with the subject's and `_`."""

    subject: str
    clip: str


def check_subject(parts: Sequence[str], subject: str) -> None:
    """Check that a clip, the last of its folder names, is one of the subject that the first names.

    Raises:
        Unreadable: it is of another subject.
    """
    if normalised_name(parts[0]) != normalised_name(subject):
        raise Unreadable(f"expected a clip of {parts[0]}, got {parts[-1]}")


@dataclass(frozen=True)
class KnownError:
    """A wrong cell of the published sheet; it is corrected only where the row does not fit its frames otherwise.

    Attributes:
        index: of the row, see `Row.index`.
        column: of the cell.
        value: the correct value.
        source: origin of the correction, for messages.
    """

    index: int
    column: str
    value: int
    source: str


@dataclass(frozen=True)
class KnownDoubt:
    """A row of the published sheet that is known to be doubtful, without a correct value; it gets a remark.

    Attributes:
        index: of the row, see `Row.index`.
        source: origin of the doubt, for messages.
    """

    index: int
    source: str


@dataclass(frozen=True)
class KnownExchange:
    """Two rows whose clips are exchanged; they are swapped only where neither row fits its frames and the swap does.

    Attributes:
        indices: of the rows, see `Row.index`.
        source: origin of the correction, for messages.
    """

    indices: tuple[int, int]
    source: str


@dataclass(frozen=True)
class Translation:
    """Cells of a column that are translated by the other tabs of the workbook, where the cell of a row follows or
    precedes its translation.

    Attributes:
        column: whose cells are translated.
        part: regular expression of its cells; the group is looked up.
        wanted: regular expression of the translations; such a cell needs none.
    """

    column: str
    part: str
    wanted: str


@dataclass(frozen=True)
class Columns:
    """Columns of a coding sheet.

    Attributes:
        folder: folder name at each of `DataSet.key_levels`, a template with names of columns in braces.
        movement: columns of onset, apex and offset.
        emotion, facs, fps: columns; None: the sheet has no such column.
        only: a column, and a regular expression of its cells in rows of micro-expressions. Where it is optional, known
            errors are those of the editions without it.
        optional: columns among the above that some editions lack.
        further: columns of second and third movements of a clip, in some editions.
        span: columns of the first and the last frame of a clip, in some editions.
        unused: columns, in some editions, of whose cells the report says that they are not used.
        spellings, headless: as in `Header`.
        parts: regular expressions by column; the group, not the whole cell, is inserted in `folder`.
        translations: applied before anything else is read.
        given: as in `Header`.
    """

    folder: tuple[str, ...]
    movement: MovementColumns
    emotion: str | None = None
    facs: str | None = None
    fps: str | None = None
    only: tuple[str, str] | None = None
    optional: tuple[str, ...] = ()
    further: tuple[MovementColumns, ...] = ()
    span: tuple[str, str] | None = None
    unused: tuple[str, ...] = ()
    spellings: Mapping[str, Sequence[str]] = field(default_factory=dict)
    headless: Mapping[str, str] = field(default_factory=dict)
    parts: Mapping[str, str] = field(default_factory=dict)
    translations: tuple[Translation, ...] = ()
    given: Mapping[str, str] = field(default_factory=dict)

    @property
    def folder_columns(self) -> list[str]:
        """Columns that name the folder."""
        return [name for part in self.folder for _, name, _, _ in Formatter().parse(part) if name]

    @property
    def header(self) -> Header:
        """Header of the sheet."""
        movement = (self.movement.onset, self.movement.apex, self.movement.offset)
        only = self.only[0] if self.only else None
        names = tuple(
            dict.fromkeys(filter(None, (*self.folder_columns, *movement, self.emotion, self.facs, self.fps, only)))
        )
        further = [name for part in self.further for name in (part.onset, part.offset)]
        return Header(
            tuple(name for name in names if name not in self.optional),
            (*self.optional, *further, *(self.span or ()), *self.unused),
            self.spellings,
            self.headless,
        ).with_given(self.given)

    def folder_names(self, row: Row) -> tuple[str, ...]:
        """Names of the folder of a row's clip; numbers lose the decimals that some programs write (1.0)."""
        cells = {name: re.sub(r"^(\d+)[.,]0+$", r"\1", cell) for name, cell in row.cells.items()}
        for name, pattern in self.parts.items():
            cells[name] = part_of(cells[name], pattern)
        return tuple(part.format_map(cells) for part in self.folder)

    def row_key(self, row: Row) -> FolderKey:
        """Key of the folder of a row's clip."""
        return folder_key(self.folder_names(row))


@dataclass(frozen=True)
class DataSet:
    """Layout, coding sheet and known errors of a data set.

    Attributes:
        kind: name in the config.
        layout: of the folders.
        identify: names of subject and clip, from the folder names at all levels; raises `Unreadable` where these
            contradict each other.
        key_levels: levels of the layout that name a clip.
        key_parts: regular expressions by level; the group, not the whole name of the folder, is matched to the sheet.
        fps: frames per second; None: given by the sheet, or else by the user.
        colour: False for grey frames; None: decided by the first frame of each clip.
        sheets: file names of the coding sheet's editions, the preferred one first. Sheets of other names are recognised
            by their columns.
        sheet_parts: regular expression of file names, for a sheet in several files.
        tab: of the workbook; a tab of another name is recognised by its columns.
        columns: of the sheet; None: folder names are the labels.
        emotion_level: level of the layout that names the emotion, for data sets without a sheet.
        recordings: folders hold whole recordings, out of which any number of clips is cut.
        all_releases: clips of all releases belong together.
        spellings: emotions that the sheet spells in two ways, wrong -> right.
        errors, exchanges, doubts: known errors of the sheet.
        other_forms: descriptions of other forms in which the data set is found, used where there is none of this form.
    """

    kind: str
    layout: Layout
    identify: Callable[[tuple[str, ...]], Identity]
    key_levels: tuple[int, ...]
    fps: float | None
    colour: bool | None
    sheets: tuple[str, ...] = ()
    sheet_parts: str | None = None
    tab: str | None = None
    columns: Columns | None = None
    emotion_level: int | None = None
    recordings: bool = False
    all_releases: bool = False
    spellings: dict[str, str] = field(default_factory=dict)
    errors: tuple[KnownError, ...] = ()
    exchanges: tuple[KnownExchange, ...] = ()
    doubts: tuple[KnownDoubt, ...] = ()
    key_parts: Mapping[int, str] = field(default_factory=dict)
    other_forms: tuple["DataSet", ...] = ()

    def with_columns(self, given: Mapping[str, str]) -> "DataSet":
        """The data set, in all its forms, with names that the user gives to columns of its sheet.

        Raises:
            UserError: it has no such column.
        """
        columns = self.columns and replace(self.columns, given=given)
        if given and columns is None:
            raise UserError(f"columns: expected none, because the labels of {self.kind} are its folder names")
        if columns is not None:
            columns.header  # noqa: B018 - refuses unknown names
        others = tuple(form.with_columns(given) for form in self.other_forms)
        return replace(self, columns=columns, other_forms=others)

    @property
    def needs_fps(self) -> bool:
        """True if the user may have to give the frame rate."""
        column = self.columns.fps if self.columns else None
        return self.fps is None and (self.columns is None or column is None or column in self.columns.optional)

    def key(self, parts: Sequence[str]) -> FolderKey:
        """Key of a folder of frames, from the folder names at all levels."""
        return folder_key(part_of(parts[level], self.key_parts.get(level, "(.*)")) for level in self.key_levels)
