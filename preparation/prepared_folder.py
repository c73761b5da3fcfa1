"""The folder that `--mode prepare` fills, and its record of each clip, by which a later run skips finished work.

    train/CLIP/0000.png ...   test/CLIP/...    frames
    landmarks/CLIP.npy        au/CLIP.csv      landmarks and action units of these frames
    clips.csv  pairs.csv  splits/  report.html contact_sheet.png
    .prepare/                                  records, thumbnails, unfinished clips

A clip is made in four stages: `onset` (landmarks of its onset frame), `frames`, `landmarks` and `action_units`. Each
stage has a key, a hash of everything that it depends on. Files get their final names only when they are complete, and a
stage is recorded only when its files are in place. One process at a time holds the folder.
"""

import hashlib
import json
import os
import re
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from core.files import remove_abandoned, temporary_name, write_text
from core.locks import LOCK_NAME, folder_lock
from errors import UserError
from preparation.clip_state import State, parse_state, state_text

SPLITS = ("train", "test")
NAME_PATTERN = re.compile(r"[A-Za-z0-9_#-]{1,250}")
"""Names of clips, which name files; with an extension they have at most 255 bytes, the limit of file systems."""


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

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Hold the folder, with its subfolders and without what interrupted runs left unfinished.

        Raises:
            UserError: the folder holds something else, cannot be written, or is held by another process.
        """
        with ExitStack() as stack:
            try:
                self._check_origin()
                stack.enter_context(folder_lock(self.path, "preparing clips"))
                stack.callback(self._remove_unfinished)
                self._remove_unfinished()
                for folder in (*self._subfolders(), self.unfinished):
                    folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                place = error.filename or self.path
                raise UserError(f"{place}: expected a writable folder ({error.strerror}); choose another") from error
            yield

    def _check_origin(self) -> None:
        if self.path.is_dir() and not self.records.parent.is_dir():
            if any(not path.name.startswith(LOCK_NAME) for path in self.path.iterdir()):
                raise UserError(f"{self.path}: expected a new folder or one of --mode prepare; choose another")

    def _subfolders(self) -> list[Path]:
        """Folders in which files are written, without those of the clips."""
        return [*(self.path / name for name in (*SPLITS, "landmarks", "au")), self.records, self.thumbnails]

    def _remove_unfinished(self) -> None:
        """Remove unfinished clips and the temporary files of processes that ended."""
        shutil.rmtree(self.unfinished, ignore_errors=True)
        for folder in (self.path, self.path / "splits", *self._subfolders()):
            remove_abandoned(folder)

    def new_unfinished(self) -> Path:
        """Create a folder for an unfinished clip."""
        folder = self.unfinished / temporary_name()
        folder.mkdir()
        return folder

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
        """Move a clip's frames to another split, unless there are others already."""
        frames = self.frames(name)
        if frames is not None and not (wanted := self.path / split / name).exists():
            os.replace(frames, wanted)

    def load_state(self, name: str) -> State:
        """Read the record of a clip; empty if there is none, without the parts that are damaged."""
        try:
            return parse_state(self._record(name).read_bytes())
        except FileNotFoundError:
            return {}

    def save_state(self, name: str, state: State) -> None:
        """Write the record of a clip."""
        write_text(self._record(name), state_text(state))

    def clip_names(self) -> list[str]:
        """Names of all clips that have a record."""
        return sorted(p.stem for p in self.records.glob("*.json") if NAME_PATTERN.fullmatch(p.stem))

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
        away = self.new_unfinished()
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
        if not stat.S_ISREG(status.st_mode):
            raise ValueError(f"{path}: expected a file, got a folder, FIFO or device; remove it")
        found.append((path.name, status.st_size, status.st_mtime_ns))
    return found
