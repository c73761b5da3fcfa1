"""Make the demo data set: small micro-expressions with exact ground truth, from two public-domain photographs.

    python -m demo.make_demo [--out data/demo] [--size 128] [--seed 0] [--subjects 8] [--clips 7] [--force]

Training subjects come from one photograph, test subjects from the other. What lies in the folder:

    train/CLIP/0000.png ...      frames with camera noise; training clips have a little head motion, test clips none
    test/CLIP/0000.png ...
    landmarks/CLIP.npy           (T, 68, 2) float32, xy, pixels: half a pixel off in the first frame, tracked from there
    au/CLIP.csv                  OpenFace columns, 0-5; AUxx_r is the mean of both sides, and an action unit that moves
                                 on one side only has the columns AUxx_r_left and AUxx_r_right as well
    clips.csv                    name, subject, split, photograph, onset, apex, offset, fps, facs, amplitude_px; frame
                                 numbers count from 0, as in the file names
    test_pairs.csv               source,driving: the source image is the first frame of the clip `source`
    truth/landmarks/CLIP.npy     (T, 68, 2) float32, exact
    truth/pairs/DRIVING-SOURCE.npz  the source subject making the driving clip's expression: `frames` (T, H, W, 3)
                                 float16 RGB in [0, 1] without noise, `flow` (T, H, W, 2) float16 pixels from each pixel
                                 back to the first frame, `visible` (T, H, W) bool: in sight there, `landmarks`
    demo.json                    settings and version of the code; written last

The frames of the truth are float16 because temporal differences are a fraction of a grey level in the mean: rounding to
8 bits changes them by 3 to 11 per cent, float16 by one and a half at most.
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
import multiprocessing
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from core.files import replacing_folder, write_text
from demo.clip_plan import FPS
from demo.data_set import SPLITS, Settings, build_face, code_version, intensities, pairs, plan, subject_of
from demo.face import Rendered
from demo.geometry import SIDES, Key
from demo.subjects import DATA, PHOTOGRAPHS
from faces.action_units import ACTION_UNITS
from faces.facs import parse_code
from faces.tracking import track

CAMERA_NOISE = 2 / 255
"""Standard deviation of the noise of every frame, image range [0, 1]."""
LANDMARK_NOISE = 0.5 / 128
"""Standard deviation of the onset landmarks' error, share of the frame's width."""
NOISE_STREAM = 1000
"""Keeps the random numbers of the noise apart from those of the plan."""

log = logging.getLogger("make_demo")


def make_demo(out: Path, *, workers: int = 1, force: bool = False, **settings: int | str) -> Path:
    """Make the demo set unless it is already there.

    Args:
        out: folder to make; whatever else it holds is never touched.
        workers: processes; the files do not depend on it. More than one need a main module that can be imported again
            (`if __name__ == "__main__"`).
        force: replace a demo made with other settings or by another version of the code.
        settings: see `Settings`.
    Returns:
        `out`.
    Raises:
        ValueError: a setting out of range.
        FileExistsError: `out` holds something else.
    """
    out, wanted = Path(out), Settings(**settings)
    record = {"settings": asdict(wanted), "version": code_version()}
    if _already_there(out, record, force):
        return out
    with replacing_folder(out) as scratch:
        _write_all(scratch, wanted, workers)
        write_text(scratch / "demo.json", json.dumps(record, indent=2) + "\n")
    return out


def _already_there(out: Path, record: dict, force: bool) -> bool:
    """Whether `out` is the wanted demo; an error where making it would destroy something."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    found = out / "demo.json"
    if not found.is_file():
        raise FileExistsError(f"{out}: exists and is no demo set; choose another folder with --out")
    if json.loads(found.read_text(encoding="utf-8")) == record:
        return True
    if not force:
        raise FileExistsError(
            f"{out}: holds a demo made with other settings or by another version of the code; "
            "replace it with --force or choose another folder with --out"
        )
    return False


def _write_all(folder: Path, settings: Settings, workers: int) -> None:
    """Write everything but demo.json."""
    subjects = [subject for split in SPLITS for subject in settings.subjects_of(split)]
    for part in (*SPLITS, "landmarks", "au", "truth/landmarks", "truth/pairs"):
        (folder / part).mkdir(parents=True)
    work = partial(_write_subject, folder, settings)
    if workers > 1:
        context = multiprocessing.get_context("spawn")  # the same on every system, and safe beside threads
        with ProcessPoolExecutor(workers, mp_context=context) as pool:
            rows = list(pool.map(work, subjects))
    else:
        rows = [work(subject) for subject in subjects]
    rows = [row for of_subject in rows for row in of_subject]
    _write_table(folder / "clips.csv", list(rows[0]), [list(row.values()) for row in rows])
    _write_table(folder / "test_pairs.csv", ["source", "driving"], pairs(settings))


def _write_subject(folder: Path, settings: Settings, subject: str) -> list[dict]:
    """Write the clips of one subject and the truth of the pairs it is the source of; its rows of clips.csv."""
    with _one_thread():
        rows = [_write_clip(folder, settings, subject, name) for name in settings.clips_of(subject)]
        for source, driving in pairs(settings):
            if subject_of(source) == subject:
                result = build_face(settings, subject).render(intensities(settings, driving))
                _write_pair(folder / "truth" / "pairs" / f"{driving}-{source}.npz", result)
    return rows


def _write_clip(folder: Path, settings: Settings, subject: str, name: str) -> dict:
    """Write frames, landmarks and action units of one clip; its row of clips.csv."""
    clip, curves, split = plan(settings, name), intensities(settings, name), settings.split_of(subject)
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


def _write_frames(folder: Path, frames: np.ndarray) -> None:
    """(T, H, W, 3) uint8 RGB to numbered PNG files."""
    folder.mkdir()
    for t, frame in enumerate(frames):
        _, data = cv2.imencode(".png", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 1])
        (folder / f"{t:04d}.png").write_bytes(data.tobytes())


def _write_pair(path: Path, result: Rendered) -> None:
    """Write the ground truth of a pair."""
    np.savez(
        path,
        frames=result.frames.astype(np.float16),
        flow=result.flow.astype(np.float16),
        visible=result.visible,
        landmarks=result.landmarks.astype(np.float32),
    )


def _write_action_units(path: Path, code: str, curves: dict[Key, np.ndarray]) -> None:
    """Write the intensities of a clip as OpenFace does, and the sides of one-sided action units."""
    count = len(next(iter(curves.values())))
    still = np.zeros(count)
    columns = {f"AU{au:02d}_r": sum(curves.get((au, side), still) for side in SIDES) / 2 for au in ACTION_UNITS}
    for unit in parse_code(code):
        if unit.side is not None:
            columns.update({f"AU{unit.au:02d}_r_{side}": curves.get((unit.au, side), still) for side in SIDES})
    values = [
        [t + 1, f"{t / FPS:.3f}", "1.00", 1, *(f"{5 * c[t]:.5f}" for c in columns.values())] for t in range(count)
    ]
    _write_table(path, ["frame", "timestamp", "confidence", "success", *columns], values)


def _write_table(path: Path, header: list[str], rows: Iterable[Sequence]) -> None:
    """Write a CSV file with the same bytes on every system."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep OpenCV to one thread: its optical flow depends on how many there are."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def main(arguments: list[str] | None = None) -> int:
    """Command line; exit status 0, or 2 for a mistake of the user."""
    usual = Settings()
    parser = argparse.ArgumentParser(description="Make the demo data set.", allow_abbrev=False)
    parser.add_argument("--out", type=Path, default=DATA / "demo", help="folder to make")
    parser.add_argument("--size", type=int, default=usual.size, help="width and height of the frames, pixels")
    parser.add_argument("--seed", type=int, default=usual.seed)
    parser.add_argument("--subjects", type=int, default=usual.subjects, help="training subjects")
    parser.add_argument("--clips", type=int, default=usual.clips, help="clips of each training subject")
    parser.add_argument("--test-subjects", type=int, default=usual.test_subjects)
    parser.add_argument("--test-clips", type=int, default=usual.test_clips, help="clips of each test subject")
    parser.add_argument(
        "--test-photograph", choices=PHOTOGRAPHS, default=usual.test_photograph, help="not for training"
    )
    parser.add_argument("--workers", type=int, default=min(2, os.cpu_count() or 1), help="processes")
    parser.add_argument("--force", action="store_true", help="replace a demo made with other settings or other code")
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
