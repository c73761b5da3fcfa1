"""Parts of all self-contained pages: templates that escape everything, and hashes for their security policy."""

import base64
import hashlib
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from errors import printable

MAX_TEXT = 600  # characters per text


@cache
def template_environment(folder: Path) -> Environment:
    """Return the environment of the templates in a folder; `line` makes one line of any value."""
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["line"] = shown_line
    return environment


def shown_line(value: object) -> str:
    """Return text of bounded length in which control characters are visible."""
    text = printable(str(value)[: 2 * MAX_TEXT])
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 1]}\u2026"


def source_hash(text: str) -> str:
    """Return the hash of an inline style or script, as a content security policy has it."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
