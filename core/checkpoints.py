"""Checkpoints of this program and of the published code bases.

A checkpoint is a dict. Its top level holds the state dict of each network under its published name, the optimisers,
`epoch` (the last finished one) and, in ours, `format`, `family`, `config`, `step` and `pairs` (finished ones of the
next epoch) and `total_steps`. Learning rates and random numbers follow from epoch, step and seed, so nothing more is
needed to resume. Ours contain tensors, numbers, text, lists and dicts only.
"""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from config.experiment import FORMAT, Config
from config.published import published_settings
from config.retired import without_retired
from core.checkpoint_files import CheckpointError, Contents, place, read_checkpoint
from core.checkpoint_pickle import to_plain
from core.checkpoint_values import first_names, shown_value
from core.files import replacing_file
from core.weights import arrange_networks, load_state, optimiser_state, plain_keys
from errors import first_line
from modules.trainable import Optimiser, Trainable

__all__ = [
    "CheckpointError",
    "checkpoint_contents",
    "finished_epoch",
    "load_networks",
    "load_optimisers",
    "read_checkpoint",
    "stored_count",
    "write_checkpoint",
]

FAMILY_NETWORKS = {"inpainting_network": "tps", "region_predictor": "mraa", "generator": "fomm"}
LARGEST_COUNT = 10**9  # of epochs and steps
SHOWN_DIFFERENCES = 3

log = logging.getLogger("checkpoints")


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
    return to_plain(
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


def load_networks(model: Trainable, contents: Mapping[Any, Any], config: Config, path: Path) -> set[str]:
    """Load the weights of a model's networks, strictly.

    Args:
        contents: from `read_checkpoint`; other programs' arrangements are found, see `arrange_networks`.
        config: of the model.
        path: of the checkpoint, for messages.
    Returns:
        Names of the networks that were loaded; `optional_networks` of the model may be missing.
    Raises:
        CheckpointError: another family, other settings, missing networks, other shapes, or impossible values.
    """
    where = _place(path, contents)
    networks = model.networks()
    contents = arrange_networks(contents, frozenset({*networks, *FAMILY_NETWORKS}))
    _check_family(contents, config.family, where)
    states = dict(_state_dicts(contents, model, where))
    _check_settings(model, {**contents, **states}, config, where)
    for name, state in states.items():
        load_state(networks[name], state, f"{where}: {name}")
    return set(states)


def _place(path: Path, contents: Mapping[Any, Any]) -> str:
    return place(path, [contents.packing] if isinstance(contents, Contents) and contents.packing else [])


def _check_family(contents: Mapping[Any, Any], family: str, where: str) -> None:
    found = contents.get("family")
    if found is None:
        found = next((name for network, name in FAMILY_NETWORKS.items() if network in contents), None)
    if found is None:
        raise CheckpointError(f"{where}: expected a checkpoint with networks, found {first_names(contents)}")
    if not isinstance(found, str) or found != family:
        raise CheckpointError(f"{where}: a checkpoint of the family `{shown_value(found)}`, the config says `{family}`")


def _state_dicts(contents: Mapping[Any, Any], model: Trainable, where: str) -> Iterator[tuple[str, dict[Any, Any]]]:
    """State dict of each network, without prefixes in its keys."""
    for name, network in model.networks().items():
        own = network.state_dict()
        if name not in contents and name in model.optional_networks:
            continue
        if name not in contents and own:
            raise CheckpointError(f"{where}: expected the network `{name}`, found {first_names(contents)}")
        state = contents.get(name, {})  # flat state dicts cannot show networks without weights
        if not isinstance(state, Mapping):
            raise CheckpointError(f"{where}: {name}: expected a state dict, got {shown_value(state)}")
        for key, value in state.items():
            if not isinstance(value, torch.Tensor):
                text = f"expected a tensor under {shown_value(key)}, got {shown_value(value)}"
                raise CheckpointError(f"{where}: {name}: {text}")
        yield name, plain_keys(state, own)


# --- settings ---------------------------------------------------------------------------------------------------------


def _check_settings(model: Trainable, contents: Mapping[Any, Any], config: Config, where: str) -> None:
    """Compare the settings in the checkpoint with the config: state dicts do not show them, or only as missing keys."""
    own = config.model_params.model_dump(mode="json")
    if "config" in contents:
        stored = _stored_settings(contents["config"], where)
    else:
        stored = published_settings(config.family, own.get("prior", "none"))
    differing = [
        difference
        for key, value in {**stored, **model.settings_in(contents)}.items()
        for difference in _differences(f"model_params.{shown_value(key)}", value, _at(own, str(key)))
    ]
    if differing:
        kind = "the checkpoint's" if "config" in contents else "a published checkpoint's"
        more = f" and {len(differing) - SHOWN_DIFFERENCES} more" if len(differing) > SHOWN_DIFFERENCES else ""
        shown = "; ".join(differing[:SHOWN_DIFFERENCES])
        raise CheckpointError(f"{where}: {kind} {shown}{more}; make them agree")


def _differences(path: str, stored: Any, own: Any) -> Iterator[str]:
    """Differences between two values of a setting or, in sections, between those of each setting."""
    if isinstance(stored, dict) and isinstance(own, dict):
        for key in dict.fromkeys((*stored, *own)):
            yield from _differences(f"{path}.{shown_value(key)}", stored.get(key), own.get(key))
    elif stored != own:
        yield f"{path} is {_setting(stored)}, the config says {_setting(own)}"


def _setting(value: Any) -> str:
    return f"[{first_names(value)}]" if isinstance(value, list) else shown_value(value)


def _stored_settings(stored: Any, where: str) -> dict[str, Any]:
    """Section `model_params` of the config in a checkpoint, without keys that are no longer options."""
    section = stored.get("model_params") if isinstance(stored, Mapping) else None
    if not isinstance(section, Mapping) or not _are_settings(section):
        raise CheckpointError(f"{where}: expected settings under `config`, got {shown_value(stored)}")
    try:
        current: dict[str, Any] = without_retired({"model_params": section})
    except ValueError as error:
        raise CheckpointError(f"{where}: {first_line(error)}") from error
    kept: dict[str, Any] = current.get("model_params", {})
    return kept


def _are_settings(value: Any) -> bool:
    """True if a value may come from an experiment file."""
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and _are_settings(child) for key, child in value.items())
    if isinstance(value, list | tuple):
        return all(map(_are_settings, value))
    return value is None or isinstance(value, str | int | float)


def _at(settings: Any, path: str) -> Any:
    """Value at a dotted path of nested dicts; None if there is none."""
    for key in path.split("."):
        settings = settings.get(key) if isinstance(settings, dict) else None
    return settings


# --- state of training ------------------------------------------------------------------------------------------------


def load_optimisers(optimisers: Mapping[str, Optimiser], contents: Mapping[Any, Any], path: Path) -> None:
    """Restore optimiser states; learning rates and other settings are those of the config.

    Raises:
        CheckpointError: a state that does not fit the networks, or impossible values.
    """
    where = _place(path, contents)
    for name, entry in optimisers.items():
        if name not in contents:
            log.warning("%s: no state of the optimiser `%s`, which starts from scratch", where, name)
            continue
        try:
            entry.optimizer.load_state_dict(optimiser_state(entry.optimizer, contents[name]))
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{where}: {name}: does not fit the config ({first_line(error)})") from error


def finished_epoch(contents: Mapping[Any, Any], epoch_key: str, path: Path) -> int:
    """Last finished epoch of a checkpoint; -1 for none."""
    return _count(contents.get(epoch_key), -1, epoch_key, _place(path, contents))


def stored_count(contents: Mapping[Any, Any], key: str, path: Path) -> int:
    """Number of steps or pairs that a checkpoint stores under a key; 0 where it does not, as in published ones."""
    return _count(contents.get(key, 0), 0, key, _place(path, contents))


def _count(value: Any, smallest: int, key: str, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not smallest <= value <= LARGEST_COUNT:
        raise CheckpointError(f"{where}: expected a whole number under `{key}`, got {shown_value(value)}")
    return value
