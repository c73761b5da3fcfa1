"""Measures the speed of data preparation and of an OpenCV loop that reads, crops, resizes and writes the same frames.

    python -m benchmarks.preparation [--frames 10000] [--workers 2]

Frames are synthetic 640 x 480 JPEG files of a moving face. All variants use the same number of processes. The loop is
timed before and after the others. Beside other programs, frames per second are unreliable; processor time, which
includes the start of all processes, is less so.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from clips.crop import place_crop
from config.options import RunOptions
from config.preparation import PrepareParams
from demo.subjects import load_photograph
from faces.landmarks import read_landmarks
from preparation.clip_record import ClipRecord, Listing
from preparation.workers import run_in_processes
from prepare import prepare_listing

CLIP = 100  # frames
SIZE = (640, 480)
FACE = 210.0  # height of the face from brows to chin, pixels, as in the raw frames of SMIC-HS


def main() -> None:
    """Print the frames per second of the loop and of preparation without and with tracking, and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="preparation-") as name:
        folder = Path(name)
        listing = _make_release(folder / "release", max(arguments.frames // CLIP, 1))
        frames = CLIP * len(listing.clips)
        loop = partial(_loop, listing, folder / "loop", arguments.workers)
        variants = {
            "OpenCV loop": loop,
            "without tracking": partial(_prepare, listing, folder / "plain", arguments.workers, "files"),
            "with tracking": partial(_prepare, listing, folder / "tracked", arguments.workers, "track"),
            "OpenCV loop again": loop,
        }
        seconds = {name: _seconds(variant) for name, variant in variants.items()}
    reference = np.mean([seconds["OpenCV loop"], seconds["OpenCV loop again"]], axis=0)
    print(f"{frames} frames, {arguments.workers} processes; ratio to the loop")
    for name, spent in seconds.items():
        wall, processor = reference / spent
        print(
            f"{name:<18}{frames / spent[0]:8.1f} frames/s, ratio {wall:.2f}; "
            f"{1000 * spent[1] / frames:6.2f} ms of processor time per frame, ratio {processor:.2f}"
        )


def _seconds(variant: Callable[[], None]) -> NDArray[np.float64]:
    """Return elapsed seconds, and processor seconds of this process and of those that it starts."""
    start, before = time.perf_counter(), os.times()
    variant()
    passed, after = time.perf_counter() - start, os.times()
    return np.array([passed, sum(after[:4]) - sum(before[:4])])


def _make_release(folder: Path, clips: int) -> Listing:
    """Write clips of a face that moves by a few pixels, each with its own noise, and landmarks of every frame."""
    image, points = load_photograph("astronaut")[0], _landmarks()
    scale = FACE / np.ptp(points[:, 1])
    middle = points.mean(axis=0)
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 2, (8, SIZE[1], SIZE[0], 3))
    shifts = 2 * np.sin(np.arange(CLIP) / 9)[:, None] * [1, 0.5]
    moving = np.array(SIZE) / 2 + shifts
    images = [
        cv2.warpAffine(
            image,
            np.array([[scale, 0, x - scale * middle[0]], [0, scale, y - scale * middle[1]]]),
            SIZE,
            flags=cv2.INTER_CUBIC,
            borderMode=cv2.BORDER_REFLECT,
        )
        for x, y in moving
    ]
    records = []
    for number in range(clips):
        clip = folder / f"s{number}_a"
        clip.mkdir(parents=True)
        paths = tuple(clip / f"img{t}.jpg" for t in range(CLIP))
        for t, path in enumerate(paths):
            frame = np.clip(images[t] + noise[(t + number) % len(noise)], 0, 255).astype(np.uint8)
            cv2.imwrite(str(path), cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 92])
        landmarks = folder / f"s{number}_a.npy"
        np.save(landmarks, (points - middle) * scale + moving[:, None])
        record = ClipRecord(
            clip.name, f"s{number}", "folder", clip, paths, tuple(range(CLIP)), 200.0, landmarks=landmarks
        )
        records.append(record)
    return Listing(tuple(records), ())


def _landmarks() -> NDArray[np.float64]:
    return read_landmarks(Path(__file__).parents[1] / "data" / "astronaut_landmarks68.csv")[0]


def _settings(output: Path, workers: int, follow: str) -> PrepareParams:
    values = {
        "data_set": "folder",
        "root_dir": str(output.with_name("release")),
        "output_dir": str(output),
        "workers": workers,
        "landmark_params": {"backend": "files", "follow": follow},
        "split_params": {"by": "none"},
    }
    return PrepareParams.model_validate(values)


def _prepare(listing: Listing, output: Path, workers: int, follow: str) -> None:
    prepare_listing(listing, _settings(output, workers, follow), RunOptions(Path("benchmark.yaml")))


def _loop(listing: Listing, output: Path, workers: int) -> None:
    work = partial(_loop_over_clip, output=output)
    for _ in run_in_processes(work, listing.clips, workers):
        pass


def _loop_over_clip(record: ClipRecord, output: Path) -> None:
    """Read, crop, resize and write a clip, as a short script would."""
    assert record.landmarks is not None, "made with landmarks"
    crop = place_crop(np.load(record.landmarks)[0], SIZE[::-1], _settings(output, 1, "files").crop_params)
    x, y = (round(c - (crop.side - 1) / 2) for c in crop.centre)
    folder = output / record.name
    folder.mkdir(parents=True, exist_ok=True)
    for t, path in enumerate(record.frames):
        frame = cv2.imread(str(path))
        assert frame is not None, "made by this program"
        square = frame[y : y + crop.side, x : x + crop.side]
        small = cv2.resize(square, (crop.size, crop.size), interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(folder / f"{t:04d}.png"), small)


if __name__ == "__main__":
    main()
