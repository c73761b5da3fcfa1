"""Make the demo data set: small micro-expressions with exact ground truth, from two public-domain photographs.

    python -m demo.make_demo [--out data/demo] [--size 128] [--seed 0] [--subjects 8] [--clips 7] [--force]

Training subjects are made from one photograph, test subjects from the other. Content of the folder:

    train/CLIP/0000.png ...      frames with camera noise; training clips have slight head motion, test clips none
    test/CLIP/0000.png ...
    landmarks/CLIP.npy           (T, 68, 2) float32, xy, pixels: tracked from a first frame that is half a pixel off
    au/CLIP.csv                  OpenFace columns, 0-5; AUxx_r is the mean of both sides, and a one-sided action unit
                                 has the columns AUxx_r_left and AUxx_r_right as well
    clips.csv                    name, subject, split, photograph, onset, apex, offset, fps, facs, amplitude_px; frame
                                 numbers count from 0, as in the file names
    test_pairs.csv               source,driving: the source image is the first frame of the clip `source`
    truth/landmarks/CLIP.npy     (T, 68, 2) float32, exact
    truth/pairs/DRIVING-SOURCE.npz  the source subject with the expression of the driving clip: `frames` (T, H, W, 3)
                                 float16 RGB in [0, 1] without noise, `flow` (T, H, W, 2) float16 pixels from each pixel
                                 back to the first frame, `visible` (T, H, W) bool: visible there, `landmarks`
    demo.json                    settings and version of the code; written last

The true frames are float16 because the mean temporal difference is a fraction of a grey level: rounding to 8 bits
changes it by 3 to 11 per cent, float16 by at most 1.5 per cent.

Legend: T frames, H x W image.
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
import multiprocessing
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from core.files import remove_abandoned, replacing_folder, write_text
from demo.clip_plan import FPS
from demo.code_version import DATA, code_version
from demo.data_set_plan import SPLITS, Settings, build_face, clip_subject, intensities, plan_of_clip, plan_pairs
from demo.face import RenderedClip
from demo.geometry import Key
from demo.subjects import PHOTOGRAPHS
from faces.action_unit_tables import ACTION_UNITS
from faces.action_units import SIDES
from faces.facs import parse_code
from faces.tracking import track

CAMERA_NOISE = 2 / 255
"""Standard deviation of the noise of each frame, image range [0, 1]."""
LANDMARK_NOISE = 0.5 / 128
"""Standard deviation of the error of the landmarks of the first frame, share of the frame width."""
NOISE_STREAM = 1000
"""Part of the seed that makes the random numbers of the noise differ from those of the plan."""

log = logging.getLogger("make_demo")


def make_demo(out: Path, *, workers: int = 1, force: bool = False, **settings: Any) -> Path:
    """Make the demo set, unless the folder already holds it.

    Args:
        out: folder to create; a folder with other content is never changed.
        workers: number of processes; the files do not depend on it. More than one needs a main module that can be
            imported (`if __name__ == "__main__"`).
        force: replace a demo set made with other settings or by another version of the code.
        settings: fields of `Settings`.
    Returns:
        `out`.
    Raises:
        ValueError: a setting is out of range.
        FileExistsError: `out` has other content.
    """
    out, wanted = Path(out), Settings(**settings)
    record = {"settings": asdict(wanted), "version": code_version()}
    if _is_complete(out, record, force):
        return out
    remove_abandoned(out.parent)
    with replacing_folder(out) as temporary:
        _write_all(temporary, wanted, workers)
        write_text(temporary / "demo.json", json.dumps(record, indent=2) + "\n")
    return out


def _is_complete(out: Path, record: Mapping[str, Any], force: bool) -> bool:
    """Return True if `out` already is the wanted demo set.

    Raises:
        FileExistsError: `out` has other content.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    found = out / "demo.json"
    if not found.is_file():
        raise FileExistsError(f"{out}: exists and is not a demo set; choose another folder with --out")
    if json.loads(found.read_text(encoding="utf-8")) == record:
        return True
    if not force:
        raise FileExistsError(
            f"{out}: holds a demo set made with other settings or by another version of the code; "
            "replace it with --force or choose another folder with --out"
        )
    return False


def _write_all(folder: Path, settings: Settings, workers: int) -> None:
    """Write all files except demo.json."""
    subjects = [subject for split in SPLITS for subject in settings.subjects_of(split)]
    for part in (*SPLITS, "landmarks", "au", "truth/landmarks", "truth/pairs"):
        (folder / part).mkdir(parents=True)
    work = partial(_write_subject, folder, settings)
    if workers > 1:
        context = multiprocessing.get_context("spawn")  # works on every system, and with threads
        with ProcessPoolExecutor(workers, mp_context=context) as pool:
            rows_of_subjects = list(pool.map(work, subjects))
    else:
        rows_of_subjects = [work(subject) for subject in subjects]
    rows = list(chain.from_iterable(rows_of_subjects))
    _write_table(folder / "clips.csv", list(rows[0]), [list(row.values()) for row in rows])
    _write_table(folder / "test_pairs.csv", ["source", "driving"], plan_pairs(settings))


def _write_subject(folder: Path, settings: Settings, subject: str) -> list[dict[str, object]]:
    """Write the clips of a subject and the true results of pairs with it as source; return its rows of clips.csv."""
    with _one_thread():
        rows = [_write_clip(folder, settings, subject, name) for name in settings.clips_of(subject)]
        for source, driving in plan_pairs(settings):
            if clip_subject(source) == subject:
                result = build_face(settings, subject).render(intensities(settings, driving))
                _write_pair(folder / "truth" / "pairs" / f"{driving}-{source}.npz", result)
    return rows


def _write_clip(folder: Path, settings: Settings, subject: str, name: str) -> dict[str, object]:
    """Write frames, landmarks and action units of a clip; return its row of clips.csv."""
    clip, curves, split = plan_of_clip(settings, name), intensities(settings, name), settings.split_of(subject)
    face = build_face(settings, subject)
    scale = settings.size / 128
    result = face.render(curves, clip.head * (scale, scale, 1, 1))
    rng = np.random.default_rng((settings.seed, NOISE_STREAM, int(subject[1:]), int(name.split("_c")[1])))
    noise = CAMERA_NOISE * rng.standard_normal((*result.frames.shape[:3], 1 if face.grey else 3), np.float32)
    frames = np.round(np.clip(result.frames + noise, 0, 1) * 255).astype(np.uint8)
    onset = result.landmarks[0] + rng.normal(0, LANDMARK_NOISE * settings.size, (68, 2))
    _write_frames(folder / split / name, frames)
    np.save(folder / "landmarks" / f"{name}.npy", track(frames, onset).astype(np.float32))
    np.save(folder / "truth" / "landmarks" / f"{name}.npy", result.landmarks.astype(np.float32))
    _write_action_units(folder / "au" / f"{name}.csv", clip.code, curves)
    amplitude = face.amplitude({key: curve[clip.apex] for key, curve in curves.items()})
    return {
        "name": name,
        "subject": subject,
        "split": split,
        "photograph": settings.photograph(split),
        "onset": clip.onset,
        "apex": clip.apex,
        "offset": clip.offset,
        "fps": FPS,
        "facs": clip.code,
        "amplitude_px": f"{amplitude:.3f}",
    }


def _write_frames(folder: Path, frames: NDArray[np.uint8]) -> None:
    """Write frames (T, H, W, 3) as numbered PNG files."""
    folder.mkdir()
    for t, frame in enumerate(frames):
        _, data = cv2.imencode(".png", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 1])
        (folder / f"{t:04d}.png").write_bytes(data.tobytes())


def _write_pair(path: Path, result: RenderedClip) -> None:
    """Write the true result of a pair."""
    np.savez(
        path,
        frames=result.frames.astype(np.float16),
        flow=result.flow.astype(np.float16),
        visible=result.visible,
        landmarks=result.landmarks.astype(np.float32),
    )


def _write_action_units(path: Path, code: str, curves: Mapping[Key, NDArray[np.float64]]) -> None:
    """Write the intensities of a clip as an OpenFace table, with extra columns for one-sided action units."""
    count = len(next(iter(curves.values())))
    still = np.zeros(count)
    left, right = SIDES
    columns = {
        f"AU{au:02d}_r": (curves.get((au, left), still) + curves.get((au, right), still)) / 2 for au in ACTION_UNITS
    }
    for unit in parse_code(code):
        if unit.side is not None:
            columns.update({f"AU{unit.au:02d}_r_{side}": curves.get((unit.au, side), still) for side in SIDES})
    values = [
        [t + 1, f"{t / FPS:.3f}", "1.00", 1, *(f"{5 * c[t]:.5f}" for c in columns.values())] for t in range(count)
    ]
    _write_table(path, ["frame", "timestamp", "confidence", "success", *columns], values)


def _write_table(path: Path, header: list[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV file, with the same bytes on every system."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Run OpenCV in one thread, because its optical flow depends on the number of threads."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status, 2 for a mistake of the user."""
    default = Settings()
    parser = argparse.ArgumentParser(description="Make the demo data set.", allow_abbrev=False)
    parser.add_argument("--out", type=Path, default=DATA / "demo", help="folder to create")
    parser.add_argument("--size", type=int, default=default.size, help="width and height of the frames, pixels")
    parser.add_argument("--seed", type=int, default=default.seed)
    parser.add_argument("--subjects", type=int, default=default.subjects, help="training subjects")
    parser.add_argument("--clips", type=int, default=default.clips, help="clips of each training subject")
    parser.add_argument("--test-subjects", type=int, default=default.test_subjects)
    parser.add_argument("--test-clips", type=int, default=default.test_clips, help="clips of each test subject")
    parser.add_argument(
        "--test-photograph",
        choices=PHOTOGRAPHS,
        default=default.test_photograph,
        help="photograph of the test subjects",
    )
    parser.add_argument("--workers", type=int, default=min(2, os.cpu_count() or 1), help="processes")
    parser.add_argument("--force", action="store_true", help="replace a demo set made with other settings or code")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        out = make_demo(**vars(parser.parse_args(arguments)))
    except (ValueError, OSError) as error:
        log.error("%s", error)
        return 2
    log.info("demo set: %s", out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
