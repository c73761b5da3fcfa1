"""Reading of experiment files: YAML and `--set` assignments to a checked `Config`, or one error with all problems."""

import difflib
import re
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError

from config.experiment import FORMAT, Config
from config.families import FAMILIES
from config.preparation import PrepareConfig
from config.published import translate
from config.retired import without_retired
from config.schema import PREPARATION, kind_of
from config.sections import Section
from errors import UserError

_MAX_SHOWN = 60  # characters of a wrong value in a message


Checked = TypeVar("Checked", bound=Section)


class ConfigError(UserError):
    """An experiment file cannot be used; the message has one line per problem."""


class Loaded(NamedTuple):
    config: Config
    notices: list[str]
    """Settings added to a published file because its code base has them fixed in code, as `path: value`."""


class _Loader(yaml.SafeLoader):
    """YAML 1.2 scalars: `2e-4` is a number; `022_3_3`, `006`, `yes` and `1:30` are text. A repeated key is an error."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} is repeated", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


_SCALARS = {
    "tag:yaml.org,2002:bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "tag:yaml.org,2002:null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "tag:yaml.org,2002:int": (r"[-+]?(0|[1-9][0-9]*)", "-+0123456789"),
    "tag:yaml.org,2002:float": (
        r"[-+]?((0|[1-9][0-9]*)?\.[0-9]+|(0|[1-9][0-9]*)\.?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
}
for _tag, (_pattern, _first) in _SCALARS.items():
    _Loader.add_implicit_resolver(_tag, re.compile(f"(?:{_pattern})$"), list(_first))


def load_config(path: Path, assignments: list[str] | None = None) -> Loaded:
    """Read an experiment file and apply `--set` assignments, `path.to.key=value` with the value in YAML.

    Raises:
        ConfigError: the file is missing, no YAML mapping, one for `--mode prepare`, or has wrong keys or values.
    """
    raw = _read(path, assignments)
    if kind_of(raw) == PREPARATION:
        raise ConfigError(f"{path}: expected an experiment, got prepare_params; use it with --mode prepare")
    return build_config(raw, str(path))


def load_preparation(path: Path, assignments: list[str] | None = None) -> PrepareConfig:
    """Read a file for `--mode prepare`; see `load_config`.

    Raises:
        ConfigError: the file is missing, no YAML mapping, an experiment, or has wrong keys or values.
    """
    raw = _read(path, assignments)
    if "prepare_params" not in raw:
        raise ConfigError(f"{path}: expected the section prepare_params, got an experiment; see config/prepare-*.yaml")
    return _validated(PrepareConfig, raw, str(path))


def _read(path: Path, assignments: list[str] | None) -> dict[str, Any]:
    """Parse YAML and apply assignments.

    Raises:
        ConfigError: the file is missing or no YAML mapping, or an assignment cannot be applied.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: expected a readable YAML file ({_reason(error)})") from error
    raw = _parse(text, str(path))
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: expected sections such as `dataset_params:`, got {_short(raw)}")
    for assignment in assignments or []:
        _assign(raw, assignment)
    return raw


def build_config(raw: dict[str, Any], name: str) -> Loaded:
    """Check a parsed experiment, published or `format: 2`.

    Args:
        raw: nested mapping from YAML or from a checkpoint.
        name: of the file, for messages.
    Raises:
        ConfigError: wrong keys or values, all of them in one message.
    """
    notices: list[str] = []
    if "format" not in raw:
        try:
            raw, notices = translate(raw, FORMAT)
        except ValueError as error:
            raise ConfigError(f"{name}: {error}") from error
    model = raw.get("model_params")
    family = model.get("family") if isinstance(model, dict) else None
    if not isinstance(family, str) or family not in FAMILIES:
        known = ", ".join(FAMILIES)
        raise ConfigError(f"{name}: model_params.family: expected one of {known}, got {_short(family)}")
    try:
        current = without_retired(raw)
    except ValueError as error:
        raise ConfigError(f"{name}: {error}") from error
    return Loaded(_validated(FAMILIES[family].config, current, name), notices)


def _validated(config: type[Checked], raw: dict[str, Any], name: str) -> Checked:
    """Check a parsed file.

    Raises:
        ConfigError: wrong keys or values, all of them in one message.
    """
    try:
        return config.model_validate(raw)
    except ValidationError as error:
        problems = _problems(error, config)
        count = f"{len(problems)} problems" if len(problems) > 1 else "1 problem"
        raise ConfigError(f"{name}: {count}\n" + "\n".join(f"  {problem}" for problem in problems)) from error


def parse_value(text: str) -> Any:
    """Parse one YAML value as in experiment files; `006` and `022_3_3` are text."""
    return _parse(text, f"value {text!r}")


def _parse(text: str, name: str) -> Any:
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader with other scalars
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ConfigError(f"{name}: not valid YAML{where}: {getattr(error, 'problem', None) or error}") from error


def _assign(raw: dict[str, Any], assignment: str) -> None:
    path, separator, value = assignment.partition("=")
    if not separator or not path:
        raise ConfigError(f"--set {assignment}: expected path.to.key=value")
    *sections, key = path.split(".")
    at = raw
    for section in sections:
        if at.get(section) is None:
            at[section] = {}
        at = at[section]
        if not isinstance(at, dict):
            raise ConfigError(f"--set {assignment}: expected {section} to be a section, got {_short(at)}")
    at[key] = parse_value(value)


def _problems(error: ValidationError, config: type[Section]) -> list[str]:
    known = _known_keys(TypeAdapter(config).json_schema())
    lines = []
    for problem in error.errors():
        path = ".".join(str(part) for part in problem["loc"])
        message, value = problem["msg"], problem["input"]
        if problem["type"] == "extra_forbidden":
            near = _nearest(path, known)
            lines.append(f"{path}: unknown key" + (f"; did you mean {near}?" if near else ""))
        elif problem["type"] == "missing":
            lines.append(f"{path}: expected a value, got nothing")
        elif problem["type"] == "value_error":
            message = str(problem["ctx"]["error"])
            lines.append(f"{path}: {message}" if message.startswith("expected") else f"{path}.{message}".lstrip("."))
        elif problem["type"] == "is_instance_of":
            lines.append(f"{path}: expected a path, got {_short(value)}; put a number between quotes")
        else:
            expected = re.sub(r"^Input should be (a valid )?", "", message)
            lines.append(f"{path}: expected {expected}, got {_short(value)}")
    return lines


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


def _short(value: Any) -> str:
    if value is None:
        return "nothing"
    text = repr(list(value) if isinstance(value, tuple) else value)
    return text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 3] + "..."


def _reason(error: OSError | UnicodeDecodeError) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else "it is not UTF-8 text"
