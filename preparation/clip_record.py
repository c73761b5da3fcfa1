"""What every reader of a data set says of a clip, and of what it could not read."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Repair:
    """Something in the data set that is wrong in a known way, and was put right.

    Attributes:
        what: where and what was found, e.g. `row 60, OffsetFrame: 19`.
        done: what is used instead, and why.
    """

    what: str
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
        onset, apex, offset: frame numbers; None where the release does not say.
        fps: frames a second.
        emotion: as the release names it; None where it does not say.
        facs: FACS code as the release writes it, which `faces.facs.parse_code` reads with `alternatives="flag",
            others="leave_out"`; None where the release gives none that can be read.
        colour: whether frames have colour.
        landmarks: file of 68 landmarks of this clip, where the user has one: of every frame, or of one, which is the
            onset where the release names it and else the first.
        au_table: table of action units, where the user has one.
        repairs: what was put right.
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
    repairs: tuple[Repair, ...] = ()


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
    """What a reader found in a data set, in a stable order.

    Attributes:
        clips: in natural order of their names.
        left_out: what yields no clip.
        repairs: what was put right in the data set as a whole, such as blank columns of its sheet.
    """

    clips: tuple[ClipRecord, ...]
    left_out: tuple[LeftOut, ...]
    repairs: tuple[Repair, ...] = ()
