"""Data augmentation that keeps pixels, landmarks and action units of a training pair consistent.

The parameters are drawn per pair, from its own random generator, and applied to whole batches on the training device.
Both frames of a pair get the same augmentation.

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
    """Draw the augmentation of one pair.

    Args:
        params: the section `augmentation_params`.
        size: H, W of the frames.
    Returns:
        `mirror`, `reverse` (), 0 or 1; `jitter` (4,), brightness, contrast and saturation factors and hue shift;
        `affine` (2, 3), map from output to input coordinates in [-1, 1].
    """
    flip = params.flip_param
    return {
        "mirror": np.array(flip is not None and flip.horizontal_flip and rng.random() < 0.5, np.float32),
        "reverse": np.array(flip is not None and flip.time_flip and rng.random() < 0.5, np.float32),
        "jitter": _draw_jitter(params.jitter_param or JitterParam(), rng),
        "affine": _draw_affine(params, size, rng),
    }


def _draw_jitter(params: JitterParam, rng: Generator) -> NDArray[np.float32]:
    factors = [rng.uniform(max(0.0, 1 - x), 1 + x) for x in (params.brightness, params.contrast, params.saturation)]
    return np.array([*factors, rng.uniform(-params.hue, params.hue)], np.float32)


def _draw_affine(params: AugmentationParams, size: tuple[int, int], rng: Generator) -> NDArray[np.float32]:
    """Draw rotation and scale about the centre, then the crop, as one map from output to input coordinates."""
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
    """Convert a batch of pairs to network input and apply the augmentation drawn for each pair.

    Args:
        batch: collated pairs of `FramesDataset`, on any device.
        remove_head_motion: remove the similarity that the landmarks show as motion of the head between the frames.
    Returns:
        The batch without `augmentation`; frames float32 (B, 3, H, W) in [0, 1].
    """
    drawn = batch["augmentation"]
    out = {key: value for key, value in batch.items() if key != "augmentation"}
    frames = torch.stack([out["source"], out["driving"]], dim=1).float() / 255  # -> (B, 2, 3, H, W)
    maps = [drawn["affine"]] * 2
    if remove_head_motion:
        poses = _maps_to_mean_pose(out["source_landmarks"], out["driving_landmarks"])
        maps = [_compose(pose, drawn["affine"]) for pose in poses]
    frames = _warp_frames(_jitter_colours(frames, drawn["jitter"]), torch.stack(maps, dim=1))
    mirror = drawn["mirror"].bool()
    frames = torch.where(mirror[:, None, None, None, None], frames.flip(-1), frames)
    reverse = drawn["reverse"].bool()
    out["source"], out["driving"] = _swap_frames(frames[:, 0], frames[:, 1], reverse)
    if "source_landmarks" in out:
        source = _mirror_points(_warp_points(out["source_landmarks"], maps[0]), mirror)
        driving = _mirror_points(_warp_points(out["driving_landmarks"], maps[1]), mirror)
        out["source_landmarks"], out["driving_landmarks"] = _swap_frames(source, driving, reverse)
    if "au_diff" in out:
        start, change = (torch.where(mirror[:, None, None], out[k].flip(-1), out[k]) for k in ("source_au", "au_diff"))
        out["source_au"] = torch.where(reverse[:, None, None], start + change, start)
        out["au_diff"] = torch.where(reverse[:, None, None], -change, change)
    return out


def _swap_frames(source: Tensor, driving: Tensor, reverse: Tensor) -> tuple[Tensor, Tensor]:
    chosen = reverse.reshape(-1, *[1] * (source.ndim - 1))
    return torch.where(chosen, driving, source), torch.where(chosen, source, driving)


def _mirror_points(points: Tensor, mirror: Tensor) -> Tensor:
    mirrored = points[:, list(MIRRORED_LANDMARKS)] * points.new_tensor([-1.0, 1.0])
    return torch.where(mirror[:, None, None], mirrored, points)


def _warp_points(points: Tensor, affine: Tensor) -> Tensor:
    """Map points from input to output coordinates, by the inverse of the map with which frames are sampled."""
    return torch.linalg.solve(affine[:, None, :, :2], (points - affine[:, None, :, 2])[..., None])[..., 0]


def _maps_to_mean_pose(source: Tensor, driving: Tensor) -> tuple[Tensor, Tensor]:
    """Fit the maps from the mean head pose to the pose in each frame: landmarks (B, 68, 2) -> (B, 2, 3) each.

    With the mean pose, resampling blurs both frames alike; the networks would learn a difference in blur.
    """
    to_driving = robust_similarity(source, driving)
    to_mean = (to_driving + torch.eye(2, 3, device=to_driving.device)) / 2
    inverse = torch.linalg.inv(to_mean[:, :, :2])
    from_mean = torch.cat([inverse, -inverse @ to_mean[:, :, 2:]], dim=2)
    return from_mean, _compose(to_driving, from_mean)


def _compose(outer: Tensor, inner: Tensor) -> Tensor:
    """Return the affine map that applies `inner` first, then `outer`: (B, 2, 3) each."""
    shift = outer[:, :, :2] @ inner[:, :, 2:] + outer[:, :, 2:]
    return torch.cat([outer[:, :, :2] @ inner[:, :, :2], shift], dim=2)


def _warp_frames(frames: Tensor, maps: Tensor) -> Tensor:
    """Sample each frame through its own map from output to input coordinates: (B, 2, 3, H, W), (B, 2, 2, 3)."""
    if torch.equal(maps, torch.eye(2, 3, device=maps.device).expand_as(maps)):
        return frames  # flips alone must not resample
    flat = frames.flatten(0, 1)  # -> (2B, 3, H, W)
    grid = F.affine_grid(maps.flatten(0, 1), list(flat.shape), align_corners=True)
    warped = F.grid_sample(flat, grid, mode="bicubic", padding_mode="reflection", align_corners=True)
    return warped.reshape(frames.shape).clamp(0, 1)


def _jitter_colours(frames: Tensor, factors: Tensor) -> Tensor:
    """Change brightness, contrast, saturation and hue.

    Contrast uses one grey level for both frames, so that the difference of the pair is scaled and not shifted.
    """
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
