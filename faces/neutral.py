"""Finds the frame of a clip in which a face is most neutral: mouth closed, eyes open.

Motion is applied relative to a neutral frame; if the mouth is open there, its closing folds the mouth of the source.

Legend: T frames, N = 68 landmarks.
"""

import numpy as np
from numpy.typing import NDArray

INNER_LIPS = (61, 62, 63), (67, 66, 65)
LIDS = (37, 38, 43, 44), (41, 40, 47, 46)
OUTER_CORNERS = 36, 45
LARGEST_DIFFERENCE = 0.06
"""Opening of the mouth plus closing of the eyes, in distances of the outer eye corners, that a neutral frame may exceed
the most neutral one by. Micro-expressions had up to 0.03, blinks 0.08 to 0.12, speech up to 0.4."""


def expression(landmarks: NDArray[np.float64]) -> NDArray[np.float64]:
    """Measure opening of the mouth and closing of the eyes.

    Args:
        landmarks: (T, 68, 2), xy, pixels.
    Returns:
        (T,) distance of the inner lips minus distance of the lids, in distances of the outer eye corners; these count
        as at least as far apart as in the median frame, because they come closer when a head turns.
    """
    eyes = np.linalg.norm(landmarks[:, OUTER_CORNERS[0]] - landmarks[:, OUTER_CORNERS[1]], axis=-1)
    mouth, lids = (
        np.linalg.norm(landmarks[:, list(upper)] - landmarks[:, list(lower)], axis=-1).mean(axis=1)
        for upper, lower in (INNER_LIPS, LIDS)
    )
    return (mouth - lids) / np.maximum(np.maximum(eyes, np.median(eyes)), np.finfo(float).tiny)


def more_neutral_frame(landmarks: NDArray[np.float64], reference: int) -> int | None:
    """Return the most neutral frame if a reference frame is clearly not neutral, else None.

    Args:
        landmarks: (T, 68, 2), xy, pixels.
        reference: frame, from 0.
    """
    measured = expression(landmarks)
    best = int(measured.argmin())
    return best if measured[reference] - measured[best] > LARGEST_DIFFERENCE else None
