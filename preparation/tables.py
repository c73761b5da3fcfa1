"""The tables `clips.csv` and `pairs.csv` of prepared clips."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from clips.crop import Crop
from config.preparation import PrepareParams
from core.files import write_text
from output.result_table import csv_text
from parsing.cells import plain_cell
from preparation.clip_record import Remark
from preparation.clip_state import State
from preparation.clip_task import ClipTask
from preparation.prepared_folder import PreparedFolder, hash_values
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
    """A finished clip.

    Attributes:
        row: in `clips.csv`, by column.
        remarks: everything that was corrected or decided while reading and preparing the clip.
        kept: why this run could not make the clip, which is that of an earlier run; None: it could.
    """

    row: dict[str, Any]
    remarks: tuple[Remark, ...]
    kept: str | None = None

    @property
    def name(self) -> str:
        """Name of the clip."""
        return str(self.row["name"])

    @property
    def subject(self) -> str:
        """Subject of the clip."""
        return str(self.row["subject"])

    @property
    def split(self) -> str:
        """`train` or `test`."""
        return str(self.row["split"])


def write_tables(clips: Sequence[PreparedClip], prepared: PreparedFolder) -> None:
    """Write `clips.csv` and `pairs.csv`, unless they have the same content already."""
    write_text(prepared.path / "clips.csv", csv_text(COLUMNS, [clip.row for clip in clips]))
    write_text(prepared.path / "pairs.csv", csv_text(("source", "driving"), pair_rows(clips)))


def read_table(prepared: PreparedFolder) -> dict[str, dict[str, str]]:
    """Read the rows of `clips.csv` by name, as far as it is there and whole."""
    try:
        with (prepared.path / "clips.csv").open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if set(row) == set(COLUMNS) and None not in row.values()]
    except (OSError, ValueError, csv.Error):
        return {}
    return {row["name"]: {name: plain_cell(cell) for name, cell in row.items()} for row in rows}


def encodable(value: Any) -> Any:
    """Value whose text can be written: bytes of names that are not UTF-8 are escaped."""
    return value.encode("utf-8", "backslashreplace").decode("utf-8") if isinstance(value, str) else value


def settings_hash(params: PrepareParams) -> str:
    """Hash of the settings that shape clips, for the part `listed` of records."""
    return hash_values(
        params.trim,
        params.length,
        params.crop_params.model_dump(),
        params.landmark_params.follow,
        params.au_params.model_dump(exclude={"dir"}),
    )


def listed_part(task: ClipTask, state: State, params: PrepareParams) -> dict[str, Any]:
    """Part `listed` of a record: what tables and report say about the clip."""
    remarks = _remarks(task, state)
    row = {name: encodable(value) for name, value in _clip_row(task, state, remarks).items()}
    pairs = [[encodable(remark.found), encodable(remark.done)] for remark in remarks]
    return {"row": row, "remarks": pairs, "settings": settings_hash(params)}


def finished_clip(task: ClipTask, state: State, prepared: PreparedFolder, params: PrepareParams) -> PreparedClip:
    """The clip of a task that is done; its record is brought up to date with labels that need no other files."""
    listed = listed_part(task, state, params)
    if state.get("listed") != listed:
        prepared.save_state(task.record.name, {**state, "listed": listed})
    return PreparedClip(listed["row"], tuple(Remark(found, done) for found, done in listed["remarks"]))


def _remarks(task: ClipTask, state: State) -> list[Remark]:
    units = state["action_units"]
    outside = state["frames"]["outside"]
    return [
        *task.record.remarks,
        *task.timing.remarks,
        *(Remark(found, done) for found, done in units["remarks"]),
        *([Remark(units["problem"], "the clip has no action units")] if units["problem"] else []),
        *([Remark(f"{outside:.1%} of the crop outside the frames", "border pixels repeated")] if outside else []),
    ]


def _clip_row(task: ClipTask, state: State, remarks: Sequence[Remark]) -> dict[str, Any]:
    """Row of a clip in `clips.csv`."""
    record, timing, frames = task.record, task.timing, state["frames"]
    crop = crop_from_state(state)
    back = crop.to_release
    numbers = record.frame_numbers
    return {
        "name": record.name,
        "subject": record.subject,
        "data_set": record.data_set,
        "split": task.split,
        "source": record.source.as_posix(),
        "frames": len(timing.times),
        "onset": timing.written_index(timing.onset),
        "apex": "" if timing.apex is None else timing.written_index(timing.apex),
        "offset": "" if timing.offset is None else timing.written_index(timing.offset),
        "fps": f"{written_fps(record.fps, timing):.6g}",
        "emotion": record.emotion or "",
        "facs": record.facs or "",
        "colour": "yes" if record.colour else "no",
        "landmarks": "file" if task.landmark_file else "track",
        "action_units": state["action_units"]["source"],
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
        "remarks": "; ".join(f"{remark.found}: {remark.done}" for remark in remarks),
    }


def written_fps(fps: float, timing: Timing) -> float:
    """Frames per second of the written frames, which last as long as the used ones."""
    return fps * (len(timing.times) - 1) / (len(timing.used) - 1)


def crop_from_state(state: State) -> Crop:
    """The crop in the record of a clip."""
    frames = state["frames"]
    return Crop(tuple(frames["centre"]), frames["side"], frames["angle"], frames["size"])


def pair_rows(clips: Sequence[PreparedClip]) -> list[dict[str, str]]:
    """Every test clip as driving clip, with the next test clip of another subject as source, if there is one."""
    test = [clip for clip in clips if clip.split == "test"]
    pairs = []
    for i, driving in enumerate(test):
        others = (other for other in test[i + 1 :] + test[:i] if other.subject != driving.subject)
        if source := next(others, None):
            pairs.append({"source": source.name, "driving": driving.name})
    return pairs


def _or_empty(number: int | None) -> int | str:
    return "" if number is None else number
