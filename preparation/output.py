"""The folder that `--mode prepare` makes, and what it remembers of each clip to do nothing twice.

    train/CLIP/0000.png ...   test/CLIP/...    frames
    landmarks/CLIP.npy        au/CLIP.csv      of them
    clips.csv  pairs.csv  splits/  report.html contact_sheet.png
    .prepare/                                  memory, thumbnails, clips in the making

A clip's stages are `onset` (its landmarks on the onset frame), `frames`, `landmarks` and `action_units`. Each has a
key, a hash of all that it depends on. Files get their names only when they are complete, and a stage is remembered only
when its files are in place.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from core.files import write_text
from errors import UserError

SPLITS = ("train", "test")
State = dict[str, Any]
"""What is remembered of a clip: stage -> key and results, and `error`, why it was left out."""


class Output:
    """Paths in the folder of prepared clips.

    Args:
        folder: `prepare_params.output_dir`.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.memory = folder / ".prepare"
        self.making = self.memory / "making"

    def open(self) -> None:
        """Make the folders, and remove what an interrupted run left half done.

        Raises:
            UserError: the folder holds something else, or cannot be written.
        """
        try:
            if self.folder.is_dir() and any(self.folder.iterdir()) and not self.memory.is_dir():
                raise UserError(f"{self.folder}: expected a new folder or one of --mode prepare; choose another")
            self.close()
            for folder in (*SPLITS, "landmarks", "au", ".prepare/clips", ".prepare/thumbnails", ".prepare/making"):
                (self.folder / folder).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{self.folder}: expected a writable folder ({error.strerror})") from error

    def close(self) -> None:
        """Remove what is left of clips in the making."""
        shutil.rmtree(self.making, ignore_errors=True)

    def frames(self, name: str) -> Path | None:
        """The folder of a clip's frames, in whichever split it is; None: there is none."""
        return next((p for split in SPLITS if (p := self.folder / split / name).is_dir()), None)

    def move(self, name: str, split: str) -> None:
        """Put a clip's frames into another split."""
        frames = self.frames(name)
        if frames is not None and frames.parent.name != split:
            os.replace(frames, self.folder / split / name)

    def landmarks(self, name: str) -> Path:
        """Landmarks of a clip."""
        return self.folder / "landmarks" / f"{name}.npy"

    def action_units(self, name: str) -> Path:
        """Action units of a clip."""
        return self.folder / "au" / f"{name}.csv"

    def thumbnail(self, name: str) -> Path:
        """Picture of a clip for the report."""
        return self.memory / "thumbnails" / f"{name}.jpg"

    def state(self, name: str) -> State:
        """What is remembered of a clip."""
        try:
            return json.loads(self._state(name).read_text(encoding="utf-8"))
        except (FileNotFoundError, json.JSONDecodeError):
            return {}

    def remember(self, name: str, state: State) -> None:
        """Write what is to be remembered of a clip."""
        write_text(self._state(name), json.dumps(state, sort_keys=True) + "\n")

    def known(self) -> list[str]:
        """Names of all clips of which something is remembered."""
        return sorted(path.stem for path in (self.memory / "clips").glob("*.json"))

    def withdraw(self, name: str) -> None:
        """Remove the files of a clip, its frames first: without them it is no clip."""
        while frames := self.frames(name):
            self.discard(frames)
        for path in (self.landmarks(name), self.action_units(name), self.thumbnail(name)):
            path.unlink(missing_ok=True)

    def forget(self, name: str) -> None:
        """Remove a clip and its memory."""
        self.withdraw(name)
        self._state(name).unlink(missing_ok=True)

    def discard(self, folder: Path) -> None:
        """Remove a folder so that no half of it is ever seen under its name."""
        away = Path(tempfile.mkdtemp(dir=self.making))
        os.replace(folder, away / folder.name)
        shutil.rmtree(away)

    def _state(self, name: str) -> Path:
        return self.memory / "clips" / f"{name}.json"


def key_of(*parts: Any) -> str:
    """Hash of values that JSON or `str` can write."""
    return hashlib.blake2b(json.dumps(parts, default=str).encode(), digest_size=16).hexdigest()


def signatures(paths: Iterable[Path]) -> list[tuple[str, int, int]]:
    """Name, size and time of change of files, which stand for their contents.

    Raises:
        ValueError: a file that cannot be read.
    """
    found = []
    for path in paths:
        try:
            status = path.stat()
        except OSError as error:
            raise ValueError(f"{path}: unreadable ({error.strerror})") from error
        found.append((path.name, status.st_size, status.st_mtime_ns))
    return found
