"""Runs of the program on the demo set, and measurements of their results; shared by several benchmarks."""

import csv
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from config.load import load_config
from demo.data_set_plan import load_face
from demo.evaluation import ClipMeasurements, IntensityEstimator, compare
from demo.truth import Pair, read_truth, to_unit_range

Row = dict[str, Any]
"""Row of a result table: names, and measures as numbers."""


def demo_folder(config: Path) -> Path:
    """Return the folder of the demo set that an experiment names."""
    folder = load_config(config, []).config.dataset_params.root_dir
    assert folder is not None, f"{config} names the demo set"
    return folder


def run_program(*arguments: object, threads: int | None = 1) -> None:
    """Run `run.py` with a number of threads; None leaves the number to the libraries.

    Raises:
        RuntimeError: the program failed; the message holds its error output.
    """
    command = [sys.executable, "run.py", *map(str, arguments)]
    limits = {} if threads is None else {"OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(command, env={**os.environ, **limits}, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: exit status {done.returncode}\n{done.stderr}")


def last_checkpoint(folder: Path) -> Path | None:
    """Return the last checkpoint of the only run in a folder; None without any."""
    return max(folder.glob("*/[0-9]*.pth*"), default=None)


@cache
def intensity_estimator(data: Path, clip: str) -> IntensityEstimator:
    """Return the estimator for the subject of a clip, built once."""
    return IntensityEstimator(load_face(data, clip))


@cache
def truth_measurements(data: Path, pair: Pair) -> ClipMeasurements:
    """Measure the true result of a pair, once."""
    truth = read_truth(data, pair)
    return ClipMeasurements.from_frames(truth.frames, intensity_estimator(data, pair.source), truth.face_mask())


def measure_result(data: Path, pair: Pair, result: NDArray[np.uint8]) -> Row:
    """Compare a result (T, H, W, 3) with the truth; returns the names of the pair and the measures of `compare`."""
    mask = read_truth(data, pair).face_mask()
    measured = ClipMeasurements.from_frames(to_unit_range(result), intensity_estimator(data, pair.source), mask)
    return {**asdict(pair), **compare(measured, truth_measurements(data, pair))}


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Write a CSV table; numbers have five decimals."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: round(v, 5) if isinstance(v, float) else v for k, v in row.items()} for row in rows)


def means(rows: Iterable[Mapping[str, Any]], *names: str) -> list[float]:
    """Return the mean of each measure over the rows."""
    chosen = list(rows)
    return [float(np.mean([row[name] for row in chosen])) for name in names]


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [header, *rows]
    text = ["| " + " | ".join(cells) + " |" for cells in lines]
    return "\n".join([text[0], "|---" * len(header) + "|", *text[1:]]) + "\n"
