"""Position of a training run, as checkpoints store it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from core.checkpoints import finished_epoch, stored_count


@dataclass(frozen=True)
class Progress:
    """Finished part of a training run.

    Attributes:
        epoch: the epoch that is trained, from 0.
        step: its finished steps.
        pairs: its finished training pairs, over all devices. They, and not the steps, say where a resumed epoch
            continues, because batch size and number of devices may have changed.
        total_steps: finished steps of all epochs.
    """

    epoch: int = 0
    step: int = 0
    pairs: int = 0
    total_steps: int = 0

    def after_step(self, pairs: int) -> "Progress":
        """Progress after one more step with so many pairs."""
        return replace(self, step=self.step + 1, pairs=self.pairs + pairs, total_steps=self.total_steps + 1)

    def after_epoch(self) -> "Progress":
        """Progress at the start of the next epoch."""
        return Progress(self.epoch + 1, total_steps=self.total_steps)

    def in_checkpoint(self) -> dict[str, int]:
        """Entries of a checkpoint beside the last finished epoch."""
        return {"step": self.step, "pairs": self.pairs, "total_steps": self.total_steps}

    @classmethod
    def from_checkpoint(
        cls,
        contents: Mapping[str, Any],
        path: Path,
        *,
        epoch_key: str,
        section: str,
        pairs: int,
        batch_size: int,
        devices: int,
    ) -> "Progress":
        """Read the progress of a run from a checkpoint.

        Args:
            contents: of the checkpoint. Older ones hold steps only; their batch size stands in their config.
            path: of the checkpoint, for messages.
            epoch_key: key of the last finished epoch.
            section: config section with the batch size.
            pairs: training pairs per epoch.
            batch_size: per device, for checkpoints without a config.
            devices: number of devices, for checkpoints that hold steps only.
        Raises:
            CheckpointError: an entry is missing or no whole number from 0.
        """
        epoch = finished_epoch(contents, epoch_key, path) + 1
        numbers = {key: stored_count(contents, key, path) for key in ("step", "pairs", "total_steps")}
        pairs_per_step = (_stored_batch_size(contents, section) or batch_size) * devices
        if "pairs" not in contents:
            numbers["pairs"] = numbers["step"] * pairs_per_step
        if "total_steps" not in contents:
            numbers["total_steps"] = epoch * (pairs // pairs_per_step) + numbers["step"]
        return cls(epoch, **numbers)


def _stored_batch_size(contents: Mapping[str, Any], section: str) -> int | None:
    """Batch size per device with which a checkpoint was trained; None if it does not say."""
    found: Any = contents
    for key in ("config", section, "batch_size"):
        found = found.get(key) if isinstance(found, Mapping) else None
    return found if isinstance(found, int) and found > 0 else None
