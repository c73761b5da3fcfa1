"""Replay fixtures: `python -m tests.golden DIR`. Exit status 0 where all known cases pass."""

import sys
from pathlib import Path

from config.families import FAMILIES
from tests.golden import fomm_cases, mraa_cases, tps_cases  # noqa: F401 - they register their replays
from tests.golden.replay import replay_directory

# Which of our families a fixture family's networks belong to; those of facial priors on MRAA have it in their name.
FAMILY_OF = {"tps": "tps", "megc": "tps", "fomm": "fomm", "mraa": "mraa", "facial": "fomm"}


def family_of(name: str) -> str:
    """Our family of a case or manifest entry."""
    if "mraa" in name.lower():
        return "mraa"
    fixture_family = name.removeprefix("manifest_").split("_")[0].split(":")[0]
    return FAMILY_OF.get(fixture_family, fixture_family)


def main(arguments: list[str]) -> int:
    """Print a line a case and the counts; a case nobody can replay fails where its family exists."""
    if len(arguments) != 1 or not Path(arguments[0]).is_dir():
        print("usage: python -m tests.golden DIR", file=sys.stderr)
        return 2
    passed = failed = unknown = 0
    for result in replay_directory(Path(arguments[0])):
        if result.passed is None and family_of(result.name) not in FAMILIES:
            word, unknown = "unknown", unknown + 1
        elif result.passed:
            word, passed = "ok", passed + 1
        else:
            word, failed = "FAILED", failed + 1
        print(f"{word:8}{result.name}: {result.detail}")
    print(f"{passed} passed, {failed} failed, {unknown} unknown")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
