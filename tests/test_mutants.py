"""The list of faults and the tool that applies them; running all of them is `python -m tests.mutants`."""

import ast
from collections import Counter
from pathlib import Path

import pytest

from tests.mutants import tool
from tests.mutants.faults import FAULTS, Fault

ROOT = Path(__file__).parents[1]


def test_the_old_text_of_every_fault_stands_exactly_once():
    stale = [f"{fault.file}: {fault.name}" for fault in FAULTS if tool.occurrences(fault, ROOT) != 1]
    assert stale == []


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_leaves_valid_python_and_names_tests_that_exist(fault):
    text = (ROOT / fault.file).read_text(encoding="utf-8")
    ast.parse(text.replace(fault.old, fault.new))
    assert fault.old != fault.new
    files = [part for part in fault.tests.split() if part.endswith(".py")]
    assert files
    assert all((ROOT / file).is_file() for file in files)


def test_names_are_unique_and_every_area_is_covered():
    assert [name for name, count in Counter(fault.name for fault in FAULTS).items() if count > 1] == []
    assert len(FAULTS) >= 60


@pytest.fixture
def tree(tmp_path, monkeypatch) -> Path:
    """A program of one line, and its tests, as Git knows them."""
    (tmp_path / "program.py").write_text("def double(x):\n    return 2 * x\n", encoding="utf-8")
    tests = "from program import double\n\n\ndef test_double():\n    assert double(2) == 4\n"
    (tmp_path / "test_program.py").write_text(tests, encoding="utf-8")
    (tmp_path / "test_broken.py").write_text("def test_broken():\n    assert False\n", encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\npythonpath = .\n", encoding="utf-8")
    tool.subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    monkeypatch.setattr(tool, "ROOT", tmp_path)
    monkeypatch.setattr(tool, "LIBRARIES", ())  # the program needs none
    return tmp_path


def test_the_tool_tells_killed_survived_and_stale_faults(tree, monkeypatch, capsys):
    faults = [
        Fault("noticed", "sums", "program.py", "2 * x", "3 * x", "test_program.py"),
        Fault("unnoticed", "sums", "program.py", "2 * x", "x + x", "test_program.py"),
        Fault("gone", "sums", "program.py", "4 * x", "x", "test_program.py"),
    ]
    monkeypatch.setattr(tool, "FAULTS", faults)
    assert tool.main(["--write", str(tree / "mutants.md")]) == 1
    printed = capsys.readouterr().out
    assert [line.split()[0] for line in printed.splitlines()[:3]] == ["killed", "survived", "stale"]
    assert "1 of 3 faults noticed" in printed
    table = (tree / "mutants.md").read_text(encoding="utf-8")
    assert "| sums | noticed | `program.py` | `test_program.py::test_double` |" in table
    assert "| sums | unnoticed | `program.py` | **survived** |" in table
    assert (tree / "program.py").read_text(encoding="utf-8") == "def double(x):\n    return 2 * x\n"
    assert tool.main(["--only", "noticed", "--no-baseline"]) == 0


def test_the_tool_refuses_tests_that_fail_without_a_fault(tree, monkeypatch, capsys):
    monkeypatch.setattr(tool, "FAULTS", [Fault("any", "sums", "program.py", "2 * x", "x", "test_broken.py")])
    assert tool.main([]) == 2
    assert "test_broken.py" in capsys.readouterr().out
    assert tool.main(["--area", "no such area"]) == 2
