"""How a data set of micro-expressions is described: folders, sheet, names, and what is known to be wrong."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from string import Formatter
from typing import NamedTuple

from clips.files import normalised_name
from preparation.readers.labels import MovementColumns
from preparation.readers.layout import Layout
from preparation.readers.sheets import Row

Key = tuple[str, ...]
"""What a row and a folder of one clip have in common, without case and zero padding."""


def key_of(names: Iterable[str]) -> Key:
    """The key of folder names."""
    return tuple(normalised_name(name) for name in names)


class Identity(NamedTuple):
    """Names of a clip and of its subject, unique in all data sets; the clip's begins with the subject's and `_`."""

    subject: str
    clip: str


@dataclass(frozen=True)
class KnownError:
    """A cell that is wrong in the published sheet. It is changed only where frames are out of order without that.

    Attributes:
        index: of the row, see `Row.index`.
        column: of the cell.
        value: what belongs there.
        source: who found it.
    """

    index: int
    column: str
    value: int
    source: str


@dataclass(frozen=True)
class KnownExchange:
    """Two rows whose clips are exchanged. It is done only where neither fits its own frames and both fit the other's.

    Attributes:
        indices: of the rows, see `Row.index`.
        source: who found it.
    """

    indices: tuple[int, int]
    source: str


@dataclass(frozen=True)
class Columns:
    """Columns of a coding sheet.

    Attributes:
        folder: the names of `DataSet.key_levels`, with columns in braces.
        movement: onset, apex and offset.
        emotion, facs, fps: None: there is none.
        only: a column of some editions, and the text in it that marks micro-expressions.
    """

    folder: tuple[str, ...]
    movement: MovementColumns
    emotion: str
    facs: str | None = None
    fps: str | None = None
    only: tuple[str, str] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Columns that a sheet must have."""
        folder = [name for part in self.folder for _, name, _, _ in Formatter().parse(part) if name]
        others = (self.movement.onset, self.movement.apex, self.movement.offset, self.emotion, self.facs, self.fps)
        return tuple(dict.fromkeys([*folder, *(name for name in others if name)]))

    def folder_of(self, row: Row) -> tuple[str, ...]:
        """Names of the folder that a row means."""
        return tuple(part.format_map(row.cells) for part in self.folder)

    def key(self, row: Row) -> Key:
        """Key of that folder."""
        return key_of(self.folder_of(row))


@dataclass(frozen=True)
class DataSet:
    """How a data set is laid out and what it is known to have wrong.

    Attributes:
        kind: its name in the config.
        layout: of its folders.
        identify: names from those of the folders, one a level; raises `Unreadable` where these contradict each other.
        key_levels: levels of the layout that name a clip.
        fps: None: the sheet says.
        colour: None: the first frame of a clip tells.
        sheets: names of the coding sheet's editions, the preferred one first; none: labels are in folder names.
        sheet_parts: regular expression, where one sheet comes in several files.
        tab: of the workbook.
        columns: of the sheet.
        emotion_level: level of the layout that names the emotion, where there is no sheet.
        recordings: folders hold whole recordings, each with any number of clips, which are cut out.
        all_releases: clips of all releases that are found belong together.
        spellings: emotions that the sheet writes in two ways.
        errors, exchanges: known ones.
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
