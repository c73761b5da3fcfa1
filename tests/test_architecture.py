"""The layers of the program, as drawn in docs/architecture.md, and the names in its pages."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = [
    {"errors", "sync_batchnorm"},
    {"parsing"},
    {"config"},
    {"modules", "faces"},
    {"core", "augmentation"},
    {"clips", "logger"},
    {"frames_dataset", "output"},
    {"generation", "preparation", "trainer"},
    {"evaluation"},
    {"train", "animate", "reconstruction", "prepare", "check", "evaluate", "export"},
    {"train_avd", "train_au", "run"},
    {"demo"},
    {"benchmarks"},
]
LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}
SOURCES = [
    path
    for room in sorted(LEVEL)
    for path in ([ROOT / f"{room}.py"] if (ROOT / f"{room}.py").exists() else sorted((ROOT / room).rglob("*.py")))
]
PAGES = [ROOT / "README.md", ROOT / "docs" / "architecture.md"]  # the others are followed literally by tests


def room_of(path: Path) -> str:
    """First part of a file's path, without extension."""
    return path.relative_to(ROOT).with_suffix("").parts[0]


def imported_modules(path: Path) -> set[str]:
    """Dotted names of everything that a file imports, inside functions too."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def test_every_source_file_belongs_to_a_layer():
    known = {path for path in ROOT.iterdir() if path.name in LEVEL or path.stem in LEVEL and path.suffix == ".py"}
    found = {p for p in ROOT.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()} - {ROOT / "tests"}
    assert found == known


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_to_lower_layers(path):
    own = room_of(path)
    others = {name.split(".")[0] for name in imported_modules(path)} & set(LEVEL) - {own}
    assert {other for other in others if LEVEL[other] >= LEVEL[own]} == set()


def test_no_file_imports_itself_through_others():
    modules = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in SOURCES}
    graph = {name: imported_modules(path) & set(modules) - {name} for name, path in modules.items()}
    finished: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join((*trail, name))
        if name not in finished:
            for other in graph[name]:
                visit(other, (*trail, name))
            finished.add(name)

    for name in graph:
        visit(name, ())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_name_files_that_exist(page):
    text = page.read_text(encoding="utf-8")
    named = set(re.findall(r"`([\w./-]+/[\w.-]+\.(?:py|yaml|md|csv|json|svg))`", text))
    links = {link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link}
    ours = {name for name in named if (ROOT / name.split("/")[0]).is_dir()}
    assert {name for name in ours if not (ROOT / name).exists()} == set()
    assert {link for link in links if not (page.parent / link).exists()} == set()


def test_readme_lists_every_source_file():
    tree = (ROOT / "README.md").read_text(encoding="utf-8").split("## Files")[1].split("```")[1]
    listed: set[str] = set()
    room = ""
    for line in tree.strip().splitlines():
        words = line.split()
        inner = words[0] if line.startswith(" ") and words[0].endswith("/") else ""
        if not line.startswith(" "):
            room = words[0] if words[0].endswith("/") else ""
        listed |= {room + inner + word for word in words if word.endswith(".py")}
    own = {str(path.relative_to(ROOT)) for path in SOURCES if path.name != "__init__.py"}
    assert own - listed == set()
    assert listed - own == set()
