"""`--mode animate`: give source faces the movement of driving clips, or, by `animate_codes.py`, of FACS codes."""

import hashlib
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from animation_list import Planned, animate_list, content_hash, read_result, write_result
from checkpoints import initial_model, load_networks, read_checkpoint
from clips import Clip, open_clip
from config.options import RunOptions
from config.schema import Config
from devices import make_fabric
from errors import UserError
from frames_dataset import ClipLoader, PreparedClip, animation_pairs, make_clip_loader
from inference import Engine, Generated
from video import SheetRow, side_by_side, write_frames, write_video

log = logging.getLogger("animate")


def animate(config: Config, options: RunOptions) -> int:
    """Animate the pairs of the data set, one source with one driving clip, or sources with FACS codes.

    Returns:
        Exit status 0.
    Raises:
        UserError: checkpoint, clips or settings cannot be used.
    """
    if options.au is not None or options.au_list is not None:
        from animate_codes import animate_codes

        return animate_codes(config, options)
    for name in ("onset", "apex", "offset", "frames", "fps"):
        if getattr(options, name) is not None:
            raise UserError(f"--{name}: expected together with --au, got no code")
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
    return make_clip_loader(
        config.dataset_params,
        str(engine.fabric.device),
        landmarks=model.needs_landmarks,
        action_units=model.needs_action_units,
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
    check_result(result)
    face = loader.load(open_clip(source), landmark_file=options.source_landmarks, action_units=False)
    clip = loader.load(
        open_clip(driving),
        landmark_file=options.driving_landmarks,
        action_unit_file=options.driving_au,
        reference=options.reference_frame,
    )
    fps = loader.fps(clip)
    generated = engine.animate(face, clip, config.animate_params, reference=options.reference_frame)
    write_one(result, generated, fps, config.animate_params.crf)


def check_result(result: Path) -> None:
    """Refuse a `--result` that is no video."""
    if result.suffix.lower() not in (".mp4", ".gif"):
        raise UserError(f"--result {result}: expected a file ending in .mp4 or .gif")


def write_one(result: Path, generated: Iterable[Generated], fps: float, crf: int) -> None:
    """Write a video, and its frames beside it."""
    frames = [g.frame for g in generated]
    folder = result.with_name(f"{result.stem}_frames")
    write_frames(folder, frames)
    written = write_video(result, frames, fps, crf=crf)
    log.info("wrote %s and its frames in %s", written, folder)


# --- pairs of a data set ----------------------------------------------------------------------------------------------


def _animate_pairs(config: Config, options: RunOptions, engine: Engine, loader: ClipLoader, weights: str) -> None:
    reference = options.reference_frame
    folder = result_folder(options, "animation")
    prepared: dict[tuple[Path, bool], PreparedClip] = {}

    def plan(pair: tuple[Clip, Clip]) -> Planned:
        face = _prepared(pair[0], prepared, loader, reference, drives=False)
        clip = _prepared(pair[1], prepared, loader, reference, drives=True)
        return Planned(
            f"{clip.clip.label}-{face.clip.label}",
            f"{content_hash(face)} {content_hash(clip)}",
            lambda result: _animate_pair(config, reference, engine, loader.fps(clip), face, clip, result),
            lambda row: _sheet_row(row, clip, folder, reference),
        )

    animate_list(config, folder, [weights, reference], animation_pairs(config.dataset_params), plan)


def _prepared(
    clip: Clip, known: dict[tuple[Path, bool], PreparedClip], loader: ClipLoader, reference: int, *, drives: bool
) -> PreparedClip:
    """A clip in one of its two roles: only a driving clip needs action units, which are taken relative to its own."""
    key = (clip.path, drives)
    if key not in known:
        known[key] = loader.load(clip, "test", action_units=drives, reference=reference)
    return known[key]


def _animate_pair(
    config: Config,
    reference: int,
    engine: Engine,
    fps: float,
    source: PreparedClip,
    driving: PreparedClip,
    result: Path,
) -> dict[str, Any]:
    """Generate one clip and write everything about it; the row goes into the table when all is there."""
    params = config.animate_params
    generated = list(engine.animate(source, driving, params, reference=reference))
    row = write_result(result, generated, fps, params, reference)
    if params.format != ".png":
        beside = side_by_side(list(driving.cached.frames()), [g.frame for g in generated])
        write_video(result.with_name(f"{result.name}_comparison{params.format}"), beside, fps, crf=params.crf)
    return {"source": source.name, "driving": driving.name, "au": "", "onset": "", "offset": "", **row}


def _sheet_row(row: Mapping[str, str], driving: PreparedClip, folder: Path, reference: int) -> SheetRow:
    apex = int(row["apex"])
    shown = driving.cached.frames()
    label = f"{row['source']} <- {row['driving']}, apex frame {apex}"
    return SheetRow(label, read_result(folder, row, reference, apex), (shown[reference], shown[apex]))
