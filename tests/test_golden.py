"""Published numbers of the thin-plate-spline family; those of the other families stand with the tests of each."""

from pathlib import Path

import pytest

from tests.golden import tps_cases  # noqa: F401 - registers its replays
from tests.golden.replay import REPLAYS, Fixture, worst_fraction

GOLDEN = Path(__file__).parent / "golden"
CASES = [path for family in ("tps", "megc") for path in sorted(GOLDEN.glob(f"{family}_*.npz"))]


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_published_numbers_are_reproduced(path):
    fixture = Fixture.read(path)
    assert worst_fraction(fixture, REPLAYS[fixture.family, fixture.meta["module_class"]](fixture)) <= 1
