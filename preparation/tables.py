"""`clips.csv` and `pairs.csv` of prepared clips."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.files import write_text
from output.result_table import csv_text
from preparation.clip_maker import Task, crop_of
from preparation.clip_record import ClipRecord, Repair
from preparation.output import Output, State
from preparation.timing import Timing

COLUMNS = (
    "name",
    "subject",
    "data_set",
    "split",
    "source",  # folder or video of the release
    "frames",  # that were written, as the next four count them, from 0
    "onset",
    "apex",
    "offset",
    "fps",  # of the written frames
    "emotion",
    "facs",
    "colour",
    "landmarks",  # track, or file
    "action_units",  # table, code, or nothing
    "release_first",  # frame numbers of the release
    "release_last",
    "release_onset",
    "release_apex",
    "release_offset",
    "release_fps",
    "release_width",
    "release_height",
    "crop_x",  # middle of the square, pixels of the release's frames
    "crop_y",
    "crop_side",
    "crop_degrees",
    "crop_size",
    "crop_outside",  # share of the square that lies outside the release's frames
    "to_release_a",  # x' = a x - b y + c and y' = b x + a y + d take written pixels to those of the release's frames
    "to_release_b",
    "to_release_c",
    "to_release_d",
    "remarks",
)


@dataclass(frozen=True)
class PreparedClip:
    """A clip that was made: what was asked for, and what is remembered of it."""

    task: Task
    state: State

    @property
    def record(self) -> ClipRecord:
        """What the reader says of it."""
        return self.task.record

    @property
    def remarks(self) -> list[Repair]:
        """Everything that was put right or decided on the way."""
        units = self.state["action_units"]
        outside = self.state["frames"]["outside"]
        return [
            *self.record.repairs,
            *self.task.timing.remarks,
            *(Repair(what, done) for what, done in units["remarks"]),
            *([Repair(units["problem"], "the clip has no action units")] if units["problem"] else []),
            *([Repair(f"{outside:.1%} of the crop lie outside the frames", "their border goes on")] if outside else []),
        ]


def write_tables(clips: Sequence[PreparedClip], output: Output) -> None:
    """Write `clips.csv` and `pairs.csv`, where they are not there already."""
    write_text(output.folder / "clips.csv", csv_text(COLUMNS, [clip_row(clip) for clip in clips]))
    write_text(output.folder / "pairs.csv", csv_text(("source", "driving"), pair_rows(clips)))


def clip_row(clip: PreparedClip) -> dict[str, Any]:
    """A clip's row of `clips.csv`."""
    record, timing, frames = clip.record, clip.task.timing, clip.state["frames"]
    crop = crop_of(clip.state)
    back = crop.to_release
    numbers = record.frame_numbers
    return {
        "name": record.name,
        "subject": record.subject,
        "data_set": record.data_set,
        "split": clip.task.split,
        "source": record.source.as_posix(),
        "frames": len(timing.times),
        "onset": timing.written(timing.onset),
        "apex": "" if timing.apex is None else timing.written(timing.apex),
        "offset": "" if timing.offset is None else timing.written(timing.offset),
        "fps": f"{written_fps(record.fps, timing):.6g}",
        "emotion": record.emotion or "",
        "facs": record.facs or "",
        "colour": "yes" if record.colour else "no",
        "landmarks": "file" if clip.task.landmark_file else "track",
        "action_units": clip.state["action_units"]["source"],
        "release_first": numbers[timing.used.start],
        "release_last": numbers[timing.used.stop - 1],
        "release_onset": _or_nothing(record.onset),
        "release_apex": _or_nothing(record.apex),
        "release_offset": _or_nothing(record.offset),
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
        "remarks": "; ".join(f"{remark.what}: {remark.done}" for remark in clip.remarks),
    }


def written_fps(fps: float, timing: Timing) -> float:
    """Frames a second of the written frames, which last as long as those that are used."""
    return fps * (len(timing.times) - 1) / (len(timing.used) - 1)


def pair_rows(clips: Sequence[PreparedClip]) -> list[dict[str, str]]:
    """Every test clip as driving clip, with the next clip of another subject as source, where there is one."""
    test = [clip.record for clip in clips if clip.task.split == "test"]
    pairs = []
    for i, driving in enumerate(test):
        others = (other for other in test[i + 1 :] + test[:i] if other.subject != driving.subject)
        if source := next(others, None):
            pairs.append({"source": source.name, "driving": driving.name})
    return pairs


def _or_nothing(number: int | None) -> int | str:
    return "" if number is None else number
