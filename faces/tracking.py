"""Sub-pixel tracking of facial landmarks from a reference frame by dense optical flow.

A micro-expression moves the face by one to three pixels, and a landmark detector jitters by about one. Landmarks are
therefore detected on one frame only, and every other frame is compared with that frame directly, so that no error
accumulates along the clip.

Legend: T frames, H x W image, N = 68 landmarks in iBUG order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct, idct

from faces.alignment import LANDMARKS
from faces.flow import IDENTITY, LandmarkFlow, TrackingSettings

DEFAULTS = TrackingSettings()
MIN_SMOOTHED_FRAMES = 16  # below, cross-validation cannot distinguish noise from an expression


class Track(NamedTuple):
    """A tracked clip.

    Attributes:
        points: (T, 68, 2) float64, xy, pixels of each frame.
        confidence: (T, 68) float64 in [0, 1]: agreement of forward and backward motion; 0 where the point was lost and
            has the motion of its neighbours; less than 1 in every frame for a point outside the frame.
    """

    points: NDArray[np.float64]
    confidence: NDArray[np.float64]


def track(
    frames: Iterable[NDArray[np.uint8]],
    landmarks: NDArray[np.floating],
    *,
    reference: int = 0,
    settings: TrackingSettings = DEFAULTS,
) -> NDArray[np.float64]:
    """Follow landmarks to every frame; `track_with_confidence` without the confidence."""
    return track_with_confidence(frames, landmarks, reference=reference, settings=settings).points


def track_with_confidence(
    frames: Iterable[NDArray[np.uint8]],
    landmarks: NDArray[np.floating],
    *,
    reference: int = 0,
    settings: TrackingSettings = DEFAULTS,
) -> Track:
    """Follow landmarks from the reference frame to every frame.

    DIS flow from the reference frame to each frame is averaged over a window at every landmark and refined by
    Lucas-Kanade. A landmark whose forward and backward motions disagree gets the motion of its neighbours and
    confidence 0; a landmark outside the frame gets the motion of the nearest skin inside and a confidence that falls
    with the distance. The tracks are smoothed over time according to their own noise.

    Args:
        frames: T frames, uint8, each H x W x 3 (RGB) or H x W (grey): an array, or any iterable, which is read once;
            only the frames before `reference` are kept in memory.
        landmarks: (68, 2), xy, pixels of frame `reference` (integer = pixel centre). Jaw and brow points may lie
            outside a tight crop by a quarter of its size; nose, eyes and mouth may not.
        reference: the frame on which `landmarks` were detected.
        settings: see `TrackingSettings`.
    Returns:
        Points and confidences; frame `reference` has exactly `landmarks`, with confidence 1 for those inside it.
    Raises:
        ValueError: no frames, frames of different sizes or types, no frame `reference`, landmarks of a wrong shape,
            not finite or too far outside the image, or a frame in which too few landmarks could be followed.
    Source: Kroeger et al., Fast Optical Flow using Dense Inverse Search, ECCV 2016; forward-backward check after
        Sundaram et al., ECCV 2010.
    """
    start = np.array(landmarks, dtype=np.float64)
    if start.shape != (LANDMARKS, 2):
        raise ValueError(f"landmarks have shape {start.shape}, expected ({LANDMARKS}, 2)")
    if not np.isfinite(start).all():
        raise ValueError("landmarks are not finite (NaN or infinite)")
    stream = _checked(frames)
    before = [frame for _, frame in zip(range(reference), stream, strict=False)]
    first = next(stream, None)
    if reference < 0 or first is None:
        raise ValueError(f"reference frame {reference} does not exist in a clip of {len(before)} frames")
    with ThreadPoolExecutor(max_workers=1) as pool:
        flow = LandmarkFlow(first, start, settings, pool)
        after = [flow.follow(frame, reference + 1 + k) for k, frame in enumerate(stream)]
        flow.head = IDENTITY  # the frames before the reference frame start from its pose again
        earlier = [flow.follow(frame, reference - 1 - k) for k, frame in enumerate(reversed(before))]
    steps = [*reversed(earlier), (np.zeros_like(start), flow.nearness), *after]
    motion = smooth_over_time(np.stack([d for d, _ in steps]), settings.max_smoothing)
    motion[reference] = 0
    return Track(start + motion, np.stack([c for _, c in steps]))


def smooth_over_time(motion: NDArray[np.float64], max_smoothing: float) -> NDArray[np.float64]:
    """Apply Whittaker smoothing to every track, with a strength chosen by generalised cross-validation.

    Still, noisy tracks are smoothed; an expression that lasts only a few frames keeps its amplitude, because smoothing
    it would increase the error. Clips of fewer than 16 frames are not changed.

    Args:
        motion: (T, N, 2), pixels.
        max_smoothing: upper bound of the strength, as the standard deviation of a similar Gaussian, frames.
    Returns:
        (T, N, 2), pixels.
    Source: Garcia, Robust smoothing of gridded data in one and higher dimensions, CSDA 2010, Eqs. (8)-(13).
    """
    if max_smoothing <= 0 or len(motion) < MIN_SMOOTHED_FRAMES:
        return motion
    frequency = 2 - 2 * np.cos(np.pi * np.arange(len(motion)) / len(motion))
    strengths = np.geomspace(0.1, 1, 12) * max_smoothing
    spectrum = dct(motion, axis=0, norm="ortho")
    # The half-amplitude frequency of the Whittaker filter is set to that of the Gaussian, exp(-(s w)^2 / 2) = 1 / 2.
    gains = 1 / (1 + (strengths[:, None] ** 2 / (2 * np.log(2))) ** 2 * frequency**2)  # -> (strengths, T)
    residual = np.einsum("kt,tnc->knc", (1 - gains) ** 2, spectrum**2)
    score = residual / (1 - gains.mean(axis=1))[:, None, None] ** 2
    return idct(spectrum * gains[score.argmin(axis=0)].transpose(2, 0, 1), axis=0, norm="ortho")


def _checked(frames: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
    """Yield the frames, and check that all have a supported type and the size of the first.

    Raises:
        ValueError: a frame does not.
    """
    shape = None
    for index, frame in enumerate(frames):
        frame = np.asarray(frame)
        if frame.dtype != np.uint8 or frame.ndim not in (2, 3) or (frame.ndim == 3 and frame.shape[2] != 3):
            raise ValueError(
                f"frame {index} is {frame.dtype} of shape {frame.shape}, expected uint8 H x W x 3 or H x W"
            )
        shape = shape or frame.shape
        if frame.shape != shape:
            raise ValueError(f"frame {index} has shape {frame.shape}, but the first frame has {shape}")
        yield frame
