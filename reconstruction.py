"""`--mode reconstruction`: generate test clips anew from their first frame and measure the difference."""

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from tqdm import tqdm

from animate import content_hash, make_engine, make_loader, result_folder
from clips import Frame
from config.options import RunOptions
from config.schema import Config
from frames_dataset import ClipLoader, PreparedClip, split_clips
from inference import Engine
from logger import log_to_file
from results import ResultTable
from video import side_by_side, write_frames, write_video

log = logging.getLogger("reconstruction")

METRICS = ("l1", "psnr", "ssim")
COLUMNS = ["clip", "frames", *METRICS, *(f"static_{name}" for name in METRICS), "folder", "video", "key"]


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


def picture_metrics(truth: NDArray[np.uint8], frames: list[Frame]) -> dict[str, float]:
    """Mean over the frames after the first, which is given: `l1` in [0, 1], `psnr` in dB, `ssim`.

    Args:
        truth: uint8 (T, H, W, 3).
        frames: T of uint8 (H, W, 3).
    """
    rows = []
    for true, frame in list(zip(truth, frames, strict=True))[1:]:
        l1 = np.abs(true.astype(np.float64) - frame).mean() / 255
        psnr = peak_signal_noise_ratio(true, frame) if l1 else np.inf
        rows.append((l1, psnr, structural_similarity(true, frame, channel_axis=2)))
    return dict(zip(METRICS, np.mean(rows, axis=0).tolist(), strict=True)) if rows else dict.fromkeys(METRICS, np.nan)


def _summarise(rows: list[dict[str, str]], folder: Path) -> None:
    def mean(name: str) -> float:
        return float(np.mean([float(row[name]) for row in rows]))

    for name in METRICS:
        log.info("%s: %.4f, static copy %.4f", name, mean(name), mean(f"static_{name}"))
    log.info("%d clips in %s", len(rows), folder)
