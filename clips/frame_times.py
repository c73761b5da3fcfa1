"""Times of the frames of a video, and their conversion to a constant frame rate."""

import numpy as np
from numpy.typing import NDArray

EVEN = 0.5  # intervals that differ by less than this part of their median belong to a constant frame rate
SHORTEST = 1e-3  # seconds; shorter intervals are rounding of time stamps
MOST_REPEATS = 20  # times the number of frames, beyond which a file is no video with a usable frame rate


def constant_rate(durations: NDArray[np.float64]) -> tuple[float, NDArray[np.int64]]:
    """Find the constant frame rate at which a video is read.

    Args:
        durations: (T,) seconds for which each frame is shown, > 0.
    Returns:
        Frames per second, and how often each frame is repeated, (T,): once each where the frames follow each other
        evenly, else so often that every frame is shown at its time, to half an interval.
    Raises:
        ValueError: the durations differ so much that far more frames would be repeated than there are.
    """
    median = float(np.median(durations))
    if (np.abs(durations - median) <= EVEN * median).all():
        return len(durations) / float(durations.sum()), np.ones(len(durations), np.int64)
    interval = max(float(durations.min()), SHORTEST)
    ends = np.round(np.cumsum(durations) / interval).astype(np.int64)
    repeats = np.maximum(np.diff(ends, prepend=0), 1)
    if repeats.sum() > MOST_REPEATS * len(durations):
        low, high = 1000 * durations.min(), 1000 * durations.max()
        raise ValueError(f"frames are shown for {low:.3g} to {high:.3g} ms; convert it to a constant frame rate")
    return 1 / interval, repeats
