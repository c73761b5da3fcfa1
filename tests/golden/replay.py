"""Replays fixtures: builds our network, fills it with the recipe's weights, compares every stored output."""

import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from pydantic import BaseModel
from torch import Tensor, nn

from config.sections import Section

Outputs = dict[str, Tensor]
Params = TypeVar("Params", bound=Section)


def section(kind: type[Params], values: Mapping[str, Any]) -> Params:
    """A config section from published constructor arguments; arguments that are no options of ours are left out."""
    known: dict[str, Any] = {}
    for name, value in values.items():
        inner = kind.model_fields[name].annotation if name in kind.model_fields else None
        if isinstance(inner, type) and issubclass(inner, BaseModel) and isinstance(value, Mapping):
            known[name] = section(inner, value)
        elif name in kind.model_fields:
            known[name] = value
    return kind.model_validate(known)


@dataclass(frozen=True)
class Fixture:
    """One stored case.

    Attributes:
        family: first part of the file's name.
        meta: module class, constructor arguments, notes, tolerance.
        inputs, outputs: tensors under dotted names.
        state: explicit weights, {module: {key: tensor}}.
    """

    family: str
    meta: Mapping[str, Any]
    inputs: Outputs
    outputs: Outputs
    state: dict[str, Outputs]

    @classmethod
    def read(cls, path: Path) -> "Fixture":
        groups: dict[str, Outputs] = {"in": {}, "out": {}, "state": {}}
        with np.load(path) as file:
            meta = json.loads(str(file["meta"]))
            for name in file.files:
                group, _, key = name.partition(".")
                if group in groups:
                    groups[group][key] = torch.from_numpy(file[name])
        state: dict[str, Outputs] = {}
        for name, value in groups["state"].items():
            module, _, key = name.partition(".")
            state.setdefault(module, {})[key] = value
        return cls(path.name.split("_")[0], meta, groups["in"], groups["out"], state)

    def params(self, module: str, kind: type[Params], **changes: Any) -> Params:
        """Constructor arguments of a module of the case, as a config section."""
        return section(kind, {**self.kwargs(module), **changes})

    def kwargs(self, module: str) -> dict[str, Any]:
        """Constructor arguments of a module of the case."""
        return dict(self.meta["modules"][module]["kwargs"])

    def filled(self, module: str, network: nn.Module) -> nn.Module:
        """Fill a network with the weights of a module of the case, and hold them to the stored digest."""
        fill(network, self.state.get(module, {}))
        check_digest(network, self.meta["modules"][module]["digest"])
        return network.eval()


Replay = Callable[[Fixture], Outputs]
REPLAYS: dict[tuple[str, str], Replay] = {}
"""Replay functions by family and module class."""


def replays(family: str, *module_classes: str) -> Callable[[Replay], Replay]:
    """Register a function for the fixtures of a family and module class."""

    def register(function: Replay) -> Replay:
        REPLAYS.update({(family, name): function for name in module_classes})
        return function

    return register


def _kept(key: str) -> bool:
    """True if the recipe leaves a state entry as constructed."""
    parts = key.split(".")
    antialias = key.endswith("down.weight") or (parts[-1] == "weight" and "downs" in parts)
    return antialias or key.endswith("num_batches_tracked") or key in ("mean", "std")


def recipe(key: str, shape: torch.Size) -> Tensor:
    """Weights that depend on the key alone, so that a wrong attribute name shows up as a wrong number."""
    noise = np.random.default_rng(zlib.crc32(key.encode())).standard_normal(tuple(shape)).astype(np.float32)
    if key.endswith("running_mean"):
        return torch.from_numpy(np.float32(0.1) * noise)
    if key.endswith("running_var"):
        return torch.from_numpy(np.float32(1) + np.float32(0.1) * np.abs(noise))
    if key.endswith("bias"):
        return torch.from_numpy(np.float32(0.05) * noise)
    if len(shape) == 1:
        return torch.from_numpy(np.float32(1) + np.float32(0.1) * noise)
    return torch.from_numpy((noise / np.sqrt(np.prod(shape[1:]))).astype(np.float32))


def fill(network: nn.Module, explicit: Mapping[str, Tensor]) -> None:
    """Set every weight by the recipe, then the explicit ones."""
    state = network.state_dict()
    for key, value in state.items():
        if key in explicit:
            state[key] = explicit[key].reshape(value.shape)
        elif not _kept(key):
            state[key] = recipe(key, value.shape)
    network.load_state_dict(state, strict=True)


def check_digest(network: nn.Module, digest: Mapping[str, float]) -> None:
    """Raise AssertionError where the filled weights differ from those that made the fixture."""
    values = [
        value.double()
        for key, value in network.state_dict().items()
        if not key.endswith("num_batches_tracked") and (not _kept(key) or key in ("mean", "std"))
    ]
    got = {
        "numel": sum(value.numel() for value in values),
        "sum": float(sum(value.sum() for value in values)),
        "abs_sum": float(sum(value.abs().sum() for value in values)),
    }
    for name, value in got.items():
        if abs(value - digest[name]) > 1e-6 * max(1.0, digest["abs_sum"]):
            raise AssertionError(f"weights differ: {name} {value} instead of {digest[name]}")


def worst_fraction(fixture: Fixture, got: Outputs) -> float:
    """Largest difference of any stored output, as a fraction of its tolerance.

    Raises:
        AssertionError: an output is missing or has another shape.
    """
    worst = 0.0
    for name, reference in fixture.outputs.items():
        if name not in got:
            raise AssertionError(f"{name} was not replayed")
        value = got[name].detach()
        if value.shape != reference.shape and value.shape[-2:] == (2 * reference.shape[-2], 2 * reference.shape[-1]):
            value = value[..., ::2, ::2]  # wide feature maps are stored subsampled
        if value.shape != reference.shape:
            raise AssertionError(f"{name} has shape {tuple(value.shape)} instead of {tuple(reference.shape)}")
        worst = max(worst, _fraction(name, value.double(), reference.double(), fixture.meta["tolerance"]))
    return worst


def _fraction(name: str, value: Tensor, reference: Tensor, tolerance: Mapping[str, Any]) -> float:
    difference = value - reference
    if ".grad." in name or name.startswith("grad."):
        norm = float(reference.norm())
        return float(difference.norm()) / max(norm, 1e-12) / tolerance["grad_normwise_rel"]
    bounds = tolerance
    if name.startswith("perceptual_l1.") and "perceptual_l1" in tolerance:
        bounds = tolerance["perceptual_l1"]
    elif name in tolerance.get("loose", {}).get("keys", ()):
        bounds = tolerance["loose"]
    return float((difference.abs() / (bounds["atol"] + bounds["rtol"] * reference.abs())).max())


@dataclass(frozen=True)
class Result:
    """Outcome of one case; `passed` is None for a case that nobody knows how to replay."""

    name: str
    passed: bool | None
    detail: str


def replay_directory(directory: Path) -> Iterator[Result]:
    """Replay every fixture and manifest of a directory."""
    from tests.golden.manifests import compare_manifest

    for path in sorted(directory.glob("*.npz")):
        fixture = Fixture.read(path)
        replay = REPLAYS.get((fixture.family, fixture.meta["module_class"]))
        if replay is None:
            yield Result(path.stem, None, f"no replay for {fixture.meta['module_class']} of {fixture.family}")
            continue
        try:
            worst = worst_fraction(fixture, replay(fixture))
            yield Result(path.stem, worst <= 1, f"worst difference {worst:.3f} of the tolerance")
        except (AssertionError, KeyError, RuntimeError, TypeError, ValueError) as error:
            yield Result(path.stem, False, f"{type(error).__name__}: {error}")
    for path in sorted(directory.glob("manifest_*.json")):
        for name, problems in compare_manifest(json.loads(path.read_text(encoding="utf-8"))):
            passed = None if problems is None else not problems
            detail = "; ".join(problems[:3]) if problems else "keys and shapes" if passed else "no such family"
            yield Result(f"{path.stem}: {name}", passed, detail)
