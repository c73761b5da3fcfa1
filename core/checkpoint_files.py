"""Checkpoint files as people have them: those of torch.save and safetensors, packed or not."""

import os
import re
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from core.checkpoint_formats import LegacyCheckpoint, ShortReads, ZipCheckpoint, checkpoint_folder, zip_directory
from core.checkpoint_pickle import to_plain
from core.checkpoint_values import Refused, first_names, quoted
from core.safetensors_files import is_safetensors, read_safetensors
from errors import UserError, first_line
from parsing.files import check_regular_file

MIB = 2**20
MAX_UNPACKED_BYTES = 2 * 2**30  # of archives and of files with holes; others need as much memory as they have bytes
MAX_EXPANSION = 20  # weights hardly shrink when packed; a bomb grows by a factor of 1,000
MAX_SMALL_BYTES = 64 * MIB  # unpacked in any case
MAX_LAYERS = 3  # a zip archive around a tar archive that is compressed
MAX_TAR_MEMBERS = 1000
MAX_TAR_HEADER_BYTES = 8192
CHUNK = MIB
SUFFIXES = (".pth", ".pt", ".pth.tar", ".ckpt", ".bin", ".safetensors")
LEGACY_TAR_NAMES = {"storages", "tensors", "pickle"}
KINDS = {
    b"BZh": "a bzip2 archive; unpack it",
    b"\xfd7zXZ": "an xz archive; unpack it",
    b"\x28\xb5\x2f\xfd": "a zstd archive; unpack it",
    b"7z\xbc\xaf": "a 7-Zip archive; unpack it",
    b"Rar!": "a RAR archive; unpack it",
    b"PK\x05\x06": "an empty zip archive",
    b"\x89HDF": "an HDF5 file, as Keras writes it",
    b"\x93NUMPY": "an array of NumPy",
    b"\x89PNG": "an image",
    b"\xff\xd8\xff": "an image",
    b"GGUF": "a language model in the format GGUF",
}


class CheckpointError(UserError):
    """A checkpoint cannot be used; the message names the file and the remedy."""


class Contents(dict[Any, Any]):
    """Contents of a checkpoint.

    Attributes:
        packing: how the file contains it, for messages; empty for a file that torch.save wrote.
    """

    packing: str = ""


def read_checkpoint(path: Path) -> Contents:
    """Read a checkpoint to the CPU, without running any code in it.

    Files of torch.save are read, those of safetensors, and gzip, zip and tar archives of one of them.

    Returns:
        Its contents, with NumPy scalars converted to numbers.
    Raises:
        CheckpointError: the file is missing, empty, truncated, no checkpoint, or contains Python objects.
    """
    try:
        status = check_regular_file(path)
    except UserError as error:
        raise CheckpointError(str(error)) from error
    stored = getattr(status, "st_blocks", status.st_size) * 512  # missing on Windows
    if status.st_size > max(MAX_UNPACKED_BYTES, 2 * stored):
        raise CheckpointError(f"{path}: {status.st_size // MIB} MiB that are mostly holes; download it again")
    layers: list[str] = []
    try:
        with path.open("rb") as file:
            contents = Contents(_read(file, layers))
    except Refused as error:
        raise CheckpointError(f"{place(path, layers)}: {error}") from error
    except OSError as error:
        reason = error.strerror or first_line(error)
        raise CheckpointError(f"{path}: unreadable ({reason}); check its permissions") from error
    except Exception as error:  # damaged bytes lead readers into errors of every kind
        if isinstance(error, MemoryError) or "allocate memory" in str(error):
            raise CheckpointError(f"{place(path, layers)}: not enough memory to load it; free some") from error
        known = isinstance(error, ValueError | EOFError | zlib.error)
        reason = quoted(first_line(error), 120) if known else "its parts do not belong together"
        raise CheckpointError(f"{place(path, layers)}: truncated or damaged ({reason}); download it again") from error
    contents.packing = _packing(layers)
    return contents


def place(path: Path, layers: Sequence[str]) -> str:
    """File and what it is packed in, for messages."""
    return f"{path} ({_packing(layers)})" if layers else str(path)


def _packing(layers: Sequence[str]) -> str:
    return ", ".join(layers)


def _read(file: BinaryIO, layers: list[str]) -> dict[Any, Any]:
    """Read the contents of a file.

    Args:
        layers: archives around it; those found inside are appended.
    Raises:
        Refused: a whole file, but no checkpoint that can be used.
        Exception: of any kind, from damaged bytes.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    start = file.read(512)
    if is_safetensors(start, size):
        layers.append("safetensors")
        return dict(read_safetensors(file))
    if start.startswith(b"PK\x03\x04"):
        entries = zip_directory(file)
        folder = checkpoint_folder(entries)
        if folder is None:
            return _read_packed(file, layers, "zip", [*entries])
        contents = ZipCheckpoint(file, entries, folder).read()
    elif start.startswith(b"\x1f\x8b"):
        return _read_packed(file, layers, "gzip", [""])
    elif start[257:262] == b"ustar":
        return _read_packed(file, layers, "tar", [*_tar_members(file)])
    elif start.startswith(b"\x80"):
        contents = LegacyCheckpoint(file).read()
    else:
        raise Refused(_other_kind(start))
    if not isinstance(contents, dict):
        raise Refused(f"expected a dict of networks, got {type(contents).__name__}")
    plain: dict[Any, Any] = to_plain(contents)
    return plain


def _other_kind(start: bytes) -> str:
    """Message about a file that is no checkpoint, from its first bytes."""
    if not start:
        return "the file is empty; download it again"
    if start.startswith(b"version https://git-lfs"):
        return "a Git-LFS pointer, not the checkpoint itself; run `git lfs pull`"
    if re.match(rb"\s*<(!doctype|html|head|\?xml)", start, re.IGNORECASE):
        return "a web page, not a checkpoint; download the file itself"
    kind = next((kind for magic, kind in KINDS.items() if start.startswith(magic)), None)
    if kind is None:
        text = all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in start)
        kind = "a text file" if text else f"unknown data ({start[:4].hex(' ')} ...)"
    return f"not a checkpoint, or damaged at its start: expected a file of torch.save or safetensors, got {kind}"


# --- archives ---------------------------------------------------------------------------------------------------------


def _read_packed(file: BinaryIO, layers: list[str], kind: str, names: list[str]) -> dict[Any, Any]:
    """Unpack the one checkpoint in an archive into a temporary file, and read it."""
    if len(layers) >= MAX_LAYERS:
        raise Refused(f"an archive in more than {MAX_LAYERS} others; unpack it")
    if kind == "tar" and set(names) >= LEGACY_TAR_NAMES:
        raise Refused("a tar archive that PyTorch 0.1 wrote; load and save it with a PyTorch before 2.6")
    name = _only_checkpoint(kind, names)
    layers.append(f"{quoted(PurePosixPath(name).name)} in a {kind} archive" if name else f"{kind} archive")
    size = file.seek(0, os.SEEK_END)
    chunks = {"zip": _unpack_zip, "gzip": _unpack_gzip, "tar": _unpack_tar}[kind](file, name)
    limit = min(MAX_UNPACKED_BYTES, max(MAX_SMALL_BYTES, MAX_EXPANSION * size))
    with tempfile.TemporaryFile() as unpacked:
        try:
            for chunk in chunks:
                if unpacked.tell() + len(chunk) > limit:
                    raise Refused(f"{size} bytes unpack to more than {limit // MIB} MiB; unpack it, if you trust it")
                unpacked.write(chunk)
            unpacked.flush()
        except OSError as error:
            raise Refused(f"could not be unpacked ({error.strerror or first_line(error)}); unpack it") from error
        return _read(unpacked, layers)


def _only_checkpoint(kind: str, names: list[str]) -> str:
    """Name of the one file in an archive that is or may be a checkpoint."""
    files = [name for name in names if not re.search(r"(^|/)(__MACOSX/|\._|\.DS_Store$)", name)]
    checkpoints = files if len(files) == 1 else [name for name in files if name.lower().endswith(SUFFIXES)]
    if len(checkpoints) != 1:
        found = f"{len(checkpoints)} checkpoints" if checkpoints else f"{len(files)} files"
        raise Refused(
            f"a {kind} archive with {found}, expected one checkpoint: {first_names(checkpoints or files)}; unpack it "
            "and name the right file"
        )
    return checkpoints[0]


def _unpack_zip(file: BinaryIO, name: str) -> Iterator[bytes]:
    entry = zip_directory(file)[name]
    if entry.flag_bits & 1:
        raise Refused("protected by a password; unpack it")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise Refused("packed by an unusual method; unpack it")
    if entry.file_size > max(MAX_SMALL_BYTES, MAX_EXPANSION * entry.compress_size):
        raise Refused(f"{entry.compress_size} bytes unpack to {entry.file_size // MIB} MiB; unpack it, if you trust it")
    with zipfile.ZipFile(ShortReads(file)) as archive, archive.open(entry) as member:
        while chunk := member.read(CHUNK):
            yield chunk


def _unpack_gzip(file: BinaryIO, _: str) -> Iterator[bytes]:
    file.seek(0)
    inflater = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    while not inflater.eof:
        packed = inflater.unconsumed_tail or file.read(CHUNK)
        if not packed:
            raise EOFError("ends early")
        yield inflater.decompress(packed, CHUNK)
    if inflater.unused_data.strip(b"\0"):
        raise Refused("several gzip archives behind each other; unpack it")


def _tar_members(file: BinaryIO) -> dict[str, tuple[int, int]]:
    """First byte and size of each regular file in a tar archive, by name."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    found = {}
    try:
        with tarfile.open(fileobj=ShortReads(file, MAX_TAR_HEADER_BYTES), mode="r:") as archive:  # type: ignore[call-overload]
            members = [*islice(archive, MAX_TAR_MEMBERS + 1)]
    except tarfile.TarError as error:
        raise ValueError(f"no tar archive: {error}") from error
    if len(members) > MAX_TAR_MEMBERS:
        raise Refused(f"a tar archive with more than {MAX_TAR_MEMBERS} files; unpack it and name the right file")
    for member in members:
        if member.isreg() and not member.issparse():
            if not 0 <= member.offset_data <= member.offset_data + member.size <= size:
                raise EOFError("ends early")
            found[member.name] = member.offset_data, member.size
    return found


def _unpack_tar(file: BinaryIO, name: str) -> Iterator[bytes]:
    offset, size = _tar_members(file)[name]
    file.seek(offset)
    while size > 0:
        chunk = file.read(min(size, CHUNK))
        if not chunk:
            raise EOFError("ends early")
        size -= len(chunk)
        yield chunk
