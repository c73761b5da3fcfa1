"""Every system beside every other on the demo set: trained for the same number of steps, on faces it never saw.

    python -m benchmarks.comparison [--epochs 2] [--systems tps fomm ...] [--out sup-mat/comparison]

Makes the demo set where it is missing, trains each system by its `config/SYSTEM-demo.yaml`, where its run is not in
`log/comparison` yet, animates the test pairs and measures the results against the true clips. Writes OUT.csv, a row a
system and pair, OUT.md, the means, and OUT.jpg, a contact sheet.
"""

import argparse
import csv
import json
import logging
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.animation import generate
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
from benchmarks.timing import in_turns
from config.experiment import Config
from config.load import load_config
from core.models import build_model
from demo.make_demo import make_demo
from demo.measure import Shown, measure
from modules.blocks import count_parameters
from output.contact_sheet import SheetRow, contact_sheet
from output.metrics import picture_metrics

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
SHOWN = 2  # pairs on the contact sheet
CELL, QUALITY = 128, 80
TIMED_FRAMES, TIMED_ROUNDS = 32, 5
ADVERSARY = "discriminator"

log = logging.getLogger("comparison")


def main() -> int:
    """Run the whole comparison; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--epochs", type=int, default=2, help="for every system, of 70 steps each")
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=SYSTEMS)
    parser.add_argument("--log-dir", type=Path, default=Path("log/comparison"))
    parser.add_argument("--out", type=Path, default=Path("sup-mat/comparison"))
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    configs = {system: load_config(_experiment(system), []).config for system in options.systems}
    data = configs[options.systems[0]].dataset_params.root_dir
    assert data is not None, "the experiments name the demo set"
    make_demo(data, workers=2)
    rows = measured(STILL, data, lambda pair: _still(data, pair))
    results: dict[str, Path] = {}
    costs: dict[str, tuple[float, int]] = {}
    for system, config in configs.items():
        checkpoint = trained(system, options.epochs, options.log_dir)
        results[system] = checkpoint.parent / "animation"
        rows += measured(system, data, lambda pair, folder=results[system]: frames(folder / _name(pair)))
        costs[system] = (images_per_second(checkpoint.parent / "stats.jsonl"), parameters(config))
        log.info(
            "%s: difference error %.3f", system, *means((r for r in rows if r["system"] == system), "difference_error")
        )
    speeds = frames_per_second(configs, data)
    write_rows(options.out.with_suffix(".csv"), rows)
    options.out.with_suffix(".md").write_text(table(rows, costs, speeds, options), encoding="utf-8")
    write_sheet(options.out.with_suffix(".jpg"), data, results)
    log.info("\n%s", options.out.with_suffix(".md").read_text(encoding="utf-8"))
    return 0


def trained(system: str, epochs: int, log_dir: Path) -> Path:
    """Train a system and animate the test pairs, where that is not done yet; returns the checkpoint."""
    folder = log_dir / f"{system}-{epochs}"
    common = ("--config", _experiment(system), "--log_dir", folder, "--set", "animate_params.format=.png")
    if last_checkpoint(folder) is None:
        program(*common, "--set", f"train_params.num_epochs={epochs}", threads=None)
    checkpoint = last_checkpoint(folder)
    assert checkpoint is not None, f"{folder} holds the run that was just made"
    program(*common, "--mode", "animate", "--checkpoint", checkpoint, threads=None)
    return checkpoint


def measured(
    system: str, data: Path, result: Callable[[Mapping[str, str]], NDArray[np.uint8]]
) -> list[dict[str, object]]:
    """A row a pair; `result` gives its frames (T, H, W, 3)."""
    rows: list[dict[str, object]] = []
    for pair in held_out_pairs(data):
        true = truth(data, pair["source"], pair["driving"])
        found = result(pair)
        clip = found.astype(np.float32) / 255
        values = measure(Shown.by(clip, unit_changes(data, pair["source"]), true.mask), true.shown)
        pictures = picture_metrics(list((true.shown.clip * 255).round().astype(np.uint8)), list(found))
        rows.append({"system": system, **pair, **pictures, **values})
    return rows


def images_per_second(stats: Path) -> float:
    """Median over the steps of a training run."""
    steps = [json.loads(line) for line in stats.read_text(encoding="utf-8").splitlines()]
    return statistics.median(step["images_per_second"] for step in steps)


def parameters(config: Config) -> int:
    """Of all networks that animate."""
    networks = build_model(config).networks()
    return sum(count_parameters(network) for name, network in networks.items() if name != ADVERSARY)


def frames_per_second(configs: Mapping[str, Config], data: Path) -> dict[str, float]:
    """Of the networks alone, one source and many frames; the systems are timed in turns."""
    pair = held_out_pairs(data)[0]
    true = truth(data, pair["source"], pair["driving"])
    image = torch.from_numpy(true.shown.clip[:1]).permute(0, 3, 1, 2)
    points = torch.from_numpy(true.landmarks * 2 / (image.shape[-1] - 1) - 1).float()[None]
    moved = points + 0.01 * torch.randn(TIMED_FRAMES, 68, 2, generator=torch.Generator().manual_seed(0))

    def way(config: Config) -> Callable[[], None]:
        model = build_model(config).eval()
        batch = config.animate_params.batch_size
        return lambda: generate(model, image, points, moved, batch_size=batch, encode_once=True)

    with torch.inference_mode():
        seconds = in_turns({system: way(config) for system, config in configs.items()}, TIMED_ROUNDS)
    return {system: TIMED_FRAMES / value for system, value in seconds.items()}


def table(
    rows: Sequence[Mapping[str, object]],
    costs: Mapping[str, tuple[float, int]],
    speeds: Mapping[str, float],
    options: argparse.Namespace,
) -> str:
    """Means by system, as Markdown."""
    titles = ["", *(title for title, _ in MEASURES.values()), "training images/s", "frames/s", "parameters"]
    lines = [
        "# Every system on the demo set",
        "",
        f"`python -m benchmarks.comparison --epochs {options.epochs}`: held-out faces, equal steps, "
        f"{torch.get_num_threads()} processor threads. Errors are relative: 1 is a copy of the source, 0 the truth; "
        "motion is dense optical flow without the similarity of the head. Frames/s are those of the networks alone. "
        "Means over pairs; values of each pair in the CSV file of this name.",
        "",
        "| " + " | ".join(titles) + " |",
        "|---" * len(titles) + "|",
    ]
    for system in (STILL, *costs):
        values = means((row for row in rows if row["system"] == system), *MEASURES)
        cells = [form.format(value) for value, (_, form) in zip(values, MEASURES.values(), strict=True)]
        cost = ["", "", ""]
        if system in costs:
            images, count = costs[system]
            cost = [f"{images:.1f}", f"{speeds[system]:.0f}", f"{count:,}"]
        lines.append("| " + " | ".join([system, *cells, *cost]) + " |")
    return "\n".join(lines) + "\n"


def write_sheet(path: Path, data: Path, results: Mapping[str, Path]) -> None:
    """The driving clip beside the truth and beside what each system made of it, for some pairs."""
    with (data / "clips.csv").open(newline="", encoding="utf-8") as file:
        clips = {row["name"]: row for row in csv.DictReader(file)}
    lines = []
    for pair in held_out_pairs(data)[:SHOWN]:
        times = [0, int(clips[pair["driving"]]["apex"])]
        driving = frames(data / "test" / pair["driving"])[times]
        true = (truth(data, pair["source"], pair["driving"]).shown.clip[times] * 255).round().astype(np.uint8)
        shown = {"truth": true, **{system: frames(folder / _name(pair))[times] for system, folder in results.items()}}
        lines += [SheetRow(f"{pair['driving']}: {name}", tuple(clip), tuple(driving)) for name, clip in shown.items()]
    iio.imwrite(path, contact_sheet(lines, size=CELL), quality=QUALITY)


def _experiment(system: str) -> Path:
    return Path("config") / f"{system}-demo.yaml"


def _name(pair: Mapping[str, str]) -> str:
    """Folder of a pair's result."""
    return f"{pair['driving']}-{pair['source']}"


def _still(data: Path, pair: Mapping[str, str]) -> NDArray[np.uint8]:
    """The source, for as long as the driving clip."""
    length = len(truth(data, pair["source"], pair["driving"]).shown.clip)
    return np.repeat(frames(data / "test" / pair["source"])[:1], length, axis=0)


if __name__ == "__main__":
    sys.exit(main())
