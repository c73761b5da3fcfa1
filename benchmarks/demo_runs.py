"""Runs of the program on the demo set, and what the true clips of its test pairs look like."""

import csv
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import imageio.v3 as iio
import numpy as np
from numpy.typing import NDArray

from demo.data_set import load_subject
from demo.measure import Shown, UnitChanges

FOREHEAD = 0.15  # height of the forehead that counts as face, heights of the landmarks


def program(*arguments: object, threads: int | None = 1) -> None:
    """Run `run.py` with a number of threads, None for its own choice.

    Raises:
        RuntimeError: it failed; with what it said.
    """
    command = [sys.executable, "run.py", *map(str, arguments)]
    limits = {} if threads is None else {"OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(command, env={**os.environ, **limits}, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: exit status {done.returncode}\n{done.stderr}")


def last_checkpoint(folder: Path) -> Path | None:
    """Of the one run in a folder of run folders."""
    return max(folder.glob("*/[0-9]*.pth*"), default=None)


def held_out_pairs(data: Path) -> list[dict[str, str]]:
    """Rows of the demo set's test pairs: `driving`, `source`."""
    with (data / "test_pairs.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def frames(folder: Path) -> NDArray[np.uint8]:
    """(T, H, W, 3)."""
    return np.stack([iio.imread(path) for path in sorted(folder.glob("*.png"))])


@cache
def unit_changes(data: Path, clip: str) -> UnitChanges:
    """Of the subject in a clip."""
    return UnitChanges(load_subject(data, clip))


@dataclass(frozen=True)
class Truth:
    """The true clip of a pair.

    Attributes:
        shown: what it shows.
        mask: (H, W), the face.
        landmarks: (68, 2), xy, pixels, of its first frame.
    """

    shown: Shown
    mask: NDArray[np.bool_]
    landmarks: NDArray[np.float64]


@cache
def truth(data: Path, source: str, driving: str) -> Truth:
    """Of a test pair."""
    with np.load(data / "truth" / "pairs" / f"{driving}-{source}.npz") as arrays:
        clip, outline = arrays["frames"].astype(np.float32), arrays["landmarks"][0]
    mask = np.zeros(clip.shape[1:3], np.uint8)
    brows = outline[17:27] - [0, FOREHEAD * np.ptp(outline[:, 1])]
    cv2.fillConvexPoly(mask, cv2.convexHull(np.concatenate([outline, brows]).round().astype(np.int32)), 1)
    return Truth(Shown.by(clip, unit_changes(data, source), mask.astype(bool)), mask.astype(bool), outline)


def write_rows(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """A CSV file; numbers with five places."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: round(v, 5) if isinstance(v, float) else v for k, v in row.items()} for row in rows)


def means(rows: Iterable[Mapping[str, object]], *names: str) -> list[float]:
    """Mean of each measure."""
    chosen = list(rows)
    return [float(np.mean([row[name] for row in chosen])) for name in names]  # type: ignore[misc]
