"""Records of finished clips, by which a later run distinguishes a complete clip from a damaged one.

`.manifests/NAME.json` beside the results holds the clip's row of `results.csv`, and name, size and digest of each file.
A record is written before the files are moved into place: wherever a run stops, files and record agree or the clip is
generated again.
"""

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

import av
from PIL import Image

from core.files import write_text
from core.manifest import Manifest, describe_files, first_damaged
from output.video import frame_path
from parsing.arrays import read_arrays
from parsing.files import MIB, check_regular_file, read_file

FOLDER = ".manifests"
_MAX_BYTES = 64 * MIB
Row = dict[str, str]


@dataclass(frozen=True)
class Record:
    """A finished clip.

    Attributes:
        row: of `results.csv`.
        files: names relative to the folder of results, sizes and digests.
    """

    row: Row
    files: Manifest


class Records:
    """Records of the clips in a folder of results.

    Args:
        folder: of the results.
        columns: of `results.csv`.
    """

    def __init__(self, folder: Path, columns: list[str]):
        self.folder = folder
        self.columns = columns

    def exists(self, name: str) -> bool:
        """True if there is a record, readable or not."""
        return self._path(name).exists()

    def read(self, name: str) -> Record | None:
        """Record of a clip; None if there is none, or a damaged one."""
        try:
            contents = json.loads(read_file(self._path(name), max_bytes=_MAX_BYTES))
            row = {column: contents["row"][column] for column in self.columns}
            files = {file: (int(size), str(digest)) for file, (size, digest) in contents["files"].items()}
        except (ValueError, OverflowError, KeyError, TypeError, AttributeError, RecursionError):
            return None
        if not all(isinstance(cell, str) for cell in row.values()) or not all(_is_inside(file) for file in files):
            return None
        return Record(row, files)

    def write(self, name: str, row: Row, place: Path) -> None:
        """Write the record of a clip.

        Args:
            place: folder with the clip's files, and no others, under their final relative names.
        """
        files = describe_files(place, sorted(path for path in place.rglob("*") if path.is_file()))
        self._write(name, Record(row, files))

    def is_complete(self, record: Record) -> bool:
        """True if all files of a clip are as they were written."""
        return bool(record.files) and first_damaged(self.folder, record.files) is None

    def adopt(self, row: Row) -> bool:
        """Write the record of a clip of an earlier version, which wrote none, if its files can be read.

        Args:
            row: of `results.csv`.
        Returns:
            True if all files are complete.
        """
        try:
            paths = _read_results(self.folder, row)
            self._write(row["folder"], Record(row, describe_files(self.folder, paths)))
        except Exception:  # decoders of damaged files raise errors of many kinds
            return False
        return True

    def lock(self, name: str) -> Path:
        """Lock file of a clip, held while it is checked and generated."""
        return self.folder / FOLDER / f"{name}.lock"

    def _path(self, name: str) -> Path:
        return self.folder / FOLDER / f"{name}.json"

    def _write(self, name: str, record: Record) -> None:
        write_text(self._path(name), json.dumps({"row": record.row, "files": record.files}) + "\n")


def _is_inside(file: str) -> bool:
    """True if a name can only be that of a file in the folder of results or below it."""
    is_name = "\0" not in file and file == file.encode("utf-8", "ignore").decode("utf-8")
    return is_name and not Path(file).is_absolute() and ".." not in Path(file).parts


def _read_results(folder: Path, row: Row) -> list[Path]:
    """Decode the files of a clip that `results.csv` describes; returns their paths.

    Raises:
        Exception: a file is missing, empty or damaged.
    """
    name, count, video = row["folder"], int(row["frames"]), row["video"]
    if count < 1 or not _is_inside(name) or not _is_inside(video):
        raise ValueError(f"{name}: expected frames")
    paths = []
    for number in range(count):
        paths.append(frame_path(folder / name, number))
        check_regular_file(paths[-1])
        with Image.open(paths[-1]) as image:
            image.load()
    videos = [folder / video] if video else []
    if "driving" in row:  # of `animate`
        keypoints = folder / f"{name}_keypoints.npy"
        if len(read_arrays(keypoints)[""]) != count:
            raise ValueError(f"{keypoints}: expected {count} frames")
        paths.append(keypoints)
        if video and row["driving"]:
            videos.append(folder / re.sub(rf"^{re.escape(name)}", lambda _: f"{name}_comparison", video))
    for path in videos:
        _check_video(path, count)
    return sorted([*paths, *videos])


def _check_video(path: Path, count: int) -> None:
    """Check that a video has all its frames.

    Raises:
        Exception: it has not.
    """
    check_regular_file(path)
    if path.suffix == ".gif":  # equal frames are one: their number says nothing
        with path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            complete = file.read() == b";"
    else:
        with av.open(str(path)) as opened:
            complete = sum(1 for _ in opened.decode(video=0)) == count
    if not complete:
        raise ValueError(f"{path}: expected {count} frames")
