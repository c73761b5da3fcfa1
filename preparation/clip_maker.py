"""Makes one clip: cut, tracked, with action units; complete or not at all.

Legend: R frames of the release that are used, T frames that are written.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from clips.reading import Frame, open_clip, read_frames
from config.preparation import PrepareParams
from errors import UserError
from faces.flow import REVISION, TrackingSettings
from faces.tracking import track
from preparation.action_units import ActionUnits, coded_curves, imported_table, table_text
from preparation.clip_record import ClipRecord
from preparation.crop import Crop, place_crop
from preparation.onset import landmark_rows
from preparation.output import Output, State, key_of, signatures
from preparation.source_frames import source_frames
from preparation.timing import Timing

VERSION = 1  # of what is written; a change of cropping or writing raises it
THUMBNAIL = 112  # side of the pictures in the report, pixels


@dataclass(frozen=True)
class Task:
    """A clip to be made.

    Attributes:
        record, timing: what of which clip.
        onset: (68, 2), its landmarks on the onset frame, pixels of the release's frames.
        landmark_file: with landmarks of every frame, which are used as they stand; None: the onset's are tracked.
        au_table: the user's table; None: from the code, where there is one.
        split: `train` or `test`.
        keys: of the stages `frames`, `landmarks` and `action_units`.
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
        """Whether the release says which action units move."""
        return self.record.facs is not None and self.record.facs.strip() not in ("", "?")


def plan_keys(task: Task, params: PrepareParams) -> dict[str, str]:
    """Keys of the stages that follow the onset's landmarks.

    Raises:
        ValueError: a file that cannot be read.
    """
    record, timing = task.record, task.timing
    files = [record.frames[at] for at in timing.used] if record.frames else [record.source]
    crop = params.crop_params.model_dump()
    frames = key_of(
        VERSION,
        crop,
        record.colour,
        [timing.used.start, timing.used.stop, timing.onset, timing.times],
        task.onset.tolist(),
        signatures(files),
    )
    followed = signatures([task.landmark_file]) if task.landmark_file else [REVISION, str(TrackingSettings())]
    landmarks = key_of(VERSION, frames, timing.apex, followed)
    tables = signatures([task.au_table]) if task.au_table else []
    course = [record.facs, timing.apex, timing.offset, record.frame_numbers]
    action_units = key_of(VERSION, landmarks, course, tables, params.au_params.model_dump(exclude={"dir"}))
    return {"frames": frames, "landmarks": landmarks, "action_units": action_units}


def is_done(task: Task, output: Output, state: State) -> bool:
    """Whether a clip is there as the task wants it, or has failed in the same way before."""
    if "error" in state:
        return state["error"]["key"] == task.keys["landmarks"]
    return not _open_stages(task, output, state)


def _open_stages(task: Task, output: Output, state: State) -> list[str]:
    """The stages that are still to be made, in their order."""
    name = task.record.name
    wanted = [stage for stage, key in task.keys.items() if state.get(stage, {}).get("key") != key]
    if output.frames(name) is None:
        wanted.append("frames")
    if not output.landmarks(name).is_file() or not output.thumbnail(name).is_file():
        wanted.append("landmarks")
    if state.get("action_units", {}).get("source") and not output.action_units(name).is_file():
        wanted.append("action_units")
    if "frames" in wanted:
        wanted.append("landmarks")
    if "landmarks" in wanted:
        wanted.append("action_units")
    return [stage for stage in task.keys if stage in wanted]


def make_clip(task: Task, output: Output, params: PrepareParams) -> State:
    """Make what is still to be made of a clip, and remember it; or leave the clip out, and remember why.

    Raises:
        UserError: it cannot be written.
    """
    name = task.record.name
    state = {stage: value for stage, value in output.state(name).items() if stage != "error"}
    stages = _open_stages(task, output, state)
    making = Path(tempfile.mkdtemp(dir=output.making, prefix=f"{name}-"))
    try:
        made = _Making(task, params, output, making, {**state})
        try:
            result = made.run(stages)
        except ValueError as error:
            output.withdraw(name)
            result = {"onset": state["onset"], "error": {"key": task.keys["landmarks"], "reason": _line(error)}}
            output.remember(name, result)
            return result
        output.remember(name, {stage: value for stage, value in state.items() if stage not in stages})
        _publish(task, output, making, stages)
        output.remember(name, result)
        return result
    except OSError as error:
        raise UserError(f"{output.folder}: {name} could not be written ({error.strerror}); make room") from error
    finally:
        shutil.rmtree(making, ignore_errors=True)


class _Making:
    """The stages of one clip, written into a folder of its own."""

    def __init__(self, task: Task, params: PrepareParams, output: Output, folder: Path, state: State):
        self.task, self.params, self.output, self.folder, self.state = task, params, output, folder, state

    def run(self, stages: list[str]) -> State:
        """Make stages; returns what is to be remembered of the clip.

        Raises:
            ValueError: a frame that cannot be read, a face that is lost.
        """
        if "landmarks" in stages:
            frames = self._new_frames() if "frames" in stages else self._old_frames()
            landmarks = self._landmarks(frames).astype(np.float32)
            np.save(self.folder / "landmarks.npy", landmarks)
            self._thumbnail(landmarks)
            self.state["landmarks"] = {"key": self.task.keys["landmarks"]}
        else:
            landmarks = np.load(self.output.landmarks(self.task.record.name))
        if "action_units" in stages:
            self._action_units(np.float64(landmarks))
        return self.state

    def _new_frames(self) -> Iterator[Frame]:
        """Cut and write the frames, and pass them on as they come."""
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
        cut = (crop.cut(cv2.cvtColor(f, cv2.COLOR_RGB2GRAY) if grey else f) for f in chain([first], used))
        for number, frame in enumerate(task.timing.interpolate_frames(cut)):
            _write_picture(folder / f"{number:04d}.png", frame)
            yield frame

    def _old_frames(self) -> Iterator[Frame]:
        return read_frames(open_clip(self._frames_folder()), None)

    def _frames_folder(self) -> Path:
        new = self.folder / "frames"
        return new if new.is_dir() else self.output.frames(self.task.record.name) or new

    def _landmarks(self, frames: Iterator[Frame]) -> NDArray[np.float64]:
        """(T, 68, 2), pixels of the written frames."""
        task, timing = self.task, self.task.timing
        first = next(frames)  # places the crop
        crop = crop_of(self.state)
        frames = chain([first], frames)
        if task.landmark_file is None:
            return track(frames, crop.apply(task.onset), reference=timing.written(timing.onset))
        for _ in frames:
            pass
        rows = landmark_rows(task.landmark_file, task.record)[timing.used.start : timing.used.stop]
        return timing.interpolate(crop.apply(rows))

    def _action_units(self, landmarks: NDArray[np.float64]) -> None:
        """Write a table, or remember why there is none."""
        task, params = self.task, self.params.au_params
        units: ActionUnits | None = None
        problem = None
        try:
            if task.au_table is not None:
                units = imported_table(task.record, task.au_table, task.timing, params)
            elif task.has_code:
                units = coded_curves(task.record, task.timing, landmarks, params.intensity)
        except ValueError as error:
            problem = _line(error)
        if units is not None:
            (self.folder / "au.csv").write_text(table_text(units.values), encoding="utf-8")
        self.state["action_units"] = {
            "key": task.keys["action_units"],
            "source": units.source if units else "",
            "remarks": [[remark.what, remark.done] for remark in units.remarks] if units else [],
            "problem": problem,
        }

    def _thumbnail(self, landmarks: NDArray[np.float64]) -> None:
        """The onset with its landmarks, and the apex, or the frame farthest from the onset, beside it."""
        timing, folder = self.task.timing, self._frames_folder()
        onset = timing.written(timing.onset)
        moved = np.linalg.norm(landmarks - landmarks[onset], axis=2).mean(axis=1)
        apex = int(moved.argmax()) if timing.apex is None else timing.written(timing.apex)
        pictures = []
        for frame in (onset, apex):
            picture = cv2.imread(str(folder / f"{frame:04d}.png"), cv2.IMREAD_COLOR)
            pictures.append(cv2.resize(picture, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA))
        scale = THUMBNAIL / crop_of(self.state).size
        for x, y in (landmarks[onset] + 0.5) * scale * 8:
            cv2.circle(pictures[0], (round(x), round(y)), 8, (80, 255, 80), -1, cv2.LINE_AA, shift=3)
        _, data = cv2.imencode(".jpg", np.hstack(pictures), [cv2.IMWRITE_JPEG_QUALITY, 82])
        (self.folder / "thumbnail.jpg").write_bytes(data.tobytes())


def crop_of(state: State) -> Crop:
    """The crop that is remembered of a clip."""
    frames = state["frames"]
    return Crop(tuple(frames["centre"]), frames["side"], frames["angle"], frames["size"])


def _publish(task: Task, output: Output, making: Path, stages: list[str]) -> None:
    """Put what was made in its place; the frames, which make it a clip, last."""
    name = task.record.name
    if "frames" in stages:
        while old := output.frames(name):
            output.discard(old)
    if "landmarks" in stages:
        os.replace(making / "landmarks.npy", output.landmarks(name))
        os.replace(making / "thumbnail.jpg", output.thumbnail(name))
    if "action_units" in stages:
        if (making / "au.csv").exists():
            os.replace(making / "au.csv", output.action_units(name))
        else:
            output.action_units(name).unlink(missing_ok=True)
    if "frames" in stages:
        os.replace(making / "frames", output.folder / task.split / name)


def _write_picture(path: Path, frame: Frame) -> None:
    """A PNG; OpenCV's default is its fastest compression, and hardly larger than the slowest on pictures with noise."""
    picture = frame if frame.ndim == 2 else cv2.cvtColor(frame, cv2.COLOR_RGB2BGR)
    path.write_bytes(cv2.imencode(".png", picture)[1].tobytes())


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
