"""Measures of the distance between a generated clip and the true one.

Legend: T frames, H x W image, C channels.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

IMAGE_METRICS = ("l1", "psnr", "ssim")


def image_metrics(truth: Sequence[NDArray[np.uint8]], frames: Sequence[NDArray[np.uint8]]) -> dict[str, float]:
    """Compute the mean of `l1` in [0, 1], `psnr` in dB and `ssim` over all frames but the first, which is the source.

    SSIM is that of Wang et al. (2004) with a 7 x 7 window, mean over the colour channels.

    Args:
        truth, frames: T frames each, uint8 (H, W, 3). NaN for clips of one frame.
    """
    rows = []
    for number, (true, frame) in enumerate(zip(truth, frames, strict=True)):
        if not number:
            continue
        l1 = np.abs(true.astype(np.float64) - frame).mean() / 255
        # scikit-image has no annotations
        psnr = peak_signal_noise_ratio(true, frame) if l1 else np.inf  # type: ignore[no-untyped-call]
        ssim = structural_similarity(true, frame, channel_axis=2)  # type: ignore[no-untyped-call]
        rows.append((l1, psnr, ssim))
    means = np.mean(rows, axis=0).tolist() if rows else [np.nan] * len(IMAGE_METRICS)
    return dict(zip(IMAGE_METRICS, means, strict=True))


def temporal_difference(truth: NDArray[np.number], frames: NDArray[np.number]) -> tuple[float, float]:
    """Compare the change since the first frame; a clip without motion has an error of 1 and a correlation of 0.

    Args:
        truth, frames: (T, H, W, C) each, in the same range of values.
    Returns:
        Error, sum |(P_t - P_0) - (G_t - G_0)| / sum |G_t - G_0|, and correlation of the two differences over all
        frames, pixels and channels.
    Raises:
        ValueError: the arrays differ in shape, or nothing changes in `truth`.
    """
    if truth.shape != frames.shape:
        raise ValueError(f"expected clips of the same shape, got {truth.shape} and {frames.shape}")
    true, found = (clip[1:].astype(np.float64) - clip[:1] for clip in (truth, frames))
    if not true.any():
        raise ValueError("expected a true clip in which something changes")
    error = np.abs(found - true).sum() / np.abs(true).sum()
    correlation = np.corrcoef(found.ravel(), true.ravel())[0, 1] if found.any() else 0.0
    return float(error), float(correlation)
