"""Measures the speed of the prior maps and of the published NumPy formula: 8 images of 256 x 256, maps of 64 x 64.

    python -m benchmarks.facial_prior [--rounds 20]

Both are timed alternately, several calls in a row, so that changes in the speed of the machine affect both and threads
stay awake. Prints the medians and their ratio.
"""

import argparse
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.timing import time_alternately
from config.family_sections import PriorParams
from modules.facial_prior import AU_POINTS, PriorMaps, equally_weighted

BATCH, IMAGE, MAP = 8, 256, 64
CALLS = 20  # in a row


def main() -> None:
    """Print the milliseconds per batch of both, for EWP and AWP."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    points = torch.rand(BATCH, AU_POINTS, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1
    pixels = ((points + 1) / 2 * (IMAGE - 1)).double().numpy()
    ewp = PriorMaps(PriorParams(convention="published"), "ewp")
    awp = PriorMaps(PriorParams(convention="published"), "awp")
    print("            ours ms  NumPy ms  ratio")
    priors: dict[str, tuple[Callable[[], torch.Tensor], Callable[[], NDArray[np.float64]]]] = {
        "EWP": (lambda: equally_weighted(ewp(points, (MAP, MAP), IMAGE)), lambda: published_ewp(pixels)),
        "AWP": (lambda: awp(points, (MAP, MAP), IMAGE), lambda: published_awp(pixels)),
    }
    for name, (ours, published) in priors.items():
        if not np.allclose(ours().numpy(), published(), atol=1e-5):
            raise SystemExit(f"{name}: the maps differ from those of the published formula")
        times = time_alternately({"ours": _repeat(ours), "published": _repeat(published)}, rounds)
        fast, slow = (1e3 * times[key] / CALLS for key in ("ours", "published"))
        print(f"{name:<10}{fast:9.2f}{slow:10.2f}{slow / fast:7.1f}")


def _repeat(function: Callable[[], object]) -> Callable[[], None]:
    def repeated() -> None:
        for _ in range(CALLS):
            function()

    return repeated


def published_ewp(keypoints: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute the equally weighted prior by the published formula: (B, K, 2) pixels -> (B, 1, h, w)."""
    dx, dy = _axis_distances(keypoints)
    total = _normalise_and_threshold(np.exp(-np.sqrt(np.abs(dx) + np.abs(dy)) / (2 * 0.75**2))).sum(1, keepdims=True)
    return total / total.max((-2, -1), keepdims=True)


def published_awp(keypoints: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute the adaptively weighted prior by the published formula: (B, K, 2) pixels -> (B, K, h, w)."""
    dx, dy = _axis_distances(keypoints)
    return _normalise_and_threshold(np.exp(-np.sqrt(np.sqrt(dx**2 + dy**2)) / (2 * 0.75**2)))


def _axis_distances(keypoints: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    x, y = np.moveaxis(keypoints * MAP / IMAGE, -1, 0)[..., None, None]
    count = np.arange(1, MAP + 1)
    return count[None, :] - x, count[:, None] - y


def _normalise_and_threshold(maps: NDArray[np.float64]) -> NDArray[np.float64]:
    maps /= maps.max((-2, -1), keepdims=True)
    maps[maps < maps.mean((-2, -1), keepdims=True)] = 0
    return maps


if __name__ == "__main__":
    main()
