"""Rules of the house that a machine can check."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SKIPPED = {".venv", ".cache", "log"}


def sources(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def own_sources() -> list[Path]:
    return [p for p in sorted(ROOT.rglob("*.py")) if not SKIPPED & set(p.relative_to(ROOT).parts)]


def imports(tree: ast.AST) -> set[str]:
    """Top-level names of everything a file imports, inside functions too."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").split(".")[0])
    return names


STANDARD = sys.stdlib_module_names
ALLOWED = {
    "modules": {"torch", "torchvision", "modules", "config"},
    "faces": {
        "numpy",
        "cv2",
        "scipy",
        "skimage",
        "natsort",
        "faces",
        "face_alignment",
        "feat",
        "torch",
        "parsing",
        "errors",
    },
    "config": {"pydantic", "matplotlib", "parsing", "config", "errors"},
}
NO_STANDARD = {"modules": {"os", "sys", "argparse", "logging", "pathlib", "io", "json", "csv", "random", "subprocess"}}


@pytest.mark.parametrize("room", ALLOWED)
def test_imports_point_downwards(room):
    for path in sources(room):
        found = imports(ast.parse(path.read_text(encoding="utf-8")))
        foreign = found - ALLOWED[room] - (STANDARD - NO_STANDARD.get(room, set()))
        assert not foreign, f"{path.relative_to(ROOT)} imports {foreign}"


FORBIDDEN_CALLS = {"print", "open", "input", "manual_seed", "seed", "exec"}


@pytest.mark.parametrize("path", sources("modules"), ids=lambda path: str(path.relative_to(ROOT)))
def test_networks_do_no_input_and_output_and_choose_no_device(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        where = f"line {getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            assert name not in FORBIDDEN_CALLS | {"cuda"}, f"{where} calls {name}"
            if name in ("grid_sample", "affine_grid"):
                assert "align_corners" in {keyword.arg for keyword in node.keywords}, f"{where}: no align_corners"
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.args.kwarg is None, f"{where}: {node.name} takes **{node.args.kwarg.arg}"
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            assert not re.fullmatch(r"cuda(:\d+)?", node.value), f"{where} names a device"


@pytest.mark.parametrize("path", own_sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_leftovers(path):
    text = path.read_text(encoding="utf-8")
    if path != Path(__file__):
        assert not re.search(r"\b(TODO|FIXME|XXX)\b|INTERIM", text)
        assert not re.search(r"(?<![\w.])/(root|home|work|tmp|data)/\w", text), "absolute path"
    for node in ast.walk(ast.parse(text)):
        assert not (isinstance(node, ast.ExceptHandler) and node.type is None), f"line {node.lineno}: bare except"


def public_definitions(body: list[ast.stmt]) -> list[ast.FunctionDef | ast.ClassDef]:
    """Functions, classes and methods that others may use."""
    found = [n for n in body if isinstance(n, ast.FunctionDef | ast.ClassDef) and not n.name.startswith("_")]
    return found + [m for n in found if isinstance(n, ast.ClassDef) for m in public_definitions(n.body)]


@pytest.mark.parametrize(
    "path",
    [path for path in own_sources() if not {"tests", "config"} & set(path.relative_to(ROOT).parts)],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_public_definitions_say_what_they_are(path):
    definitions = public_definitions(ast.parse(path.read_text(encoding="utf-8")).body)
    missing = [d.name for d in definitions if not ast.get_docstring(d) and d.name not in ("forward", "main")]
    assert missing == []


def test_help_and_configuration_errors_do_not_load_deep_learning_libraries(tmp_path):
    code = "import sys, run; status = run.main(['--config', 'absent.yaml']); print('torch' in sys.modules, status)"
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["False", "2"]
    assert "absent.yaml: no such file in" in said.stderr


QUESTIONS = re.compile(r"\s*(What|Where|Whether|How|Who|Whose|Which|Why|When)\b")


@pytest.mark.parametrize("path", own_sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_docstrings_open_with_the_thing_or_the_verb(path):
    strings = [
        node.value.value
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    ]
    assert [text[:60] for text in strings if QUESTIONS.match(text)] == []


def test_animation_does_not_load_the_libraries_of_training():
    code = (
        "import sys, animate, modules.warp.model; print({'lightning', 'torchvision', 'tensorboard'} & set(sys.modules))"
    )
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "set()"
