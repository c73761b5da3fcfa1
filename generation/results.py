"""Output files of a generated clip: frames, video, keypoints, and its row of `results.csv`.

Legend: T frames, N keypoints.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from clips.loader import ClipLoader, LoadedClip
from clips.reading import ClipError, Frame
from config.sections import AnimateParams
from core.files import remove_abandoned, replacing_entries
from errors import UserError
from generation.engine import Generated
from generation.limits import check_fps
from output.audio import add_audio
from output.video import (
    FrameSequence,
    check_frame_folder,
    side_by_side,
    write_array,
    write_frames,
    write_video,
    written_frames,
)

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
    """Refuse a `--result` that cannot be written as a video with its frames beside it.

    Raises:
        UserError: another suffix than .mp4 or .gif, a folder, or a folder of frames that holds other files.
    """
    if result.suffix.lower() not in (".mp4", ".gif"):
        raise UserError(f"--result {result}: expected a file ending in .mp4 or .gif")
    if result.is_dir():
        raise UserError(f"--result {result}: expected a file, got a folder; choose another name")
    check_frame_folder(_frames_beside(result))


def frame_rate_of(loader: ClipLoader, clip: LoadedClip) -> float:
    """Frames per second of a clip.

    Raises:
        ClipError: they are unknown, or no video file can hold them.
    """
    fps = loader.fps(clip)
    try:
        check_fps(fps, str(clip.clip.path))
    except ValueError as error:
        raise ClipError(f"{error}; set dataset_params.fps, or --fps for codes") from error
    return fps


def write_single(
    result: Path, generated: Iterable[Generated], fps: float, crf: int, sound_of: Path | None = None
) -> None:
    """Write the video `--result`, with the sound of the driving clip `sound_of`, and its frames beside it."""
    folder = _frames_beside(result)
    remove_abandoned(result.parent)
    with replacing_entries(result.parent, "make room or choose another result") as place:
        frames = write_frames(place / folder.name, (g.frame for g in generated))
        written = write_video(place / result.name, frames, fps, crf=crf)
        if sound_of is not None:
            add_audio(written, sound_of)
    log.info("wrote %s and its frames in %s", result.with_name(written.name), folder)


def write_result(
    result: Path,
    generated: Iterable[Generated],
    fps: float,
    params: AnimateParams,
    reference: int,
    driving: Sequence[Frame] | None = None,
) -> dict[str, Any]:
    """Write a clip of a batch: frames, keypoints, video, and its comparison with the driving clip.

    Args:
        result: folder of the frames; the other files lie beside it under its name.
        reference: frame of the face at rest, from 0.
        driving: frames of the driving clip; None if there is none.
    Returns:
        Row of `results.csv`, as far as files and motion determine it.
    """
    moved = bytearray()  # one block: many small ones between the batches of a model keep their memory from being reused
    shape: tuple[int, ...] = ()

    def frames() -> Iterator[Frame]:
        nonlocal shape
        for one in generated:
            shape = one.keypoints.shape
            moved.extend(one.keypoints.tobytes())
            yield one.frame

    written = write_frames(result, frames())
    keypoints = np.frombuffer(moved, np.float32).reshape(-1, *shape)
    write_array(result.with_name(f"{result.name}_keypoints.npy"), keypoints)
    video = ""
    if params.format != ".png":
        video = write_video(result.with_name(result.name + params.format), written, fps, crf=params.crf).name
        if driving is not None:
            comparison = result.with_name(f"{result.name}_comparison{params.format}")
            write_video(comparison, side_by_side(driving, written), fps, crf=params.crf)
    motion = np.linalg.norm(keypoints - keypoints[reference], axis=-1) / 2  # -> (T, N), frame widths
    return {
        "frames": len(written),
        "fps": fps,
        "apex": int(motion.mean(axis=1).argmax()),
        "largest_motion": round(float(motion.max()), 6),
        "video": video,
    }


def clip_frames(clip: LoadedClip) -> FrameSequence:
    """Decoded frames of a clip, read from the cache one at a time."""
    return FrameSequence(len(clip), lambda number: np.array(clip.cached.frames()[number]))


def read_result(folder: Path, row: Mapping[str, str], *numbers: int) -> tuple[Frame, ...]:
    """Frames, by number from 0, of a clip that was written before."""
    frames = written_frames(folder / row["folder"], int(row["frames"]))
    return tuple(frames[number] for number in numbers)


def _frames_beside(result: Path) -> Path:
    return result.with_name(f"{result.stem}_frames")
