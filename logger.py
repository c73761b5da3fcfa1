"""Writer of a run folder: settings, log, losses of every step, images."""

import json
import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType

import imageio.v3 as iio
import numpy as np
from numpy.typing import NDArray

from config.experiment import Config
from core.files import WriteError, replacing_file
from core.progress import Progress
from core.run_folder import IMAGES, STATS, drop_steps, write_settings

log = logging.getLogger("run")

_REMEDY = "make room"


@contextmanager
def log_to_file(folder: Path) -> Iterator[None]:
    """Append everything that is logged inside the context to `log.txt` of a folder."""
    handler = _LogFile(folder / "log.txt", encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
        with suppress(OSError):  # as `_LogFile`
            handler.close()


class _LogFile(logging.FileHandler):
    """A log that ends where the disk is full, without a traceback: the results that are written beside it report it."""

    def handleError(self, record: logging.LogRecord) -> None:
        logging.getLogger().removeHandler(self)


class RunLogger:
    """Writer of a training run; a context manager.

    Args:
        folder: existing run folder.
        config: resolved experiment.
        progress: of the checkpoint from which the run resumes; what was logged after it is removed.
    Raises:
        OSError: the folder is not writable.
    """

    def __init__(self, folder: Path, config: Config, progress: Progress):
        self.folder = folder
        with ExitStack() as opened:
            opened.enter_context(log_to_file(folder))
            write_settings(folder, config.model_dump(mode="json"), progress.epoch)
            drop_steps(folder / STATS, progress.total_steps)
            self._stats = opened.enter_context((folder / STATS).open("a", encoding="utf-8"))
            opened.enter_context(_quiet_writer_thread())
            board = folder / "tensorboard"
            with _writing(board):
                # Curves in TensorBoard restart where the run resumes.
                from torch.utils.tensorboard import SummaryWriter  # slow to load, and only training needs it

                self._board = opened.enter_context(SummaryWriter(str(board), purge_step=progress.total_steps or None))
            self._opened = opened.pop_all()

    def __enter__(self) -> "RunLogger":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            with _writing(self.folder):
                self._opened.close()
        else:
            with suppress(OSError):  # a full disk has been reported already
                self._opened.close()

    def log_step(self, epoch: int, step: int, values: Mapping[str, float]) -> None:
        """Append a line to `stats.jsonl` and the TensorBoard curves; `step` counts from the start of the run."""
        with _writing(self.folder / STATS):
            self._stats.write(json.dumps({"epoch": epoch, "step": step, **values}) + "\n")
            self._stats.flush()
        with _writing(self.folder / "tensorboard"):
            for name, value in values.items():
                self._board.add_scalar(name, value, step)

    def logged_values(self, name: str) -> list[float]:
        """Return the finite values of a name in the lines of `stats.jsonl` so far."""
        lines = (self.folder / STATS).read_text(encoding="utf-8").splitlines()
        values = (json.loads(line).get(name) for line in lines if name in line)
        return [float(value) for value in values if value is not None and value == value]

    def log_image(self, epoch: int, image: NDArray[np.uint8]) -> None:
        """Write the image grid of an epoch, uint8 (H, W, 3)."""
        with replacing_file(self.folder / IMAGES / f"{epoch:08d}-rec.png", _REMEDY) as temporary:
            iio.imwrite(temporary, image)
        with _writing(self.folder / "tensorboard"):
            self._board.add_image("pictures", image, epoch, dataformats="HWC")


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Raise WriteError where the block cannot write, with the path that the error lacks."""
    try:
        yield
    except WriteError:
        raise
    except OSError as error:
        raise WriteError(f"{path}: could not be written ({error.strerror or error}); {_REMEDY}") from error


@contextmanager
def _quiet_writer_thread() -> Iterator[None]:
    """Print no traceback of TensorBoard's writer thread: its error is raised by the next call, too."""
    previous = threading.excepthook

    def report(arguments: threading.ExceptHookArgs) -> None:
        if not (isinstance(arguments.exc_value, OSError) and type(arguments.thread).__name__ == "_AsyncWriterThread"):
            previous(arguments)

    threading.excepthook = report
    try:
        yield
    finally:
        threading.excepthook = previous
