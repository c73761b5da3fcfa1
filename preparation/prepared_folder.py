"""The folder that `--mode prepare` fills, and its record of each clip, by which a later run skips finished work.

    train/CLIP/0000.png ...   test/CLIP/...    frames
    landmarks/CLIP.npy        au/CLIP.csv      landmarks and action units of these frames
    clips.csv  pairs.csv  splits/  report.html contact_sheet.png
    .prepare/                                  records, thumbnails, unfinished clips

A clip is made in four stages: `onset` (landmarks of its onset frame), `frames`, `landmarks` and `action_units`. Each
stage has a key, a hash of everything that it depends on. Files get their final names only when they are complete, and a
stage is recorded only when its files are in place.
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
"""Record of a clip: stage -> its key and results; `error` -> why the clip was left out."""


class PreparedFolder:
    """Files of the prepared clips.

    Args:
        path: `prepare_params.output_dir`.
    """

    def __init__(self, path: Path):
        self.path = path
        self.records = path / ".prepare" / "clips"
        self.thumbnails = path / ".prepare" / "thumbnails"
        self.unfinished = path / ".prepare" / "making"

    def create(self) -> None:
        """Create the subfolders, and remove what an interrupted run left unfinished.

        Raises:
            UserError: the folder holds something else, or cannot be written.
        """
        try:
            if self.path.is_dir() and any(self.path.iterdir()) and not self.records.parent.is_dir():
                raise UserError(f"{self.path}: expected a new folder or one of --mode prepare; choose another")
            self.remove_unfinished()
            subfolders = [self.path / name for name in (*SPLITS, "landmarks", "au")]
            for folder in (*subfolders, self.records, self.thumbnails, self.unfinished):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{self.path}: expected a writable folder ({error.strerror})") from error

    def remove_unfinished(self) -> None:
        """Remove the folder of unfinished clips."""
        shutil.rmtree(self.unfinished, ignore_errors=True)

    def frames(self, name: str) -> Path | None:
        """Folder of a clip's frames, in whichever split it is; None if there is none."""
        return next((p for split in SPLITS if (p := self.path / split / name).is_dir()), None)

    def landmarks(self, name: str) -> Path:
        """Landmark file of a clip."""
        return self.path / "landmarks" / f"{name}.npy"

    def action_units(self, name: str) -> Path:
        """Action-unit table of a clip."""
        return self.path / "au" / f"{name}.csv"

    def thumbnail(self, name: str) -> Path:
        """Picture of a clip for the report."""
        return self.thumbnails / f"{name}.jpg"

    def move_to_split(self, name: str, split: str) -> None:
        """Move a clip's frames to another split."""
        frames = self.frames(name)
        if frames is not None and frames.parent.name != split:
            os.replace(frames, self.path / split / name)

    def load_state(self, name: str) -> State:
        """Read the record of a clip; empty if there is none."""
        try:
            return json.loads(self._record(name).read_text(encoding="utf-8"))
        except (FileNotFoundError, json.JSONDecodeError):
            return {}

    def save_state(self, name: str, state: State) -> None:
        """Write the record of a clip."""
        write_text(self._record(name), json.dumps(state, sort_keys=True) + "\n")

    def clip_names(self) -> list[str]:
        """Names of all clips that have a record."""
        return sorted(path.stem for path in self.records.glob("*.json"))

    def remove_files(self, name: str) -> None:
        """Remove the files of a clip, but not its record; its frames go first, because they make it a clip."""
        while frames := self.frames(name):
            self.remove_folder(frames)
        for path in (self.landmarks(name), self.action_units(name), self.thumbnail(name)):
            path.unlink(missing_ok=True)

    def remove_clip(self, name: str) -> None:
        """Remove the files and the record of a clip."""
        self.remove_files(name)
        self._record(name).unlink(missing_ok=True)

    def remove_folder(self, folder: Path) -> None:
        """Remove a folder, which is first moved away so that no part of it ever stands under its name."""
        away = Path(tempfile.mkdtemp(dir=self.unfinished))
        os.replace(folder, away / folder.name)
        shutil.rmtree(away)

    def _record(self, name: str) -> Path:
        return self.records / f"{name}.json"


def hash_values(*values: Any) -> str:
    """Hash of values that JSON or `str` can write."""
    return hashlib.blake2b(json.dumps(values, default=str).encode(), digest_size=16).hexdigest()


def file_signatures(paths: Iterable[Path]) -> list[tuple[str, int, int]]:
    """Name, size and modification time of files, which stand for their contents.

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
