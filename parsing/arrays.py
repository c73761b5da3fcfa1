"""Arrays of NumPy files, whose headers are checked against the file's size before memory is asked for."""

import io
import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from errors import UserError
from parsing.files import MIB, read_file
from parsing.text_tables import describe_error

MAX_BYTES = 256 * MIB
_MAX_HEADER = 10_000  # bytes
_MAX_MEMBERS = 1_000
_MAX_AXES = 8
_NUMBERS = "fiu"  # kinds of NumPy's types: floating point, signed and unsigned integers


def read_arrays(path: Path) -> dict[str, NDArray[np.float64]]:
    """Read the arrays of numbers in a .npy or .npz file, which is recognised by content; others are left out.

    Returns:
        Arrays by name; that of a .npy file has the name "".
    Raises:
        UserError: damaged, larger than makes sense, or without an array of numbers.
    """
    data = read_file(path, max_bytes=MAX_BYTES)
    if not data.startswith(b"PK"):
        return {"": _parse_array(memoryview(data), str(path))}
    arrays = {}
    refused = ""
    for name, content in _unpack(data, path).items():
        try:
            arrays[name.removesuffix(".npy")] = _parse_array(memoryview(content), f"{path}: {name}")
        except UserError as error:
            refused = str(error)
    if not arrays:
        raise UserError(refused or f"{path}: expected arrays, found an archive without any")
    return arrays


def _unpack(data: bytes, path: Path) -> dict[str, bytes]:
    """Contents of the .npy files in an archive."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            unpacked = sum(entry.file_size for entry in entries)
            if unpacked > MAX_BYTES or len(entries) > _MAX_MEMBERS:
                raise UserError(
                    f"{path}: unpacks to {len(entries)} arrays of {unpacked / MIB:.0f} MiB, expected at most "
                    f"{MAX_BYTES // MIB}; is this the right file?"
                )
            return {entry.filename: archive.read(entry) for entry in entries if entry.filename.endswith(".npy")}
    except UserError:
        raise
    except Exception as error:  # zipfile and its decompressors raise errors of many kinds
        raise UserError(f"{path}: a damaged .npz archive ({describe_error(error)}); write it again") from error


def _parse_array(data: memoryview, name: str) -> NDArray[np.float64]:
    stream = io.BytesIO(data)
    try:
        shape, fortran, dtype = _read_header(stream)
    except Exception as error:  # the header is Python text: damage raises errors of many kinds
        raise UserError(
            f"{name}: not a .npy file, or a damaged one ({describe_error(error)}); write it again"
        ) from error
    if dtype.kind not in _NUMBERS:
        raise UserError(f"{name}: contains {_type_name(dtype)}, expected numbers")
    if len(shape) > _MAX_AXES or any(type(side) is not int or side < 1 for side in shape):
        raise UserError(f"{name}: expected an array with numbers in it, got one of shape {shape}"[:300])
    wanted, there = math.prod(shape) * dtype.itemsize, len(data) - stream.tell()
    if wanted > there:
        promised = f"{wanted} bytes" if wanted < 2**63 else "more bytes than any file has"
        raise UserError(f"{name}: its header promises {promised}, but {there} follow; the file is damaged")
    values = np.frombuffer(data, dtype, count=math.prod(shape), offset=stream.tell())
    with np.errstate(over="ignore", invalid="ignore"):
        return values.reshape(shape, order="F" if fortran else "C").astype(np.float64)


def _read_header(stream: io.BytesIO) -> tuple[tuple[int, ...], bool, "np.dtype[Any]"]:
    version = npy_format.read_magic(stream)
    if version == (1, 0):
        return npy_format.read_array_header_1_0(stream, max_header_size=_MAX_HEADER)
    if version == (2, 0):
        return npy_format.read_array_header_2_0(stream, max_header_size=_MAX_HEADER)
    raise ValueError(f"version {version[0]}.{version[1]}")


def _type_name(dtype: "np.dtype[Any]") -> str:
    return "Python objects" if dtype.hasobject else str(dtype)[:40]
