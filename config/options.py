"""Command-line arguments, apart from the experiment file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class RunOptions:
    """Arguments of `run.py`.

    Attributes:
        config_path: experiment file; the run is named after it.
        checkpoint: to resume from, or to generate with.
        log_dir: folder in which run folders are created.
        device_ids: CUDA devices; None takes the first one, or the CPU where there is none.
        source, driving, result: face, driving clip and video of an animation without a data set.
        reference_frame: frame of the driving clip, from 0, with the same expression as the source; None takes the
            first, or the most neutral one of `driving` if the first clearly is not.
        crop: part of photos and videos that is animated, see `generation.photos.FaceFinder`.
        face: number of the source's face, from 1 for the largest; None takes the largest.
        source_landmarks, driving_landmarks: landmark files of `source` and `driving`; None detects them.
        driving_au: action-unit table of `driving`; None looks for one as for clips of a data set.
        au: FACS code, for an animation without a driving clip.
        onset, apex, offset: last frame at rest, strongest frame and first frame at rest again, from 0.
        frames: length of that animation; None takes offset + onset.
        fps: frames per second of animations from codes; None takes the source's or the config's.
        au_list: CSV file of FACS codes.
        au_intensity: intensity, 0 to 5, of action units whose code gives none.
    """

    config_path: Path
    checkpoint: Path | None = None
    log_dir: Path = Path("log")
    device_ids: tuple[int, ...] | None = None
    source: Path | None = None
    driving: Path | None = None
    result: Path | None = None
    reference_frame: int | None = None
    crop: Literal["auto", "face", "none"] = "auto"
    face: int | None = None
    source_landmarks: Path | None = None
    driving_landmarks: Path | None = None
    driving_au: Path | None = None
    au: str | None = None
    onset: int | None = None
    apex: int | None = None
    offset: int | None = None
    frames: int | None = None
    fps: float | None = None
    au_list: Path | None = None
    au_intensity: float = 2.0
