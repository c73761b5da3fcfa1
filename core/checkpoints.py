"""Checkpoint files of this program and of the published code bases, read without running any code in them.

A checkpoint is a dict. Its top level holds the state dict of each network under its published name, the optimisers,
`epoch` (the last finished one) and, in ours, `format`, `family`, `config`, `step` and `pairs` (finished ones of the
next epoch) and `total_steps`. Learning rates and random numbers follow from epoch, step and seed, so nothing more is
needed to resume. Ours contain tensors, numbers, text, lists and dicts only.
"""

import logging
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from config.experiment import FORMAT, Config
from config.published import published_settings
from config.retired import without_retired
from core.files import replacing_file
from errors import UserError, first_line
from modules.trainable import Optimiser, Trainable

FAMILY_NETWORKS = {"inpainting_network": "tps", "region_predictor": "mraa", "generator": "fomm"}

log = logging.getLogger("checkpoints")


class _NumberType:
    """Stand-in for `numpy.dtype` in checkpoints: the real one would let a crafted file set its internals, such as a
    claim to hold Python objects."""

    CODES = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1", "?")

    def __init__(self, code: object, *_: object):
        if code not in self.CODES:
            raise ValueError(f"expected a number type, got {code!r}")
        self.code = str(code)
        self.type = np.dtype(self.code)

    def __setstate__(self, state: object) -> None:
        order = next((order for order in "<>|=" if state == (3, order, None, None, None, -1, -1, 0)), None)
        if order is None:
            raise ValueError("expected the state of a number type")
        self.type = np.dtype(order + self.code)


def _number(kind: object, data: object) -> int | float | bool:
    """Stand-in for NumPy's scalar constructor: the number itself."""
    if not isinstance(kind, _NumberType) or not isinstance(data, bytes) or len(data) != kind.type.itemsize:
        raise ValueError("expected the bytes of one number")
    number: int | float | bool = np.frombuffer(data, kind.type)[0].item()
    return number


# Published optimiser states contain NumPy scalars, pickled under the module name of NumPy 1 or of NumPy 2.
_SAFE: list[Any] = [
    (_NumberType, "numpy.dtype"),
    (_number, "numpy.core.multiarray.scalar"),
    (_number, "numpy._core.multiarray.scalar"),
]


class CheckpointError(UserError):
    """A checkpoint cannot be used; the message names the file and the remedy."""


def write_checkpoint(path: Path, contents: Mapping[str, Any]) -> None:
    """Write a checkpoint atomically; a previous file of that name is kept if the new one cannot be written.

    Raises:
        UserError: the disk is full or not writable.
    """
    try:
        with replacing_file(path, "make room") as temporary, temporary.open("wb") as file:
            torch.save(dict(contents), file)
    except RuntimeError as error:  # raised by torch after an error of the file
        reason = error.__context__.strerror if isinstance(error.__context__, OSError) else first_line(error)
        raise CheckpointError(f"{path}: could not be written ({reason}); make room") from error


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint to the CPU.

    Returns:
        Its contents, with NumPy scalars converted to numbers.
    Raises:
        CheckpointError: the file is missing, empty, truncated, no checkpoint, or contains Python objects.
    """
    _check_start(path)
    try:
        with torch.serialization.safe_globals(_SAFE):
            contents = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL ([\w.]+)", str(error))
        if found:
            raise CheckpointError(
                f"{path}: contains the Python object {found[1]}, which is not loaded because it could run code"
            ) from error
        raise CheckpointError(f"{path}: not a checkpoint, or damaged; download it again") from error
    except Exception as error:  # damaged bytes lead the unpickler into errors of every kind
        raise CheckpointError(f"{path}: truncated or damaged ({first_line(error)}); download it again") from error
    if not isinstance(contents, dict):
        raise CheckpointError(f"{path}: expected a dict of networks, got {type(contents).__name__}")
    return _to_plain(contents)


def _check_start(path: Path) -> None:
    """Raise CheckpointError if the first bytes show that the file is something else."""
    try:
        with path.open("rb") as file:
            start = file.read(512)
    except OSError as error:
        raise CheckpointError(f"{path}: expected a readable checkpoint file ({error.strerror})") from error
    if not start:
        raise CheckpointError(f"{path}: the file is empty; download it again")
    if start.startswith(b"version https://git-lfs"):
        raise CheckpointError(f"{path}: a Git-LFS pointer, not the checkpoint itself; run `git lfs pull`")
    if re.match(rb"\s*<(!doctype|html|head|\?xml)", start, re.IGNORECASE):
        raise CheckpointError(f"{path}: a web page, not a checkpoint; download the file itself")


def _to_plain(value: Any) -> Any:
    """Convert NumPy scalars to numbers, ordered dicts to dicts and tuples to lists."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return {key: _to_plain(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [_to_plain(child) for child in value]
    return value


# --- contents ---------------------------------------------------------------------------------------------------------


def checkpoint_contents(
    config: Config,
    model: Trainable,
    optimisers: Mapping[str, Optimiser],
    *,
    epoch: int,
    step: int,
    epoch_key: str,
) -> dict[str, Any]:
    """Contents of a checkpoint from which training can resume.

    Args:
        epoch: last finished epoch, -1 for none.
        step: finished steps of the epoch after it.
        epoch_key: published key of the epoch.
    """
    return _to_plain(
        {
            "format": FORMAT,
            "family": config.family,
            "config": config.model_dump(mode="json"),
            **{name: network.state_dict() for name, network in model.networks().items()},
            **{name: entry.optimizer.state_dict() for name, entry in optimisers.items()},
            epoch_key: epoch,
            "step": step,
        }
    )


def load_networks(model: Trainable, contents: Mapping[str, Any], config: Config, path: Path) -> set[str]:
    """Load the weights of a model's networks, strictly.

    Args:
        contents: from `read_checkpoint`.
        config: of the model.
        path: of the checkpoint, for messages.
    Returns:
        Names of the networks that were loaded; `optional_networks` of the model may be missing.
    Raises:
        CheckpointError: another family, other settings, missing networks, or other shapes.
    """
    _check_family(contents, config.family, path)
    _check_settings(model, contents, config, path)
    loaded = set()
    for name, network in model.networks().items():
        if name not in contents:
            if name in model.optional_networks:
                continue
            raise CheckpointError(f"{path}: expected the network `{name}`, found {', '.join(sorted(contents))}")
        load_state(network, contents[name], f"{path}: {name}")
        loaded.add(name)
    return loaded


def _check_family(contents: Mapping[str, Any], family: str, path: Path) -> None:
    found = contents.get("family")
    if found is None:
        found = next((name for network, name in FAMILY_NETWORKS.items() if network in contents), None)
    if found is None:
        raise CheckpointError(f"{path}: expected a checkpoint with networks, found {', '.join(map(str, contents))}")
    if found != family:
        raise CheckpointError(f"{path}: a checkpoint of the family `{found}`, the config says `{family}`")


def _check_settings(model: Trainable, contents: Mapping[str, Any], config: Config, path: Path) -> None:
    """Compare the settings in the checkpoint with the config: state dicts do not show them, or only as missing keys."""
    own = config.model_params.model_dump(mode="json")
    if "config" in contents:
        stored = _stored_settings(contents["config"], path)
    else:
        stored = published_settings(config.family, own.get("prior", "none"))
    differing = [
        f"model_params.{key} is {value}, the config says {_at(own, key)}"
        for key, value in {**stored, **model.settings_in(contents)}.items()
        if _at(own, key) != value
    ]
    if differing:
        kind = "the checkpoint's" if "config" in contents else "a published checkpoint's"
        raise CheckpointError(f"{path}: {kind} {'; '.join(differing)}; make them agree")


def _stored_settings(stored: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Section `model_params` of the config in a checkpoint, without keys that are no longer options."""
    try:
        current = without_retired({"model_params": stored["model_params"]})
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from error
    section: dict[str, Any] = current["model_params"]
    return section


def _at(settings: Any, path: str) -> Any:
    """Value at a dotted path of nested dicts; None if there is none."""
    for key in path.split("."):
        settings = settings.get(key) if isinstance(settings, dict) else None
    return settings


def load_state(network: torch.nn.Module, state: Any, name: str) -> None:
    """Load a state dict strictly.

    Args:
        state: from a checkpoint.
        name: of file and network, for messages.
    Raises:
        CheckpointError: no state dict, or missing, unknown or differently sized entries.
    """
    if not isinstance(state, dict):
        raise CheckpointError(f"{name}: expected a state dict, got {type(state).__name__}")
    own = network.state_dict()
    missing = [key for key in own if key not in state]
    unknown = [key for key in state if key not in own]
    shapes = [
        f"{key} is {list(state[key].shape)}, the config gives {list(value.shape)}"
        for key, value in own.items()
        if key in state and state[key].shape != value.shape
    ]
    problems = []
    for what, keys in (("missing", missing), ("unknown", unknown), ("other size", shapes)):
        if keys:
            more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
            problems.append(f"{what}: {keys[0]}{more}")
    if problems:
        raise CheckpointError(f"{name}: does not fit the config ({'; '.join(problems)})")
    network.load_state_dict(state, strict=True)


def load_optimisers(optimisers: Mapping[str, Optimiser], contents: Mapping[str, Any], path: Path) -> None:
    """Restore optimiser states; learning rates are those of the config.

    Raises:
        CheckpointError: a state that does not fit the networks.
    """
    for name, entry in optimisers.items():
        if name not in contents:
            log.warning("%s: no state of the optimiser `%s`, which starts from scratch", path, name)
            continue
        try:
            entry.optimizer.load_state_dict(contents[name])
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{path}: {name}: does not fit the config ({first_line(error)})") from error


def finished_epoch(contents: Mapping[str, Any], epoch_key: str, path: Path) -> int:
    """Last finished epoch of a checkpoint; -1 for none."""
    epoch = contents.get(epoch_key)
    if not isinstance(epoch, int):
        raise CheckpointError(f"{path}: expected a whole number under `{epoch_key}`, got {epoch!r}")
    return epoch
