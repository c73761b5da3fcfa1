"""Makes one prepared clip: cropped frames, tracked landmarks and action units, all of them or none.

Legend: R frames of the release that are used, T frames that are written.
"""

import os
import shutil
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from clips.crop import place_crop
from clips.reading import ClipError, Frame, open_clip, read_frames
from config.preparation import PrepareParams
from errors import UserError, failure_of_machine, first_line
from faces.tracking import track
from preparation.action_units import ActionUnits, coded_curves, imported_table, table_text
from preparation.clip_state import STAGES, State
from preparation.clip_task import ClipTask
from preparation.failures import MAKING_FAILURES, UnreadableInput, is_unread, may_pass, reason_of
from preparation.onset import landmark_rows
from preparation.prepared_folder import PreparedFolder
from preparation.source_frames import source_frames
from preparation.tables import crop_from_state, listed_part
from preparation.verification import add_manifest, damaged_stages

THUMBNAIL = 112  # side of the pictures in the report, pixels


def is_done(task: ClipTask, prepared: PreparedFolder, state: State) -> bool:
    """True if the clip is complete as the task wants it, or has failed with the same inputs before."""
    if "failure" in state:
        return state["failure"]["key"] == task.keys["landmarks"]
    return not _missing_stages(task, prepared, state)


def _missing_stages(task: ClipTask, prepared: PreparedFolder, state: State) -> list[str]:
    """The stages that are still to be made, in their order: with another key or damaged files, and those after them."""
    damaged = damaged_stages(task.record.name, prepared, state)
    wanted = [stage for stage in STAGES if stage in damaged or state[stage]["key"] != task.keys[stage]]
    return list(STAGES[STAGES.index(wanted[0]) :]) if wanted else []


def make_clip(task: ClipTask, prepared: PreparedFolder, params: PrepareParams) -> State:
    """Make the missing stages of a clip and record them.

    What an earlier run finished stays until all of them are made. A failure is recorded where the same inputs would
    cause it again; where they may not, the clip is tried a second time.

    Returns:
        The clip's record, or one with the part `failure`.
    Raises:
        UserError: it cannot be written.
    """
    state = {part: value for part, value in prepared.load_state(task.record.name).items() if part != "failure"}
    stages = _missing_stages(task, prepared, state)
    error = _try_to_make(task, prepared, params, state, stages)
    if error is not None and may_pass(error):
        stages = list(STAGES)  # earlier stages may be what could not be read
        error = _try_to_make(task, prepared, params, state, stages)
    if error is None:
        return prepared.load_state(task.record.name)
    failed = {**state, "failure": {"key": task.keys["landmarks"], "reason": reason_of(error)}}
    if not may_pass(error):
        prepared.save_state(task.record.name, failed)
    return failed


def _try_to_make(
    task: ClipTask, prepared: PreparedFolder, params: PrepareParams, state: State, stages: list[str]
) -> Exception | None:
    """Make stages and record them.

    Returns:
        The error because of which the clip cannot be made.
    """
    name = task.record.name
    work = None
    try:
        # `core.files` replaces one file or folder; a clip consists of several, all made here before any is moved.
        work = prepared.new_unfinished()
        try:
            made = _ClipBuilder(task, params, prepared, work, {**state}).build(stages)
        except MAKING_FAILURES as error:
            return error
        prepared.save_state(name, {part: value for part, value in state.items() if part not in stages})
        _move_into_place(task, prepared, work, stages)
        for stage in stages:
            add_manifest(stage, name, prepared, made)
        made["listed"] = listed_part(task, made, params)
        prepared.save_state(name, made)
        return None
    except OSError as error:
        if error.filename is not None and not Path(error.filename).is_relative_to(prepared.path):
            return error  # an input
        raise UserError(f"{prepared.path}: {name} could not be written: {failure_of_machine(error)}") from error
    finally:
        if work is not None:
            shutil.rmtree(work, ignore_errors=True)


class _ClipBuilder:
    """Makes the stages of one clip in a temporary folder.

    Args:
        folder: the temporary folder.
        state: the clip's record, which is extended.
    """

    def __init__(self, task: ClipTask, params: PrepareParams, prepared: PreparedFolder, folder: Path, state: State):
        self.task, self.params, self.prepared, self.folder, self.state = task, params, prepared, folder, state

    def build(self, stages: list[str]) -> State:
        """Make stages.

        Returns:
            The clip's new record.
        Raises:
            ValueError: a frame that cannot be read, or a face that cannot be followed.
        """
        if "landmarks" in stages:
            frames = self._write_frames() if "frames" in stages else self._read_frames()
            landmarks = self._find_landmarks(frames).astype(np.float32)
            np.save(self.folder / "landmarks.npy", landmarks)
            self._write_thumbnail(landmarks)
            self.state["landmarks"] = {"key": self.task.keys["landmarks"]}
        else:
            landmarks = np.load(self.prepared.landmarks(self.task.record.name))
        if "action_units" in stages:
            self._write_action_units(landmarks.astype(np.float64))
        return self.state

    def _write_frames(self) -> Iterator[Frame]:
        """Crop and write the frames; yield each as it is written."""
        task, params = self.task, self.params
        used = source_frames(task.record, task.timing.used)
        first = next(used)
        height, width = first.shape[:2]
        crop = place_crop(task.onset, (height, width), params.crop_params)
        self.state["frames"] = {
            "key": task.keys["frames"],
            "centre": crop.centre,
            "side": crop.side,
            "angle": crop.angle,
            "size": crop.size,
            "outside": crop.outside((height, width)),
            "release_size": [height, width],
        }
        grey = params.crop_params.grey or not task.record.colour
        folder = self.folder / "frames"
        folder.mkdir()
        cropped = (crop.cut(_to_grey(frame) if grey else frame) for frame in chain([first], used))
        for number, frame in enumerate(task.timing.interpolate_frames(cropped)):
            write_png(folder / f"{number:04d}.png", frame)
            yield frame

    def _read_frames(self) -> Iterator[Frame]:
        """Frames that an earlier run wrote."""
        try:
            yield from read_frames(open_clip(self._frames_folder()), None)
        except ClipError as error:
            raise UnreadableInput(str(error)) from error

    def _frames_folder(self) -> Path:
        new = self.folder / "frames"
        return new if new.is_dir() else self.prepared.frames(self.task.record.name) or new

    def _find_landmarks(self, frames: Iterator[Frame]) -> NDArray[np.float64]:
        """Landmarks of the written frames, (T, 68, 2), in their pixels."""
        task, timing = self.task, self.task.timing
        first = next(frames)  # `_write_frames` places the crop before its first frame
        crop = crop_from_state(self.state)
        frames = chain([first], frames)
        if task.landmark_file is None:
            return track(frames, crop.apply(task.onset), reference=timing.written_index(timing.onset))
        for _ in frames:  # all must be written
            pass
        rows = landmark_rows(task.landmark_file, task.record)[timing.used.start : timing.used.stop]
        return timing.interpolate(crop.apply(rows))

    def _write_action_units(self, landmarks: NDArray[np.float64]) -> None:
        """Write a table, or record why there is none."""
        task, params = self.task, self.params.au_params
        units: ActionUnits | None = None
        problem = None
        try:
            if task.au_table is not None:
                units = imported_table(task.record, task.au_table, task.timing, params)
            elif task.has_code:
                units = coded_curves(task.record, task.timing, landmarks, params.intensity)
        except ValueError as error:
            if is_unread(error):
                raise  # a table that cannot be read this time is not a clip without a table
            problem = first_line(error)
        if units is not None:
            (self.folder / "au.csv").write_text(table_text(units.values), encoding="utf-8")
        self.state["action_units"] = {
            "key": task.keys["action_units"],
            "source": units.source if units else "",
            "remarks": [[remark.found, remark.done] for remark in units.remarks] if units else [],
            "problem": problem,
        }

    def _write_thumbnail(self, landmarks: NDArray[np.float32]) -> None:
        """The onset with its landmarks, and beside it the apex, or the frame farthest from the onset."""
        timing, folder = self.task.timing, self._frames_folder()
        onset = timing.written_index(timing.onset)
        moved = np.linalg.norm(landmarks - landmarks[onset], axis=2).mean(axis=1)
        apex = int(moved.argmax()) if timing.apex is None else timing.written_index(timing.apex)
        pictures = []
        for frame in (onset, apex):
            path = folder / f"{frame:04d}.png"
            picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
            if picture is None:
                raise UnreadableInput(f"{path}: unreadable picture")
            pictures.append(cv2.resize(picture, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA))
        scale = THUMBNAIL / crop_from_state(self.state).size
        for x, y in (landmarks[onset] + 0.5) * scale * 8:
            cv2.circle(pictures[0], (round(x), round(y)), 8, (80, 255, 80), -1, cv2.LINE_AA, shift=3)
        _, data = cv2.imencode(".jpg", np.hstack(pictures), [cv2.IMWRITE_JPEG_QUALITY, 82])
        (self.folder / "thumbnail.jpg").write_bytes(data.tobytes())


def _move_into_place(task: ClipTask, prepared: PreparedFolder, work: Path, stages: list[str]) -> None:
    """Move finished files to their final names; the frames, which make it a clip, come last."""
    name = task.record.name
    if "frames" in stages:
        while old := prepared.frames(name):
            prepared.remove_folder(old)
    if "landmarks" in stages:
        os.replace(work / "landmarks.npy", prepared.landmarks(name))
        os.replace(work / "thumbnail.jpg", prepared.thumbnail(name))
    if "action_units" in stages:
        if (work / "au.csv").exists():
            os.replace(work / "au.csv", prepared.action_units(name))
        else:
            prepared.action_units(name).unlink(missing_ok=True)
    if "frames" in stages:
        os.replace(work / "frames", prepared.path / task.split / name)


def write_png(path: Path, frame: Frame) -> None:
    """Write a PNG at OpenCV's default, its fastest compression; on noisy pictures the slowest is hardly smaller."""
    picture = frame if frame.ndim == 2 else cv2.cvtColor(frame, cv2.COLOR_RGB2BGR)
    path.write_bytes(cv2.imencode(".png", picture)[1].tobytes())


def _to_grey(frame: Frame) -> Frame:
    return np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), np.uint8)
