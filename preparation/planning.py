"""What is to be done for each clip of a listing, decided from the record, the settings and what is remembered."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clips.files import find_table
from config.preparation import PrepareParams
from preparation.clip_maker import Task, plan_keys
from preparation.clip_record import ClipRecord
from preparation.onset import OnsetDetector, landmark_file, landmark_rows
from preparation.output import Output, key_of, signatures
from preparation.source_frames import source_frames
from preparation.timing import Timing, clip_timing


class Planner:
    """Turns records into tasks.

    Args:
        params: the section `prepare_params`.
        output: open.
        detector: finds landmarks, where they are not read from files.
        splits: `train` or `test` by name of clip.
    """

    def __init__(
        self, params: PrepareParams, output: Output, detector: OnsetDetector | None, splits: Mapping[str, str]
    ):
        self.params, self.output, self.detector, self.splits = params, output, detector, splits

    def plan(self, record: ClipRecord) -> Task:
        """Find landmarks and tables of a clip; the onset's landmarks are remembered.

        Raises:
            ValueError: it cannot be prepared; the message says why.
            UserError: no clip can be.
        """
        params = self.params
        timing = clip_timing(record, trim=params.trim, length=params.length)
        try:
            file = landmark_file(record, params.landmark_params) if self.detector is None else None
        except FileNotFoundError as error:
            raise ValueError(str(error)) from error
        table = _user_table(record, params.au_params.dir)
        onset = self._onset(record, timing, file)
        follows_file = params.landmark_params.follow == "files"
        if follows_file and file is not None and len(landmark_rows(file, record)) == 1:
            raise ValueError(f"{file}: expected a row for every frame with `follow: files`, got 1")
        task = Task(record, timing, onset, file if follows_file else None, table, self.splits[record.name], {})
        return replace(task, keys=plan_keys(task, params))

    def _onset(self, record: ClipRecord, timing: Timing, file: Path | None) -> NDArray[np.float64]:
        """Landmarks on the onset frame, (68, 2), pixels of the release's frames."""
        at = timing.used.start + timing.onset
        frame = signatures([record.frames[at] if record.frames else record.source])
        if file is not None:
            key = key_of(at, frame, signatures([file]))
        else:
            assert self.detector is not None, "without a detector there are files"
            boxes = self.detector.boxes
            key = key_of(at, frame, "face-alignment", boxes and boxes.get(record.name))
        state = self.output.state(record.name)
        known = state.get("onset", {})
        if known.get("key") != key:
            if self.detector is not None:
                self.detector.load()
            known = {"key": key}
            try:
                known["landmarks"] = self._find(record, at, file).tolist()
            except ValueError as error:
                known["error"] = " ".join(str(error).split())
            self.output.remember(record.name, {**state, "onset": known})
        if "error" in known:
            raise ValueError(known["error"])
        return np.array(known["landmarks"])

    def _find(self, record: ClipRecord, at: int, file: Path | None) -> NDArray[np.float64]:
        if file is not None:
            rows = landmark_rows(file, record)
            return rows[at if len(rows) > 1 else 0]
        assert self.detector is not None, "without a detector there are files"
        frame = next(source_frames(record, range(at, at + 1)))
        return self.detector.find(record.name, frame)


def _user_table(record: ClipRecord, folder: Path | None) -> Path | None:
    """The user's table of a clip; None where there is none.

    Raises:
        ValueError: several, or one whose name differs in padding or case only.
    """
    if folder is not None:
        try:
            return find_table(folder, record.name, "")
        except FileNotFoundError:
            pass  # the clip's code serves instead
    return record.au_table
