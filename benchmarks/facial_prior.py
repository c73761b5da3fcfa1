"""What the prior maps cost beside the published formula in NumPy: 8 images of 256 x 256, maps of 64 x 64.

    python -m benchmarks.facial_prior [--rounds 20]

The two are timed in turns of some calls each, so that a machine that slows down slows both, and neither has to wake its
threads for every call; printed are the medians and their ratio.
"""

import argparse
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.timing import in_turns
from config.family_sections import PriorParams
from modules.facial_prior import AU_POINTS, PriorMaps, equally_weighted

BATCH, IMAGE, MAP = 8, 256, 64
CALLS = 20  # in a turn


def main() -> None:
    """Print milliseconds a batch of both, for EWP and AWP."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    points = torch.rand(BATCH, AU_POINTS, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1
    pixels = ((points + 1) / 2 * (IMAGE - 1)).double().numpy()
    ewp = PriorMaps(PriorParams(convention="published"), "ewp")
    awp = PriorMaps(PriorParams(convention="published"), "awp")
    print("            ours ms  NumPy ms  ratio")
    for name, ours, published in (
        ("EWP", lambda: equally_weighted(ewp(points, (MAP, MAP), IMAGE)), lambda: published_ewp(pixels)),
        ("AWP", lambda: awp(points, (MAP, MAP), IMAGE), lambda: published_awp(pixels)),
    ):
        if not np.allclose(ours().numpy(), published(), atol=1e-5):
            raise SystemExit(f"{name}: the two differ")
        times = in_turns({"ours": _often(ours), "published": _often(published)}, rounds)
        mine, theirs = (1e3 * times[way] / CALLS for way in ("ours", "published"))
        print(f"{name:<10}{mine:9.2f}{theirs:10.2f}{theirs / mine:7.1f}")


def _often(way: Callable[[], object]) -> Callable[[], None]:
    def turn() -> None:
        for _ in range(CALLS):
            way()

    return turn


def published_ewp(keypoints: NDArray[np.float64]) -> NDArray[np.float64]:
    """The published formula of the equally weighted prior: (B, K, 2) pixels -> (B, 1, h, w)."""
    dx, dy = _along_axes(keypoints)
    total = _cut(np.exp(-np.sqrt(np.abs(dx) + np.abs(dy)) / (2 * 0.75**2))).sum(1, keepdims=True)
    return total / total.max((-2, -1), keepdims=True)


def published_awp(keypoints: NDArray[np.float64]) -> NDArray[np.float64]:
    """The published formula of the adaptively weighted prior: (B, K, 2) pixels -> (B, K, h, w)."""
    dx, dy = _along_axes(keypoints)
    return _cut(np.exp(-np.sqrt(np.sqrt(dx**2 + dy**2)) / (2 * 0.75**2)))


def _along_axes(keypoints: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    x, y = np.moveaxis(keypoints * MAP / IMAGE, -1, 0)[..., None, None]
    count = np.arange(1, MAP + 1)
    return count[None, :] - x, count[:, None] - y


def _cut(maps: NDArray[np.float64]) -> NDArray[np.float64]:
    maps /= maps.max((-2, -1), keepdims=True)
    maps[maps < maps.mean((-2, -1), keepdims=True)] = 0
    return maps


if __name__ == "__main__":
    main()
