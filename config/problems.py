"""Lines that explain why settings were refused: `path.to.key: expected ..., got ...`, with the nearest known key."""

import difflib
import re
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from config.sections import Section
from errors import printable

MAX_PROBLEMS = 50  # lines that are shown of one file
_MAX_SHOWN = 60  # characters of a wrong value or key in a message


def problem_lines(error: ValidationError, config: type[Section]) -> list[str]:
    """Return one line per problem; at most `MAX_PROBLEMS`, and the number of the others in a last one."""
    known = _known_keys_of(config)
    lines: list[str] = []
    for problem in error.errors(include_url=False):
        if len(lines) >= MAX_PROBLEMS:
            return [*lines[:MAX_PROBLEMS], f"and {error.error_count() - MAX_PROBLEMS} more"]
        lines += _lines(problem, known)
    return lines


def shown(value: Any) -> str:
    """Return a value as text for a message, shortened."""
    if value is None:
        return "nothing"
    if isinstance(value, list | tuple | dict) and len(value) > _MAX_SHOWN:
        return f"{len(value):,} values"
    return _shortened(repr(list(value) if isinstance(value, tuple) else value))


def _lines(problem: Any, known: list[str]) -> list[str]:
    path = ".".join(_shortened(str(part)) for part in problem["loc"])
    value = problem["input"]
    match problem["type"]:
        case "extra_forbidden":
            near = _nearest(path, known)
            return [f"{path}: unknown key" + (f"; did you mean {near}?" if near else "")]
        case "missing":
            return [f"{path}: expected a value, got nothing"]
        case "value_error":
            messages = str(problem["ctx"]["error"]).splitlines()
            return [f"{path}: {m}" if m.startswith("expected") else f"{path}.{m}".lstrip(".") for m in messages]
        case "is_instance_of":
            remedy = "; put a number between quotes" if isinstance(value, int | float) else ""
            return [f"{path}: expected a path, got {shown(value)}{remedy}"]
        case "too_long":
            return [f"{path}: expected at most {problem['ctx']['max_length']} values, got {shown(value)}"]
        case "too_short":
            return [f"{path}: expected at least {problem['ctx']['min_length']} value, got {shown(value)}"]
        case "string_too_long":
            return [f"{path}: expected at most {problem['ctx']['max_length']} characters, got {shown(value)}"]
        case "string_too_short":
            return [f"{path}: expected a text, got an empty one"]
        case "invalid_key":
            return [f"{path}: expected text as key; put it between quotes"]
    expected = re.sub(r"^Input should be (a valid )?", "", problem["msg"])
    return [f"{path}: expected {expected}, got {shown(value)}"]


@cache
def _known_keys_of(config: type[Section]) -> list[str]:
    return _known_keys(TypeAdapter(config).json_schema())


def _known_keys(schema: dict[str, Any]) -> list[str]:
    """Dotted paths of all keys of a JSON schema."""
    definitions = schema.get("$defs", {})

    def walk(node: dict[str, Any], prefix: str) -> list[str]:
        if "$ref" in node:
            return walk(definitions[node["$ref"].rsplit("/", 1)[-1]], prefix)
        paths = [path for option in node.get("anyOf", []) for path in walk(option, prefix)]
        for key, child in node.get("properties", {}).items():
            paths += [f"{prefix}{key}", *walk(child, f"{prefix}{key}.")]
        return paths

    return walk(schema, "")


def _nearest(path: str, known: list[str]) -> str | None:
    """Known key most similar to an unknown one: first in the same section, then with a similar name elsewhere."""
    section, _, key = path.rpartition(".")
    siblings = {k.rpartition(".")[2]: k for k in known if k.rpartition(".")[0] == section}
    match = difflib.get_close_matches(key, siblings, 1, 0.6) or [name for name in siblings if name.startswith(key)]
    if match:
        return siblings[match[0]]
    names: dict[str, str] = {}
    for candidate in known:
        names.setdefault(candidate.rpartition(".")[2], candidate)
    match = difflib.get_close_matches(key, names, 1, 0.75)
    return names[match[0]] if match else None


def _shortened(text: str) -> str:
    text = printable(text)
    return text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 3] + "..."
