"""`--mode animate`: give source faces the movement of driving clips."""

import hashlib
import json
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
from tqdm import tqdm

from checkpoints import initial_model, load_networks, read_checkpoint
from clips import Clip, ClipError, open_clip
from config.options import RunOptions
from config.schema import Config
from devices import make_fabric
from errors import UserError
from frames_dataset import ClipLoader, PreparedClip, animation_pairs, find_detector, find_extractor
from inference import Engine
from logger import log_to_file
from results import ResultTable
from video import SheetRow, side_by_side, write_array, write_contact_sheet, write_frames, write_video

log = logging.getLogger("animate")


def animate(config: Config, options: RunOptions) -> int:
    """Animate the pairs of the data set, or one source with one driving clip.

    Returns:
        Exit status 0.
    Raises:
        UserError: checkpoint, clips or settings cannot be used.
    """
    engine, checkpoint_key = make_engine(config, options, config.animate_params.batch_size)
    loader = make_loader(config, engine)
    if options.source or options.driving or options.result:
        _animate_files(config, options, engine, loader)
    else:
        _animate_pairs(config, options, engine, loader, checkpoint_key)
    return 0


def make_engine(config: Config, options: RunOptions, batch_size: int) -> tuple[Engine, str]:
    """A trained model on its device, and a text that stands for its weights.

    Raises:
        UserError: no checkpoint for a family that needs one, or one that does not fit.
    """
    fabric = make_fabric(options.device_ids, config.train_params.precision)
    model = initial_model(config)
    key = config.family
    if model.networks():
        if options.checkpoint is None:
            raise UserError(f"--mode animate and reconstruction: the family `{config.family}` needs --checkpoint")
        filled = load_networks(model, read_checkpoint(options.checkpoint), config, options.checkpoint)
        if config.animate_params.mode == "avd" and "avd_network" not in filled:
            raise UserError(f"{options.checkpoint}: has no avd_network, which mode `avd` needs; run --mode train_avd")
        with options.checkpoint.open("rb") as file:
            key = hashlib.file_digest(file, "sha256").hexdigest()
    return Engine(model, fabric, batch_size), key


def make_loader(config: Config, engine: Engine) -> ClipLoader:
    """A loader of clips with what the model needs."""
    model = engine.model
    return ClipLoader(
        config.dataset_params,
        landmarks=model.needs_landmarks,
        action_units=model.needs_action_units,
        detector=find_detector(config.dataset_params, str(engine.fabric.device)),
        extractor=find_extractor(config.dataset_params, str(engine.fabric.device)),
    )


def result_folder(options: RunOptions, name: str) -> Path:
    """Folder of results: beside the checkpoint, or `LOG_DIR/<config>` for a family without one."""
    parent = options.checkpoint.parent if options.checkpoint else options.log_dir / options.config_path.stem
    folder = parent / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


# --- one source, one driving clip -------------------------------------------------------------------------------------


def _animate_files(config: Config, options: RunOptions, engine: Engine, loader: ClipLoader) -> None:
    source, driving, result = options.source, options.driving, options.result
    for name, path in (("--source", source), ("--driving", driving), ("--result", result)):
        if path is None:
            raise UserError(f"{name}: expected together with --source, --driving and --result, got nothing")
    if result.suffix.lower() not in (".mp4", ".gif"):
        raise UserError(f"--result {result}: expected a file ending in .mp4 or .gif")
    face = loader.load(open_clip(source), landmark_file=options.source_landmarks, action_units=False)
    clip = loader.load(
        open_clip(driving),
        landmark_file=options.driving_landmarks,
        action_unit_file=options.driving_au,
        reference=options.reference_frame,
    )
    fps = loader.fps(clip)
    generated = list(engine.animate(face, clip, config.animate_params, reference=options.reference_frame))
    frames = [g.frame for g in generated]
    folder = result.with_name(f"{result.stem}_frames")
    write_frames(folder, frames)
    written = write_video(result, frames, fps, crf=config.animate_params.crf)
    log.info("wrote %s and its frames in %s", written, folder)


# --- pairs of a data set ----------------------------------------------------------------------------------------------


SHEET_ROWS = 20  # pairs on the contact sheet, from the start of the list
COLUMNS = [
    "source",
    "driving",
    "frames",
    "fps",
    "apex",  # frame, from 0, in which the keypoints are farthest from the reference frame
    "largest_motion",  # of a keypoint since the reference frame, in parts of the frame's width
    "folder",
    "video",
    "seconds",
    "key",
]


def _animate_pairs(config: Config, options: RunOptions, engine: Engine, loader: ClipLoader, weights: str) -> None:
    params = config.animate_params
    folder = result_folder(options, "animation")
    handler = log_to_file(folder)
    results = ResultTable(folder / "results.csv", COLUMNS)
    pairs = animation_pairs(config.dataset_params)[: params.num_pairs]
    prepared: dict[tuple[Path, bool], PreparedClip] = {}
    sheet: list[SheetRow] = []
    skipped = done = 0
    decisive = params.model_dump(mode="json", exclude={"num_pairs", "batch_size"})
    settings = json.dumps([weights, config.model_options, decisive, options.reference_frame])
    try:
        for source, driving in tqdm(pairs, "animating", unit="clip", disable=None):
            try:
                face = _prepared(source, prepared, loader, options.reference_frame, drives=False)
                clip = _prepared(driving, prepared, loader, options.reference_frame, drives=True)
            except ClipError as error:
                if config.dataset_params.on_bad_clip == "error":
                    raise
                log.warning("left out: %s", error)
                skipped += 1
                continue
            key = hashlib.sha256(f"{settings} {content_hash(face)} {content_hash(clip)}".encode()).hexdigest()[:16]
            name = f"{clip.clip.label}-{face.clip.label}"
            if results.finished(name, key):
                done += 1
            else:
                fps = loader.fps(clip)
                results.add(_animate_pair(config, options.reference_frame, engine, fps, face, clip, folder / name, key))
            if len(sheet) < SHEET_ROWS:
                sheet.append(_sheet_row(results.rows[name], clip, folder, options.reference_frame))
        if sheet:
            write_contact_sheet(folder / "contact_sheet.png", sheet)
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()
    log.info("%d clips in %s (%d were there before, %d left out)", len(pairs) - skipped, folder, done, skipped)


def _prepared(
    clip: Clip, known: dict[tuple[Path, bool], PreparedClip], loader: ClipLoader, reference: int, *, drives: bool
) -> PreparedClip:
    """A clip in one of its two roles: only a driving clip needs action units, which are taken relative to its own."""
    key = (clip.path, drives)
    if key not in known:
        known[key] = loader.load(clip, "test", action_units=drives, reference=reference)
    return known[key]


def content_hash(clip: PreparedClip) -> str:
    """A text that stands for all that a clip brings: frames, landmarks, action units."""
    arrays = [array.tobytes() for array in (clip.landmarks, clip.action_units) if array is not None]
    return hashlib.sha256(b"".join([clip.cached.key.encode(), *arrays])).hexdigest()


def _animate_pair(
    config: Config,
    reference: int,
    engine: Engine,
    fps: float,
    source: PreparedClip,
    driving: PreparedClip,
    result: Path,
    key: str,
) -> dict[str, Any]:
    """Generate one clip and write everything about it; the row goes into the table when all is there."""
    began = time.perf_counter()
    params = config.animate_params
    generated = list(engine.animate(source, driving, params, reference=reference))
    frames, keypoints = [g.frame for g in generated], np.stack([g.keypoints for g in generated])
    write_frames(result, frames)
    write_array(result.with_name(f"{result.name}_keypoints.npy"), keypoints)
    video = ""
    if params.format != ".png":
        video = write_video(result.with_name(result.name + params.format), frames, fps, crf=params.crf).name
        beside = side_by_side(list(driving.cached.frames()), frames)
        write_video(result.with_name(f"{result.name}_comparison{params.format}"), beside, fps, crf=params.crf)
    motion = np.linalg.norm(keypoints - keypoints[reference], axis=-1) / 2  # -> (T, N), frame widths
    return {
        "source": source.name,
        "driving": driving.name,
        "frames": len(frames),
        "fps": fps,
        "apex": int(motion.mean(axis=1).argmax()),
        "largest_motion": round(float(motion.max()), 6),
        "folder": result.name,
        "video": video,
        "seconds": round(time.perf_counter() - began, 3),
        "key": key,
    }


def _sheet_row(row: Mapping[str, str], driving: PreparedClip, folder: Path, reference: int) -> SheetRow:
    apex = int(row["apex"])
    shown, frames = driving.cached.frames(), folder / row["folder"]
    result = [iio.imread(frames / f"{i:04d}.png") for i in (reference, apex)]
    label = f"{row['source']} <- {row['driving']}, apex frame {apex}"
    return SheetRow(label, (shown[reference], shown[apex]), (result[0], result[1]))
