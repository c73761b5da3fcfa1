"""YAML that people bring: read within limits, or refused in one line that names the place."""

import os
import time

import pytest

from errors import UserError
from parsing.yaml_files import MAX_BYTES, MAX_NODES, YamlError, parse_yaml, read_yaml


def bomb() -> str:
    """Nine aliases of nine aliases of ...: 31 billion values in 200 characters."""
    lines, before = ["a: &a [0, 0]"], "a"
    for name in "bcdefghijkl":
        lines.append(f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]")
        before = name
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{[1]: 2}", "line 1: expected a name as key, got a list"),
        ("? {a: 1}\n: 2", "line 1: expected a name as key, got a section"),
        ("a: &x [1]\n*x : 2", "line 2: expected a name as key, got a list"),
        ("a: !!int abc", "line 1: expected !!int, got `abc`"),
        ("a: !!bool x", "line 1: expected !!bool, got `x`"),
        ("a: !!timestamp x", "line 1: the tag `!!timestamp` is not supported"),
        ("a: !!binary x", "the tag `!!binary` is not supported"),
        ("a: !!python/object/apply:os.system [x]", "the tag `!!python/object/apply:os.system` is not supported"),
        ("a: !own x", "the tag `!own` is not supported"),
        ("a: !!map [1]", "the tag `!!map` is not supported"),
        (f"a: {'9' * 4301}", "line 1: a number of 4,301 characters"),
        (f"a: .{'9' * 4301}", "line 1: a number of 4,302 characters"),
        (f"%YAML {'9' * 5000}.1\n--- a", "not valid YAML"),
        ('a: "\\UFFFFFFFF"', "not valid YAML"),
        ('a: "\\ud800"', "line 1: the character U+D800 is not allowed"),
        ('a:\n "\\0"', "line 2: the character U+0000 is not allowed"),
        ("a: 1\nb: \0", "line 2: the character U+0000 is not allowed in YAML"),
        ("[" * 1000 + "]" * 1000, "line 1: nested more than 50 levels deep"),
        ("[" * 1000, "nested more than 50 levels deep"),
        ("- " * 1000, "nested more than 50 levels deep"),
        ("a: 1\nb:\n  c: 1\n  c: 2", "line 4: the key `c` is repeated; it also stands in line 3"),
        ("1: 2\n1.0: 3", "line 2: the key 1.0 is repeated; it also stands in line 1"),
        ("&a [*a]", "line 1: *a repeats something that is not complete before"),
        ("a: *b", "line 1: *b repeats something"),
        ("a: 1\n---\nb: 2", "line 2: a second document (`---`) begins, expected one"),
        ("a:\tb", "not valid YAML in line 1, column 3: found character '\\t'"),
        ("a: [1", "not valid YAML in line 1, column 6"),
        (bomb(), "line 5: more than 10,000 values"),
        ("- 0\n" * (MAX_NODES + 1), "more than 10,000 values"),
        ("#" * (MAX_BYTES + 1), "expected at most 1"),
    ],
)
def test_what_is_no_plain_yaml_is_refused_at_once(text, message):
    start = time.perf_counter()
    with pytest.raises(YamlError) as caught:
        parse_yaml(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert time.perf_counter() - start < 2


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("# nothing", None),
        ("a: &x {b: [1, 2]}\nc: *x", {"a": {"b": [1, 2]}, "c": {"b": [1, 2]}}),
        ("a: !!str 5", {"a": "5"}),
        ("a: !!float 5", {"a": 5.0}),
        ("a: ! 5", {"a": "5"}),
        (
            "a: [.inf, -.INF, 1e-4, 010, 0x1F, on, ~]",
            {"a": [float("inf"), -float("inf"), 1e-4, "010", "0x1F", "on", None]},
        ),
        ("<<: {a: 1}", {"<<": {"a": 1}}),
        ("a: |\n  b\n  c", {"a": "b\nc"}),
    ],
)
def test_plain_yaml_gives_plain_values(text, value):
    assert parse_yaml(text) == value


def test_an_alias_is_a_copy():
    value = parse_yaml("a: &x {b: 1}\nc: *x")
    value["a"]["b"] = 2
    assert value["c"]["b"] == 1


@pytest.mark.parametrize(
    ("text", "value"),
    [("set #1", "set #1"), ("#x", "#x"), ("[a #b, 'c #d']", ["a #b", "c #d"]), ("\ue000#", "\ue000#")],
)
def test_a_value_of_the_command_line_has_no_comments(text, value):
    assert parse_yaml(text, comments=False) == value


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "gbk"])
def test_encodings_that_show_what_they_are_are_read(tmp_path, encoding):
    path = tmp_path / "a.yaml"
    path.write_bytes("a: 表情\n".encode(encoding))
    if encoding in ("utf-16-le", "gbk"):
        with pytest.raises(YamlError, match=r"a\.yaml: line 1: (not UTF-8 text; save the file|the character U\+0000)"):
            read_yaml(path)
    else:
        assert read_yaml(path) == {"a": "表情"}


def test_a_fifo_does_not_hang_and_a_large_file_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "fifo.yaml")
    with pytest.raises(UserError, match="expected a file, got a FIFO"):
        read_yaml(tmp_path / "fifo.yaml")
    (tmp_path / "large.yaml").write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(UserError, match="expected at most 1; is this the right file"):
        read_yaml(tmp_path / "large.yaml")
