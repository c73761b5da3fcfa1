"""Measures the effect of the action-unit input and constraint on the demo set, on faces unseen in training.

    python -m benchmarks.ablation [--seeds 5] [--repeats 3] [--workers 2] [--out sup-mat/ablation]

Makes the demo set if it is missing, trains the action-unit estimator, then every variant with every seed for the same
number of steps, animates the test pairs and compares the results with the truth. Writes OUT.csv, one row per variant,
seed and pair, and OUT.md, means and 95 % bootstrap intervals over pairs of the difference to plain TPS.
"""

import argparse
import logging
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks import demo_runs
from benchmarks.demo_runs import Row, last_checkpoint, means, run_program
from core.models import load_au_estimator
from demo.data_set_plan import intensity_table, read_settings
from demo.make_demo import make_demo
from demo.truth import Pair, read_frames, read_pairs, read_truth, to_unit_range
from modules.au_estimator import AUEstimator

CONFIG = Path("config/tps-rau-demo.yaml")
VARIANTS = {
    "TPS": ("model_params.au_conditioning=none",),
    "TPS + concat": ("model_params.au_conditioning=concat",),
    "TPS + film": ("model_params.au_conditioning=film",),
    "TPS + film + constraint": (
        "model_params.au_conditioning=film",
        "train_params.loss_weights.relative_au=0.3",
        "train_params.cross_identity=0.1",
    ),
}
BASE, FULL = "TPS", "TPS + film + constraint"
RESAMPLES = 10_000  # of the bootstrap
MEASURES = {
    "difference_error": "temporal difference, error",
    "difference_correlation": "temporal difference, correlation",
    "motion_error": "motion, error",
    "au_error": "action units, error",
    "au_geometry_error": "action units, error of motion",
    "au_appearance_error": "action units, error of wrinkles and shading",
    "au_estimator_error": "action units, error by the estimator",
}

log = logging.getLogger("ablation")


def main() -> int:
    """Run the whole comparison; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=3, help="passes over the clips per variant, 14 steps each")
    parser.add_argument("--workers", type=int, default=2, help="parallel runs, each on one processor core")
    parser.add_argument("--log-dir", type=Path, default=Path("log/ablation"))
    parser.add_argument("--out", type=Path, default=Path("sup-mat/ablation"))
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    data = demo_runs.demo_folder(CONFIG)
    make_demo(data, workers=options.workers)
    estimator = train_estimator(options.log_dir / "estimator")
    jobs = [(variant, seed) for seed in range(options.seeds) for variant in VARIANTS]
    with ThreadPoolExecutor(options.workers) as pool:
        results = pool.map(
            lambda job: run_variant(job[0], job[1], options.repeats, options.log_dir, data, estimator), jobs
        )
        rows = [row for rows_of_run in results for row in rows_of_run]
    demo_runs.write_rows(options.out.with_suffix(".csv"), rows)
    options.out.with_suffix(".md").write_text(table(rows, options), encoding="utf-8")
    log.info("\n%s", options.out.with_suffix(".md").read_text(encoding="utf-8"))
    return 0


def train_estimator(folder: Path) -> Path:
    """Train the action-unit estimator, unless the folder holds one; return its checkpoint."""
    if last_checkpoint(folder) is None:
        run_program("--config", CONFIG, "--mode", "train_au", "--log_dir", folder)
    checkpoint = last_checkpoint(folder)
    assert checkpoint is not None, f"{folder} holds the estimator that was just trained"
    return checkpoint


def run_variant(variant: str, seed: int, repeats: int, log_dir: Path, data: Path, estimator: Path) -> list[Row]:
    """Train and animate one variant with one seed; return the measures of every pair."""
    folder = log_dir / f"{list(VARIANTS).index(variant)}-{seed}"
    shutil.rmtree(folder, ignore_errors=True)
    common = ("--config", CONFIG, "--log_dir", folder, "--seed", seed)
    settings = (f"train_params.au_estimator={estimator}", "animate_params.format=.png", *VARIANTS[variant])
    assignments = [word for setting in settings for word in ("--set", setting)]
    length = ("--set", "train_params.num_epochs=1", "--set", f"train_params.num_repeats={repeats}")
    run_program(*common, *assignments, *length)
    (checkpoint,) = folder.glob("*/*-checkpoint.pth.tar")
    run_program(*common, *assignments, "--mode", "animate", "--checkpoint", checkpoint)
    network = load_au_estimator(estimator)
    rows: list[Row] = []
    for pair in read_pairs(data):
        result = read_frames(checkpoint.parent / "animation" / pair.name)
        measures = demo_runs.measure_result(data, pair, result)
        error = estimator_error(network, data, pair, result)
        rows.append({"variant": variant, "seed": seed, **measures, "au_estimator_error": error})
    errors = means(rows, "difference_error", "au_error")
    log.info("%s, seed %d: difference error %.3f, AU error %.3f", variant, seed, *errors)
    return rows


def estimator_error(network: AUEstimator, data: Path, pair: Pair, result: NDArray[np.uint8]) -> float:
    """Return the relative error of the action-unit changes that the estimator finds in a result (T, H, W, 3)."""
    frames = torch.from_numpy(to_unit_range(result)).permute(0, 3, 1, 2)
    points = read_truth(data, pair).landmarks
    landmarks = torch.from_numpy(points * 2 / (frames.shape[3] - 1) - 1).float().expand(len(frames), -1, -1)
    units = intensity_table(read_settings(data), pair.driving)
    rest = torch.from_numpy(units[:1]).expand(len(frames), -1, -1)
    with torch.inference_mode():
        found = network.difference(frames[:1].expand_as(frames), frames, landmarks, rest).numpy()
    return float(np.abs(found - (units - units[:1])).sum() / np.abs(units - units[:1]).sum())


def table(rows: list[Row], options: argparse.Namespace) -> str:
    """Return the means per variant and the interval of the difference between plain TPS and the full system."""
    text = (
        "# Effect of relative action units\n\n"
        f"`python -m benchmarks.ablation --seeds {options.seeds} --repeats {options.repeats}`: demo set, held-out "
        "faces, equal steps. Errors are relative: 1 is a copy of the source, 0 the truth. Means over seeds and pairs; "
        "values of each run in the CSV file of this name.\n\n"
    )
    lines = []
    for name, title in MEASURES.items():
        per_variant = [means([row for row in rows if row["variant"] == v], name)[0] for v in VARIANTS]
        low, high = interval(rows, name)
        lines.append([title, *(f"{value:.3f}" for value in per_variant), f"{low:+.3f} to {high:+.3f}"])
    return text + demo_runs.markdown_table(["", *VARIANTS, f"{BASE} - full, 95 % interval"], lines)


def interval(rows: list[Row], name: str) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of (TPS - full): mean over seeds, pairs drawn with replacement."""

    def mean_of(variant: str, pair: tuple[str, str]) -> float:
        chosen = [r for r in rows if r["variant"] == variant and (r["driving"], r["source"]) == pair]
        return means(chosen, name)[0]

    pairs = sorted({(row["driving"], row["source"]) for row in rows})
    gains = np.array([mean_of(BASE, pair) - mean_of(FULL, pair) for pair in pairs])
    drawn = np.random.default_rng(0).integers(len(gains), size=(RESAMPLES, len(gains)))
    low, high = np.percentile(gains[drawn].mean(axis=1), (2.5, 97.5))
    return float(low), float(high)


if __name__ == "__main__":
    sys.exit(main())
