"""The two references beside every figure: the static copy, and the limit of warping.

Legend: T frames, H x W source image.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from evaluation.face_clip import FaceClip
from faces.clip_motion import ClipMotion
from faces.dense_transfer import DenseTransfer

INVERSION_STEPS = 4


def static_copy(source: NDArray[np.uint8], landmarks: NDArray[np.float64], driving: FaceClip) -> FaceClip:
    """Return the source image, repeated for the length of the driving clip.

    Args:
        source: (H, W, 3).
        landmarks: (68, 2), pixels of it.
    """
    frames = np.broadcast_to(source, (len(driving.frames), *source.shape))
    return FaceClip(frames, landmarks, driving.length, driving.fps)


def registered_flow(source: NDArray[np.uint8], landmarks: NDArray[np.float64], driving: FaceClip) -> FaceClip:
    """Return the source image, warped by the driving clip's DIS flow, registered to the source face.

    It has the correct motion of the face, the head's included, as far as optical flow sees it, and no wrinkles or
    shading: the limit of systems that warp. Its motion is made by the estimator `dis`, which therefore flatters it.

    Args as `static_copy`.
    """
    motion = ClipMotion(
        driving.frames.__getitem__, np.broadcast_to(driving.landmarks, (len(driving.frames), *landmarks.shape)), 0
    )
    transfer = DenseTransfer(motion, landmarks, (source.shape[0], source.shape[1]))
    y, x = np.mgrid[: source.shape[0], : source.shape[1]].astype(np.float32)
    frames: list[NDArray[np.uint8]] = [source]
    for index in range(1, len(driving.frames)):
        forward = transfer.displacement(index)
        back: NDArray[np.floating] = -forward
        for _ in range(INVERSION_STEPS):  # the displacement is that of the source's pixels, not of the frame's
            at = x + back[..., 0], y + back[..., 1]
            back = -np.asarray(cv2.remap(forward, *at, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32)
        at = x + back[..., 0], y + back[..., 1]
        warped = cv2.remap(source, *at, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        frames.append(np.asarray(warped, np.uint8))
    return FaceClip(np.stack(frames), landmarks, driving.length, driving.fps)
