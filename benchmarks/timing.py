"""Comparison of the speed of several functions on a machine whose own speed may change at any moment."""

import statistics
import time
from collections.abc import Callable, Mapping


def time_alternately(functions: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Call the functions in turn, for a number of rounds after one that warms up; return the median seconds of each."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds + 1):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values[1:]) for name, values in seconds.items()}
