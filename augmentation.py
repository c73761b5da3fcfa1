"""Random changes of training pairs that keep pixels, landmarks and action units consistent.

What to change is drawn with the pair, from its own random generator; it is applied to whole batches on the training
device. Both frames of a pair are changed alike.

Legend: B batch, H x W image.
"""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms.v2.functional import adjust_hue

from config.sections import AugmentationParams, JitterParam
from faces.landmarks import MIRRORED_LANDMARKS
from modules.geometry import GREY, robust_similarity


def draw_augmentation(
    params: AugmentationParams, size: tuple[int, int], rng: Generator
) -> dict[str, NDArray[np.float32]]:
    """Draw one pair's changes.

    Args:
        params: the section `augmentation_params`.
        size: H, W of the frames.
    Returns:
        `mirror`, `reverse` (), 0 or 1; `jitter` (4,), brightness, contrast and saturation factors and hue shift;
        `affine` (2, 3), output to input coordinates in [-1, 1].
    """
    flip = params.flip_param
    return {
        "mirror": np.float32(flip is not None and flip.horizontal_flip and rng.random() < 0.5),
        "reverse": np.float32(flip is not None and flip.time_flip and rng.random() < 0.5),
        "jitter": _draw_jitter(params.jitter_param or JitterParam(), rng),
        "affine": _draw_affine(params, size, rng),
    }


def _draw_jitter(params: JitterParam, rng: Generator) -> NDArray[np.float32]:
    factors = [rng.uniform(max(0.0, 1 - x), 1 + x) for x in (params.brightness, params.contrast, params.saturation)]
    return np.array([*factors, rng.uniform(-params.hue, params.hue)], np.float32)


def _draw_affine(params: AugmentationParams, size: tuple[int, int], rng: Generator) -> NDArray[np.float32]:
    """Rotation and magnification about the centre, then the crop, as one map from output to input coordinates."""
    half = (np.array(size[::-1]) - 1) / 2  # half width and height between the centres of the outer pixels
    pixels = np.eye(2)
    if params.rotation_param is not None:
        angle = np.deg2rad(rng.uniform(-params.rotation_param.degrees, params.rotation_param.degrees))
        pixels = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    if params.resize_param is not None:
        pixels = pixels / np.exp(rng.uniform(*np.log(params.resize_param.ratio)))
    linear = pixels * half[None, :] / half[:, None]
    shift = np.zeros(2)
    if params.crop_param is not None:
        crop = np.minimum((np.array(params.crop_param.size[::-1]) - 1) / 2, half)
        centre = rng.uniform(crop - half, half - crop) / half
        shift, linear = linear @ centre, linear @ np.diag(crop / half)
    return np.concatenate([linear, shift[:, None]], axis=1).astype(np.float32)


def augment(batch: dict[str, Any], *, remove_head_motion: bool = False) -> dict[str, Tensor]:
    """Turn a batch of pairs into network input and apply the changes drawn for them.

    Args:
        batch: collated pairs of `FramesDataset`, on any device.
        remove_head_motion: undo the head's own movement between the two frames, by the landmarks.
    Returns:
        The batch without `augmentation`; frames float32 (B, 3, H, W) in [0, 1].
    """
    drawn = batch["augmentation"]
    out = {key: value for key, value in batch.items() if key != "augmentation"}
    frames = torch.stack([out["source"], out["driving"]], dim=1).float() / 255  # -> (B, 2, 3, H, W)
    maps = [drawn["affine"]] * 2
    if remove_head_motion:
        maps = [_compose(pose, drawn["affine"]) for pose in _half_way(*(out[key] for key in _LANDMARKS))]
    frames = _move(_jitter(frames, drawn["jitter"]), torch.stack(maps, dim=1))
    mirror = drawn["mirror"].bool()
    frames = torch.where(mirror[:, None, None, None, None], frames.flip(-1), frames)
    reverse = drawn["reverse"].bool()
    out["source"], out["driving"] = _swap(frames[:, 0], frames[:, 1], reverse)
    if "source_landmarks" in out:
        moved = [_mirror_points(_move_points(out[k], m), mirror) for k, m in zip(_LANDMARKS, maps, strict=True)]
        out["source_landmarks"], out["driving_landmarks"] = _swap(*moved, reverse)
    if "au_diff" in out:
        start, change = (torch.where(mirror[:, None, None], out[k].flip(-1), out[k]) for k in ("source_au", "au_diff"))
        out["source_au"] = torch.where(reverse[:, None, None], start + change, start)
        out["au_diff"] = torch.where(reverse[:, None, None], -change, change)
    return out


_LANDMARKS = ("source_landmarks", "driving_landmarks")


def _swap(source: Tensor, driving: Tensor, swap: Tensor) -> tuple[Tensor, Tensor]:
    chosen = swap.reshape(-1, *[1] * (source.ndim - 1))
    return torch.where(chosen, driving, source), torch.where(chosen, source, driving)


def _mirror_points(points: Tensor, mirror: Tensor) -> Tensor:
    mirrored = points[:, list(MIRRORED_LANDMARKS)] * points.new_tensor([-1.0, 1.0])
    return torch.where(mirror[:, None, None], mirrored, points)


def _move_points(points: Tensor, affine: Tensor) -> Tensor:
    """Input to output coordinates: the inverse of the map that frames are sampled with."""
    return torch.linalg.solve(affine[:, None, :, :2], (points - affine[:, None, :, 2])[..., None])[..., 0]


def _half_way(source: Tensor, driving: Tensor) -> tuple[Tensor, Tensor]:
    """Maps from one head pose to that in the source and that in the driving frame: (B, 68, 2) -> (B, 2, 3) each.

    The pose lies half-way, so that resampling blurs both frames alike; a difference in blur would be learned.
    """
    turn = robust_similarity(source, driving)
    to_middle = (turn + torch.eye(2, 3, device=turn.device)) / 2
    inverse = torch.linalg.inv(to_middle[:, :, :2])
    from_middle = torch.cat([inverse, -inverse @ to_middle[:, :, 2:]], dim=2)
    return from_middle, _compose(turn, from_middle)


def _compose(outer: Tensor, inner: Tensor) -> Tensor:
    """The affine map that applies `inner` first: (B, 2, 3) each."""
    shift = outer[:, :, :2] @ inner[:, :, 2:] + outer[:, :, 2:]
    return torch.cat([outer[:, :, :2] @ inner[:, :, :2], shift], dim=2)


def _move(frames: Tensor, maps: Tensor) -> Tensor:
    """Sample each frame through its own map from output to input coordinates: (B, 2, 3, H, W), (B, 2, 2, 3)."""
    if torch.equal(maps, torch.eye(2, 3, device=maps.device).expand_as(maps)):
        return frames  # flips alone must not resample
    flat = frames.flatten(0, 1)  # -> (2B, 3, H, W)
    grid = F.affine_grid(maps.flatten(0, 1), list(flat.shape), align_corners=True)
    moved = F.grid_sample(flat, grid, mode="bicubic", padding_mode="reflection", align_corners=True)
    return moved.unflatten(0, frames.shape[:2]).clamp(0, 1)


def _jitter(frames: Tensor, factors: Tensor) -> Tensor:
    """Brightness, contrast, saturation, hue. The contrast's grey level is one for both frames, so that the pair's
    difference is scaled and not shifted."""
    brightness, contrast, saturation = (f[:, None, None, None, None] for f in factors[:, :3].unbind(1))
    weights = frames.new_tensor(GREY)[:, None, None]
    if (factors[:, :3] != 1).any():
        frames = (frames * brightness).clamp(0, 1)
        level = (frames * weights).sum(2, keepdim=True).mean((1, 2, 3, 4), keepdim=True)
        frames = (level + (frames - level) * contrast).clamp(0, 1)
        grey = (frames * weights).sum(2, keepdim=True)
        frames = (grey + (frames - grey) * saturation).clamp(0, 1)
    if (factors[:, 3] != 0).any():
        shifts = factors[:, 3].tolist()
        frames = torch.stack([adjust_hue(pair, shift) for pair, shift in zip(frames, shifts, strict=True)])
    return frames
