"""Set-up shared by all modes that generate clips: engine with weights, clip loader, folder of results."""

import hashlib
from pathlib import Path
from typing import Any

from clips.loader import ClipLoader, make_clip_loader
from config.experiment import Config
from config.options import RunOptions
from core.checkpoints import load_networks, read_checkpoint
from core.inference import inference_device
from core.memory import check_memory
from core.models import initial_model
from errors import UserError
from generation.engine import Engine


def make_engine(config: Config, options: RunOptions, batch_size: int, *, fast_error: float = 0.0) -> tuple[Engine, str]:
    """Build a model, load its weights and move it to its device.

    Returns:
        The engine, and a hash of the weights; the family's name where it has none.
    Raises:
        UserError: no checkpoint for a family that needs one, or one that does not fit.
    """
    device = inference_device(options.device_ids, config.train_params.precision)
    check_memory(config, "generate", batch_size, device.device)
    model = initial_model(config)
    key, loaded = config.family, set[str]()
    if model.networks():
        if options.checkpoint is None:
            raise UserError(f"--checkpoint is required to generate clips with the family `{config.family}`")
        loaded = load_networks(model, read_checkpoint(options.checkpoint), config, options.checkpoint)
        with options.checkpoint.open("rb") as file:
            key = hashlib.file_digest(file, "sha256").hexdigest()
    if config.animate_params.mode == "avd" and "avd_network" not in loaded:
        raise UserError(
            f"{options.checkpoint or config.family}: has no avd_network, which animate_params.mode `avd` needs; run "
            "--mode train_avd, or use `relative`"
        )
    return Engine(model, device, batch_size, fast_error=fast_error), key


def make_loader(config: Config, engine: Engine) -> ClipLoader:
    """A loader of clips with what the model needs."""
    model = engine.model
    return make_clip_loader(
        config.dataset_params,
        engine.device.name,
        landmarks=model.needs_landmarks,
        action_units=model.needs_action_units,
        size_problems=config.size_problems,
    )


def animation_settings(config: Config) -> list[Any]:
    """Settings on which an animated clip depends, for the keys of `results.csv`."""
    params = config.animate_params.model_dump(mode="json", exclude={"num_pairs", "batch_size"})
    return [config.model_options, params]


def result_folder(options: RunOptions, name: str) -> Path:
    """Folder of results: beside the checkpoint, or `LOG_DIR/<config>` for a family without one."""
    parent = options.checkpoint.parent if options.checkpoint else options.log_dir / options.config_path.stem
    folder = parent / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder
