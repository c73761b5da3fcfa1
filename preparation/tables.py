"""The tables `clips.csv` and `pairs.csv` of prepared clips."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.files import write_text
from output.result_table import csv_text
from preparation.clip_maker import ClipTask, crop_from_state
from preparation.clip_record import ClipRecord, Remark
from preparation.prepared_folder import PreparedFolder, State
from preparation.timing import Timing

COLUMNS = (
    "name",
    "subject",
    "data_set",
    "split",
    "source",  # folder or video of the release
    "frames",  # number of written frames
    "onset",  # of the written frames, counted from 0
    "apex",
    "offset",
    "fps",  # of the written frames
    "emotion",
    "facs",
    "colour",
    "landmarks",  # track, or file
    "action_units",  # table, code, or empty
    "release_first",  # frame numbers of the release
    "release_last",
    "release_onset",
    "release_apex",
    "release_offset",
    "release_fps",
    "release_width",
    "release_height",
    "crop_x",  # centre of the square, pixels of the release's frames
    "crop_y",
    "crop_side",
    "crop_degrees",
    "crop_size",
    "crop_outside",  # fraction of the square that lies outside the release's frames
    "to_release_a",  # x' = a x - b y + c and y' = b x + a y + d map written pixels to those of the release's frames
    "to_release_b",
    "to_release_c",
    "to_release_d",
    "remarks",
)


@dataclass(frozen=True)
class PreparedClip:
    """A finished clip: its task and its record in the prepared folder."""

    task: ClipTask
    state: State

    @property
    def record(self) -> ClipRecord:
        """The clip in its release."""
        return self.task.record

    @property
    def remarks(self) -> list[Remark]:
        """Everything that was corrected or decided while reading and preparing the clip."""
        units = self.state["action_units"]
        outside = self.state["frames"]["outside"]
        return [
            *self.record.remarks,
            *self.task.timing.remarks,
            *(Remark(found, done) for found, done in units["remarks"]),
            *([Remark(units["problem"], "the clip has no action units")] if units["problem"] else []),
            *([Remark(f"{outside:.1%} of the crop outside the frames", "border pixels repeated")] if outside else []),
        ]


def write_tables(clips: Sequence[PreparedClip], prepared: PreparedFolder) -> None:
    """Write `clips.csv` and `pairs.csv`, unless they have the same content already."""
    write_text(prepared.path / "clips.csv", csv_text(COLUMNS, [clip_row(clip) for clip in clips]))
    write_text(prepared.path / "pairs.csv", csv_text(("source", "driving"), pair_rows(clips)))


def clip_row(clip: PreparedClip) -> dict[str, Any]:
    """Row of a clip in `clips.csv`."""
    record, timing, frames = clip.record, clip.task.timing, clip.state["frames"]
    crop = crop_from_state(clip.state)
    back = crop.to_release
    numbers = record.frame_numbers
    return {
        "name": record.name,
        "subject": record.subject,
        "data_set": record.data_set,
        "split": clip.task.split,
        "source": record.source.as_posix(),
        "frames": len(timing.times),
        "onset": timing.written_index(timing.onset),
        "apex": "" if timing.apex is None else timing.written_index(timing.apex),
        "offset": "" if timing.offset is None else timing.written_index(timing.offset),
        "fps": f"{written_fps(record.fps, timing):.6g}",
        "emotion": record.emotion or "",
        "facs": record.facs or "",
        "colour": "yes" if record.colour else "no",
        "landmarks": "file" if clip.task.landmark_file else "track",
        "action_units": clip.state["action_units"]["source"],
        "release_first": numbers[timing.used.start],
        "release_last": numbers[timing.used.stop - 1],
        "release_onset": _or_empty(record.onset),
        "release_apex": _or_empty(record.apex),
        "release_offset": _or_empty(record.offset),
        "release_fps": f"{record.fps:.6g}",
        "release_width": frames["release_size"][1],
        "release_height": frames["release_size"][0],
        "crop_x": f"{crop.centre[0]:.4f}",
        "crop_y": f"{crop.centre[1]:.4f}",
        "crop_side": crop.side,
        "crop_degrees": f"{np.degrees(crop.angle):.4f}",
        "crop_size": crop.size,
        "crop_outside": frames["outside"],
        "to_release_a": f"{back.factor.real:.9g}",
        "to_release_b": f"{back.factor.imag:.9g}",
        "to_release_c": f"{back.offset.real:.9g}",
        "to_release_d": f"{back.offset.imag:.9g}",
        "remarks": "; ".join(f"{remark.found}: {remark.done}" for remark in clip.remarks),
    }


def written_fps(fps: float, timing: Timing) -> float:
    """Frames per second of the written frames, which last as long as the used ones."""
    return fps * (len(timing.times) - 1) / (len(timing.used) - 1)


def pair_rows(clips: Sequence[PreparedClip]) -> list[dict[str, str]]:
    """Every test clip as driving clip, with the next test clip of another subject as source, if there is one."""
    test = [clip.record for clip in clips if clip.task.split == "test"]
    pairs = []
    for i, driving in enumerate(test):
        others = (other for other in test[i + 1 :] + test[:i] if other.subject != driving.subject)
        if source := next(others, None):
            pairs.append({"source": source.name, "driving": driving.name})
    return pairs


def _or_empty(number: int | None) -> int | str:
    return "" if number is None else number
