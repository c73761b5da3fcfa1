"""Artefacts of a generated clip: flicker, and loss of sharpness.

Legend: T frames, H x W image.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from evaluation.face_clip import FaceClip
from evaluation.flow_estimators import flow_between, prepared
from evaluation.motion import spread

SHARPNESS_FRAMES = 5


def face_mask(clip: FaceClip) -> NDArray[np.bool_]:
    """Return the mask (H, W) of the face, from brows to chin, in the first frame."""
    mask = np.zeros(clip.frames.shape[1:3], np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull(clip.landmarks.round().astype(np.int32)), 1)
    return mask.astype(bool)


def temporal_noise(clip: FaceClip) -> float:
    """Return the mean absolute second difference over time inside the face, grey levels of 255.

    Smooth motion has almost none; what changes back and forth from frame to frame has much.
    """
    if len(clip.frames) < 3:
        return 0.0
    mask = face_mask(clip)
    grey = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)[mask] for frame in clip.frames]).astype(np.float32)
    return float(np.abs(grey[2:] - 2 * grey[1:-1] + grey[:-2]).mean())


def flicker(driving: float, result: float) -> float:
    """Return the temporal noise of a result beyond that of its driving clip, grey levels of 255, at least 0."""
    return max(0.0, result - driving)


def sharpness(source: NDArray[np.uint8], clip: FaceClip) -> float:
    """Return the sharpness of a result, relative to the source warped by the result's own flow.

    Sharpness is the mean absolute Laplacian inside the face. The source image is warped to each of some frames by the
    flow between them, so that interpolation blurs both alike: 1 is as sharp as a warp, less is blurred, more is noisy.

    Args:
        source: source image in the size of the clip's frames.
    """
    mask = cv2.erode(face_mask(clip).astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool)
    if not mask.any():
        return float("nan")
    y, x = np.mgrid[: source.shape[0], : source.shape[1]].astype(np.float32)
    grey = cv2.cvtColor(source, cv2.COLOR_RGB2GRAY)
    still = prepared(source)
    found, expected = 0.0, 0.0
    for t in spread(len(clip.frames), SHARPNESS_FRAMES + 1)[1:]:
        frame = clip.frames[t]
        flow = flow_between("dis", prepared(frame), still)
        warped = cv2.remap(grey, x + flow[..., 0], y + flow[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        found += _detail(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), mask)
        expected += _detail(np.asarray(warped, np.uint8), mask)
    return found / expected if expected > 0 else float("nan")


def _detail(grey: NDArray[np.integer], mask: NDArray[np.bool_]) -> float:
    return float(np.abs(cv2.Laplacian(np.asarray(grey, np.uint8), cv2.CV_32F)[mask]).mean())
