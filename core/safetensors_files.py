"""Files in the safetensors format: eight bytes with the length of a header in JSON, the header, the tensors."""

import json
import os
from typing import Any, BinaryIO

import torch
from torch import Tensor

from core.checkpoint_values import checked_count

MAX_HEADER_BYTES = 16 * 2**20
_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


def is_safetensors(start: bytes, size: int) -> bool:
    """True if the first bytes of a file of `size` bytes are those of a safetensors file."""
    return start[8:9] == b"{" and 2 <= int.from_bytes(start[:8], "little") <= size - 8


def read_safetensors(file: BinaryIO) -> dict[str, Tensor]:
    """Read all tensors of a file by name.

    Raises:
        Exception: of any kind, from damaged bytes.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    if length > min(MAX_HEADER_BYTES, size - 8):
        raise ValueError("the header is longer than the file, or than any real one")
    header = json.loads(file.read(length))
    entries = {name: _entry(entry) for name, entry in header.items() if name != "__metadata__"}
    if sum(end - begin for *_, begin, end in entries.values()) > size - 8 - length:
        raise ValueError("the tensors are larger than the file")
    tensors = {}
    for name, (dtype, shape, begin, end) in entries.items():
        file.seek(8 + length + begin)
        data = fill(torch.empty(end - begin, dtype=torch.uint8), file)
        tensors[name] = data.view(dtype).reshape(shape)
    return tensors


def _entry(entry: Any) -> tuple[torch.dtype, list[int], int, int]:
    """Type, shape, first byte and end of a tensor."""
    shape = [checked_count(length) for length in entry["shape"]]
    begin, end = map(checked_count, entry["data_offsets"])
    if begin > end:
        raise ValueError("a tensor ends before it begins")
    return _DTYPES[entry["dtype"]], shape, begin, end


def fill(data: Tensor, file: BinaryIO) -> Tensor:
    """Read bytes into a tensor of type uint8 and return it.

    Raises:
        EOFError: the file ends earlier.
    """
    view, done = data.numpy().data, 0
    while done < len(view):
        step = file.readinto(view[done:])  # type: ignore[attr-defined]  # missing in typing.BinaryIO
        if not step:
            raise EOFError("ends early")
        done += step
    return data
