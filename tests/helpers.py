"""Images, landmarks and training batches that the tests of the families share."""

from typing import Any

import torch
from torch import Tensor

from modules.model import Condition, Motion, MotionModel
from tests.conftest import SIZE, face_landmarks


def pictures(batch: int = 2) -> Tensor:
    """Random images (B, 3, SIZE, SIZE) in [0, 1]; a larger batch begins with the same ones."""
    return torch.rand(batch, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


def landmarks(batch: int = 2) -> Tensor:
    """The same face in every sample: (B, 68, 2), xy in [-1, 1]."""
    units = torch.from_numpy(face_landmarks(SIZE)).float() / (SIZE - 1) * 2 - 1
    return units.expand(batch, -1, -1).clone()


def training_batch(batch: int = 4) -> dict[str, Tensor]:
    """Training pairs whose landmarks move by about 0.02 normalised units."""
    noise = 0.02 * torch.randn(batch, 68, 2, generator=torch.Generator().manual_seed(2))
    return {
        "source": pictures(batch),
        "driving": pictures(batch).flip(0),
        "source_landmarks": landmarks(batch),
        "driving_landmarks": landmarks(batch) + noise,
    }


def generate(
    model: MotionModel,
    source: Tensor,
    motion_source: Motion,
    motion_driving: Motion,
    condition: Condition | None = None,
) -> dict[str, Any]:
    """Encode and generate without gradients."""
    with torch.no_grad():
        return model.generate(model.encode(source), motion_source, motion_driving, condition)


def assigned(section: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """A section with values set by `path__to__key`."""
    for path, value in changes.items():
        *parents, key = path.split("__")
        at = section
        for parent in parents:
            at = at.setdefault(parent, {})
        at[key] = value
    return section
