"""Decides what is to be made for each clip, from its record, the settings and the results of earlier runs."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clips.files import find_table
from config.preparation import PrepareParams
from preparation.clip_record import ClipRecord
from preparation.clip_task import ClipTask, stage_keys
from preparation.failures import may_pass, reason_of
from preparation.onset import OnsetDetector, landmark_file, landmark_rows
from preparation.prepared_folder import PreparedFolder, file_signatures, hash_values
from preparation.source_frames import source_frames
from preparation.timing import Timing, clip_timing


class Planner:
    """Turns records into tasks.

    Args:
        params: the section `prepare_params`.
        prepared: created; holds the landmarks that earlier runs detected.
        detector: detects landmarks; None: they are read from files.
        splits: `train` or `test`, by name of the clip.
    """

    def __init__(
        self,
        params: PrepareParams,
        prepared: PreparedFolder,
        detector: OnsetDetector | None,
        splits: Mapping[str, str],
    ):
        self.params, self.prepared, self.detector, self.splits = params, prepared, detector, splits

    def plan(self, record: ClipRecord) -> ClipTask:
        """Find the landmarks and tables of a clip; the onset's landmarks are recorded.

        Raises:
            ValueError, OSError: this clip cannot be prepared; the message gives the reason.
            UserError: no clip can be prepared.
        """
        params = self.params
        timing = clip_timing(record, trim=params.trim, length=params.length)
        try:
            file = landmark_file(record, params.landmark_params) if self.detector is None else None
        except FileNotFoundError as error:
            raise ValueError(str(error)) from error
        table = _user_table(record, params.au_params.dir)
        onset = self._onset_landmarks(record, timing, file)
        every_frame = params.landmark_params.follow == "files"
        if every_frame and file is not None and len(_rows(file, record)) == 1:
            raise ValueError(f"{file}: expected a row for every frame with `follow: files`, got 1")
        task = ClipTask(record, timing, onset, file if every_frame else None, table, self.splits[record.name], {})
        return replace(task, keys=stage_keys(task, params))

    def _onset_landmarks(self, record: ClipRecord, timing: Timing, file: Path | None) -> NDArray[np.float64]:
        """Landmarks of the onset frame, (68, 2), pixels of the release's frames; found once and then recorded."""
        at = timing.used.start + timing.onset
        frame = file_signatures([record.frames[at] if record.frames else record.source])
        if file is not None:
            key = hash_values(at, frame, file_signatures([file]))
        else:
            assert self.detector is not None, "without a detector there are files"
            boxes = self.detector.boxes
            key = hash_values(at, frame, self.detector.version, boxes and boxes.get(record.name))
        state = self.prepared.load_state(record.name)
        known = state.get("onset", {})
        if known.get("key") != key:
            if self.detector is not None:
                self.detector.load()
            known = {"key": key}
            try:
                known["landmarks"] = self._read_or_detect(record, at, file).tolist()
            except ValueError as error:
                if file is not None or may_pass(error):  # only failures of the detector are worth a record
                    raise ValueError(reason_of(error)) from error
                known["failure"] = reason_of(error)
            self.prepared.save_state(record.name, {**state, "onset": known})
        if "failure" in known:
            raise ValueError(known["failure"])
        return np.array(known["landmarks"])

    def _read_or_detect(self, record: ClipRecord, at: int, file: Path | None) -> NDArray[np.float64]:
        if file is not None:
            rows = _rows(file, record)
            return rows[at if len(rows) > 1 else 0]
        assert self.detector is not None, "without a detector there are files"
        frame = next(source_frames(record, range(at, at + 1)))
        try:
            return self.detector.detect(record.name, frame)
        except ValueError as error:
            place = record.frames[at] if record.frames else f"frame {at} of {record.source}"
            raise ValueError(f"{place}: {error}") from error.__cause__  # without a cause, it is final (`may_pass`)


def _rows(file: Path, record: ClipRecord) -> NDArray[np.float64]:
    """As `landmark_rows`; a `UserError` of one file is not one of all clips.

    Raises:
        ValueError: as `landmark_rows`.
    """
    try:
        return landmark_rows(file, record)
    except (ValueError, OSError) as error:
        raise ValueError(reason_of(error)) from error


def _user_table(record: ClipRecord, folder: Path | None) -> Path | None:
    """The user's table of a clip; None if there is none.

    Raises:
        ValueError: several, or one whose name differs in padding or case only.
    """
    if folder is not None:
        try:
            return find_table(folder, record.name, "")
        except FileNotFoundError:
            pass  # the table of the data set, or the clip's code, is used instead
    return record.au_table
