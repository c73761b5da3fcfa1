"""Cache of decoded frames on disk, so that no frame is decoded twice.

The frames of a clip, resized to one size, lie in one memory-mapped file. Its name is a hash of the bytes of the clip
and of the settings: a changed clip or setting gets another file, so no entry is ever outdated. Files are written under
a temporary name and renamed, so that several runs can share the folder.
"""

import hashlib
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from clips.reading import Clip, ClipError, Frame, frame_rate, read_frames
from core.files import replacing_file, write_text

_SETTING = "dataset_params.cache_dir"
_REMEDY = f"make room or set {_SETTING}"
ARRAY_LOCK = Lock()  # NumPy parses a file's header with `ast`, which Python 3.11 cannot do in several threads at once
_VERSION = 1  # raise it whenever decoding or resizing changes


@dataclass(frozen=True)
class CachedClip:
    """Decoded frames of one clip.

    Attributes:
        path: .npy file of uint8 (T, H, W, 3).
        key: hash of content and settings.
        sizes: (T, 2) height and width of each frame before it was resized.
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

    def add(self, clip: Clip) -> CachedClip:
        """Decode a clip, unless it is in the cache.

        Raises:
            ClipError: a frame is unreadable, or frames differ in size and `frame_shape` is None.
            WriteError: the disk is full.
        """
        key = self._key(clip)
        path, info = self.folder / f"{key}.npy", self.folder / f"{key}.json"
        if not (info.exists() and path.exists()):
            frames, sizes = self._decode(clip)
            _write_array(path, frames)
            write_text(info, json.dumps({"clip": clip.name, "sizes": sizes, "fps": frame_rate(clip)}), _REMEDY)
        stored = json.loads(info.read_text(encoding="utf-8"))
        return CachedClip(path, key, np.array(stored["sizes"]), stored["fps"], self._temporary)

    def compute_once(self, clip: CachedClip, settings: str, compute: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """Return `compute()`, stored for later runs; `settings` names all it depends on beside the frames."""
        key = hashlib.blake2b(f"{clip.key} {settings}".encode(), digest_size=16).hexdigest()
        path = self.folder / f"{key}.npy"
        if not path.exists():
            _write_array(path, compute())
        with ARRAY_LOCK:
            return np.load(path)

    def _key(self, clip: Clip) -> str:
        digest = hashlib.blake2b(f"{_VERSION} {self.frame_shape}".encode(), digest_size=16)
        for path in clip.files:
            try:
                with path.open("rb") as file:
                    digest.update(hashlib.file_digest(file, "blake2b").digest())
            except OSError as error:
                raise ClipError(f"{path}: unreadable ({error.strerror})") from error
        return digest.hexdigest()

    def _decode(self, clip: Clip) -> tuple[NDArray[np.uint8], list[list[int]]]:
        frames, sizes = [], []
        for frame in read_frames(clip, self.frame_shape):
            sizes.append([int(side) for side in frame.shape[:2]])
            if self.frame_shape is None and sizes[-1] != sizes[0]:
                name = clip.files[len(sizes) - 1 if clip.frames else 0]
                raise ClipError(f"{name}: {sizes[-1]}, but other frames {sizes[0]}; set dataset_params.frame_shape")
            frames.append(resize_frame(frame, self.frame_shape))
        return np.stack(frames), sizes


def resize_frame(frame: Frame, frame_shape: tuple[int, int, int] | None) -> Frame:
    """Resize a frame to height and width of `frame_shape`: area mean when shrinking, bicubic when enlarging."""
    if frame_shape is None or frame.shape[:2] == tuple(frame_shape[:2]):
        return frame
    height, width = frame_shape[:2]
    shrinks = height < frame.shape[0]
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(frame, (width, height), interpolation=interpolation), np.uint8)


def _write_array(path: Path, array: NDArray[Any]) -> None:
    with replacing_file(path, _REMEDY) as temporary:
        np.save(temporary, array)
