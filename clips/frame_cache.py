"""Cache of decoded frames on disk, so that no frame is decoded twice.

The frames of a clip, resized to one size, lie in one memory-mapped file. Its name is a hash of the bytes of the clip
and of the settings: a changed clip or setting gets another file, so no entry is ever outdated. Files are written under
a temporary name and renamed, so that several runs can share the folder. All have checksums; damaged ones are replaced.
"""

import hashlib
import json
import logging
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clips.crop import Crop, resize_frame
from clips.reading import Clip, ClipError, Frame, frame_rate, read_frames
from core.files import remove_abandoned, replacing_file, write_text
from errors import UserError
from parsing.files import check_regular_file

_SETTING = "dataset_params.cache_dir"
_REMEDY = f"make room or set {_SETTING}"
ARRAY_LOCK = Lock()  # NumPy parses a file's header with `ast`, which Python 3.11 cannot do in several threads at once
_VERSION = 2  # raise it whenever decoding or resizing changes
_HEADER_BYTES = 128  # of the .npy files, whose number of frames is known only at their end

log = logging.getLogger("clips")


@dataclass(frozen=True)
class CachedClip:
    """Decoded frames of one clip.

    Attributes:
        path: .npy file of uint8 (T, H, W, 3).
        key: hash of content and settings.
        sizes: (T, 2) height and width of each frame, or of its crop, before it was resized.
        fps: frames per second of a video file, None for images.
        folder: temporary folder of the file, which is deleted when nothing refers to it any more; None if it stays.
    """

    path: Path
    key: str
    sizes: NDArray[np.int64]
    fps: float | None
    folder: tempfile.TemporaryDirectory[str] | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.sizes)

    def frames(self) -> NDArray[np.uint8]:
        """Return the frames as a memory map, uint8 (T, H, W, 3)."""
        with ARRAY_LOCK:
            return np.load(self.path, mmap_mode="r")

    def to_resized(self, landmarks: NDArray[np.float64]) -> NDArray[np.float64]:
        """Convert landmarks (T or 1, N, 2) from pixels of each original frame to pixels of the resized frames."""
        return (landmarks + 0.5) * self._scale(len(landmarks)) - 0.5

    def to_own(self, landmarks: NDArray[np.float64]) -> NDArray[np.float64]:
        """Convert landmarks (..., N, 2) from pixels of the resized frames to pixels of the first original frame."""
        return (landmarks + 0.5) / self._scale(1) - 0.5

    def from_own(self, landmarks: NDArray[np.float64]) -> NDArray[np.float64]:
        """Convert landmarks (..., N, 2) from pixels of the first original frame to pixels of the resized frames."""
        return (landmarks + 0.5) * self._scale(1) - 0.5

    @property
    def pixel_size(self) -> NDArray[np.float64]:
        """Width and height of a resized pixel, in pixels of the first original frame, (2,)."""
        return 1 / self._scale(1).reshape(2)

    def _scale(self, count: int) -> NDArray[np.float64]:
        """Return the horizontal and vertical scale of the first `count` frames, (count, 1, 2)."""
        height, width = self.frames().shape[1:3]
        return np.array([width, height]) / self.sizes[:count, None, ::-1]


class FrameCache:
    """Folder of decoded frames.

    Args:
        folder: created if missing; None uses a temporary folder, which is removed with the last of its clips.
        frame_shape: height, width, channels to which frames are resized; None keeps their size.
    """

    def __init__(self, folder: Path | None, frame_shape: tuple[int, int, int] | None):
        self._temporary = None if folder else tempfile.TemporaryDirectory(prefix="frames-")
        self.folder = Path(self._temporary.name) if self._temporary else Path(folder or "")
        self.frame_shape = frame_shape
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ClipError(f"{self.folder}: cannot be created ({error.strerror}); set {_SETTING}") from error
        remove_abandoned(self.folder)

    def add(self, clip: Clip, crop: Crop | None = None) -> CachedClip:
        """Decode a clip, unless it is in the cache.

        Args:
            clip: the clip.
            crop: part of every frame that is used in its place, before frames are resized; None: the whole frame.
        Raises:
            ClipError: a frame is unreadable, or frames differ in size and `frame_shape` is None.
            WriteError: the disk is full.
        """
        key = self._key(clip, crop)
        path = self.folder / f"{key}.npy"
        info = self._read_info(path) or self._decode(clip, path, crop)
        return CachedClip(path, key, np.array(info["sizes"]), info["fps"], self._temporary)

    def compute_once(self, clip: CachedClip, settings: str, compute: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """Return `compute()`, stored for later runs; `settings` names all it depends on beside the frames."""
        key = hashlib.blake2b(f"{clip.key} {settings}".encode(), digest_size=16).hexdigest()
        path = self.folder / f"{key}.npz"  # unlike .npy, it holds a checksum
        try:
            with ARRAY_LOCK, np.load(path) as stored:
                return np.asarray(stored["values"])
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            log.warning("%s: damaged (%s); computed anew", path, error)
        values = compute()
        with replacing_file(path, _REMEDY) as temporary:
            np.savez(temporary, values=values)
        return values

    def _key(self, clip: Clip, crop: Crop | None) -> str:
        settings = f"{_VERSION} {self.frame_shape}" + ("" if crop is None else f" {crop}")
        digest = hashlib.blake2b(settings.encode(), digest_size=16)
        for path in clip.files:
            try:
                check_regular_file(path)
                with path.open("rb") as file:
                    digest.update(hashlib.file_digest(file, "blake2b").digest())
            except UserError as error:
                raise ClipError(str(error)) from error
            except OSError as error:
                raise ClipError(f"{path}: unreadable ({error.strerror})") from error
        return digest.hexdigest()

    def _read_info(self, path: Path) -> dict[str, Any] | None:
        """Read what is known about a file of frames; None if there is none, or if it or its description is damaged."""
        description = path.with_suffix(".json")
        if not path.exists() or not description.exists():
            return None
        try:
            info = json.loads(description.read_text(encoding="utf-8"))
            sizes, fps, checksum = np.array(info["sizes"]), info["fps"], info["checksum"]
            valid = sizes.ndim == 2 and sizes.shape[1] == 2 and isinstance(fps, float | None)
            if valid and checksum == _checksum(path):
                return info
        except PermissionError:
            raise
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            pass
        log.warning("%s: damaged; decoded anew", path)
        return None

    def _decode(self, clip: Clip, path: Path, crop: Crop | None) -> dict[str, Any]:
        """Decode a clip into a file, frame by frame; returns its description, which is written beside it."""
        sizes: list[list[int]] = []

        def frames() -> Iterable[Frame]:
            for whole in read_frames(clip, self.frame_shape):
                frame = whole if crop is None else crop.cut(whole)
                sizes.append([int(side) for side in frame.shape[:2]])
                if self.frame_shape is None and sizes[-1] != sizes[0]:
                    name = clip.files[len(sizes) - 1 if clip.frames else 0]
                    raise ClipError(f"{name}: {sizes[-1]}, but other frames {sizes[0]}; set dataset_params.frame_shape")
                yield resize_frame(frame, self.frame_shape)

        with replacing_file(path, _REMEDY) as temporary:
            _write_frames(temporary, frames())
            checksum = _checksum(temporary)
        info = {"clip": clip.name, "sizes": sizes, "fps": frame_rate(clip), "checksum": checksum}
        write_text(path.with_suffix(".json"), json.dumps(info), _REMEDY)
        return info


def _write_frames(path: Path, frames: Iterable[Frame]) -> None:
    """Write frames of one size as a .npy file, holding one of them in memory at a time."""
    count, shape = 0, ()
    with path.open("wb") as file:
        file.write(bytes(_HEADER_BYTES))
        for frame in frames:
            file.write(np.ascontiguousarray(frame).data)
            count, shape = count + 1, frame.shape
        header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {(count, *shape)}, }}".ljust(_HEADER_BYTES - 11)
        file.seek(0)
        file.write(b"\x93NUMPY\x01\x00" + (len(header) + 1).to_bytes(2, "little") + header.encode() + b"\n")


def _checksum(path: Path) -> int:
    checksum = 0
    with path.open("rb") as file:
        while block := file.read(2**20):
            checksum = zlib.crc32(block, checksum)
    return checksum
