"""Selection of the frames of a release's clip, and their interpolation over time.

Legend: R frames of the release that are used, T frames that are written.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from clips.checks import frame_gaps
from clips.reading import Frame
from preparation.clip_record import ClipRecord, Remark


@dataclass(frozen=True)
class Timing:
    """Used and written frames of a clip. Frames are counted from 0, the first frame that is used.

    Attributes:
        used: indices of the R frames in `ClipRecord.frame_numbers`.
        onset: the frame on which landmarks are found.
        apex, offset: None where the release gives none.
        times: (T,) position of each written frame, from 0 to R - 1.
        remarks: on frames that are missing in the release.
    """

    used: range
    onset: int
    apex: int | None
    offset: int | None
    times: tuple[float, ...]
    remarks: tuple[Remark, ...] = ()

    def written_index(self, frame: int) -> int:
        """Index of the written frame nearest to a used frame."""
        return int(np.abs(np.array(self.times) - frame).argmin())

    def interpolate(self, rows: NDArray[np.floating]) -> NDArray[np.float64]:
        """Interpolate rows of the R used frames linearly to the T written frames: (R, ...) -> (T, ...)."""
        before = np.floor(self.times).astype(int)
        after = np.minimum(before + 1, len(rows) - 1)
        share = (np.array(self.times) - before).reshape(-1, *[1] * (rows.ndim - 1))
        return (1 - share) * rows[before] + share * rows[after]

    def interpolate_frames(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """As `interpolate`, for a stream of R frames; at most two are in memory."""
        wanted, done = self.times, 0
        before: Frame | None = None
        for index, frame in enumerate(frames):
            while done < len(wanted) and wanted[done] <= index:
                share = index - wanted[done]
                if before is None or not share:
                    yield frame
                else:
                    yield np.asarray(cv2.addWeighted(before, share, frame, 1 - share, 0), np.uint8)
                done += 1
            before = frame


def clip_timing(record: ClipRecord, *, trim: bool, length: int | None) -> Timing:
    """Choose the frames of a clip that are used and written.

    Args:
        trim: True uses the frames from onset to offset, where the release gives them; False uses every frame.
        length: T; None writes the used frames themselves.
    Raises:
        ValueError: onset, apex or offset is not a frame of the clip, they are out of order, or fewer than two frames
            are left.
    """
    numbers = record.frame_numbers
    place = {number: at for at, number in enumerate(numbers)}
    at: dict[str, int | None] = {}
    for name in ("onset", "apex", "offset"):
        number = getattr(record, name)
        if number is not None and number not in place:
            raise ValueError(
                f"{name}: expected one of the clip's frames, {min(numbers)} to {max(numbers)}, got {number}"
            )
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
        (Remark(gaps, "their neighbours are used as consecutive frames"),) if gaps else (),
    )
