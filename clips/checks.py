"""What makes a clip unusable, or likely to be misread. Training, animation and `--mode check` ask the same questions.

Legend: T frames.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from clips.files import normalised_name
from clips.reading import Clip

INNER_FACE = slice(27, 68)  # nose, eyes and mouth, which no usable frame cuts off
_SHOWN = 3  # places that a message names


def frame_warnings(clip: Clip, sizes: NDArray[np.int64]) -> list[str]:
    """What is odd about the frames of a clip.

    Args:
        sizes: (T, 2) height and width of each frame on disk.
    """
    warnings = []
    if gaps := frame_gaps(clip.frame_numbers or ()):
        warnings.append(gaps)
    kinds = np.unique(sizes, axis=0)
    if len(kinds) > 1:
        usual = max(kinds.tolist(), key=lambda size: (sizes == size).all(axis=1).sum())
        odd = np.flatnonzero((sizes != usual).any(axis=1)).tolist()
        names = [path.name for path in clip.frames] or [f"frame {t}" for t in range(len(sizes))]
        height, width = sizes[odd[0]]
        places = _some([names[t] for t in odd])
        warnings.append(f"frames of several sizes, {usual[1]} x {usual[0]}, but {width} x {height} of {places}")
    return warnings


def frame_gaps(numbers: Sequence[int]) -> str | None:
    """Where frame numbers jump that rise by the same step elsewhere."""
    ordered = sorted(numbers)
    steps = np.diff(ordered)
    if not len(steps) or (steps <= np.median(steps)).all():
        return None
    places = np.flatnonzero(steps > np.median(steps))
    return f"frames are missing between {_some([f'{ordered[i]} and {ordered[i + 1]}' for i in places])}"


def landmark_warning(landmarks: NDArray[np.float64], shape: tuple[int, int]) -> str | None:
    """Whether landmarks can belong to frames of a size.

    Args:
        landmarks: (T, 68, 2), pixels.
        shape: height and width of the frames.
    """
    inner = landmarks[:, INNER_FACE]
    outside = (inner < -0.5) | (inner > np.array(shape[::-1]) - 0.5)
    frames = np.flatnonzero(outside.any(axis=2).mean(axis=1) > 0.5)
    if not len(frames):
        return None
    places = _some([f"frame {t}" for t in frames])
    return f"most landmarks of nose, eyes and mouth lie outside {places}; are they those of frames of another size?"


def training_problem(name: str, length: int, *, has_landmarks: bool, remove_head_motion: bool) -> str | None:
    """Why a clip that can be read cannot be trained on.

    Args:
        name: of the clip, as messages call it.
        length: T.
    """
    if length < 2:
        return f"{name}: expected at least 2 frames to train on, got {length}"
    if remove_head_motion and not has_landmarks:
        return f"{name}: expected landmarks for remove_head_motion, got none"
    return None


def batch_problem(pairs: int, batch_size: int, devices: int) -> str | None:
    """Why an epoch has no step.

    Args:
        pairs: of an epoch.
        batch_size: pairs a step on each device.
    """
    if pairs >= batch_size * devices:
        return None
    return (
        f"{pairs} pairs an epoch fill no batch of {batch_size} on {devices} device(s); lower batch_size or raise "
        "num_repeats"
    )


def name_warnings(names: Iterable[str], what: str) -> list[str]:
    """Names of clips or persons that differ in padding or case only."""
    alike: dict[str, set[str]] = {}
    for name in names:
        alike.setdefault(normalised_name(name), set()).add(name)
    return [
        f"{what} {' and '.join(sorted(group))} differ in padding or case only; rename one if they are the same"
        for group in alike.values()
        if len(group) > 1
    ]


def _some(places: Sequence[str]) -> str:
    more = len(places) - _SHOWN
    return ", ".join(places[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
