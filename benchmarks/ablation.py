"""What the action-unit input and constraint bring on the demo set, for faces that training never saw.

    python -m benchmarks.ablation [--seeds 5] [--repeats 3] [--workers 2] [--out sup-mat/ablation]

Makes the demo set where it is missing, trains the action-unit estimator, then every variant with every seed for the
same number of steps, animates the test pairs and measures the results against the true clips. Writes OUT.csv, a row
a variant, seed and pair, and OUT.md, means and 95 % bootstrap intervals over pairs of the difference to plain TPS.
"""

import argparse
import logging
import shutil
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.demo_runs import (
    frames,
    held_out_pairs,
    last_checkpoint,
    means,
    program,
    truth,
    unit_changes,
    write_rows,
)
from config.load import load_config
from core.models import load_au_estimator
from demo.data_set import intensities, read_settings
from demo.geometry import SIDES
from demo.make_demo import make_demo
from demo.measure import Shown, measure
from faces.action_units import ACTION_UNITS
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
BOOTSTRAP = 10_000
MEASURES = {
    "difference_error": "temporal difference, error",
    "difference_correlation": "temporal difference, correlation",
    "motion_error": "motion, error",
    "au_error": "action units, error",
    "au_geometry_error": "their motion",
    "au_appearance_error": "their furrows and shades",
    "au_estimator_error": "action units, error by the estimator",
}

log = logging.getLogger("ablation")


def main() -> int:
    """Run the whole comparison; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument(
        "--repeats", type=int, default=3, help="passes over the clips, 14 steps each, for every variant"
    )
    parser.add_argument("--workers", type=int, default=2, help="runs at a time, each on one processor core")
    parser.add_argument("--log-dir", type=Path, default=Path("log/ablation"))
    parser.add_argument("--out", type=Path, default=Path("sup-mat/ablation"))
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    data = load_config(CONFIG, []).config.dataset_params.root_dir
    assert data is not None, f"{CONFIG} names the demo set"
    make_demo(data, workers=options.workers)
    estimator = train_estimator(options.log_dir / "estimator")
    jobs = [(variant, seed) for seed in range(options.seeds) for variant in VARIANTS]
    with ThreadPoolExecutor(options.workers) as pool:
        results = list(pool.map(lambda job: run(*job, options.repeats, options.log_dir, data, estimator), jobs))
    rows = [row for of_run in results for row in of_run]
    write_rows(options.out.with_suffix(".csv"), rows)
    options.out.with_suffix(".md").write_text(table(rows, options), encoding="utf-8")
    log.info("\n%s", options.out.with_suffix(".md").read_text(encoding="utf-8"))
    return 0


def train_estimator(folder: Path) -> Path:
    """Checkpoint of the action-unit estimator, trained where it is not there yet."""
    if last_checkpoint(folder) is None:
        program("--config", CONFIG, "--mode", "train_au", "--log_dir", folder)
    found = last_checkpoint(folder)
    assert found is not None, f"{folder} holds the estimator that was just trained"
    return found


def run(variant: str, seed: int, repeats: int, log_dir: Path, data: Path, estimator: Path) -> list[dict[str, object]]:
    """Train and animate one variant with one seed, and measure every pair."""
    folder = log_dir / f"{list(VARIANTS).index(variant)}-{seed}"
    shutil.rmtree(folder, ignore_errors=True)
    common = ("--config", CONFIG, "--log_dir", folder, "--seed", seed)
    settings = (f"train_params.au_estimator={estimator}", "animate_params.format=.png", *VARIANTS[variant])
    assignments = [word for setting in settings for word in ("--set", setting)]
    length = ("--set", "train_params.num_epochs=1", "--set", f"train_params.num_repeats={repeats}")
    program(*common, *assignments, *length)
    (checkpoint,) = folder.glob("*/*-checkpoint.pth.tar")
    program(*common, *assignments, "--mode", "animate", "--checkpoint", checkpoint)
    judge = load_au_estimator(estimator)
    rows: list[dict[str, object]] = []
    for pair in held_out_pairs(data):
        result = frames(checkpoint.parent / "animation" / f"{pair['driving']}-{pair['source']}")
        rows.append({"variant": variant, "seed": seed, **pair, **measured(result, pair, data, judge)})
    shown = means(rows, "difference_error", "au_error")
    log.info("%s, seed %d: difference error %.3f, AU error %.3f", variant, seed, *shown)
    return rows


def measured(result: NDArray[np.uint8], pair: Mapping[str, str], data: Path, judge: AUEstimator) -> dict[str, float]:
    """The measures of one pair."""
    true = truth(data, pair["source"], pair["driving"])
    clip = result.astype(np.float32) / 255
    values = measure(Shown.by(clip, unit_changes(data, pair["source"]), true.mask), true.shown)
    units = _true_units(data, pair["driving"])
    pictures = torch.from_numpy(clip).permute(0, 3, 1, 2)
    landmarks = torch.from_numpy(true.landmarks * 2 / (clip.shape[2] - 1) - 1).float().expand(len(clip), -1, -1)
    rest = torch.from_numpy(units[:1]).expand(len(clip), -1, -1)
    with torch.inference_mode():
        found = judge.difference(pictures[:1].expand_as(pictures), pictures, landmarks, rest).numpy()
    error = np.abs(found - (units - units[:1])).sum() / np.abs(units - units[:1]).sum()
    return {**values, "au_estimator_error": float(error)}


def _true_units(data: Path, clip: str) -> NDArray[np.float32]:
    """(T, 17, 2) exact intensities."""
    curves = intensities(read_settings(data), clip)
    true = np.zeros((len(next(iter(curves.values()))), len(ACTION_UNITS), len(SIDES)), np.float32)
    for (unit, side), curve in curves.items():
        true[:, ACTION_UNITS.index(unit), SIDES.index(side)] = curve
    return true


def table(rows: list[dict[str, object]], options: argparse.Namespace) -> str:
    """Means by variant, and the bootstrapped gain of the full system over plain TPS."""
    lines = [
        "# What the relative action units bring",
        "",
        f"`python -m benchmarks.ablation --seeds {options.seeds} --repeats {options.repeats}`: demo set, held-out "
        "faces, equal steps. Errors are relative: 1 is a copy of the source, 0 the truth. Means over seeds and pairs; "
        "values of each run in the CSV file of this name.",
        "",
        "| | " + " | ".join(VARIANTS) + f" | {BASE} - full, 95 % interval |",
        "|---" * (len(VARIANTS) + 2) + "|",
    ]
    for name, title in MEASURES.items():
        by_variant = [means([row for row in rows if row["variant"] == v], name)[0] for v in VARIANTS]
        low, high = interval(rows, name)
        cells = " | ".join(f"{value:.3f}" for value in by_variant)
        lines.append(f"| {title} | {cells} | {low:+.3f} to {high:+.3f} |")
    return "\n".join(lines) + "\n"


def interval(rows: list[dict[str, object]], name: str) -> tuple[float, float]:
    """95 % bootstrap interval of (TPS - full), seeds averaged, pairs drawn with replacement."""
    pairs = sorted({(str(row["driving"]), str(row["source"])) for row in rows})
    gains = np.array(
        [
            np.subtract(
                *(
                    means([r for r in rows if r["variant"] == v and (r["driving"], r["source"]) == pair], name)[0]
                    for v in (BASE, FULL)
                )
            )
            for pair in pairs
        ]
    )
    drawn = np.random.default_rng(0).integers(len(gains), size=(BOOTSTRAP, len(gains)))
    low, high = np.percentile(gains[drawn].mean(axis=1), (2.5, 97.5))
    return float(low), float(high)


if __name__ == "__main__":
    sys.exit(main())
