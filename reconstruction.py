"""`--mode reconstruction`: generate test clips anew from their first frame and measure the difference."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from clips.loader import ClipLoader, LoadedClip
from clips.splits import split_clips
from config.experiment import Config
from config.options import RunOptions
from generation.batch import Batch, content_hash
from generation.engine import Engine
from generation.results import clip_frames, frame_rate_of
from generation.setup import make_engine, make_loader, result_folder
from logger import log_to_file
from output.metrics import IMAGE_METRICS, image_metrics
from output.video import FrameSequence, side_by_side, write_frames, write_video

log = logging.getLogger("reconstruction")

COLUMNS = [
    "clip",
    "frames",
    *IMAGE_METRICS,
    *(f"static_{name}" for name in IMAGE_METRICS),
    "folder",
    "video",
    "key",
]


@dataclass(frozen=True)
class ReconstructionJob:
    """A clip to generate anew."""

    clip: LoadedClip

    @property
    def name(self) -> str:
        """Name of the clip."""
        return self.clip.name

    @property
    def identity(self) -> dict[str, str]:
        """Name of the clip."""
        return {"clip": self.clip.name}

    @property
    def inputs(self) -> str:
        """Hash of the clip."""
        return content_hash(self.clip)


def reconstruct(config: Config, options: RunOptions) -> int:
    """Reconstruct the test clips; beside each stands the static copy of its first frame, which needs no model.

    Returns:
        Exit status 0.
    Raises:
        UserError: checkpoint, clips or settings cannot be used.
    """
    params = config.reconstruction_params
    engine, weights = make_engine(config, options, params.batch_size)
    loader = make_loader(config, engine)
    folder = result_folder(options, "reconstruction")
    with log_to_file(folder):
        clips, problems = loader.load_all(split_clips(config.dataset_params, "test")[: params.num_videos], "test")
        for problem in problems:
            log.warning("left out: %s", problem)
        batch = Batch(folder, COLUMNS, [weights, config.model_options, params.format])
        generate = partial(_reconstruct_clip, config, engine, loader)
        skip_bad = config.dataset_params.on_bad_clip == "skip"
        finished = batch.run(clips, ReconstructionJob, generate, title="reconstructing", skip_bad=skip_bad)
        _log_means([clip.row for clip in finished])
    return 0


def _reconstruct_clip(
    config: Config, engine: Engine, loader: ClipLoader, job: ReconstructionJob, folder: Path
) -> dict[str, Any]:
    """Generate one clip, write it beside the true one, and return its row of `results.csv`."""
    params, clip = config.reconstruction_params, job.clip
    truth = clip_frames(clip)
    frames = write_frames(folder, (generated.frame for generated in engine.reconstruct(clip)))
    video = ""
    if params.format != ".png":
        beside = side_by_side(truth, frames)
        path = folder.with_name(f"{folder.name}{params.format}")
        video = write_video(path, beside, frame_rate_of(loader, clip), crf=config.animate_params.crf).name
    first = truth[0]
    ours = image_metrics(truth, frames)
    static = image_metrics(truth, FrameSequence(len(truth), lambda _: first))
    return {
        "clip": clip.name,
        "frames": len(frames),
        **{name: round(value, 6) for name, value in ours.items()},
        **{f"static_{name}": round(value, 6) for name, value in static.items()},
        "video": video,
    }


def _log_means(rows: Sequence[dict[str, str]]) -> None:
    for name in IMAGE_METRICS:
        ours, static = (np.mean([float(row[column]) for row in rows]) for column in (name, f"static_{name}"))
        log.info("%s: %.4f, static copy %.4f", name, ours, static)
