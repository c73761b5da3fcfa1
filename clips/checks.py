"""Checks for unusable or suspicious clips, shared by training, animation and `--mode check`.

Legend: T frames.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from clips.files import normalised_name
from clips.reading import Clip
from faces.landmark_checks import rolled_frames

INNER_FACE = slice(27, 68)  # nose, eyes and mouth, which lie inside every usable frame
_MAX_LISTED = 3  # places named in one message


def frame_warnings(clip: Clip, sizes: NDArray[np.int64]) -> list[str]:
    """Return warnings about missing frames and frames of different sizes.

    Args:
        sizes: (T, 2) height and width of each frame on disk.
    """
    warnings = []
    if gaps := frame_gaps(clip.frame_numbers or ()):
        warnings.append(gaps)
    distinct = np.unique(sizes, axis=0)
    if len(distinct) > 1:
        usual = max(distinct.tolist(), key=lambda size: (sizes == size).all(axis=1).sum())
        others = np.flatnonzero((sizes != usual).any(axis=1)).tolist()
        names = [path.name for path in clip.frames] or [f"frame {t}" for t in range(len(sizes))]
        height, width = sizes[others[0]]
        listed = _list_first([names[t] for t in others])
        warnings.append(f"frames of several sizes: {usual[1]} x {usual[0]}, but {listed}: {width} x {height}")
    return warnings


def size_problem(sizes: Iterable[tuple[int, int]]) -> str | None:
    """Return an error message if frames, of heights and widths, do not have one size; None if they have."""
    distinct = sorted(set(sizes))
    if len(distinct) <= 1:
        return None
    listed = _list_first([f"{width} x {height}" for height, width in distinct])
    return f"clips of several sizes ({listed}) cannot be trained on together; set dataset_params.frame_shape"


def frame_gaps(numbers: Sequence[int]) -> str | None:
    """Return a warning about jumps in frame numbers that otherwise rise by a constant step; None without any."""
    ordered = sorted(numbers)
    steps = np.diff(ordered)
    if not len(steps) or (steps <= np.median(steps)).all():
        return None
    gaps = np.flatnonzero(steps > np.median(steps))
    return f"frames are missing between {_list_first([f'{ordered[i]} and {ordered[i + 1]}' for i in gaps])}"


def landmark_warning(landmarks: NDArray[np.float64], shape: tuple[int, int]) -> str | None:
    """Return a warning if landmarks lie outside the frames, or the face is upside down; None if they fit.

    Args:
        landmarks: (T, 68, 2), pixels.
        shape: height and width of the frames.
    """
    inner = landmarks[:, INNER_FACE]
    outside = (inner < -0.5) | (inner > np.array(shape[::-1]) - 0.5)
    frames = np.flatnonzero(outside.any(axis=2).mean(axis=1) > 0.5)
    if not len(frames):
        rolled = rolled_frames(landmarks)
        if not len(rolled):
            return None
        return f"the face is upside down in {_list_first([f'frame {t}' for t in rolled])}; is the clip rotated?"
    listed = _list_first([f"frame {t}" for t in frames])
    return f"most landmarks of nose, eyes and mouth lie outside {listed}; check that they belong to frames of this size"


def batch_problem(pairs: int, batch_size: int, devices: int) -> str | None:
    """Return an error message if an epoch has no step; None otherwise.

    Args:
        pairs: pairs per epoch.
        batch_size: pairs per step and device.
    """
    if pairs >= batch_size * devices:
        return None
    return (
        f"{pairs} pairs per epoch do not fill one batch of {batch_size} on {devices} device(s); lower batch_size or "
        "raise num_repeats"
    )


def name_warnings(names: Iterable[str], kind: str) -> list[str]:
    """Return warnings about names of a kind (clips, subjects) that differ in zero padding or case only."""
    return list(similar_names(names, kind))


def similar_names(names: Iterable[str], kind: str) -> dict[str, list[str]]:
    """Return the warnings of `name_warnings`, each with the names that it is about."""
    alike: dict[str, set[str]] = {}
    for name in names:
        alike.setdefault(normalised_name(name), set()).add(name)
    return {
        f"{kind} {' and '.join(sorted(group))} differ in padding or case only; rename one if they are the same": sorted(
            group
        )
        for group in alike.values()
        if len(group) > 1
    }


def _list_first(places: Sequence[str]) -> str:
    more = len(places) - _MAX_LISTED
    return ", ".join(places[:_MAX_LISTED]) + (f" and {more} more" if more > 0 else "")
