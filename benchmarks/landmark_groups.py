"""Finds and draws the groups of five landmarks in `modules/tps/landmark_groups.py`.

A thin-plate spline is the more stable, the wider its five points are spread: noise on one of them moves distant parts
of the image by the noise times the largest weight of the spline. Fifty of the 68 landmarks are divided into ten groups
such that the largest weight over the image, averaged over groups and faces, is minimal (simulated annealing by swaps).

    python -m benchmarks.landmark_groups --find             prints the table
    python -m benchmarks.landmark_groups --draw FILE.png    draws the table in use
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from modules.geometry import make_coordinate_grid
from modules.tps.dense_motion import keypoint_splines

# Brows, eyes, lips and nose move with expressions; the jaw, whose points slide along its edge, gives fixed points only.
CHOSEN = [*range(17, 28), 30, 31, 33, 35, *range(36, 60), 61, 62, 63, 65, 66, 67, 0, 4, 8, 12, 16]
DATA = Path(__file__).resolve().parents[1] / "data"
SHAPES = ("astronaut_landmarks68.csv", "grace_hopper_landmarks68.csv")
FACE_HEIGHT = 0.6  # distance from the highest brow point to the chin, share of the frame height


def face_shapes() -> NDArray[np.float64]:
    """Return the landmarks of the demo photographs and of their mirror images, centred: (4, 68, 2) in [-1, 1]."""
    shapes = []
    for name in SHAPES:
        points = np.loadtxt(DATA / name, delimiter=",")
        low, high = points.min(0), points.max(0)
        points = (points - (low + high) / 2) / (high - low)[1] * 2 * FACE_HEIGHT
        shapes += [points, points * [-1, 1]]
    return np.stack(shapes)


def worst_weight(groups: torch.Tensor, shapes: torch.Tensor) -> torch.Tensor:
    """Return the largest gain of noise on the control points over the image: (G, 5), (S, 68, 2) -> (S, G).

    The gain at a pixel is the root of the sum of squares of the five weights of the spline.
    """
    control = shapes[:, groups]  # -> (S, G, 5, 2)
    unit = torch.eye(5).reshape(5, 1, 1, 5, 1) * torch.tensor([1.0, 0.0])  # move the i-th point along x
    frame = make_coordinate_grid((9, 9), control).reshape(-1, 2)
    spline = keypoint_splines(control.expand(5, *control.shape), control + 1e-2 * unit, "exact")
    weights = (spline(frame)[..., 0] - frame[:, 0]) / 1e-2  # -> (5, S, G, N)
    return weights.square().sum(0).sqrt().amax(-1)


def find_groups(seed: int = 0, steps: int = 20000) -> list[list[int]]:
    """Divide `CHOSEN` into groups of five by simulated annealing; the same seed gives the same groups."""
    rng = np.random.default_rng(seed)
    shapes = torch.from_numpy(face_shapes()).float()
    order = rng.permutation(CHOSEN).reshape(-1, 5)
    cost = worst_weight(torch.from_numpy(order), shapes).square().mean(0)
    for step in range(steps):
        temperature = 0.3 * (1 - step / steps) ** 2 + 1e-6
        a, b = rng.choice(len(order), 2, replace=False)
        i, j = rng.integers(5, size=2)
        changed = order.copy()
        changed[a, i], changed[b, j] = order[b, j], order[a, i]
        both = worst_weight(torch.from_numpy(changed[[a, b]]), shapes).square().mean(0)
        if rng.random() < np.exp(min(0.0, float(cost[[a, b]].sum() - both.sum()) / temperature)):
            order, cost[[a, b]] = changed, both
    return sorted(sorted(int(i) for i in group) for group in order)


def draw_groups(path: Path) -> None:
    """Draw each of the ten groups on a face shape."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    from modules.tps.landmark_groups import SPREAD

    shape = face_shapes()[2]
    figure, axes = plt.subplots(2, 5, figsize=(12, 5.6))
    for number, (group, axis) in enumerate(zip(SPREAD, axes.flat, strict=True)):
        axis.scatter(*shape.T, s=6, color="0.8")
        axis.scatter(*shape[list(group)].T, s=36, color=plt.get_cmap("tab10")(number))
        for i in group:
            axis.annotate(str(i), shape[i], textcoords="offset points", xytext=(4, 4), fontsize=8)
        axis.set(title=f"spline {number}", xlim=(-1, 1), ylim=(1, -1), aspect="equal", xticks=[], yticks=[])
    figure.tight_layout()
    figure.savefig(path, dpi=100)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--find", action="store_true")
    action.add_argument("--draw", type=Path, metavar="FILE")
    options = parser.parse_args()
    if options.draw:
        draw_groups(options.draw)
        return
    for group in find_groups():
        print(f"    ({', '.join(str(i) for i in group)}),")


if __name__ == "__main__":
    main()
