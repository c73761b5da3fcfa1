"""Figures that compare the frames of a result with true ones.

Legend: T frames, H x W image.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

from evaluation.motion import spread
from evaluation.networks import Distance
from output.metrics import image_metrics, temporal_difference

SLOW_FRAMES = 6
"""Evenly spread frames of which MS-SSIM and LPIPS are computed."""


def image_scores(
    truth: NDArray[np.uint8], frames: NDArray[np.uint8], lpips: Distance | None = None
) -> dict[str, float]:
    """Compare the frames after the first with the true ones, (T, H, W, 3) each; NaN for clips of one frame."""
    scores = image_metrics(list(truth), list(frames))
    names = ("ms_ssim", "lpips", "difference_error", "difference_corr")
    scores |= dict.fromkeys(names, float("nan"))
    if len(truth) < 2:
        return scores
    # Of all frames together: a single frame that equals the true one would make the mean over frames infinite.
    scores["psnr"] = peak_ratio(truth[1:], frames[1:])
    few = 1 + spread(len(truth) - 1, SLOW_FRAMES)
    scores["ms_ssim"] = multi_scale_ssim(truth[few], frames[few])
    if lpips is not None:
        scores["lpips"] = float(np.mean([lpips(truth[t], frames[t]) for t in few]))
    if (truth[1:] != truth[:1]).any():
        scores["difference_error"], scores["difference_corr"] = temporal_difference(truth, frames)
    return scores


def peak_ratio(truth: NDArray[np.uint8], frames: NDArray[np.uint8]) -> float:
    """Return the peak signal-to-noise ratio of all frames together, dB."""
    error = np.mean([((a.astype(np.float64) - b) ** 2).mean() for a, b in zip(truth, frames, strict=True)])
    return float(10 * np.log10(255**2 / error)) if error else float("inf")


def multi_scale_ssim(truth: NDArray[np.uint8], frames: NDArray[np.uint8]) -> float:
    """Return the mean multi-scale SSIM of frames (T, H, W, 3); NaN below 176 pixels, the least of its five scales."""
    if min(truth.shape[1:3]) < 176:
        return float("nan")
    values = []
    for pair in zip(truth, frames, strict=True):
        images = [torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255 for image in pair]
        values.append(float(multiscale_structural_similarity_index_measure(images[1], images[0], data_range=1.0)))
    return float(np.mean(values))
