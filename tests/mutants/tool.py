"""Applies the faults to a copy of the tree, one at a time, and runs the tests that must notice."""

import argparse
import multiprocessing
import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from core.files import write_text
from tests.mutants.faults import FAULTS, Fault

ROOT = Path(__file__).parents[2]
TIME_LIMIT = 600  # seconds for the tests of one fault; a fault that hangs is noticed
FAILED = (1, 2)  # exit statuses of pytest: a test failed; a file cannot be imported
LIBRARIES = ("cv2", "lightning.fabric", "matplotlib", "scipy.interpolate", "skimage.metrics", "torch")
LIBRARIES += ("torch.utils.tensorboard", "torchvision")  # loaded once, because they take most of a short test's time


class Outcome(NamedTuple):
    """Result of a fault.

    Attributes:
        result: `killed`, `survived`, or `stale` where the old text does not stand exactly once in its file.
        test: the first test that failed.
        seconds: of its tests.
    """

    fault: Fault
    result: str
    test: str
    seconds: float


def main(arguments: list[str] | None = None) -> int:
    """Run the faults; returns 0 where every one was noticed, 1 for survivors and stale ones, 2 for broken tests."""
    options = parse_arguments(arguments)
    faults = [
        fault
        for fault in FAULTS
        if (not options.only or fault.name in options.only) and (not options.area or fault.area in options.area)
    ]
    if not faults:
        print("no such faults; areas are", ", ".join(dict.fromkeys(fault.area for fault in FAULTS)))
        return 2
    os.environ |= {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    with workplaces(options.jobs) as places, ThreadPoolExecutor(options.jobs) as pool:
        if not options.no_baseline and (broken := broken_selections(faults, places, pool)):
            print("these tests fail without any fault:", *broken, sep="\n  ")
            return 2
        outcomes = []
        for outcome in pool.map(lambda fault: with_place(places, fault), faults):
            outcomes.append(outcome)
            print(
                f"{outcome.result:<9}{outcome.seconds:6.1f} s  {outcome.fault.area}: {outcome.fault.name}", flush=True
            )
    missed = [outcome for outcome in outcomes if outcome.result != "killed"]
    print(f"\n{len(outcomes) - len(missed)} of {len(outcomes)} faults noticed")
    for outcome in missed:
        print(f"{outcome.result}: {outcome.fault.file}: {outcome.fault.name} ({outcome.fault.tests})")
    if options.write:
        write_text(options.write, table(outcomes))
    return 1 if missed else 0


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--only", action="append", metavar="NAME", help="a fault by name; may be repeated")
    parser.add_argument("--area", action="append", metavar="AREA", help="the faults of an area; may be repeated")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="faults at a time (default: %(default)s)")
    parser.add_argument("--no-baseline", action="store_true", help="do not run the tests without a fault first")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the results as a Markdown table")
    options = parser.parse_args(arguments)
    if options.write and (options.only or options.area):
        parser.error("--write takes the results of all faults; leave out --only and --area")
    return options


def occurrences(fault: Fault, root: Path) -> int:
    """Number of occurrences of the old text in its file."""
    path = root / fault.file
    return path.read_text(encoding="utf-8").count(fault.old) if path.is_file() else 0


# --- copies of the tree -----------------------------------------------------------------------------------------------


@contextmanager
def workplaces(count: int) -> Iterator["queue.Queue[Path]"]:
    """Copies of the tree as it stands: files that Git tracks or does not ignore."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    names = [name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]
    places: queue.Queue[Path] = queue.Queue()
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        for number in range(count):
            place = Path(folder, str(number))
            for name in names:
                (place / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, place / name)
            places.put(place)
        yield places


def with_place(places: "queue.Queue[Path]", fault: Fault) -> Outcome:
    """Try a fault in the next free copy."""
    place = places.get()
    try:
        return outcome_of(fault, place)
    finally:
        places.put(place)


def outcome_of(fault: Fault, place: Path) -> Outcome:
    """Apply a fault, run its tests, and take it back."""
    if occurrences(fault, place) != 1:
        return Outcome(fault, "stale", "", 0.0)
    path = place / fault.file
    text = path.read_text(encoding="utf-8")
    began = time.perf_counter()
    try:
        path.write_text(text.replace(fault.old, fault.new), encoding="utf-8")
        status, output = run_tests(fault.tests, place)
    finally:
        path.write_text(text, encoding="utf-8")
    found = re.search(r"^(?:FAILED|ERROR) ([^\s\[]+)", output, re.MULTILINE)
    result = "killed" if status in FAILED else "survived"
    return Outcome(fault, result, found[1] if found else "time limit", time.perf_counter() - began)


def run_tests(selection: str, place: Path) -> tuple[int, str]:
    """Exit status and output of pytest in a copy of the tree, one core, up to the first failure."""
    kind = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(kind)
    if kind == "forkserver":
        context.set_forkserver_preload(list(LIBRARIES))
    output = place.with_name(f"{place.name}.txt")
    process = context.Process(target=_pytest, args=(selection.split(), place, output))
    process.start()
    process.join(TIME_LIMIT)
    if process.exitcode is None:
        process.kill()
        process.join()
        return FAILED[0], ""
    return process.exitcode, output.read_text(encoding="utf-8", errors="replace")


def _pytest(arguments: list[str], place: Path, output: Path) -> None:
    """Run pytest on the copy's own modules in a process that has loaded the libraries already."""
    with output.open("w", encoding="utf-8") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    own = [name for name, module in sys.modules.items() if _is_ours(getattr(module, "__file__", None))]
    for name in own:
        del sys.modules[name]
    sys.path[:] = [str(place), *(path for path in sys.path if Path(path).resolve() not in (ROOT, ROOT / "tests"))]
    os.chdir(place)
    # Files change within a second and keep their size, which compiled files would not notice.
    sys.dont_write_bytecode = True
    sys.exit(int(pytest.main(["-x", "-q", "--tb=no", "--rootdir", str(place), *arguments])))


def _is_ours(file: str | None) -> bool:
    """True for a module of the tree itself."""
    if file is None:
        return False
    path = Path(file).resolve()
    return path.is_relative_to(ROOT) and not path.is_relative_to(ROOT / ".venv")


def broken_selections(faults: Sequence[Fault], places: "queue.Queue[Path]", pool: ThreadPoolExecutor) -> list[str]:
    """Selections of tests that fail, or select nothing, in a tree without a fault."""

    def passes(selection: str) -> bool:
        place = places.get()
        try:
            return run_tests(selection, place)[0] == 0
        finally:
            places.put(place)

    selections = list(dict.fromkeys(fault.tests for fault in faults))
    return [one for one, passed in zip(selections, pool.map(passes, selections), strict=True) if not passed]


# --- report -----------------------------------------------------------------------------------------------------------


def table(outcomes: Sequence[Outcome]) -> str:
    """The results in Markdown."""
    killed = sum(outcome.result == "killed" for outcome in outcomes)
    lines = [
        "# Faults that the tests notice",
        "",
        f"`python -m tests.mutants --write docs/mutants.md` applies each of {len(outcomes)} faults to a copy of the",
        f"program and runs the tests of its area; {killed} make a test fail.",
        "",
        "| area | fault | file | noticed by |",
        "|---|---|---|---|",
    ]
    for outcome in outcomes:
        fault = outcome.fault
        test = f"`{outcome.test.removeprefix('tests/')}`" if outcome.result == "killed" else f"**{outcome.result}**"
        lines.append(f"| {fault.area} | {fault.name} | `{fault.file}` | {test} |")
    return "\n".join(lines) + "\n"
