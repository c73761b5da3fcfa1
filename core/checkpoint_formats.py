"""The two formats of `torch.save`: a zip archive without compression, and the legacy sequence of pickles."""

import io
import os
import struct
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any, BinaryIO

import torch
from torch import Tensor

from core.checkpoint_pickle import MAX_PICKLE_BYTES, Unpickler
from core.checkpoint_values import Refused, checked_count
from core.safetensors_files import fill

MAX_DIRECTORY_BYTES = 4 * 2**20  # of a zip archive; 5,000 tensors need 0.5 MiB
LEGACY_MAGIC, LEGACY_VERSION = 0x1950A86A20F9469CFC6C, 1001
_LOCAL_HEADER = struct.Struct("<4s22sHH")


class ShortReads:
    """File of which directories and headers are read: a claim of a longer one is an error, not an allocation."""

    def __init__(self, file: BinaryIO, limit: int = MAX_DIRECTORY_BYTES):
        self._file, self._limit = file, limit
        self.seek, self.tell = file.seek, file.tell
        self.seekable = file.seekable

    def read(self, count: int = -1) -> bytes:
        """Read at most the limit; a negative count reads to the end of the file."""
        data = self._file.read(self._limit + 1 if count < 0 or count > self._limit else count)
        if len(data) > self._limit:
            raise ValueError("a directory or header is longer than any real one")
        return data


# --- zip archive ------------------------------------------------------------------------------------------------------


def zip_directory(file: BinaryIO) -> dict[str, zipfile.ZipInfo]:
    """Files of a zip archive by name, without folders.

    Raises:
        ValueError: no directory, or one that claims the same bytes twice or bytes that the file does not have.
    """
    try:
        with zipfile.ZipFile(ShortReads(file)) as archive:
            entries = archive.infolist()
    except zipfile.BadZipFile as error:
        raise ValueError(f"no directory of a zip archive at its end: {error}") from error
    bounds = sorted((entry.header_offset, entry.compress_size) for entry in entries)
    ends = [*(start for start, _ in bounds[1:]), file.seek(0, os.SEEK_END)]
    for (start, size), end in zip(bounds, ends, strict=True):
        if start < 0 or start + _LOCAL_HEADER.size + size > end:
            raise ValueError("its parts overlap or exceed the file")
    return {entry.filename: entry for entry in entries if not entry.is_dir()}


def checkpoint_folder(names: Mapping[str, Any]) -> str | None:
    """Folder with the checkpoint in a zip archive that `torch.save` wrote; None for other archives."""
    folders = [name[: -len("data.pkl")] for name in names if name.endswith("/data.pkl") and name.count("/") == 1]
    return folders[0] if len(folders) == 1 else None


class ZipCheckpoint:
    """Checkpoint in a zip archive.

    Args:
        entries: from `zip_directory`.
        folder: from `checkpoint_folder`.
    """

    def __init__(self, file: BinaryIO, entries: Mapping[str, zipfile.ZipInfo], folder: str):
        self._file, self._entries, self._folder = file, entries, folder
        self._storages: dict[str, Tensor] = {}

    def read(self) -> Any:
        """Return the contents.

        Raises:
            Refused: the archive is another one, or contains Python objects.
            Exception: of any kind, from damaged bytes.
        """
        if f"{self._folder}constants.pkl" in self._entries:
            raise Refused("a TorchScript program, not a checkpoint; save the state dicts of its networks instead")
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in self._entries.values()):
            raise Refused(
                "the parts of this zip archive are compressed, which torch.save never does; unpack it, and pack its "
                "folder without compression (`zip -0 -r`)"
            )
        order = self._entries.get(f"{self._folder}byteorder")
        if order is not None and bytes(self._part(order).tolist()) != b"little":
            raise Refused("written on a computer with another byte order; save it again on this one")
        data = self._entries[f"{self._folder}data.pkl"]
        if data.file_size > MAX_PICKLE_BYTES:
            raise ValueError(f"its pickle has more than {MAX_PICKLE_BYTES} bytes")
        return Unpickler(io.BytesIO(self._part(data).numpy().tobytes()), self._storage).load()

    def _storage(self, key: str, dtype: torch.dtype, elements: int, view: Any) -> Tensor:
        if view is not None:
            raise ValueError("a storage within another one")
        if key not in self._storages:
            self._storages[key] = self._part(self._entries[f"{self._folder}data/{key}"])
        data = self._storages[key]
        if data.numel() != elements * dtype.itemsize:
            raise ValueError(f"expected {elements * dtype.itemsize} bytes of data/{key}, got {data.numel()}")
        return data.view(dtype)

    def _part(self, entry: zipfile.ZipInfo) -> Tensor:
        """Bytes of a part that is stored without compression."""
        self._file.seek(entry.header_offset)
        signature, _, name, extra = _LOCAL_HEADER.unpack(self._file.read(_LOCAL_HEADER.size))
        if signature != b"PK\x03\x04" or entry.compress_size != entry.file_size:
            raise ValueError(f"no header of {entry.filename}")
        self._file.seek(name + extra, os.SEEK_CUR)
        data = fill(torch.empty(entry.file_size, dtype=torch.uint8), self._file)
        # 0 stands for no checksum: torch can be told not to compute any.
        if entry.CRC and zlib.crc32(data.numpy().data) != entry.CRC:
            raise ValueError(f"wrong checksum of {entry.filename}")
        return data


# --- legacy format ----------------------------------------------------------------------------------------------------


class LegacyCheckpoint:
    """Checkpoint as a sequence of pickles, followed by the data of the tensors."""

    def __init__(self, file: BinaryIO):
        self._file = file
        self._left = file.seek(0, os.SEEK_END)
        self._storages: dict[str, Tensor] = {}

    def read(self) -> Any:
        """Return the contents.

        Raises:
            Refused: another pickle, or one that contains Python objects.
            Exception: of any kind, from damaged bytes.
        """
        self._file.seek(0)
        pickles = io.BytesIO(self._file.read(MAX_PICKLE_BYTES))
        if Unpickler(pickles).load() != LEGACY_MAGIC:
            raise Refused("a pickle, but not one of torch.save; save state dicts with torch.save instead")
        if Unpickler(pickles).load() != LEGACY_VERSION:
            raise ValueError(f"expected version {LEGACY_VERSION} of the format")
        Unpickler(pickles).load()  # properties of the machine
        contents = Unpickler(pickles, self._storage).load()
        keys = Unpickler(pickles).load()
        self._file.seek(pickles.tell())
        for key in keys:
            self._fill(self._storages.pop(str(key)))
        if self._storages:
            raise ValueError("data of tensors is missing")
        return contents

    def _storage(self, key: str, dtype: torch.dtype, elements: int, view: Any) -> Tensor:
        size = elements * dtype.itemsize
        if key not in self._storages:
            self._left -= size
            if self._left < 0:
                raise ValueError("the tensors are larger than the file")
            self._storages[key] = torch.empty(elements, dtype=dtype)
        storage = self._storages[key]
        if storage.dtype != dtype or storage.numel() != elements:
            raise ValueError("two types or sizes of one storage")
        if view is None:
            return storage
        _, offset, length = view
        if checked_count(offset) + checked_count(length) > elements:
            raise ValueError("a part exceeds its storage")
        return storage[offset : offset + length]

    def _fill(self, storage: Tensor) -> None:
        """Read the data of the next storage in the file."""
        (elements,) = struct.unpack("<q", self._file.read(8))
        if elements != storage.numel():
            raise ValueError("the data of a tensor has another size")
        fill(storage.view(torch.uint8), self._file)
