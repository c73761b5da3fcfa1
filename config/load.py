"""Reading of experiment files: YAML and `--set` assignments to a checked `Config`, or one error with all problems."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import ValidationError

from config.experiment import FORMAT, Config
from config.families import FAMILIES
from config.preparation import PrepareConfig
from config.problems import problem_lines, shown
from config.published import translate
from config.retired import without_retired
from config.schema import PREPARATION, kind_of
from config.sections import Section
from errors import UserError, printable
from parsing.yaml_files import MAX_DEPTH, YamlError, parse_yaml, read_yaml

Checked = TypeVar("Checked", bound=Section)


class ConfigError(UserError):
    """An experiment file cannot be used; the message has one line per problem."""


class Loaded(NamedTuple):
    config: Config
    notices: list[str]
    """Settings added to a published file because its code base has them fixed in code, as `path: value`."""


def load_config(path: Path, assignments: Sequence[str] = ()) -> Loaded:
    """Read an experiment file and apply `--set` assignments, `path.to.key=value` with the value in YAML.

    Raises:
        ConfigError: the file is missing, no YAML mapping, one for `--mode prepare`, or has wrong keys or values.
    """
    raw = _read(path, assignments)
    if kind_of(raw) == PREPARATION:
        raise ConfigError(f"{path}: expected an experiment, got prepare_params; use it with --mode prepare")
    return build_config(raw, printable(str(path)))


def load_preparation(path: Path, assignments: Sequence[str] = ()) -> PrepareConfig:
    """Read a file for `--mode prepare`; see `load_config`.

    Raises:
        ConfigError: the file is missing, no YAML mapping, an experiment, or has wrong keys or values.
    """
    raw = _read(path, assignments)
    if "prepare_params" not in raw:
        raise ConfigError(f"{path}: expected the section prepare_params, got an experiment; see config/prepare-*.yaml")
    return _validated(PrepareConfig, raw, printable(str(path)))


def _read(path: Path, assignments: Sequence[str]) -> dict[str, Any]:
    """Parse YAML and apply assignments.

    Raises:
        ConfigError: the file is missing or no YAML mapping, or an assignment cannot be applied; all assignments that
            cannot are named.
    """
    try:
        raw = read_yaml(path)
    except UserError as error:
        raise ConfigError(str(error)) from error
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: expected sections such as `dataset_params:`, got {shown(raw)}")
    problems = []
    for assignment in assignments:
        try:
            _assign(raw, assignment)
        except ConfigError as error:
            problems.append(str(error))
    if problems:
        raise ConfigError("\n".join(problems))
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
        raise ConfigError(f"{name}: model_params.family: expected one of {known}, got {shown(family)}")
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
        problems = problem_lines(error, config)
        if len(problems) == 1:
            raise ConfigError(f"{name}: {problems[0]}") from error
        raise ConfigError("\n  ".join([f"{name}: {len(problems)} problems", *problems])) from error


def parse_value(text: str) -> Any:
    """Parse one YAML value as in experiment files; `006` and `022_3_3` are text, and `#` starts no comment.

    Raises:
        YamlError: not YAML.
    """
    return parse_yaml(text, comments=False)


def _assign(raw: dict[str, Any], assignment: str) -> None:
    path, separator, value = assignment.partition("=")
    short = printable(assignment if len(assignment) <= 100 else assignment[:97] + "...")
    if not separator or not path.strip():
        raise ConfigError(f"--set {short}: expected path.to.key=value")
    *sections, key = path.split(".")
    if len(sections) > MAX_DEPTH or not all((*sections, key)):
        raise ConfigError(f"--set {short}: expected names separated by single dots, such as train_params.batch_size=4")
    at = raw
    for section in sections:
        if at.get(section) is None:
            at[section] = {}
        at = at[section]
        if not isinstance(at, dict):
            raise ConfigError(f"--set {short}: expected {section} to be a section, got {shown(at)}")
    try:
        at[key] = parse_value(value)
    except YamlError as error:
        raise ConfigError(f"--set {short}: {error}; put text between quotes") from error
