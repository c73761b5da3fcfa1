"""The records in which every reader describes the clips of a data set, and what it could not read."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Remark:
    """Something unusual or wrong in a data set, and what was done about it.

    Attributes:
        found: place and finding, e.g. `row 60, OffsetFrame: 19`.
        done: what is used instead, and why.
    """

    found: str
    done: str


@dataclass(frozen=True)
class ClipRecord:
    """One clip of a data set, as its release describes it. Frame numbers are those of the release.

    Attributes:
        name: unique in all data sets, made of letters, digits, `_` and `-`; name of the prepared clip.
        subject: unique in all data sets, without differences of padding or case.
        data_set: `casme2`, `samm`, `smic-hs`, ...; `folder` or `video` for anything else.
        source: folder of the frames, or the video.
        frames: files in the order of their numbers; empty for a video.
        frame_numbers: number of each frame in the release; counts from 0 for a video and where names have none.
        onset, apex, offset: frame numbers; None where the release gives none.
        fps: frames per second.
        emotion: as the release names it; None where it names none.
        facs: FACS code as the release writes it, which `faces.facs.parse_code` reads with `alternatives="flag",
            others="leave_out"`; None where the release gives none of which a part can be read.
        colour: False for grey frames.
        landmarks: file of 68 landmarks of this clip, where the user has one: of every frame, or of one, which is the
            onset where the release names it and else the first.
        au_table: table of action units, where the user has one.
        remarks: what was corrected or decided while reading.
    """

    name: str
    subject: str
    data_set: str
    source: Path
    frames: tuple[Path, ...]
    frame_numbers: tuple[int, ...]
    fps: float
    onset: int | None = None
    apex: int | None = None
    offset: int | None = None
    emotion: str | None = None
    facs: str | None = None
    colour: bool = True
    landmarks: Path | None = None
    au_table: Path | None = None
    remarks: tuple[Remark, ...] = ()


@dataclass(frozen=True)
class LeftOut:
    """A clip, row or folder that yields no record.

    Attributes:
        name: of the clip, the folder or the row (`CASME2-coding.xlsx, row 60`).
        reason: one line.
    """

    name: str
    reason: str


@dataclass(frozen=True)
class Listing:
    """Clips that a reader found in a data set, in a stable order.

    Attributes:
        clips: in natural order of their names.
        left_out: clips, rows and folders that yield no record.
        remarks: on the data set as a whole, such as blank columns of its sheet.
    """

    clips: tuple[ClipRecord, ...]
    left_out: tuple[LeftOut, ...]
    remarks: tuple[Remark, ...] = ()
