"""Key and shape lists of full-size published checkpoints, held against our networks."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import nn

BUILDERS: dict[tuple[str, str], Callable[[dict[str, Any]], nn.Module]] = {}
"""Makes a network from the constructor arguments of a manifest, by family, where a manifest holds several systems with
the system's name behind it, and name of the network."""


def builds(name: str, *families: str) -> Callable[[Callable], Callable]:
    """Register a network builder for the manifests of some families."""

    def register(function: Callable) -> Callable:
        BUILDERS.update({(family, name): function for family in families})
        return function

    return register


def compare_manifest(manifest: Mapping[str, Any]) -> Iterator[tuple[str, list[str] | None]]:
    """Hold every network of every configuration against the manifest.

    Yields:
        Configuration and network, and the problems found; None where no such network exists here.
    """
    for config, entry in manifest["configs"].items():
        for network, shapes in entry["modules"].items():
            family, system = manifest["family"], config.split(":")[0]
            builder = BUILDERS.get((f"{family} {system}", network)) or BUILDERS.get((family, network))
            if builder is None:
                yield f"{config} {network}", None
                continue
            with torch.device("meta"):
                state = builder(dict(entry["constructor_kwargs"].get(network, {}))).state_dict()
            own = {key: list(value.shape) for key, value in state.items()}
            problems = [f"{key} missing" for key in shapes if key not in own]
            problems += [f"{key} unknown" for key in own if key not in shapes]
            problems += [f"{k}: {own[k]} not {v}" for k, v in shapes.items() if k in own and own[k] != v]
            if not problems and list(own) != list(shapes):
                problems = ["keys in another order, which optimiser states depend on"]
            yield f"{config} {network}", problems
