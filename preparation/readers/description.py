"""Description of a data set of micro-expressions: its folders, its coding sheet, its names and its known errors."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from string import Formatter
from typing import NamedTuple

from clips.files import normalised_name
from preparation.readers.labels import MovementColumns
from preparation.readers.layout import Layout
from preparation.readers.sheets import Row

FolderKey = tuple[str, ...]
"""Folder names without differences of case and zero padding, by which rows and folders are matched."""


def folder_key(names: Iterable[str]) -> FolderKey:
    """Key of folder names."""
    return tuple(normalised_name(name) for name in names)


class Identity(NamedTuple):
    """Names of a subject and of its clip, unique in all data sets; the clip's begins with the subject's and `_`."""

    subject: str
    clip: str


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
class Columns:
    """Columns of a coding sheet.

    Attributes:
        folder: folder name at each of `DataSet.key_levels`, a template with names of columns in braces.
        movement: columns of onset, apex and offset.
        emotion, facs, fps: columns; None: the sheet has no such column.
        only: a column of some editions, and the text in it that marks micro-expressions. Known errors are those of
            the other editions.
        optional: columns among the above that some editions lack.
        further: columns of second and third movements of a clip, in some editions.
        span: columns of the first and the last frame of a clip, in some editions.
    """

    folder: tuple[str, ...]
    movement: MovementColumns
    emotion: str
    facs: str | None = None
    fps: str | None = None
    only: tuple[str, str] | None = None
    optional: tuple[str, ...] = ()
    further: tuple[MovementColumns, ...] = ()
    span: tuple[str, str] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Columns that the sheet must have."""
        folder = [name for part in self.folder for _, name, _, _ in Formatter().parse(part) if name]
        others = (self.movement.onset, self.movement.apex, self.movement.offset, self.emotion, self.facs, self.fps)
        names = dict.fromkeys([*folder, *(name for name in others if name)])
        return tuple(name for name in names if name not in self.optional)

    @property
    def optional_names(self) -> tuple[str, ...]:
        """Columns that the sheet may have."""
        only = (self.only[0],) if self.only else ()
        further = [name for part in self.further for name in (part.onset, part.offset)]
        return (*self.optional, *only, *further, *(self.span or ()))

    def folder_names(self, row: Row) -> tuple[str, ...]:
        """Names of the folder of a row's clip; numbers lose the decimals that some programs write (1.0)."""
        cells = {name: re.sub(r"^(\d+)\.0+$", r"\1", cell) for name, cell in row.cells.items()}
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
        fps: frames per second; None: given by the sheet.
        colour: False for grey frames; None: decided by the first frame of each clip.
        sheets: file names of the coding sheet's editions, the preferred one first; empty: folder names are the labels.
            A sheet of another name is recognised by its columns.
        sheet_parts: regular expression of file names, for a sheet in several files.
        tab: of the workbook; a tab of another name is recognised by its columns.
        columns: of the sheet.
        emotion_level: level of the layout that names the emotion, for data sets without a sheet.
        recordings: folders hold whole recordings, out of which any number of clips is cut.
        all_releases: clips of all releases belong together.
        spellings: emotions that the sheet spells in two ways, wrong -> right.
        errors, exchanges, doubts: known errors of the sheet.
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
