"""The run folder: settings, log, losses of every step, images, checkpoints."""

import json
import logging
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import imageio.v3 as iio
import numpy as np
import yaml
from numpy.typing import NDArray
from torch.utils.tensorboard import SummaryWriter

from config.experiment import Config
from core.checkpoints import write_checkpoint
from core.files import write_text

log = logging.getLogger("run")


def run_folder(log_dir: Path, stem: str) -> Path:
    """Create the folder of a new run, `LOG_DIR/<stem>_<time>`; further runs in the same second get a number."""
    name = f"{stem}_{time.strftime('%Y-%m-%d_%H-%M-%S')}"
    for number in range(100):
        folder = log_dir / (name if not number else f"{name}_{number}")
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            continue
    raise FileExistsError(f"{log_dir / name}: 100 runs were started in this second; try again")


@contextmanager
def log_to_file(folder: Path) -> Iterator[None]:
    """Append everything that is logged inside the context to `log.txt` of a folder."""
    handler = logging.FileHandler(folder / "log.txt", encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()


class RunLogger:
    """Writer of a training run; a context manager.

    Args:
        folder: existing run folder.
        config: resolved experiment, written to `config.yaml`.
        keep_checkpoints: number of newest numbered checkpoints to keep; None keeps all.
        checkpoint_suffix: published ending of checkpoint names.
    """

    def __init__(self, folder: Path, config: Config, *, keep_checkpoints: int | None, checkpoint_suffix: str):
        self.folder = folder
        self.keep_checkpoints = keep_checkpoints
        self.checkpoint_suffix = checkpoint_suffix
        write_text(folder / "config.yaml", yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))
        self._open = ExitStack()
        self._open.enter_context(log_to_file(folder))
        self._stats = self._open.enter_context((folder / "stats.jsonl").open("a", encoding="utf-8"))
        self._board = self._open.enter_context(SummaryWriter(str(folder / "tensorboard")))

    def __enter__(self) -> "RunLogger":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def log_step(self, epoch: int, step: int, values: Mapping[str, float]) -> None:
        """Append a line to `stats.jsonl` and the TensorBoard curves; `step` counts from the start of the run."""
        self._stats.write(json.dumps({"epoch": epoch, "step": step, **values}) + "\n")
        self._stats.flush()
        for name, value in values.items():
            self._board.add_scalar(name, value, step)

    def log_image(self, epoch: int, image: NDArray[np.uint8]) -> None:
        """Write the image grid of an epoch, uint8 (H, W, 3)."""
        folder = self.folder / "train-vis"
        folder.mkdir(exist_ok=True)
        iio.imwrite(folder / f"{epoch:08d}-rec.png", image)
        self._board.add_image("pictures", image, epoch, dataformats="HWC")

    def save_epoch(self, epoch: int, contents: Mapping[str, Any]) -> Path:
        """Write the checkpoint of a finished epoch and remove those beyond `keep_checkpoints`."""
        path = self.folder / f"{epoch:08d}{self.checkpoint_suffix}"
        write_checkpoint(path, contents)
        if self.keep_checkpoints is not None:
            pattern = re.compile(r"\d{8}" + re.escape(self.checkpoint_suffix))
            numbered = sorted(p for p in self.folder.iterdir() if pattern.fullmatch(p.name))
            for old in numbered[: -self.keep_checkpoints]:
                old.unlink()
        return path

    def save_interrupted(self, contents: Mapping[str, Any]) -> Path:
        """Write the checkpoint of a run that was stopped within an epoch."""
        path = self.folder / f"interrupted{self.checkpoint_suffix}"
        write_checkpoint(path, contents)
        return path
