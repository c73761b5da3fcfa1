"""Output files of a generated clip: frames, video, keypoints, and its row of `results.csv`.

Legend: T frames, N keypoints.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np

from clips.reading import Frame
from config.sections import AnimateParams
from errors import UserError
from generation.engine import Generated
from output.audio import add_audio
from output.video import write_array, write_frames, write_video

log = logging.getLogger("animate")

ANIMATION_COLUMNS = [
    "source",
    "driving",  # empty for a code
    "au",  # FACS code, or file of its curves; empty for a driving clip
    "onset",  # of the code, as the next two
    "offset",
    "frames",
    "fps",
    "apex",  # frame, from 0, in which the keypoints are farthest from the reference frame
    "largest_motion",  # of a keypoint since the reference frame, in frame widths
    "folder",
    "video",
    "seconds",
    "key",
]


def check_result(result: Path) -> None:
    """Refuse a `--result` that is no video.

    Raises:
        UserError: another suffix than .mp4 or .gif.
    """
    if result.suffix.lower() not in (".mp4", ".gif"):
        raise UserError(f"--result {result}: expected a file ending in .mp4 or .gif")


def write_single(
    result: Path, generated: Iterable[Generated], fps: float, crf: int, sound_of: Path | None = None
) -> None:
    """Write the video `--result`, with the sound of the driving clip `sound_of`, and its frames beside it."""
    frames = [g.frame for g in generated]
    folder = result.with_name(f"{result.stem}_frames")
    write_frames(folder, frames)
    written = write_video(result, frames, fps, crf=crf)
    if sound_of is not None:
        add_audio(written, sound_of)
    log.info("wrote %s and its frames in %s", written, folder)


def write_result(
    result: Path, generated: Sequence[Generated], fps: float, params: AnimateParams, reference: int
) -> dict[str, Any]:
    """Write a clip of a batch: frames, keypoints and video.

    Args:
        result: folder of the frames; video and keypoints lie beside it under its name.
        reference: frame of the face at rest, from 0.
    Returns:
        What `results.csv` says about the files and the motion.
    """
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
    """Frames, by number from 0, of a clip that was written before."""
    return tuple(iio.imread(folder / row["folder"] / f"{i:04d}.png") for i in numbers)
