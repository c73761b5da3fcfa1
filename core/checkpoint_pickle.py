"""Pickles in checkpoints, read without running code and within limits of size, time and memory.

`torch.load(weights_only=True)` runs no code, but believes what a file claims: a deeply nested key of a megabyte ends
the interpreter, and a pickle of fifty bytes allocates two gigabytes. Hence this reader of the few operations that
checkpoints consist of.
"""

import pickletools
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from core.checkpoint_values import Constructor, NumberType, Refused, StorageType, checked_count, find_global

MAX_PICKLE_BYTES = 16 * 2**20  # a published checkpoint with optimiser states has 0.1 MiB
MAX_OPERATIONS = 500_000  # ... and 30,000 operations
MAX_NUMBER_BITS = 256
MAX_DEPTH = 64

ReadStorage = Callable[[str, torch.dtype, int, Any], Tensor]


class Unpickler:
    """Reads one pickle.

    Args:
        stream: positioned at the pickle; afterwards behind it.
        read_storage: returns a storage as a tensor of one dimension, from its key, type, number of elements and, in
            the legacy format, position within another storage.
    """

    def __init__(self, stream: BinaryIO, read_storage: ReadStorage | None = None):
        self._stream, self._read_storage = stream, read_storage
        self._stack: list[Any] = []
        self._below: list[list[Any]] = []  # stacks that wait for the values behind a mark
        self._memo: dict[int, Any] = {}

    def load(self) -> Any:
        """Return the pickled value, with numbers, text, lists, tuples, dicts and tensors only.

        Raises:
            Refused: it contains other Python objects.
            Exception: of any kind, from damaged bytes.
        """
        for count, (operation, argument, _) in enumerate(pickletools.genops(self._stream)):
            if operation.name == "STOP":
                return self._stack.pop()
            if count >= MAX_OPERATIONS:
                raise ValueError(f"more than {MAX_OPERATIONS} operations")
            if operation.name not in _OPERATIONS:
                raise ValueError(f"unexpected operation {operation.name}")
            _OPERATIONS[operation.name](self, argument)
        raise EOFError("ends early")

    def _push(self, argument: Any) -> None:
        if isinstance(argument, int) and argument.bit_length() > MAX_NUMBER_BITS:
            raise ValueError(f"a number of more than {MAX_NUMBER_BITS} bits")
        self._stack.append(argument)

    def _mark(self, _: Any) -> None:
        self._below.append(self._stack)
        self._stack = []

    def _values_behind_mark(self) -> list[Any]:
        values, self._stack = self._stack, self._below.pop()
        return values

    def _tuple(self, _: Any) -> None:
        values = self._values_behind_mark()
        self._push(tuple(values))

    def _short_tuple(self, length: int) -> None:
        values = tuple(self._stack.pop() for _ in range(length))
        self._stack.append(values[::-1])

    def _append(self, _: Any) -> None:
        self._extend([self._stack.pop()])

    def _appends(self, _: Any) -> None:
        self._extend(self._values_behind_mark())

    def _extend(self, values: list[Any]) -> None:
        if not isinstance(self._stack[-1], list):
            raise ValueError("expected a list to fill")
        self._stack[-1].extend(values)

    def _set_item(self, _: Any) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._update([key, value])

    def _set_items(self, _: Any) -> None:
        self._update(self._values_behind_mark())

    def _update(self, values: list[Any]) -> None:
        target = self._stack[-1]
        if not isinstance(target, dict):
            raise ValueError("expected a dict to fill")
        for key, value in zip(values[::2], values[1::2], strict=True):
            # Hashing a nested key can take all stack, and crafted large numbers make a dict slow.
            if not isinstance(key, str | int | float | None) or isinstance(key, int) and abs(key) >= 2**60:
                raise Refused("contains a dict whose keys are not all text or numbers; save state dicts instead")
            target[key] = value

    def _put(self, number: int) -> None:
        self._memo[number] = self._stack[-1]

    def _memoize(self, _: Any) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def _get(self, number: int) -> None:
        self._stack.append(self._memo[number])

    def _global(self, argument: str) -> None:
        self._stack.append(find_global(*argument.split(" ", 1)))

    def _stack_global(self, _: Any) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        if not isinstance(module, str) or not isinstance(name, str):
            raise ValueError("expected the name of an object")
        self._stack.append(find_global(module, name))

    def _reduce(self, _: Any) -> None:
        arguments, constructor = self._stack.pop(), self._stack.pop()
        if not isinstance(constructor, Constructor) or not isinstance(arguments, tuple):
            raise ValueError("expected a function to call")
        self._stack.append(constructor.call(*arguments))

    def _build(self, _: Any) -> None:
        state, built = self._stack.pop(), self._stack[-1]
        if isinstance(built, NumberType):
            built.set_state(state)
        elif not isinstance(built, dict | Tensor):  # attributes of state dicts and parameters are not needed
            raise ValueError("expected an object to complete")

    def _persistent(self, _: Any) -> None:
        kind, storage, key, _, elements, *view = self._stack.pop()
        if kind != "storage" or not isinstance(storage, StorageType) or not isinstance(key, str | int):
            raise ValueError("expected a storage")
        if self._read_storage is None:
            raise ValueError("a storage outside of the contents")
        self._push(self._read_storage(str(key), storage.dtype, checked_count(elements), *view or (None,)))


def _pushes(value: Any) -> Callable[[Unpickler, Any], None]:
    return lambda reader, _: reader._push(value)


def _ignore(_: Unpickler, __: Any) -> None:
    """Operation without an effect on the value."""


_LITERALS = (
    "BININT BININT1 BININT2 LONG1 LONG4 BINFLOAT BINUNICODE SHORT_BINUNICODE BINUNICODE8 SHORT_BINSTRING BINSTRING "
    "SHORT_BINBYTES BINBYTES"
)
_OPERATIONS: dict[str, Callable[[Unpickler, Any], None]] = {
    **dict.fromkeys(_LITERALS.split(), Unpickler._push),
    "PROTO": _ignore,
    "FRAME": _ignore,
    "NONE": _pushes(None),
    "NEWTRUE": _pushes(True),
    "NEWFALSE": _pushes(False),
    "EMPTY_TUPLE": _pushes(()),
    "EMPTY_LIST": lambda reader, _: reader._push([]),
    "EMPTY_SET": lambda reader, _: reader._push([]),
    "EMPTY_DICT": lambda reader, _: reader._push({}),
    "MARK": Unpickler._mark,
    "TUPLE": Unpickler._tuple,
    "TUPLE1": lambda reader, _: reader._short_tuple(1),
    "TUPLE2": lambda reader, _: reader._short_tuple(2),
    "TUPLE3": lambda reader, _: reader._short_tuple(3),
    "APPEND": Unpickler._append,
    "APPENDS": Unpickler._appends,
    "ADDITEMS": Unpickler._appends,
    "SETITEM": Unpickler._set_item,
    "SETITEMS": Unpickler._set_items,
    **dict.fromkeys(("BINPUT", "LONG_BINPUT"), Unpickler._put),
    "MEMOIZE": Unpickler._memoize,
    **dict.fromkeys(("BINGET", "LONG_BINGET"), Unpickler._get),
    "GLOBAL": Unpickler._global,
    "STACK_GLOBAL": Unpickler._stack_global,
    "REDUCE": Unpickler._reduce,
    "BUILD": Unpickler._build,
    "BINPERSID": Unpickler._persistent,
}


# --- plain values -----------------------------------------------------------------------------------------------------


def to_plain(value: Any) -> Any:
    """Convert NumPy scalars to numbers, ordered dicts to dicts and tuples to lists.

    Raises:
        ValueError: values that refer to themselves, are nested too deeply, or are too many.
    """
    return _plain(value, 0, [MAX_OPERATIONS])


def _plain(value: Any, depth: int, left: list[int]) -> Any:
    left[0] -= 1
    if depth > MAX_DEPTH or left[0] < 0:
        raise ValueError("values are nested too deeply" if depth > MAX_DEPTH else "too many values")
    if isinstance(value, dict):
        return {key: _plain(child, depth + 1, left) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(child, depth + 1, left) for child in value]
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Constructor | StorageType | NumberType):
        raise ValueError("expected values, got a function or type")
    return value
