"""The checkpoints that a training run writes: when, under which names, and from which one to resume."""

import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.checkpoints import write_checkpoint
from core.optimisation import NotFiniteError, non_finite_entries


class CheckpointSeries:
    """Writer of a run's checkpoints, none of which contains a value that is not finite.

    Args:
        folder: run folder.
        suffix: published ending of checkpoint names.
        resumed: checkpoint from which the run resumes; None for a new run.
        keep: number of newest numbered checkpoints to keep; None keeps all.
        minutes: time between checkpoints within an epoch; None for none.

    Attributes:
        last: last good checkpoint; None if there is none yet.
    """

    def __init__(self, folder: Path, suffix: str, resumed: Path | None, *, keep: int | None, minutes: float | None):
        self.folder, self.suffix = folder, suffix
        self.keep, self.minutes = keep, minutes
        self.last = resumed
        self._written_at = time.monotonic()

    @property
    def is_due(self) -> bool:
        """True if it is time for a checkpoint within the epoch."""
        return self.minutes is not None and time.monotonic() - self._written_at >= 60 * self.minutes

    def write_epoch(self, epoch: int, contents: Mapping[str, Any]) -> Path:
        """Write the checkpoint of a finished epoch and remove the oldest ones beyond `keep`.

        Errors as `write_within_epoch`.
        """
        path = self._write(self.folder / f"{epoch:08d}{self.suffix}", contents)
        if self.keep is not None:
            pattern = re.compile(r"\d{8}" + re.escape(self.suffix))
            # Later ones are of a run that was resumed from an earlier checkpoint: this one must not count as old.
            numbered = sorted(p for p in self.folder.iterdir() if pattern.fullmatch(p.name) and p.name <= path.name)
            for old in numbered[: -self.keep]:
                old.unlink()
        return path

    def write_within_epoch(self, contents: Mapping[str, Any]) -> Path:
        """Write the checkpoint of an unfinished epoch in the place of the one before.

        Raises:
            NotFiniteError: a weight or a state of an optimiser is not finite; nothing is written.
            UserError: the disk is full or not writable; the file that stood there before still does.
        """
        return self._write(self.folder / f"interrupted{self.suffix}", contents)

    def write_best(self, contents: Mapping[str, Any]) -> Path:
        """Write the best checkpoint so far in the place of the one before; runs resume from the others.

        Errors as `write_within_epoch`.
        """
        last, path = self.last, self._write(self.folder / f"best{self.suffix}", contents)
        self.last = last
        return path

    def how_to_resume(self, change: str = "") -> str:
        """Advice for the end of a message.

        Args:
            change: settings that must change, such as `a lower learning rate`; empty for none.
        """
        if self.last is None:
            return f"no checkpoint is written yet; start again{change and f' with {change}'}"
        if change:
            return f"resume from the last checkpoint, {self.last}, with {change}"
        return f"resume by the same command with --checkpoint {self.last}"

    def _write(self, path: Path, contents: Mapping[str, Any]) -> Path:
        if broken := non_finite_entries(contents):
            raise NotFiniteError(f"{path.name}: {', '.join(broken)} is not finite and is not saved")
        write_checkpoint(path, contents)
        self.last, self._written_at = path, time.monotonic()
        return path
