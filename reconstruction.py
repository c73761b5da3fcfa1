"""`--mode reconstruction`: generate test clips anew from their first frame and measure the difference."""

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from animate import make_engine, make_loader, result_folder
from animation_list import content_hash
from config.options import RunOptions
from config.schema import Config
from frames_dataset import ClipLoader, PreparedClip, split_clips
from inference import Engine
from logger import log_to_file
from metrics import PICTURE_METRICS, picture_metrics
from results import ResultTable
from video import side_by_side, write_frames, write_video

log = logging.getLogger("reconstruction")

COLUMNS = [
    "clip",
    "frames",
    *PICTURE_METRICS,
    *(f"static_{name}" for name in PICTURE_METRICS),
    "folder",
    "video",
    "key",
]


def reconstruct(config: Config, options: RunOptions) -> int:
    """Reconstruct the test clips; the static copy of the first frame, which anybody can make, stands beside.

    Returns:
        Exit status 0.
    Raises:
        UserError: checkpoint, clips or settings cannot be used.
    """
    params = config.reconstruction_params
    engine, weights = make_engine(config, options, params.batch_size)
    loader = make_loader(config, engine)
    folder = result_folder(options, "reconstruction")
    handler = log_to_file(folder)
    try:
        clips, problems = loader.load_all(split_clips(config.dataset_params, "test")[: params.num_videos], "test")
        for problem in problems:
            log.warning("left out: %s", problem)
        table = ResultTable(folder / "results.csv", COLUMNS)
        settings = json.dumps([weights, config.model_options, params.format])
        for clip in tqdm(clips, "reconstructing", unit="clip", disable=None):
            key = hashlib.sha256(f"{settings} {content_hash(clip)}".encode()).hexdigest()[:16]
            if not table.finished(clip.name, key):
                table.add({**_reconstruct_clip(config, engine, loader, clip, folder), "key": key})
        _summarise([table.rows[clip.name] for clip in clips], folder)
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()
    return 0


def _reconstruct_clip(
    config: Config, engine: Engine, loader: ClipLoader, clip: PreparedClip, folder: Path
) -> dict[str, Any]:
    params = config.reconstruction_params
    truth = clip.cached.frames()
    frames = [generated.frame for generated in engine.reconstruct(clip)]
    write_frames(folder / clip.name, frames)
    video = ""
    if params.format != ".png":
        beside = side_by_side(list(truth), frames)
        fps, crf = loader.fps(clip), config.animate_params.crf
        video = write_video(folder / f"{clip.name}{params.format}", beside, fps, crf=crf).name
    ours = picture_metrics(truth, frames)
    static = picture_metrics(truth, [truth[0]] * len(truth))
    return {
        "clip": clip.name,
        "frames": len(frames),
        **{name: round(value, 6) for name, value in ours.items()},
        **{f"static_{name}": round(value, 6) for name, value in static.items()},
        "folder": clip.name,
        "video": video,
    }


def _summarise(rows: list[dict[str, str]], folder: Path) -> None:
    def mean(name: str) -> float:
        return float(np.mean([float(row[name]) for row in rows]))

    for name in PICTURE_METRICS:
        log.info("%s: %.4f, static copy %.4f", name, mean(name), mean(f"static_{name}"))
    log.info("%d clips in %s", len(rows), folder)
