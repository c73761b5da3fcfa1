"""Onset, apex and offset of an expression from a curve of its strength, and the delay between two clips.

Legend: T frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

SMOOTHING = 1.0  # standard deviation of the Gaussian that smooths a curve, frames
SHARE = 0.25  # of the apex's value at which the expression begins and ends
FINE = 10  # steps per frame in which the delay is searched
MAX_DELAY = 0.25  # of the clip's length


@dataclass(frozen=True)
class Timing:
    """Times of an expression, frames from 0, between frames too; NaN where it does not begin or end in the clip.

    Attributes:
        onset: last time before the apex at which the curve rises above a quarter of its maximum.
        apex: time of the maximum.
        offset: first time after the apex at which it falls below that quarter.
    """

    onset: float
    apex: float
    offset: float


NO_TIMING = Timing(float("nan"), float("nan"), float("nan"))


def expression_timing(curve: NDArray[np.float64]) -> Timing:
    """Find onset, apex and offset of a curve (T,) that is 0 at rest; all NaN if it never rises above 0."""
    if len(curve) < 3:
        return NO_TIMING
    smooth = gaussian_filter1d(curve, SMOOTHING, mode="nearest")
    top = int(smooth.argmax())
    if not smooth[top] > 0:
        return NO_TIMING
    level = SHARE * smooth[top]
    before = np.flatnonzero(smooth[:top] < level)
    after = np.flatnonzero(smooth[top:] < level)
    onset = _crossing(smooth, int(before[-1]), level) if len(before) else float("nan")
    offset = _crossing(smooth, top + int(after[0]) - 1, level) if len(after) else float("nan")
    return Timing(onset, top + _vertex(smooth, top), offset)


def _crossing(curve: NDArray[np.float64], left: int, level: float) -> float:
    """Time between frames `left` and `left + 1` at which the curve crosses a level."""
    return left + float((level - curve[left]) / (curve[left + 1] - curve[left]))


def _vertex(curve: NDArray[np.float64], top: int) -> float:
    """Offset, in frames, of the vertex of the parabola through a maximum and its neighbours."""
    if not 0 < top < len(curve) - 1:
        return 0.0
    left, middle, right = curve[top - 1 : top + 2]
    bend = left - 2 * middle + right
    return float(0.5 * (left - right) / bend) if bend < 0 else 0.0


def delay(driving: NDArray[np.float64], result: NDArray[np.float64]) -> float:
    """Return by how many frames a curve (T,) follows another one, at their greatest correlation; NaN for flat curves.

    Both are held at their first and last value beyond the clip; at most a quarter of the clip is searched.
    """
    count = len(driving)
    if count < 4 or not np.ptp(driving) > 0 or not np.ptp(result) > 0:
        return float("nan")
    most = int(MAX_DELAY * count * FINE)
    lags = np.arange(-most, most + 1) / FINE
    times = np.arange(count)
    shifted = np.stack([np.interp(times + lag, times, result) for lag in lags])
    scores = _correlations(driving, shifted)
    return float(lags[scores.argmax()])


def _correlations(one: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Correlation of a curve (T,) with each row of (L, T); 0 for flat rows."""
    a = one - one.mean()
    b = others - others.mean(axis=1, keepdims=True)
    scale = np.sqrt((a @ a) * (b * b).sum(axis=1))
    found: NDArray[np.float64] = np.divide(b @ a, scale, out=np.zeros(len(b)), where=scale > 0)
    return found


def timing_errors(driving: NDArray[np.float64], result: NDArray[np.float64]) -> dict[str, float]:
    """Return the absolute errors of `onset`, `apex` and `offset`, and the signed `delay`, in frames."""
    true, found = expression_timing(driving), expression_timing(result)
    return {
        "onset_error": abs(found.onset - true.onset),
        "apex_error": abs(found.apex - true.apex),
        "offset_error": abs(found.offset - true.offset),
        "delay": delay(driving, result),
    }
