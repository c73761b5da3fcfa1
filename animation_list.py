"""Lists of clips to generate: each one written when it is ready, none made twice, all on one contact sheet.

Legend: T frames, N keypoints.
"""

import hashlib
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
from tqdm import tqdm

from clips import ClipError, Frame
from config.schema import Config
from config.sections import AnimateParams
from frames_dataset import PreparedClip
from inference import Generated
from logger import log_to_file
from results import ResultTable
from video import SheetRow, write_array, write_contact_sheet, write_frames, write_video

log = logging.getLogger("animate")

SHEET_ROWS = 20  # clips on the contact sheet, from the start of the list
COLUMNS = [
    "source",
    "driving",  # empty for a code
    "au",  # FACS code, or file of its curves; empty for a driving clip
    "onset",  # of the code, as the next two
    "offset",
    "frames",
    "fps",
    "apex",  # frame, from 0, in which the keypoints are farthest from the reference frame
    "largest_motion",  # of a keypoint since the reference frame, in parts of the frame's width
    "folder",
    "video",
    "seconds",
    "key",
]


@dataclass(frozen=True)
class Planned:
    """A clip of a list that is ready to be made.

    Attributes:
        name: of its folder.
        decisive: a text that stands for all that it alone depends on.
        make: generates it into the folder and returns its row of `results.csv`, without `folder`, `key`, `seconds`.
        show: its line on the contact sheet, from its row.
    """

    name: str
    decisive: str
    make: Callable[[Path], dict[str, Any]]
    show: Callable[[Mapping[str, str]], SheetRow]


def animate_list(
    config: Config, folder: Path, inputs: Sequence[Any], items: Sequence[Any], plan: Callable[[Any], Planned]
) -> None:
    """Make the clips of a list, but those that an earlier run has made, and a contact sheet.

    Args:
        folder: of the results.
        inputs: what every clip depends on beside the config.
        items: what `plan` takes; a ClipError from it leaves the item out, or stops the run.
    """
    params = config.animate_params
    handler = log_to_file(folder)
    results = ResultTable(folder / "results.csv", COLUMNS)
    items = items[: params.num_pairs]
    sheet: list[SheetRow] = []
    skipped = done = 0
    decisive = params.model_dump(mode="json", exclude={"num_pairs", "batch_size"})
    settings = json.dumps([*inputs, config.model_options, decisive])
    try:
        for item in tqdm(items, "animating", unit="clip", disable=None):
            try:
                planned = plan(item)
            except ClipError as error:
                if config.dataset_params.on_bad_clip == "error":
                    raise
                log.warning("left out: %s", error)
                skipped += 1
                continue
            name = planned.name
            key = hashlib.sha256(f"{settings} {planned.decisive}".encode()).hexdigest()[:16]
            if results.finished(name, key):
                done += 1
            else:
                began = time.perf_counter()
                row = planned.make(folder / name)
                seconds = round(time.perf_counter() - began, 3)
                results.add({**row, "folder": name, "seconds": seconds, "key": key})
            if len(sheet) < SHEET_ROWS:
                sheet.append(planned.show(results.rows[name]))
        if sheet:
            write_contact_sheet(folder / "contact_sheet.png", sheet)
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()
    log.info("%d clips in %s (%d were there before, %d left out)", len(items) - skipped, folder, done, skipped)


def content_hash(clip: PreparedClip) -> str:
    """A text that stands for all that a clip brings: frames, landmarks, action units."""
    arrays = [array.tobytes() for array in (clip.landmarks, clip.action_units) if array is not None]
    return hashlib.sha256(b"".join([clip.cached.key.encode(), *arrays])).hexdigest()


def write_result(
    result: Path, generated: Sequence[Generated], fps: float, params: AnimateParams, reference: int
) -> dict[str, Any]:
    """Write a clip's frames, keypoints and video; returns what `results.csv` says about them."""
    frames, keypoints = [g.frame for g in generated], np.stack([g.keypoints for g in generated])
    write_frames(result, frames)
    write_array(result.with_name(f"{result.name}_keypoints.npy"), keypoints)
    video = ""
    if params.format != ".png":
        video = write_video(result.with_name(result.name + params.format), frames, fps, crf=params.crf).name
    motion = np.linalg.norm(keypoints - keypoints[reference], axis=-1) / 2  # -> (T, N), frame widths
    return {
        "frames": len(frames),
        "fps": fps,
        "apex": int(motion.mean(axis=1).argmax()),
        "largest_motion": round(float(motion.max()), 6),
        "video": video,
    }


def read_result(folder: Path, row: Mapping[str, str], *numbers: int) -> tuple[Frame, ...]:
    """Frames of a clip that has been made."""
    return tuple(iio.imread(folder / row["folder"] / f"{i:04d}.png") for i in numbers)
