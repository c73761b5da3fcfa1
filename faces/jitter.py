"""Distinguishes the jitter of landmarks that were detected in every frame from the motion of the face.

Legend: T frames, N landmarks.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from faces.alignment import remove_head_motion

FEWEST_FRAMES = 5
LEAST_JITTER = 0.1  # pixels; the noise of tracked landmarks is below
QUANTILE = 0.25
LARGEST_SHARE = 0.5
"""Share of the variance of the landmarks, without head motion, from which jitter exceeds motion."""


class Jitter(NamedTuple):
    """Jitter and motion of the landmarks of a clip.

    Attributes:
        noise: root mean square per landmark, pixels, from differences of second order in time.
        motion: the same for all changes without those of the head, noise included.
    """

    noise: float
    motion: float

    @property
    def exceeds_motion(self) -> bool:
        """True if most of the change is noise."""
        return self.noise > LEAST_JITTER and self.noise**2 > LARGEST_SHARE * self.motion**2


def measure_jitter(landmarks: NDArray[np.float64]) -> Jitter:
    """Measure jitter and motion; both are 0 in clips of fewer than five frames.

    Args:
        landmarks: (T, 68, 2), xy, pixels.
    """
    if len(landmarks) < FEWEST_FRAMES:
        return Jitter(0.0, 0.0)
    still = remove_head_motion(landmarks, 0)
    bends = still[:-2] - 2 * still[1:-1] + still[2:]
    # White noise of variance 1 has differences of variance 6. A low quantile over time: jitter is in every frame, but a
    # wrong frame or a sudden motion in few.
    noise = np.sqrt(np.quantile((bends**2).sum(axis=-1).mean(axis=1), QUANTILE, method="lower") / 6)
    motion = np.sqrt(((still - still.mean(axis=0)) ** 2).sum(axis=-1).mean() * len(still) / (len(still) - 1))
    return Jitter(float(noise), float(motion))
