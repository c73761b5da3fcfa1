"""`make demo`: makes a small data set with known motion, trains on it, animates unseen faces, measures the results.

Every step is one command of the program, logged before it runs, so that it can be repeated and changed.
"""

import csv
import logging
import shlex
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from clips.reading import Frame
from config.load import load_config
from config.sections import DatasetParams
from demo.make_demo import make_demo
from demo.truth import mean_temporal_difference, read_frames, read_pairs, still_clip, to_unit_range, warped_source
from errors import UserError
from output.video import side_by_side, write_video

CONFIG = Path("config/tps-rau-demo.yaml")
WARP_CONFIG = Path("config/warp-256.yaml")
LOG_DIR = Path("log")
GIF_PAIRS = 3

log = logging.getLogger("demo")


def main() -> int:
    """Run the demo from the folder of the repository; returns the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    start = time.perf_counter()
    try:
        config = load_config(CONFIG, []).config
        data = config.dataset_params.root_dir
        assert data is not None, f"{CONFIG} names the demo set"
        log.info("making the demo set in %s", data)
        make_demo(data, workers=2, force=True)
        run_folder = _train()
        checkpoint = max(run_folder.glob("[0-9]*-checkpoint.pth.tar"))
        _run_program("--config", CONFIG, "--mode", "animate", "--checkpoint", checkpoint)
        warp = _animate_without_training(config.dataset_params)
        animation = run_folder / "animation"
        results = {"trained model": _measure(data, animation), "warp of the same landmarks": _measure(data, warp)}
        results |= _references(data)
        gif = _write_gif(data, animation, config.animate_params.crf)
    except (UserError, OSError, ValueError) as error:
        log.error("error: %s", error)
        return 2
    except subprocess.CalledProcessError as error:
        return int(error.returncode)
    log.info("\nheld-out faces, change since the first frame   error  correlation")
    for name, values in results.items():
        log.info("  %-42s %7.3f %12.3f", name, *values)
    log.info("\ncontact sheet: %s\ngif: %s", animation / "contact_sheet.png", gif)
    log.info("total time: %.0f s", time.perf_counter() - start)
    return 0


def _run_program(*arguments: object) -> None:
    command = ["run.py", *(str(argument) for argument in arguments)]
    log.info("\n$ python %s", shlex.join(command))
    subprocess.run([sys.executable, *command], check=True)


def _train() -> Path:
    """Train the model; return the folder of the run."""
    before = set(LOG_DIR.glob(f"{CONFIG.stem}_*"))
    _run_program("--config", CONFIG, "--log_dir", LOG_DIR)
    (folder,) = set(LOG_DIR.glob(f"{CONFIG.stem}_*")) - before
    return folder


def _animate_without_training(dataset: DatasetParams) -> Path:
    """Animate the same pairs with the family that has no networks; return the folder of the results."""
    arguments: list[object] = ["--config", WARP_CONFIG, "--mode", "animate", "--log_dir", LOG_DIR]
    for name in ("root_dir", "keypoint_dir", "pairs_list"):
        arguments += ["--set", f"dataset_params.{name}={getattr(dataset, name)}"]
    _run_program(*arguments, "--set", f"dataset_params.frame_shape={list(dataset.frame_shape or ())}")
    return LOG_DIR / WARP_CONFIG.stem / "animation"


def _measure(data: Path, results: Path) -> tuple[float, float]:
    """Return error and correlation of the temporal differences of a folder of results, mean over the pairs."""
    return mean_temporal_difference(data, lambda pair: to_unit_range(read_frames(results / pair.name)))


def _references(data: Path) -> dict[str, tuple[float, float]]:
    """Return the same for a copy of the source, and for the source warped by the true flow."""
    return {
        "copy of the source": mean_temporal_difference(data, lambda pair: to_unit_range(still_clip(data, pair))),
        "true flow": mean_temporal_difference(data, lambda pair: warped_source(data, pair)),
    }


def _write_gif(data: Path, animation: Path, crf: int) -> Path:
    """Write the first pairs, one above the other, as driving clip, result and difference times 5; return the file."""
    rows: list[list[Frame]] = []
    for pair in read_pairs(data)[:GIF_PAIRS]:
        driving, result = read_frames(data / "test" / pair.driving), read_frames(animation / pair.name)
        rows.append(list(side_by_side(list(driving), list(result))))
    length = max(len(row) for row in rows)
    padded = [row + row[-1:] * (length - len(row)) for row in rows]
    with (animation / "results.csv").open(newline="", encoding="utf-8") as file:
        fps = float(next(csv.DictReader(file))["fps"])
    frames = [np.concatenate(parts) for parts in zip(*padded, strict=True)]
    return write_video(animation / "demo.gif", frames, fps, crf=crf)


if __name__ == "__main__":
    sys.exit(main())
