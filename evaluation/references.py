"""The two references beside every figure: the static copy, and the limit of warping.

Legend: T frames, H x W source image.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from evaluation.face_clip import FaceClip
from faces.clip_motion import ClipMotion
from faces.dense_transfer import DenseTransfer
from modules.geometry import invert_displacement


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
    half = (np.array([source.shape[1], source.shape[0]], np.float32) - 1) / 2
    frames: list[NDArray[np.uint8]] = [source]
    for index in range(1, len(driving.frames)):
        displacement = torch.from_numpy(transfer.displacement(index) / half)
        at = (invert_displacement(displacement[None])[0].numpy() + 1) * half  # -> (H, W, 2), pixels
        warped = cv2.remap(source, at[..., 0], at[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        frames.append(np.asarray(warped, np.uint8))
    return FaceClip(np.stack(frames), landmarks, driving.length, driving.fps)
