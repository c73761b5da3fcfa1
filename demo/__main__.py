"""`make demo`: make a small data set with known motion, train on it, animate faces that training never saw, measure.

Every step is one command of the program, printed before it runs, so that it can be repeated and changed by hand.
"""

import csv
import logging
import shlex
import subprocess
import sys
import time
from pathlib import Path

import cv2
import imageio.v3 as iio
import numpy as np
from numpy.typing import NDArray

from clips.reading import Frame
from config.load import load_config
from config.sections import DatasetParams
from demo.make_demo import make_demo
from errors import UserError
from output.metrics import temporal_difference
from output.video import side_by_side, write_video

CONFIG = Path("config/tps-rau-demo.yaml")
WARP_CONFIG = Path("config/warp-256.yaml")
LOG_DIR = Path("log")
SHOWN = 3  # pairs in the GIF

log = logging.getLogger("demo")


def main() -> int:
    """Run the demo from the repository's folder; returns the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    began = time.perf_counter()
    try:
        config = load_config(CONFIG, []).config
        data = config.dataset_params.root_dir
        assert data is not None, f"{CONFIG} names the demo set"
        log.info("making the demo set in %s", data)
        make_demo(data, workers=2, force=True)
        run_folder = _train()
        checkpoint = max(run_folder.glob("*-checkpoint.pth.tar"))
        _program("--config", CONFIG, "--mode", "animate", "--checkpoint", checkpoint)
        warp = _warp(config.dataset_params)
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
    for name, (error, correlation) in results.items():
        log.info("  %-42s %7.3f %12.3f", name, error, correlation)
    log.info("\ncontact sheet: %s\ngif: %s", animation / "contact_sheet.png", gif)
    log.info("all of it took %.0f s", time.perf_counter() - began)
    return 0


def _program(*arguments: object) -> None:
    command = ["run.py", *(str(argument) for argument in arguments)]
    log.info("\n$ python %s", shlex.join(command))
    subprocess.run([sys.executable, *command], check=True)


def _train() -> Path:
    """Train, and return the folder of the run."""
    before = set(LOG_DIR.glob(f"{CONFIG.stem}_*"))
    _program("--config", CONFIG, "--log_dir", LOG_DIR)
    (folder,) = set(LOG_DIR.glob(f"{CONFIG.stem}_*")) - before
    return folder


def _warp(dataset: DatasetParams) -> Path:
    """Animate the same pairs by the family that learns nothing, and return the folder of its results."""
    arguments: list[object] = ["--config", WARP_CONFIG, "--mode", "animate", "--log_dir", LOG_DIR]
    for name in ("root_dir", "keypoint_dir", "pairs_list"):
        arguments += ["--set", f"dataset_params.{name}={getattr(dataset, name)}"]
    _program(*arguments, "--set", f"dataset_params.frame_shape={list(dataset.frame_shape or ())}")
    return LOG_DIR / WARP_CONFIG.stem / "animation"


def _pairs(data: Path) -> list[str]:
    """`DRIVING-SOURCE` of the test pairs, the name of their results and of their truth."""
    with (data / "test_pairs.csv").open(newline="", encoding="utf-8") as file:
        return [f"{row['driving']}-{row['source']}" for row in csv.DictReader(file)]


def _truth(data: Path, pair: str) -> dict[str, NDArray[np.float32]]:
    with np.load(data / "truth" / "pairs" / f"{pair}.npz") as arrays:
        return {name: arrays[name].astype(np.float32) for name in ("frames", "flow")}


def _frames(folder: Path) -> NDArray[np.float32]:
    return np.stack([iio.imread(path) for path in sorted(folder.glob("*.png"))]).astype(np.float32) / 255


def _measure(data: Path, results: Path) -> tuple[float, float]:
    """Error and correlation of temporal differences, mean over the pairs."""
    values = [temporal_difference(_truth(data, pair)["frames"], _frames(results / pair)) for pair in _pairs(data)]
    error, correlation = np.mean(values, axis=0)
    return float(error), float(correlation)


def _references(data: Path) -> dict[str, tuple[float, float]]:
    """What a copy of the source reaches, and the source moved by the true flow without the change of its skin."""
    still, moved = [], []
    for pair in _pairs(data):
        truth = _truth(data, pair)
        source = _frames(data / "test" / pair.split("-")[1])[0]
        still.append(temporal_difference(truth["frames"], np.repeat(source[None], len(truth["frames"]), axis=0)))
        moved.append(temporal_difference(truth["frames"], _moved(source, truth["flow"])))
    means = np.mean(still, axis=0), np.mean(moved, axis=0)
    return dict(zip(("copy of the source", "true flow"), [(float(e), float(c)) for e, c in means], strict=True))


def _moved(source: NDArray[np.float32], flow: NDArray[np.float32]) -> NDArray[np.float32]:
    """Backward warp of a picture: (H, W, 3), (T, H, W, 2) pixels -> (T, H, W, 3)."""
    y, x = np.mgrid[: source.shape[0], : source.shape[1]].astype(np.float32)
    frames = [
        cv2.remap(source, x + f[..., 0], y + f[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE) for f in flow
    ]
    return np.stack(frames)


def _write_gif(data: Path, animation: Path, crf: int) -> Path:
    """The first pairs, one above the other: driving clip, result, difference times 5."""
    rows: list[list[Frame]] = []
    for pair in _pairs(data)[:SHOWN]:
        driving = [iio.imread(path) for path in sorted((data / "test" / pair.split("-")[0]).glob("*.png"))]
        result = [iio.imread(path) for path in sorted((animation / pair).glob("*.png"))]
        rows.append(side_by_side(driving, result))
    length = max(len(row) for row in rows)
    padded = [row + row[-1:] * (length - len(row)) for row in rows]
    with (animation / "results.csv").open(newline="", encoding="utf-8") as file:
        fps = float(next(csv.DictReader(file))["fps"])
    frames = [np.concatenate(parts) for parts in zip(*padded, strict=True)]
    return write_video(animation / "demo.gif", frames, fps, crf=crf)


if __name__ == "__main__":
    sys.exit(main())
