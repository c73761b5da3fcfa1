"""Building of models, and loading of the frozen loss networks."""

import re
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from config.experiment import Config
from config.families import FAMILIES
from core.checkpoint_files import CheckpointError, read_checkpoint
from core.checkpoint_values import first_names
from core.weights import arrange_networks, load_state, plain_key
from errors import UserError, first_line
from modules.model import MotionModel

if TYPE_CHECKING:
    from modules.au_estimator import AUEstimator
    from modules.losses import VGG19

VGG19_FILE = "vgg19-dcbb9e9d.pth"


def build_model(config: Config) -> MotionModel:
    """Build a family's model with random weights; its class is imported on first use."""
    module, name = FAMILIES[config.family].model.split(":")
    model: MotionModel = getattr(import_module(module), name)(config.model_params)
    return model


def initial_model(config: Config) -> MotionModel:
    """Build a model with random weights from the config's seed.

    Raises:
        UserError: sizes of networks that do not fit together.
    """
    torch.manual_seed(config.seed)
    try:
        return build_model(config)
    except ValueError as error:
        raise UserError(f"model_params: {error}") from error


def load_au_estimator(path: Path) -> "AUEstimator":
    """Load the frozen action-unit estimator of `--mode train_au`.

    Raises:
        CheckpointError: no checkpoint, or one of another mode.
    """
    from modules.au_estimator import AUEstimator

    contents = arrange_networks(read_checkpoint(path), frozenset({"au_estimator"}))
    if "au_estimator" not in contents:
        raise CheckpointError(f"{path}: expected a checkpoint of --mode train_au, found {first_names(contents)}")
    estimator = AUEstimator()
    load_state(estimator.au_estimator, contents["au_estimator"], f"{path}: au_estimator")
    return estimator.requires_grad_(False).eval()


def load_vgg19(weights: str) -> "VGG19":
    """Load the feature network of the perceptual loss.

    Args:
        weights: `imagenet` (torchvision's, downloaded once), `random`, or a file in torchvision's format.
    Raises:
        CheckpointError: the weights are missing; the message names the file, its folder and how to provide it.
    """
    from modules.losses import VGG19  # torchvision takes long to load

    network = VGG19()
    if weights == "random":
        return network
    stored = _torchvision_vgg19() if weights == "imagenet" else read_checkpoint(Path(weights))
    nested = stored.get("state_dict")
    states = nested if isinstance(nested, dict) else stored
    state = {plain_key(key): value for key, value in states.items() if isinstance(key, str)}
    own = {}
    for key, value in network.state_dict().items():
        published = re.sub(r"^slice\d+\.", "features.", key)
        if key in ("mean", "std"):
            own[key] = value
        elif published in state:
            own[key] = state[published]
        else:
            raise CheckpointError(f"{weights}: expected torchvision's VGG-19 with {published}, found other keys")
    load_state(network, own, weights)
    return network


def _torchvision_vgg19() -> dict[str, torch.Tensor]:
    from torchvision.models import VGG19_Weights

    folder = Path(torch.hub.get_dir()) / "checkpoints"
    try:
        return VGG19_Weights.IMAGENET1K_V1.get_state_dict(progress=True, check_hash=True)
    except (OSError, RuntimeError) as error:
        raise CheckpointError(
            f"{folder / VGG19_FILE}: VGG-19 weights are missing and could not be downloaded ({first_line(error)}); "
            f"put the file from {VGG19_Weights.IMAGENET1K_V1.url} there, or name it in train_params.perceptual_network"
        ) from error
