"""Commands of every mode that generates clips, on tiny clips with the family without networks."""

import csv
import hashlib
from pathlib import Path

import run

MODES = ("pairs", "au-list", "reconstruction", "file", "au")
NAME = "006-022_3_3"  # folder of one of the two pairs
CODES = "source,au,onset,apex,offset,frames,fps,name,curves\n022_3_3,4+L7B,1,3,6,,,,\n006,12,1,3,6,9,50,smile,\n"
TIMES = ("--onset", "1", "--apex", "3", "--offset", "6")


def command(mode: str, config: Path, data: Path, results: Path) -> list[str]:
    """Arguments of `run.py`; all results lie below `results`."""
    start = ["--config", str(config), "--log-dir", str(results)]
    one = ["--source", str(data / "test" / "006"), "--result", str(results / "out.mp4")]
    if mode == "reconstruction":
        return [*start, "--mode", "reconstruction"]
    if mode == "check":
        return [*start, "--mode", "check", "--set", "train_params.batch_size=2"]
    if mode == "au-list":
        (data / "codes.csv").write_text(CODES, encoding="utf-8")
    arguments = {
        "pairs": [],
        "au-list": ["--au-list", str(data / "codes.csv")],
        "file": [*one, "--driving", str(data / "test" / "022_3_3")],
        "au": [*one, "--au", "4+L7B", *TIMES],
    }[mode]
    return [*start, "--mode", "animate", *arguments]


def main(*arguments: object) -> int:
    """Run the program in this process."""
    return run.main([str(argument) for argument in arguments])


def contents(folder: Path) -> dict[str, str]:
    """Digests of all results of a folder; tables without the column `seconds`, no log, no records."""
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "log.txt"):
        name = path.relative_to(folder).as_posix()
        if name.startswith(".manifests/") or "/.manifests/" in name:
            continue
        content = path.read_bytes()
        if path.name == "results.csv":
            header, *rows = content.decode().splitlines()
            at = header.split(",").index("seconds") if "seconds" in header else None
            kept = [[cell for i, cell in enumerate(row.split(",")) if i != at] for row in rows]
            content = repr(sorted(kept)).encode()
        found[name] = hashlib.sha256(content).hexdigest()
    return found


def rows(folder: Path) -> list[dict[str, str]]:
    """Rows of `results.csv`."""
    with (folder / "results.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def only_line(caplog) -> str:
    """The one error that was logged."""
    (message,) = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert "\n" not in message
    return message
