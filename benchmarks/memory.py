"""Measures the peak memory of every mode that writes frames, for a short and a long clip.

    python -m benchmarks.memory [--frames 300 3000] [--size 256] [--modes pairs au ...]

Each mode runs in a process of its own, with `warp`, after the clips have been decoded. Resident memory (VmHWM of /proc)
is the exact peak, and counts the libraries and the mapped pages of the frame cache; anonymous memory (RssAnon) counts
only what the program allocates, but is sampled and misses short peaks. Prints both in MiB, and the ratio of the last to
the first clip.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import imageio.v3 as iio
import numpy as np
import yaml

from demo.subjects import load_photograph
from faces.landmarks import read_landmarks

ROOT = Path(__file__).parents[1]
MIB = 2**20
MODES = ("file-mp4", "file-gif", "pairs-mp4", "pairs-gif", "au", "au-list", "reconstruction")


def main() -> None:
    """Print one line per mode."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, nargs="+", default=[300, 3000])
    parser.add_argument("--size", type=int, default=256, help="height and width of the frames, pixels")
    parser.add_argument("--modes", nargs="+", choices=MODES, default=MODES)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="memory-") as name:
        folders = {frames: Path(name, str(frames)) for frames in arguments.frames}
        for frames, folder in folders.items():
            _make_clips(folder, frames, arguments.size)
            _peak_memory(_command(folder, "check", frames), folder)
        for mode in arguments.modes:
            peaks = [_peak_memory(_command(folder, mode, frames), folder) for frames, folder in folders.items()]
            for kind, index in (("anonymous", 0), ("resident", 1)):
                values = [peak[index] / MIB for peak in peaks]
                shown = " ".join(f"{value:8.0f}" for value in values)
                print(f"{mode:<16}{kind:<10}{shown} MiB, ratio {values[-1] / values[0]:.2f}", flush=True)


def _make_clips(folder: Path, frames: int, size: int) -> None:
    """Write a clip of a face that slides by a pixel, a photograph, landmarks of both, a list of codes and a config."""
    image, points = load_photograph("astronaut")[0], read_landmarks(ROOT / "data" / "astronaut_landmarks68.csv")[0]
    scale = size / max(image.shape[:2])
    small = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
    landmarks = (points + 0.5) * scale - 0.5
    shifts = np.sin(np.arange(frames) / 9)
    for name in ("long", "still"):
        (folder / "data" / "test" / name).mkdir(parents=True)
    for t, shift in enumerate(shifts):
        moved = cv2.warpAffine(
            small, np.array([[1, 0, shift], [0, 1, 0.0]]), (size, size), borderMode=cv2.BORDER_REFLECT
        )
        iio.imwrite(folder / "data" / "test" / "long" / f"{t:05d}.png", moved, compress_level=1)
    iio.imwrite(folder / "data" / "test" / "still" / "0.png", small)
    (folder / "landmarks").mkdir()
    np.save(folder / "landmarks" / "long.npy", landmarks + shifts[:, None, None] * [1, 0])
    np.save(folder / "landmarks" / "still.npy", landmarks[None])
    (folder / "pairs.csv").write_text("source,driving\nstill,long\n", encoding="utf-8")
    times = f"{frames // 10},{frames // 2},{frames - frames // 10}"
    (folder / "codes.csv").write_text(
        f"source,au,onset,apex,offset,frames\nstill,4,{times},{frames}\n", encoding="utf-8"
    )
    section = {
        "root_dir": "data",
        "frame_shape": [size, size, 3],
        "keypoint_dir": "landmarks",
        "fps": 100,
        "pairs_list": "pairs.csv",
        "cache_dir": "cache",
    }
    config = {"format": 2, "dataset_params": section, "model_params": {"family": "warp"}}
    (folder / "warp.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")


def _command(folder: Path, mode: str, frames: int) -> list[str]:
    """Command line of a mode, in a clean folder of results."""
    start = [sys.executable, str(ROOT / "run.py"), "--config", "warp.yaml", "--log-dir", f"log-{mode}"]
    driven = [*("--source", "data/test/still", "--driving", "data/test/long"), "--result"]
    times = ["--onset", str(frames // 10), "--apex", str(frames // 2), "--offset", str(frames - frames // 10)]
    arguments = {
        "check": ["--mode", "check"],
        "file-mp4": [*driven, f"{mode}.mp4"],
        "file-gif": [*driven, f"{mode}.gif"],
        "pairs-mp4": [],
        "pairs-gif": ["--set", "animate_params.format=.gif"],
        "au": ["--source", "data/test/still", "--au", "4", *times, "--frames", str(frames), "--result", "au.mp4"],
        "au-list": ["--au-list", "codes.csv"],
        "reconstruction": ["--mode", "reconstruction"],
    }[mode]
    return [*start, *(arguments if "--mode" in arguments else ["--mode", "animate", *arguments])]


def _peak_memory(command: list[str], folder: Path) -> tuple[int, int]:
    """Run a command; returns its highest anonymous and resident memory, bytes."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env={**os.environ, "PYTHONPATH": ""})
        anonymous = resident = 0
        status = Path(f"/proc/{process.pid}/status")
        while process.poll() is None:
            values = dict(re.findall(r"(RssAnon|VmHWM):\s*(\d+) kB", status.read_text(encoding="utf-8")))
            anonymous = max(anonymous, 1024 * int(values.get("RssAnon", 0)))
            resident = max(resident, 1024 * int(values.get("VmHWM", 0)))
            time.sleep(0.005)
        if process.returncode and "check" not in command:
            log.seek(0)
            raise RuntimeError(log.read().decode())
    return anonymous, resident


if __name__ == "__main__":
    main()
