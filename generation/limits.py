"""Limits of frame rates and of generated values, beyond which no file is written.

Legend: B batch, H x W image, N keypoints.
"""

from torch import Tensor

from clips.reading import ClipError
from core.weights import LARGEST_WEIGHT, impossible_values
from modules.model import MotionModel

MIN_FPS, MAX_FPS = 0.1, 10_000.0  # what video files can hold
LARGEST_KEYPOINT = 100.0  # normalised units; a keypoint farther outside the frame is a failure, not a motion


def check_fps(fps: float, name: str) -> None:
    """Check a frame rate; `name` is its place in the message.

    Raises:
        ValueError: outside of what video files can hold, or not a number.
    """
    if not MIN_FPS <= fps <= MAX_FPS:
        raise ValueError(f"{name}: expected frames per second from {MIN_FPS:g} to {MAX_FPS:,.0f}, got {fps:g}")


def check_generated(model: MotionModel, images: Tensor, keypoints: Tensor, clip: str, start: int) -> None:
    """Check a batch before it is written: values that are not finite would become black frames.

    Args:
        images: (B, 3, H, W).
        keypoints: (B, N, 2) of the applied motion, xy in [-1, 1].
        clip, start: name and first frame of the batch, for the message.
    Raises:
        ClipError: an image is not finite, or a keypoint is not or far outside the frame; the message names the cause.
    """
    near = (keypoints.abs() < LARGEST_KEYPOINT).flatten(1).all(dim=1)
    usable = near & images.isfinite().flatten(1).all(dim=1)
    if usable.all():
        return
    first = int(usable.byte().argmin())
    if weight := _impossible_weight(model):
        cause = f"{weight}; use another checkpoint"
    elif not model.networks() or (model.motion_from_landmarks and not near[first]):
        cause = "check the landmarks of source and driving clip"
    else:
        cause = "check the checkpoint, and train_params.precision"
    found = "image has values that are not finite" if near[first] else "keypoints are far outside the frame"
    raise ClipError(f"clip {clip}: frame {start + first}: the generated {found}; {cause}")


def _impossible_weight(model: MotionModel) -> str:
    """Describe the first weight that only damage or divergence can explain; empty if there is none."""
    for name, network in model.networks().items():
        for key, tensor in network.state_dict().items():
            if problem := impossible_values(tensor, LARGEST_WEIGHT):
                return f"{name}: {key} contains {problem}"
    return ""
