"""Which frames of a release's clip are written, and how they are spread over time.

Legend: R frames of the release that are used, T frames that are written.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from clips.checks import frame_gaps
from clips.reading import Frame
from preparation.clip_record import ClipRecord, Repair


@dataclass(frozen=True)
class Timing:
    """Frames are counted from 0, the first frame that is used.

    Attributes:
        used: places in `ClipRecord.frame_numbers` of the R frames.
        onset: the frame on which landmarks are found.
        apex, offset: None where the release does not say.
        times: (T,) where the written frames lie, from 0 to R - 1.
        remarks: about frames that the release lacks.
    """

    used: range
    onset: int
    apex: int | None
    offset: int | None
    times: tuple[float, ...]
    remarks: tuple[Repair, ...] = ()

    def written(self, frame: int) -> int:
        """The written frame nearest to one that is used."""
        return int(np.abs(np.array(self.times) - frame).argmin())

    def interpolate(self, rows: NDArray[np.floating]) -> NDArray[np.float64]:
        """Rows of the R frames -> linearly interpolated rows of the T written ones: (R, ...) -> (T, ...)."""
        before = np.floor(self.times).astype(int)
        after = np.minimum(before + 1, len(rows) - 1)
        share = (np.array(self.times) - before).reshape(-1, *[1] * (rows.ndim - 1))
        return (1 - share) * rows[before] + share * rows[after]

    def interpolate_frames(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """As `interpolate`, of R frames as they come; two of them are in memory."""
        wanted, done = self.times, 0
        before: Frame | None = None
        for index, frame in enumerate(frames):
            while done < len(wanted) and wanted[done] <= index:
                share = index - wanted[done]
                yield frame if before is None or not share else cv2.addWeighted(before, share, frame, 1 - share, 0)
                done += 1
            before = frame


def clip_timing(record: ClipRecord, *, trim: bool, length: int | None) -> Timing:
    """Decide on the frames of a clip.

    Args:
        trim: from onset to offset, where the release says so; else every frame.
        length: T; None keeps the frames as they are.
    Raises:
        ValueError: onset, apex or offset is none of the clip's frames, they are out of order, or leave fewer than two.
    """
    numbers = record.frame_numbers
    place = {number: at for at, number in enumerate(numbers)}
    at: dict[str, int | None] = {}
    for name in ("onset", "apex", "offset"):
        number = getattr(record, name)
        if number is not None and number not in place:
            raise ValueError(f"{name}: expected one of its frames, {min(numbers)} to {max(numbers)}, got {number}")
        at[name] = None if number is None else place[number]
    onset, apex, offset = at["onset"] or 0, at["apex"], at["offset"]
    known = [value for value in (onset, apex, offset) if value is not None]
    if known != sorted(known):
        raise ValueError(f"expected onset <= apex <= offset, got {record.onset}, {record.apex}, {record.offset}")
    used = range(onset, len(numbers) if offset is None else offset + 1) if trim else range(len(numbers))
    if len(used) < 2:
        raise ValueError(f"expected at least 2 frames from onset to offset, got {len(used)}")
    first = used.start
    gaps = frame_gaps(numbers[used.start : used.stop])
    times = np.linspace(0, len(used) - 1, length or len(used))
    return Timing(
        used,
        onset - first,
        None if apex is None else apex - first,
        None if offset is None else offset - first,
        tuple(times.tolist()),
        (Repair(gaps, "those around them follow each other"),) if gaps else (),
    )
