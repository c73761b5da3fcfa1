"""Values that a pickle in a checkpoint may contain beside numbers, text, lists and dicts.

Nothing is imported for a pickle: the names in it stand for the functions of this file, which build tensors within the
bytes that the checkpoint contains. None copies more than it is given anew, so that a short file cannot fill the memory.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from errors import printable

MAX_DIMENSIONS = 64
MAX_EXPANDED = 2**20  # elements of a tensor that repeats its values, as `expand` makes them
MAX_TEXT = 256  # characters of text that is converted
MAX_SIZE = 2**62


class Refused(ValueError):
    """A whole file that is something else than expected; the message completes `FILE: ...` and ends with a remedy."""


class Constructor(NamedTuple):
    """Function that a pickle may call."""

    call: Callable[..., Any]


class StorageType(NamedTuple):
    """Type of the elements of a storage."""

    dtype: torch.dtype


class NumberType:
    """Stand-in for `numpy.dtype` in checkpoints: the real one would let a crafted file set its internals, such as a
    claim to hold Python objects."""

    CODES = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1", "?")

    def __init__(self, code: object, *_: object):
        if code not in self.CODES:
            raise ValueError("expected a number type")
        self.code = str(code)
        self.type = np.dtype(self.code)

    def set_state(self, state: object) -> None:
        """Set the byte order from a pickled state."""
        order = next((order for order in "<>|=" if state == (3, order, None, None, None, -1, -1, 0)), None)
        if order is None:
            raise ValueError("expected the state of a number type")
        self.type = np.dtype(order + self.code)


def quoted(text: str, limit: int = 80) -> str:
    """Text from a file for a message: one line of about `limit` characters at most."""
    return printable(text if len(text) <= limit else f"{text[:limit]}...")


def first_names(names: Collection[object], number: int = 4) -> str:
    """The first of some names from a file, for messages; `nothing` if there are none."""
    shown = ", ".join(shown_value(name) for name in [*names][:number])
    return f"{shown} and {len(names) - number} more" if len(names) > number else shown or "nothing"


def shown_value(value: object) -> str:
    """A value from a file for a message; the type of values that are no text and no number."""
    if isinstance(value, str):
        return quoted(value, 60)
    if value is None or isinstance(value, float) or isinstance(value, int) and value.bit_length() <= 64:
        return repr(value)
    return type(value).__name__


def checked_count(value: object) -> int:
    """Return a number of elements, if it is one.

    Raises:
        ValueError: not a whole number, negative, or larger than any memory.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < MAX_SIZE:
        raise ValueError("expected a number of elements")
    return value


def find_global(module: str, name: str) -> Any:
    """Value that stands for a Python object that a pickle names; nothing is imported.

    Raises:
        Refused: an object that checkpoints need not contain.
    """
    path = f"{module}.{name}"
    if path in _GLOBALS:
        return _GLOBALS[path]
    if path in _OTHER_TENSORS:
        raise Refused(f"contains {_OTHER_TENSORS[path]}; save state dicts of plain tensors instead")
    raise Refused(
        f"contains the Python object {quoted(path)}, which is not loaded because it could run code; save state dicts "
        "(`network.state_dict()`) instead"
    )


# --- constructors -----------------------------------------------------------------------------------------------------


def _tensor(storage: object, offset: object, size: object, stride: object, *_: object) -> Tensor:
    """Stand-in for `torch._utils._rebuild_tensor_v2`: a tensor within its storage."""
    if not isinstance(storage, Tensor) or not isinstance(size, tuple) or not isinstance(stride, tuple):
        raise ValueError("expected storage, size and stride of a tensor")
    if len(size) > MAX_DIMENSIONS or len(stride) != len(size):
        raise ValueError("expected one stride for each of at most 64 dimensions")
    start, sizes, strides = checked_count(offset), [*map(checked_count, size)], [*map(checked_count, stride)]
    if 0 in sizes:
        return storage.new_empty(sizes)
    elements, last = 1, start
    for length, step in zip(sizes, strides, strict=True):
        elements *= length
        last += (length - 1) * step
    if last >= storage.numel() or elements > max(storage.numel(), MAX_EXPANDED):
        raise ValueError("a tensor exceeds the data that the file contains for it")
    return torch.as_strided(storage, sizes, strides, start)


def _tensor_of_type(
    storage: object, offset: object, size: object, stride: object, _grad: object, _hooks: object, dtype: object, *_: Any
) -> Tensor:
    """Stand-in for `torch._utils._rebuild_tensor_v3`, whose storage has bytes for elements."""
    if not isinstance(storage, Tensor) or not isinstance(dtype, torch.dtype):
        raise ValueError("expected storage and type of a tensor")
    return _tensor(storage.view(dtype), offset, size, stride)


def _parameter(data: object, *_: object) -> Tensor:
    """Stand-in for the constructors of parameters: the tensor."""
    if not isinstance(data, Tensor):
        raise ValueError("expected the tensor of a parameter")
    return data


def _with_attributes(constructor: object, _kind: object, arguments: object, _attributes: object) -> Tensor:
    """Stand-in for `torch._tensor._rebuild_from_type_v2`: the tensor without its Python attributes."""
    if not isinstance(constructor, Constructor) or not isinstance(arguments, tuple):
        raise ValueError("expected a tensor with attributes")
    return _parameter(constructor.call(*arguments))


def _number(kind: object, data: object) -> int | float | bool:
    """Stand-in for NumPy's scalar constructor: the number itself."""
    if not isinstance(kind, NumberType) or not isinstance(data, bytes | str) or len(data) != kind.type.itemsize:
        raise ValueError("expected the bytes of one number")
    stored = data.encode("latin-1") if isinstance(data, str) else data  # text in pickles of Python 2
    number: int | float | bool = np.frombuffer(stored, kind.type)[0].item()
    return number


def _dict(entries: object = None, *_: object) -> Any:
    """Stand-in for `OrderedDict` and `Counter`, which are filled later or from a dict."""
    if entries is not None and not isinstance(entries, Mapping):
        raise ValueError("expected the entries of a dict")
    return {} if entries is None else entries


def _list(values: object = None) -> Any:
    """Stand-in for `set`, pickled as a list."""
    if values is not None and not isinstance(values, list):
        raise ValueError("expected a list")
    return [] if values is None else values


def _size(values: object) -> tuple[Any, ...]:
    if not isinstance(values, tuple):
        raise ValueError("expected the size of a tensor")
    return values


def _bytes(text: object, encoding: object) -> bytes:
    if not isinstance(text, str) or len(text) > MAX_TEXT or encoding not in ("latin1", "latin-1"):
        raise ValueError("expected a few bytes")
    return text.encode("latin-1")


def _device(name: object, index: object = 0) -> str:
    if not isinstance(name, str) or len(name) > MAX_TEXT:
        raise ValueError("expected the name of a device")
    return f"{name}:{checked_count(index)}"


_STORAGES = {
    "Float": torch.float32,
    "Double": torch.float64,
    "Half": torch.float16,
    "BFloat16": torch.bfloat16,
    "Long": torch.int64,
    "Int": torch.int32,
    "Short": torch.int16,
    "Char": torch.int8,
    "Byte": torch.uint8,
    "Bool": torch.bool,
}
_DTYPES = (*_STORAGES.values(), torch.uint16, torch.uint32, torch.uint64)
_GLOBALS: dict[str, Any] = {
    "collections.OrderedDict": Constructor(_dict),
    "collections.Counter": Constructor(_dict),
    "builtins.set": Constructor(_list),
    "__builtin__.set": Constructor(_list),
    "_codecs.encode": Constructor(_bytes),
    "numpy.dtype": Constructor(NumberType),
    # Published optimiser states contain NumPy scalars, pickled under the module name of NumPy 1 or of NumPy 2.
    "numpy.core.multiarray.scalar": Constructor(_number),
    "numpy._core.multiarray.scalar": Constructor(_number),
    "torch.Size": Constructor(_size),
    "torch.device": Constructor(_device),
    "torch.Tensor": None,  # only named, as the kind of a tensor with attributes
    "torch.nn.parameter.Parameter": Constructor(_parameter),
    "torch._utils._rebuild_tensor": Constructor(_tensor),
    "torch._utils._rebuild_tensor_v2": Constructor(_tensor),
    "torch._utils._rebuild_tensor_v3": Constructor(_tensor_of_type),
    "torch._utils._rebuild_parameter": Constructor(_parameter),
    "torch._utils._rebuild_parameter_with_state": Constructor(_parameter),
    "torch._tensor._rebuild_from_type_v2": Constructor(_with_attributes),
    "torch.storage.UntypedStorage": StorageType(torch.uint8),
    **{f"torch.{name}Storage": StorageType(dtype) for name, dtype in _STORAGES.items()},
    **{str(dtype): dtype for dtype in _DTYPES},
}
_OTHER_TENSORS = {
    "torch._utils._rebuild_sparse_tensor": "sparse tensors",
    "torch._utils._rebuild_nested_tensor": "nested tensors",
    "torch._utils._rebuild_qtensor": "quantised tensors",
    "torch._utils._rebuild_meta_tensor_no_storage": "tensors without values (device meta)",
    "torch._utils._rebuild_wrapper_subclass": "tensors of a class of their own",
    "torch.ComplexFloatStorage": "complex numbers",
    "torch.ComplexDoubleStorage": "complex numbers",
}
