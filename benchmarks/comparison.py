"""Compares all systems on the demo set: trained for the same number of steps, tested on unseen faces.

    python -m benchmarks.comparison [--epochs 2] [--systems tps fomm ...] [--out sup-mat/comparison]

Makes the demo set if it is missing, trains each system by its `config/SYSTEM-demo.yaml` unless `log/comparison` holds
its run, animates the test pairs and compares the results with the truth. Writes OUT.csv, one row per system and pair,
OUT.md, the means, and OUT.jpg, a contact sheet.
"""

import argparse
import csv
import json
import logging
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks import demo_runs
from benchmarks.demo_runs import Row, last_checkpoint, means, run_program
from benchmarks.timing import time_alternately
from config.experiment import Config
from config.load import load_config
from core.models import build_model
from demo.make_demo import make_demo
from demo.truth import Pair, read_frames, read_pairs, read_truth, still_clip
from modules.blocks import count_parameters
from modules.face_frame import ACTION_UNITS
from modules.model import Condition, MotionModel
from output.contact_sheet import SheetRow, contact_sheet
from output.metrics import image_metrics

SYSTEMS = ("tps", "tps-rau", "fomm", "fomm-ewp", "fomm-awp", "mraa", "mraa-awp")
STILL = "copy of the source"
MEASURES = {
    "l1": ("L1", "{:.4f}"),
    "psnr": ("PSNR", "{:.2f}"),
    "ssim": ("SSIM", "{:.4f}"),
    "difference_error": ("temporal difference, error", "{:.3f}"),
    "difference_correlation": ("correlation", "{:.3f}"),
    "nonrigid_error": ("non-rigid motion, error", "{:.3f}"),
    "nonrigid_correlation": ("correlation", "{:.3f}"),
}
SHEET_PAIRS = 2
CELL, QUALITY = 128, 80
TIMED_FRAMES, TIMED_ROUNDS = 32, 5
ADVERSARY = "discriminator"

log = logging.getLogger("comparison")


def main() -> int:
    """Run the whole comparison; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--epochs", type=int, default=2, help="epochs per system, of 70 steps each")
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=SYSTEMS)
    parser.add_argument("--log-dir", type=Path, default=Path("log/comparison"))
    parser.add_argument("--out", type=Path, default=Path("sup-mat/comparison"))
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    configs = {system: load_config(_experiment(system), []).config for system in options.systems}
    data = demo_runs.demo_folder(_experiment(options.systems[0]))
    make_demo(data, workers=2)
    rows = measure_system(STILL, data, partial(still_clip, data))
    results: dict[str, Path] = {}
    costs: dict[str, tuple[float, int]] = {}
    for system, config in configs.items():
        checkpoint = train_and_animate(system, options.epochs, options.log_dir)
        results[system] = checkpoint.parent / "animation"
        rows += measure_system(system, data, partial(_read_result, results[system]))
        costs[system] = (images_per_second(checkpoint.parent / "stats.jsonl"), parameters(config))
        log.info(
            "%s: difference error %.3f", system, *means((r for r in rows if r["system"] == system), "difference_error")
        )
    speeds = frames_per_second(configs, data)
    demo_runs.write_rows(options.out.with_suffix(".csv"), rows)
    options.out.with_suffix(".md").write_text(table(rows, costs, speeds, options), encoding="utf-8")
    write_sheet(options.out.with_suffix(".jpg"), data, results)
    log.info("\n%s", options.out.with_suffix(".md").read_text(encoding="utf-8"))
    return 0


def train_and_animate(system: str, epochs: int, log_dir: Path) -> Path:
    """Train a system, unless its run exists, and animate the test pairs; return the checkpoint."""
    folder = log_dir / f"{system}-{epochs}"
    common = ("--config", _experiment(system), "--log_dir", folder, "--set", "animate_params.format=.png")
    if last_checkpoint(folder) is None:
        run_program(*common, "--set", f"train_params.num_epochs={epochs}", threads=None)
    checkpoint = last_checkpoint(folder)
    assert checkpoint is not None, f"{folder} holds the run that was just made"
    run_program(*common, "--mode", "animate", "--checkpoint", checkpoint, threads=None)
    return checkpoint


def measure_system(system: str, data: Path, read_result: Callable[[Pair], NDArray[np.uint8]]) -> list[Row]:
    """Return one row of measures per pair; `read_result` gives the frames (T, H, W, 3) of a result."""
    rows: list[Row] = []
    for pair in read_pairs(data):
        truth, result = _true_frames(data, pair), read_result(pair)
        measures = demo_runs.measure_result(data, pair, result)
        names = {name: measures.pop(name) for name in ("source", "driving")}
        rows.append({"system": system, **names, **image_metrics(list(truth), list(result)), **measures})
    return rows


def images_per_second(stats: Path) -> float:
    """Return the training images per second, median over the steps of a run."""
    steps = [json.loads(line) for line in stats.read_text(encoding="utf-8").splitlines()]
    return statistics.median(step["images_per_second"] for step in steps if "images_per_second" in step)


def parameters(config: Config) -> int:
    """Count the parameters of the networks that are needed to animate."""
    networks = build_model(config).networks()
    return sum(count_parameters(network) for name, network in networks.items() if name != ADVERSARY)


def frames_per_second(configs: Mapping[str, Config], data: Path) -> dict[str, float]:
    """Return the frames per second of each system's networks for one source and many frames."""
    truth = read_truth(data, read_pairs(data)[0])
    image = torch.from_numpy(truth.frames[:1]).permute(0, 3, 1, 2)
    points = torch.from_numpy(truth.landmarks * 2 / (image.shape[-1] - 1) - 1).float()[None]
    moved = points + 0.01 * torch.randn(TIMED_FRAMES, 68, 2, generator=torch.Generator().manual_seed(0))

    def generator_of(config: Config) -> Callable[[], None]:
        model = build_model(config)
        model.eval()
        batch = config.animate_params.batch_size
        return lambda: generate(model, image, points, moved, batch_size=batch, encode_once=True)

    with torch.inference_mode():
        seconds = time_alternately({system: generator_of(config) for system, config in configs.items()}, TIMED_ROUNDS)
    return {system: TIMED_FRAMES / value for system, value in seconds.items()}


def table(
    rows: Sequence[Row],
    costs: Mapping[str, tuple[float, int]],
    speeds: Mapping[str, float],
    options: argparse.Namespace,
) -> str:
    """Return the means per system, as Markdown."""
    text = (
        "# All systems on the demo set\n\n"
        f"`python -m benchmarks.comparison --epochs {options.epochs}`: held-out faces, equal steps, "
        f"{torch.get_num_threads()} processor threads. Errors are relative: 1 is a copy of the source, 0 the truth; "
        "motion is dense optical flow without the similarity of the head. Frames/s are those of the networks alone. "
        "Means over pairs; values of each pair in the CSV file of this name.\n\n"
    )
    lines = []
    for system in (STILL, *costs):
        values = means((row for row in rows if row["system"] == system), *MEASURES)
        cells = [pattern.format(value) for value, (_, pattern) in zip(values, MEASURES.values(), strict=True)]
        cost = ["", "", ""]
        if system in costs:
            images, count = costs[system]
            cost = [f"{images:.1f}", f"{speeds[system]:.0f}", f"{count:,}"]
        lines.append([system, *cells, *cost])
    titles = ["", *(title for title, _ in MEASURES.values()), "training images/s", "frames/s", "parameters"]
    return text + demo_runs.markdown_table(titles, lines)


def write_sheet(path: Path, data: Path, results: Mapping[str, Path]) -> None:
    """Write a contact sheet with the truth and the result of each system beside the driving clip, for some pairs."""
    with (data / "clips.csv").open(newline="", encoding="utf-8") as file:
        clips = {row["name"]: row for row in csv.DictReader(file)}
    lines = []
    for pair in read_pairs(data)[:SHEET_PAIRS]:
        times = [0, int(clips[pair.driving]["apex"])]
        driving = read_frames(data / "test" / pair.driving)[times]
        shown = {"truth": _true_frames(data, pair)[times]}
        shown |= {system: _read_result(folder, pair)[times] for system, folder in results.items()}
        lines += [SheetRow(f"{pair.driving}: {name}", tuple(clip), tuple(driving)) for name, clip in shown.items()]
    iio.imwrite(path, contact_sheet(lines, size=CELL), quality=QUALITY)


def _experiment(system: str) -> Path:
    return Path("config") / f"{system}-demo.yaml"


def _read_result(folder: Path, pair: Pair) -> NDArray[np.uint8]:
    return read_frames(folder / pair.name)


def _true_frames(data: Path, pair: Pair) -> NDArray[np.uint8]:
    return (read_truth(data, pair).frames * 255).round().astype(np.uint8)


def generate(
    model: MotionModel,
    image: torch.Tensor,
    points: torch.Tensor,
    moved: torch.Tensor,
    *,
    batch_size: int,
    encode_once: bool,
) -> None:
    """Generate the frames of one source.

    Args:
        image: (1, 3, H, W) source.
        points: (1, 68, 2) its landmarks.
        moved: (T, 68, 2) landmarks of the frames.
        batch_size: frames per batch.
        encode_once: False encodes the source again for every batch.
    """
    source, encoded = model.motion(image, points), model.encode(image, points)
    for part in torch.split(moved, batch_size):
        if not encode_once:
            source, encoded = model.motion(image, points), model.encode(image, points)
        motion = model.motion(image.expand(len(part), -1, -1, -1), part)
        au_diff = torch.full((len(part), len(ACTION_UNITS), 2), 0.1, device=image.device)
        condition = Condition(au_diff=au_diff if model.needs_action_units else None)
        model.generate(encoded, source, motion, condition)["prediction"].sum().item()  # wait for the device


if __name__ == "__main__":
    sys.exit(main())
