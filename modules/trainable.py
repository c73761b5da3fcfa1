"""Networks with losses and optimisers, as the training loop takes them.

Dimension letters: B batch, H x W image.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Optimiser:
    """An optimiser and the networks that it trains.

    Attributes:
        optimizer: over the parameters of `networks`, in that order.
        networks: names of the networks.
        clip_norm: largest absolute gradient by network name; networks without an entry are not clipped.
        start_epoch: first epoch in which the optimiser steps, from 0; before, its networks get no gradient, without
            which the gradient scaler of 16-mixed precision cannot step.
        adversary: True steps after the other optimisers, on `discriminator_losses`.
    """

    optimizer: torch.optim.Optimizer
    networks: tuple[str, ...]
    clip_norm: Mapping[str, float]
    start_epoch: int = 0
    adversary: bool = False


class Trainable(nn.Module):
    """Networks with losses, as the training loop takes them.

    Attributes:
        network_names: attributes that are networks of the model, in the order in which checkpoints hold them. All other
            attributes, such as loss networks, are never saved and must be frozen.
        optional_networks: names of networks that a checkpoint may lack.
        needs_landmarks: True if training pairs need 68 landmarks.
        needs_action_units: True if training pairs need the difference of their action units.
        checkpoint_suffixes, epoch_keys: published ending of checkpoint names, and key of the last finished epoch in
            them, by mode.
    """

    network_names: ClassVar[tuple[str, ...]]
    optional_networks: ClassVar[frozenset[str]] = frozenset()
    needs_landmarks: bool = False
    needs_action_units: bool = False
    checkpoint_suffixes: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("train", "train_avd", "train_au"), "-checkpoint.pth.tar"
    )
    epoch_keys: ClassVar[Mapping[str, str]] = dict.fromkeys(("train", "train_avd", "train_au"), "epoch")

    def networks(self) -> dict[str, nn.Module]:
        """Networks under their names in checkpoints; those that the config leaves out are missing.

        Raises:
            TypeError: an attribute with parameters to train is not declared in `network_names`, so that no checkpoint
                would hold it.
        """
        children = dict(self.named_children())
        for name, child in children.items():
            if name not in self.network_names and any(parameter.requires_grad for parameter in child.parameters()):
                raise TypeError(
                    f"{type(self).__name__}.{name}: has parameters to train but is not in `network_names`; add it "
                    "there, or freeze it with `requires_grad_(False)` if only losses use it"
                )
        return {name: children[name] for name in self.network_names if name in children}

    def settings_in(self, contents: Mapping[str, Any]) -> dict[str, Any]:
        """Settings of `model_params` that follow from the state dicts of a checkpoint, independently of its config.

        Args:
            contents: contents of the checkpoint, state dicts under the names of networks.
        Returns:
            Values by dotted path within `model_params`.
        """
        return {}

    def losses(self, batch: Mapping[str, Tensor], epoch: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Weighted losses of a batch of training pairs.

        Args:
            batch: `source`, `driving` (B, 3, H, W) in [0, 1]; with `needs_landmarks` `source_landmarks`,
                `driving_landmarks` (B, 68, 2); with `needs_action_units` `source_au`, `au_diff` (B, 17, 2), intensities
                of the source, and driving minus source; `subject` (B,), number of the person.
            epoch: from 0, for schedules.
        Returns:
            Weighted scalars by name, and the generated tensors by name.
        """
        raise NotImplementedError(f"{type(self).__name__} has no losses")

    def discriminator_losses(self, batch: Mapping[str, Tensor], generated: dict[str, Any]) -> dict[str, Tensor]:
        """Losses of the discriminator, stepped after the generator; empty for families without one."""
        return {}
