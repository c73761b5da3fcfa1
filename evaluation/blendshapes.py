"""Changes of the 52 blendshapes of the face mesh: an independent judge of micro-expressions.

The network sees eight to ten channels act in real micro-expressions. Its gain differs between faces, so that only
correlations are compared, over the channels that act in the driving clip, beside those with wrong driving clips.

Legend: T frames, C = 52 channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from evaluation.face_clip import FaceClip
from evaluation.motion import correlation, same_length, spread
from faces.alignment import Similarity
from faces.face_mesh import FaceMesh
from faces.mesh_indices import BLENDSHAPES

CONTROL_FRAMES = 6
NOISE_FACTOR = 3.0
"""Multiple of the control's noise that a channel must reach to count as acting."""
LEAST_CHANGE = 0.03
"""Least change of a channel, of 0 to 1, that counts as acting."""
_NEUTRAL = BLENDSHAPES.index("_neutral")


def blendshape_changes(mesh: FaceMesh, frames: NDArray[np.uint8], max_frames: int) -> NDArray[np.float64] | None:
    """Return the changes of the blendshapes since the first frame, (T, 52); None if a face is found in no frame.

    Frames in which no face is found repeat the values of the frame before.

    Args:
        frames: (T, H, W, 3).
        max_frames: of a longer clip, this many evenly spread frames are used.
    """
    try:
        box = mesh.largest(frames[0]).box  # the same start for every frame, so that equal frames have equal values
    except ValueError:
        return None
    rows: list[NDArray[np.float64]] = []
    last: NDArray[np.uint8] | None = None
    for t in spread(len(frames), max_frames):
        if last is None or not np.array_equal(frames[t], last):
            try:
                rows.append(mesh.largest(frames[t], box).blendshapes)
            except ValueError:
                if not rows:
                    return None
                rows.append(rows[-1])
        else:
            rows.append(rows[-1])
        last = frames[t]
    values = np.stack(rows)
    changes: NDArray[np.float64] = values - values[0]
    return changes


def channel_noise(mesh: FaceMesh, clip: FaceClip, heads: Sequence[Similarity]) -> NDArray[np.float64] | None:
    """Return the noise of each channel (52,) in a static control, the first frame with noise and head motion.

    Args:
        heads: head motion of some frames since the first one, pixels of the clip.
    Returns:
        Root mean square change; None if no face is found.
    """
    rng = np.random.default_rng(0)
    level = noise_level(clip.frames)
    size = clip.frames.shape[2], clip.frames.shape[1]
    control = [clip.frames[0]]
    for i in np.linspace(0, len(heads) - 1, min(CONTROL_FRAMES, len(heads))).round().astype(int):
        moved = cv2.warpAffine(
            clip.frames[0], heads[i].matrix(), size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
        )
        noisy = np.asarray(moved, np.float64) + rng.normal(0, level, moved.shape[:2])[..., None]
        control.append(np.clip(noisy.round(), 0, 255).astype(np.uint8))
    changes = blendshape_changes(mesh, np.stack(control), len(control))
    if changes is None:
        return None
    noise: NDArray[np.float64] = np.sqrt((changes[1:] ** 2).mean(axis=0))
    return noise


def noise_level(frames: NDArray[np.uint8]) -> float:
    """Estimate the standard deviation of the noise of a clip (T, H, W, 3), grey levels, from its second differences."""
    if len(frames) < 3:
        return 0.0
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32) for frame in frames[:12]]
    second = [a - 2 * b + c for a, b, c in zip(grey, grey[1:], grey[2:], strict=False)]
    # The mean and not the median, which is 0 where most pixels of a dithered animation repeat.
    return float(np.mean(np.abs(second)) * np.sqrt(np.pi / 2) / np.sqrt(6))


def acting_channels(changes: NDArray[np.float64], noise: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return the mask (52,) of the channels that change (T, 52) by three times the control's noise, at least 0.03."""
    acts = np.abs(changes).max(axis=0) > np.maximum(NOISE_FACTOR * noise, LEAST_CHANGE)
    acts[_NEUTRAL] = False
    return acts


def channel_correlation(driving: NDArray[np.float64], result: NDArray[np.float64], acts: NDArray[np.bool_]) -> float:
    """Return the correlation of changes (T, 52) over the acting channels and time; NaN if none acts."""
    if not acts.any():
        return float("nan")
    return correlation(*same_length(driving[:, acts], result[:, acts]))
