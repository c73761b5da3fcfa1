"""Version of the code that makes the demo set, stored in `demo.json`."""

import ast
import hashlib
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "data"


@cache
def code_version() -> str:
    """Return a hash of all files on which the content of the demo set depends."""
    digest = hashlib.sha256()
    for path in content_files():
        name = path.relative_to(ROOT).as_posix()
        digest.update(name.encode() + b"\0" + path.read_bytes().replace(b"\r\n", b"\n"))
    return digest.hexdigest()[:16]


def content_files() -> list[Path]:
    """Return `make_demo.py`, all files of the project that it imports, directly or not, and the tables of the faces."""
    tables = {DATA / "demo_anatomy.json", *DATA.glob("*_landmarks68.csv")}
    return sorted(tables | _with_imports(ROOT / "demo" / "make_demo.py", set()))


def _with_imports(path: Path, known: set[Path]) -> set[Path]:
    """Return `known`, extended by a file and the files of the project that it imports."""
    known.add(path)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        modules = []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for module in modules:
            file = ROOT.joinpath(*module.split(".")).with_suffix(".py")
            if file.is_file() and file not in known:
                _with_imports(file, known)
    return known
