"""Types of command-line arguments, and a parser that reports a wrong one in one line."""

import argparse
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from errors import UserError, printable
from parsing.files import checked_path

MAX_ARGUMENTS = 2000
MAX_DEVICES = 64
_MAX_SHOWN = 300


class ArgumentParser(argparse.ArgumentParser):
    """A parser that reports a wrong argument in one line, without the list of all options."""

    def error(self, message: str) -> NoReturn:
        text = printable(message)
        raise UserError(f"{text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 3] + '...'}; see --help")


def check_count(arguments: Sequence[str]) -> None:
    """Raise UserError if there are more arguments than a person or a script means to give."""
    if len(arguments) > MAX_ARGUMENTS:
        raise UserError(
            f"expected at most {MAX_ARGUMENTS:,} arguments, got {len(arguments):,}; write settings into the YAML file"
        )


def path(text: str) -> Path:
    """Path of an argument, with `~` expanded."""
    try:
        return checked_path(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def whole_number(text: str) -> int:
    """A whole number; its range depends on the mode that uses it."""
    number: int = _parsed(int, text, "a whole number")
    if abs(number) >= 10**18:
        raise argparse.ArgumentTypeError(f"expected a smaller number, got {_short(text)}")
    return number


def frame_or_auto(text: str) -> int | None:
    """A frame, counted from 0; None for `auto`."""
    return None if text == "auto" else whole_number(text)


def number(text: str) -> float:
    """A finite number; its range depends on the mode that uses it."""
    value: float = _parsed(float, text, "a number")
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"expected a finite number, got {_short(text)}")
    return value


def device_ids(text: str) -> tuple[int, ...]:
    """CUDA devices, separated by commas."""
    parts = text.split(",")
    if not (all(part.strip().isascii() and part.strip().isdigit() and len(part) < 6 for part in parts)):
        raise argparse.ArgumentTypeError(f"expected numbers such as 0,1, got {_short(text)}")
    numbers = tuple(int(part) for part in parts)
    if len(numbers) > MAX_DEVICES or len(set(numbers)) < len(numbers):
        raise argparse.ArgumentTypeError(f"expected up to {MAX_DEVICES} different devices, got {_short(text)}")
    return numbers


def _parsed(kind: Callable[[str], Any], text: str, expected: str) -> Any:
    try:
        return kind(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected {expected}, got {_short(text)}") from error


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")
