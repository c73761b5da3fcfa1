"""Loading of state dicts and optimiser states that come from files: every tensor is checked before it is used."""

from collections.abc import Mapping
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from core.checkpoint_files import CheckpointError
from core.checkpoint_values import first_names, shown_value

LARGEST_WEIGHT = 1e15  # one flipped bit of the exponent turns 0.02 into 5e36
LARGEST_MOMENT = 1e30  # of an optimiser; squares of gradients
WRAPPER = "module."  # prefix of the keys of DataParallel
COMPILED = "_orig_mod."  # prefix within the keys of a compiled network
NESTS = ("state_dict", "model_state_dict", "model")  # keys under which other programs store all networks


# --- arrangement ------------------------------------------------------------------------------------------------------


def arrange_networks(contents: Mapping[Any, Any], names: frozenset[str], depth: int = 0) -> dict[Any, Any]:
    """Find the networks in a checkpoint that another program arranged.

    Networks may be under the key `state_dict`, `model_state_dict` or `model`, and may be one flat state dict whose keys
    begin with the names of networks.

    Args:
        contents: of the checkpoint.
        names: of networks that it may hold.
    Returns:
        Contents with the state dict of each network under its name, if there are any; others stay as they are.
    """
    if names & contents.keys():
        return dict(contents)
    nests = [key for key in NESTS if isinstance(contents.get(key), Mapping)]
    inner = [arrange_networks(contents[key], names, depth + 1) for key in nests if depth < len(NESTS)]
    found = [arranged for arranged in inner if names & arranged.keys()]
    if len(found) == 1:
        return {**{key: value for key, value in contents.items() if key not in nests}, **found[0]}
    networks: dict[Any, Any] = {}
    others: dict[Any, Any] = {}
    for key, value in contents.items():
        name, dot, rest = plain_key(key).partition(".") if isinstance(key, str) else ("", "", "")
        if dot and name in names and isinstance(value, Tensor):
            networks.setdefault(name, {})[rest] = value
        else:
            others[key] = value
    return {**others, **networks}


def plain_key(key: str) -> str:
    """Key of a state dict without the prefixes of DataParallel and of compiled networks."""
    key = key.replace(COMPILED, "")
    while key.startswith(WRAPPER):
        key = key.removeprefix(WRAPPER)
    return key


def plain_keys(state: Mapping[Any, Any], own: Mapping[str, Any]) -> dict[Any, Any]:
    """State dict without the prefixes of wrappers, if they can be removed without doubt.

    Args:
        own: state dict of the network, whose keys stay as they are.
    """
    plain = {plain_key(key) if isinstance(key, str) and key not in own else key: value for key, value in state.items()}
    return plain if len(plain) == len(state) else dict(state)


# --- networks ---------------------------------------------------------------------------------------------------------


def load_state(network: torch.nn.Module, state: Any, name: str) -> None:
    """Load a state dict strictly.

    Args:
        state: from a checkpoint; keys may have the prefixes of DataParallel and of compiled networks.
        name: of file and network, for messages.
    Raises:
        CheckpointError: no state dict; missing, unknown or differently sized entries; or values that no network has.
    """
    if not isinstance(state, Mapping):
        raise CheckpointError(f"{name}: expected a state dict, got {shown_value(state)}")
    own = network.state_dict()
    state = plain_keys(state, own)
    both = [(key, state[key], value) for key, value in own.items() if key in state]
    problems = {
        "missing": [key for key in own if key not in state],
        "unknown": [shown_value(key) for key in state if key not in own],
        "other type": [f"{key} is {kind}" for key, found, value in both if (kind := _other_type(found, value))],
        "other size": [
            f"{key} is {list(found.shape)}, the config gives {list(value.shape)}"
            for key, found, value in both
            if not _other_type(found, value) and found.shape != value.shape
        ],
    }
    texts = [
        f"{problem}: {found[0]}{f' and {len(found) - 1} more' if len(found) > 1 else ''}"
        for problem, found in problems.items()
        if found
    ]
    if texts:
        raise CheckpointError(f"{name}: does not fit the config ({'; '.join(texts)})")
    for key, found, _ in both:
        if problem := impossible_values(found, LARGEST_WEIGHT, positive=key.endswith("running_var")):
            raise CheckpointError(f"{name}: {key} contains {problem}; use an earlier checkpoint, or download it again")
    network.load_state_dict(state, strict=True)


def _other_type(found: Any, own: Tensor) -> str:
    """Type of a value that cannot take the place of a tensor of the network; empty if it can."""
    if not isinstance(found, Tensor):
        return shown_value(found)
    if found.layout != torch.strided or found.is_quantized or found.is_meta:
        return "a sparse, quantised or empty tensor"
    if found.dtype == torch.bool or found.is_complex() or found.is_floating_point() != own.is_floating_point():
        return f"of {found.dtype}, the config gives {own.dtype}"
    return ""


def impossible_values(tensor: Tensor, limit: float, *, positive: bool = False) -> str:
    """Describe values that only damage or divergence can explain; empty if there are none.

    Args:
        limit: largest absolute value.
        positive: True if values below zero are impossible.
    """
    if not tensor.is_floating_point() or not tensor.numel():
        return ""
    low, high = (float(value) for value in torch.aminmax(tensor.detach().flatten()))
    if not (abs(low) < float("inf") and abs(high) < float("inf")):  # NaN too
        return "NaN or infinite values"
    if max(-low, high) > limit:
        return f"the value {low if -low > high else high:.3g}, too large for a network"
    return f"the variance {low:.3g}" if positive and low < 0 else ""


# --- optimisers -------------------------------------------------------------------------------------------------------

ADAM_STATE = {"step", "exp_avg", "exp_avg_sq"}


def optimiser_state(optimizer: torch.optim.Optimizer, stored: Any) -> dict[str, Any]:
    """Check the stored state of an optimiser.

    Args:
        optimizer: that is to take it.
        stored: from a checkpoint.
    Returns:
        Its state, with the settings of `optimizer`: only what is learned comes from a checkpoint.
    Raises:
        ValueError: a state that does not fit the parameters, or impossible values.
    """
    if not isinstance(stored, Mapping) or not isinstance(stored.get("state"), Mapping):
        raise ValueError("expected the state of an optimiser")
    own = optimizer.param_groups
    numbers = _parameter_numbers(stored.get("param_groups"))
    sizes = [len(group["params"]) for group in own]
    if (found := [len(group) for group in numbers]) != sizes:
        raise ValueError(f"has groups of {found[:5]} parameters, the networks of {sizes}")
    parameters = dict(
        zip(chain.from_iterable(numbers), chain.from_iterable(group["params"] for group in own), strict=True)
    )
    if len(parameters) != sum(sizes):
        raise ValueError("numbers a parameter twice")
    if unknown := [key for key in stored["state"] if key not in parameters]:
        raise ValueError(f"has states of unknown parameters: {first_names(unknown)}")
    settings = [{key: value for key, value in group.items() if key != "params"} for group in own]
    return {
        "state": {
            key: _parameter_state(optimizer, f"parameter {key}", entry, parameters[key])
            for key, entry in stored["state"].items()
        },
        "param_groups": [{**group, "params": entry} for group, entry in zip(settings, numbers, strict=True)],
    }


def _parameter_numbers(groups: Any) -> list[list[int]]:
    """Numbers of the parameters of each group of a stored optimiser."""
    numbers: list[list[int]] = []
    for group in groups if isinstance(groups, list) else []:
        entry = group.get("params") if isinstance(group, Mapping) else None
        if not isinstance(entry, list) or not all(isinstance(number, int) for number in entry):
            raise ValueError("expected groups of numbered parameters")
        numbers.append(entry)
    return numbers


def _parameter_state(optimizer: torch.optim.Optimizer, name: str, entry: Any, parameter: Tensor) -> dict[str, Any]:
    """Checked state of one parameter; `step` becomes a tensor, as optimisers count today."""
    if not isinstance(entry, Mapping):
        raise ValueError(f"{name}: expected a dict, got {shown_value(entry)}")
    if isinstance(optimizer, torch.optim.Adam) and entry.keys() != ADAM_STATE:
        raise ValueError(f"{name}: expected {', '.join(sorted(ADAM_STATE))}, got {first_names(entry)}")
    state = dict(entry)
    for key, value in entry.items():
        if key == "step":
            state[key] = torch.tensor(_step(value, name))
        elif value is None and not isinstance(optimizer, torch.optim.Adam):
            continue  # such as the momentum before the first step
        elif not isinstance(value, Tensor) or _other_type(value, parameter) or value.shape != parameter.shape:
            raise ValueError(f"{name}: {shown_value(key)} is no tensor of the size {list(parameter.shape)}")
        elif problem := impossible_values(value, LARGEST_MOMENT, positive=key == "exp_avg_sq"):
            raise ValueError(f"{name}: {shown_value(key)} contains {problem}")
    return state


def _step(value: Any, name: str) -> float:
    """Number of steps of an optimiser."""
    step = value.item() if isinstance(value, Tensor) and value.numel() == 1 and not _other_type(value, value) else value
    if not isinstance(step, int | float) or isinstance(step, bool) or not 0 <= step < 2**53:
        raise ValueError(f"{name}: expected a number of steps, got {shown_value(step)}")
    return float(step)
