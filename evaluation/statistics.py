"""Means of measures over clips, with bootstrap intervals.

Legend: C clips.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SAMPLES = 2000
COVERAGE = 0.95
_BLOCK = 2**22  # drawn indices held at a time


class Interval(NamedTuple):
    """A mean with its interval.

    Attributes:
        mean: over the clips with a value; NaN without any.
        low, high: ends of the 95 % percentile interval; NaN for fewer than two clips.
        clips: number of clips with a value.
    """

    mean: float
    low: float
    high: float
    clips: int


def bootstrap(values: NDArray[np.float64], seed: int = 0) -> Interval:
    """Return the mean of values (C,) and its percentile bootstrap interval, clips drawn with replacement.

    NaN values are left out; the same values give the same interval.

    Source: Efron, Bootstrap Methods, Annals of Statistics 1979.
    """
    finite = values[~np.isnan(values)]
    count = len(finite)
    if not count:
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    mean = float(finite.mean())
    if count < 2 or not np.isfinite(finite).all():
        return Interval(mean, float("nan"), float("nan"), count)
    rng = np.random.default_rng(seed)
    block = max(1, _BLOCK // count)
    means = np.concatenate(
        [
            finite[rng.integers(0, count, (min(block, SAMPLES - done), count))].mean(axis=1)
            for done in range(0, SAMPLES, block)
        ]
    )
    low, high = np.quantile(means, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    return Interval(mean, float(low), float(high), count)
