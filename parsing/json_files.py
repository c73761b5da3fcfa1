"""JSON files, read within limits."""

import json
from pathlib import Path
from typing import Any

from errors import UserError
from parsing.files import read_file
from parsing.text_tables import decode_text, describe_error

MAX_BYTES = 64 * 2**20


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        UserError: unreadable, no JSON, nested too deeply, or larger than makes sense.
    """
    text = decode_text(read_file(path, max_bytes=MAX_BYTES), path)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else describe_error(error)
        raise UserError(f"{path}: expected a readable JSON file ({reason}); write it again") from error
