"""Files in the safetensors format: eight bytes with the length of a header in JSON, the header, the tensors."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
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


def read_safetensors(file: BinaryIO) -> dict[str, Any]:
    """Read all tensors of a file by name, and of files of this program the settings in the metadata.

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
    tensors: dict[str, Any] = _settings(header.get("__metadata__"))
    for name, (dtype, shape, begin, end) in entries.items():
        file.seek(8 + length + begin)
        data = fill(torch.empty(end - begin, dtype=torch.uint8), file)
        tensors[name] = data.view(dtype).reshape(shape)
    return tensors


def _settings(metadata: Any) -> dict[str, Any]:
    """Family and config of a file that `write_safetensors` wrote for this program; empty for others."""
    if not isinstance(metadata, dict) or not {"family", "config"} <= metadata.keys():
        return {}
    return {"family": metadata["family"], "config": json.loads(metadata["config"])}


def write_safetensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors by name, and texts by name as metadata."""
    names = {dtype: name for name, dtype in _DTYPES.items()}
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    end = 0
    for name, tensor in tensors.items():
        begin, end = end, end + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": names[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # so that tensors are aligned
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for tensor in tensors.values():
            file.write(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)


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
