"""YAML that people bring, read into plain values within limits of size, depth and number of nodes.

Scalars are those of YAML 1.2: `2e-4` is a number; `022_3_3`, `006`, `yes` and `1:30` are text. Values are built from
the parser's events, so that no alias, tag or nesting costs more than its limit, and no tag constructs an object.
"""

import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from errors import UserError, first_line, printable
from parsing.files import MIB, read_file

MAX_BYTES = MIB
MAX_DEPTH = 50
MAX_NODES = 10_000  # after aliases have been replaced by what they stand for
MAX_NUMBER_LENGTH = 100  # characters; Python refuses integers of more than 4300 digits
_TAG = "tag:yaml.org,2002:"
_BOOL = re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z")
_NULL = re.compile(r"(?:~|null|Null|NULL|)\Z")
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]*)\Z")
_FLOAT = re.compile(
    r"(?:[-+]?(?:(?:0|[1-9][0-9]*)?\.[0-9]+|(?:0|[1-9][0-9]*)\.?)(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z"
)
_MAX_SHOWN = 40  # characters of a text in a message


class YamlError(UserError):
    """A text is not the YAML that is read here; the message has place, reason and remedy, without the file's name."""


def read_yaml(path: Path) -> Any:
    """Read a YAML file with one document; an empty file gives None.

    Raises:
        UserError: no readable file, too large, no text, or not YAML within the limits; the message names the file.
    """
    content = read_file(path, max_bytes=MAX_BYTES)
    try:
        return parse_yaml(_decode(content))
    except YamlError as error:
        raise YamlError(f"{printable(str(path))}: {error}") from error


def parse_yaml(text: str, *, comments: bool = True) -> Any:
    """Parse one YAML document; an empty text gives None.

    Args:
        comments: treat `#` after a blank as the start of a comment; false keeps it in the value.
    Raises:
        YamlError: not YAML within the limits.
    """
    if len(text) > MAX_BYTES:
        raise YamlError(f"has {len(text) / MIB:.1f} million characters, expected at most {MAX_BYTES / MIB:g}")
    hash_mark = "#"
    if not comments and "#" in text:
        hash_mark = next((c for c in map(chr, range(0xE000, 0xF8FF)) if c not in text), "#")
        text = text.replace("#", hash_mark)
    try:
        return _Builder(hash_mark).build(yaml.parse(text, yaml.SafeLoader))
    except YamlError:
        raise
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise YamlError(
            f"line {line}: the character U+{ord(text[error.position]):04X} is not allowed in YAML"
        ) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise YamlError(f"not valid YAML{where}: {printable(error.problem or first_line(error))}") from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # numbers in escapes and directives
        raise YamlError(f"not valid YAML: {printable(first_line(error))}") from error


def _decode(content: bytes) -> str:
    """Decode UTF-8, or UTF-16 with a byte-order mark."""
    encoding = "utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise YamlError(f"line {line}: not UTF-8 text; save the file with the encoding UTF-8") from error


@dataclass
class _Collection:
    """A list or mapping under construction.

    Attributes:
        value: the list or mapping.
        nodes: number of nodes in it, itself included.
        anchor: name under which it can be repeated.
        keys: line of every key.
        key: of the next value; the collection itself where a key is expected.
    """

    value: list[Any] | dict[Any, Any]
    anchor: str | None
    nodes: int = 1
    keys: dict[Any, int] = field(default_factory=dict)
    key: Any = None

    def __post_init__(self) -> None:
        self.key = self


class _Builder:
    """Builds the value of one document from the events of the parser."""

    def __init__(self, hash_mark: str):
        self.hash_mark = hash_mark
        self.open: list[_Collection] = []
        self.anchors: dict[str, tuple[Any, int]] = {}
        self.nodes = 0
        self.root: Any = None

    def build(self, events: Iterator[yaml.Event]) -> Any:
        documents = 0
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise YamlError(f"{_line(event)}: a second document (`---`) begins, expected one")
            elif isinstance(event, yaml.ScalarEvent):
                self._count(1, event)
                self._add(_scalar(event, self.hash_mark), 1, event.anchor, event)
            elif isinstance(event, yaml.AliasEvent):
                self._add_alias(event)
            elif isinstance(event, yaml.SequenceStartEvent | yaml.MappingStartEvent):
                self._open(event)
            elif isinstance(event, yaml.CollectionEndEvent):
                done = self.open.pop()
                self._add(done.value, done.nodes, done.anchor, event)
        return self.root

    def _open(self, event: yaml.CollectionStartEvent) -> None:
        kind, short = (list, "seq") if isinstance(event, yaml.SequenceStartEvent) else (dict, "map")
        _check_tag(event, (short,))
        if self.open and isinstance(self.open[-1].value, dict) and self.open[-1].key is self.open[-1]:
            raise YamlError(f"{_line(event)}: expected a name as key, got a {'list' if kind is list else 'section'}")
        if len(self.open) == MAX_DEPTH:
            raise YamlError(f"{_line(event)}: nested more than {MAX_DEPTH} levels deep")
        self._count(1, event)
        self.open.append(_Collection(kind(), event.anchor))

    def _add_alias(self, event: yaml.AliasEvent) -> None:
        if event.anchor not in self.anchors:
            raise YamlError(
                f"{_line(event)}: *{printable(str(event.anchor))} repeats something that is not complete before"
            )
        value, nodes = self.anchors[event.anchor]
        self._count(nodes, event)
        self._add(deepcopy(value), nodes, None, event)

    def _add(self, value: Any, nodes: int, anchor: str | None, event: yaml.Event) -> None:
        """Add a complete node to the innermost collection."""
        if anchor is not None:
            self.anchors[anchor] = value, nodes
        if not self.open:
            self.root = value
            return
        parent = self.open[-1]
        parent.nodes += nodes
        if isinstance(parent.value, list):
            parent.value.append(value)
        elif parent.key is parent:
            self._set_key(parent, value, event)
        else:
            parent.value[parent.key] = value
            parent.key = parent

    def _set_key(self, parent: _Collection, key: Any, event: yaml.Event) -> None:
        if isinstance(key, list | dict):
            raise YamlError(
                f"{_line(event)}: expected a name as key, got a {'list' if type(key) is list else 'section'}"
            )
        if key in parent.keys:
            raise YamlError(
                f"{_line(event)}: the key {_excerpt(key)} is repeated; it also stands in line {parent.keys[key]}"
            )
        parent.keys[key] = _line_number(event)
        parent.key = key

    def _count(self, nodes: int, event: yaml.Event) -> None:
        self.nodes += nodes
        if self.nodes > MAX_NODES:
            raise YamlError(f"{_line(event)}: more than {MAX_NODES:,} values; is this the right file?")


def _scalar(event: yaml.ScalarEvent, hash_mark: str) -> Any:
    """Value of a scalar: by its explicit tag, as text if quoted, otherwise by its form."""
    text = event.value.replace(hash_mark, "#")
    if bad := re.search("[\0\ud800-\udfff]", text):
        raise YamlError(f"{_line(event)}: the character U+{ord(bad[0]):04X} is not allowed")
    tag = _check_tag(event, ("str", *_CONVERSIONS))
    if tag == "str" or tag is None and not event.implicit[0]:
        return text
    for name, (pattern, convert) in _CONVERSIONS.items():
        if tag in (None, name) and pattern.match(text):
            if name in ("int", "float") and len(text) > MAX_NUMBER_LENGTH:
                raise YamlError(f"{_line(event)}: a number of {len(text):,} characters; put text between quotes")
            return convert(text)
    if tag is None:
        return text
    if tag == "float" and _INT.match(text):
        return float(text[:MAX_NUMBER_LENGTH])
    raise YamlError(f"{_line(event)}: expected !!{tag}, got {_excerpt(text)}")


def _float(text: str) -> float:
    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))


_CONVERSIONS: dict[str, tuple[re.Pattern[str], Callable[[str], Any]]] = {
    "bool": (_BOOL, lambda text: text.lower() == "true"),
    "null": (_NULL, lambda text: None),
    "int": (_INT, int),
    "float": (_FLOAT, _float),
}


def _check_tag(event: yaml.ScalarEvent | yaml.CollectionStartEvent, allowed: tuple[str, ...]) -> str | None:
    """Return the explicit tag of a node without its prefix; None if it has none."""
    if event.tag in (None, "!"):
        return "str" if event.tag else None
    name = event.tag.removeprefix(_TAG)
    if name in allowed and event.tag.startswith(_TAG):
        return name
    shown = f"!!{name}" if event.tag.startswith(_TAG) else event.tag
    raise YamlError(f"{_line(event)}: the tag {_excerpt(shown)} is not supported; write the value without it")


def _line_number(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


def _line(event: yaml.Event) -> str:
    return f"line {_line_number(event)}"


def _excerpt(value: Any) -> str:
    text = printable(str(value))
    return (
        repr(value)
        if not isinstance(value, str)
        else f"`{text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 3] + '...'}`"
    )
