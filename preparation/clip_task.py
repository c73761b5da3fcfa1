"""A clip that is to be made, and the keys of its stages: hashes of everything that they depend on."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from config.preparation import PrepareParams
from faces.flow import REVISION, TrackingSettings
from preparation.clip_record import ClipRecord
from preparation.prepared_folder import file_signatures, hash_values
from preparation.timing import Timing

VERSION = 1  # part of every key; raised when cropping or writing changes


@dataclass(frozen=True)
class ClipTask:
    """A clip to be made.

    Attributes:
        record: the clip in its release.
        timing: frames that are used and written.
        onset: (68, 2), its landmarks on the onset frame, pixels of the release's frames.
        landmark_file: landmarks of every frame, which are used as they are; None: the onset's are tracked.
        au_table: the user's table; None: curves from the FACS code, if the release gives one.
        split: `train` or `test`.
        keys: keys of the stages `frames`, `landmarks` and `action_units`.
    """

    record: ClipRecord
    timing: Timing
    onset: NDArray[np.float64]
    landmark_file: Path | None
    au_table: Path | None
    split: str
    keys: dict[str, str]

    @property
    def has_code(self) -> bool:
        """True if the release gives a FACS code."""
        return has_code(self.record.facs or "")


def has_code(facs: str) -> bool:
    """True if a cell holds a FACS code."""
    return facs.strip() not in ("", "?")


def stage_keys(task: ClipTask, params: PrepareParams) -> dict[str, str]:
    """Keys of the stages that follow the onset's landmarks.

    Raises:
        ValueError: a file that cannot be read.
    """
    record, timing = task.record, task.timing
    files = [record.frames[at] for at in timing.used] if record.frames else [record.source]
    crop = params.crop_params.model_dump()
    frames = hash_values(
        VERSION,
        crop,
        record.colour,
        [timing.used.start, timing.used.stop, timing.onset, timing.times],
        task.onset.tolist(),
        file_signatures(files),
    )
    tracked = file_signatures([task.landmark_file]) if task.landmark_file else [REVISION, str(TrackingSettings())]
    landmarks = hash_values(VERSION, frames, timing.apex, tracked)
    tables = file_signatures([task.au_table]) if task.au_table else []
    course = [record.facs, timing.apex, timing.offset, record.frame_numbers]
    action_units = hash_values(VERSION, landmarks, course, tables, params.au_params.model_dump(exclude={"dir"}))
    return {"frames": frames, "landmarks": landmarks, "action_units": action_units}
