"""Judges the judges: which measure sees which fault, on demo clips of which everything is known.

    python -m benchmarks.judges [--data data/demo] [--pairs 2] [--workers 2] [--out sup-mat/judges]

True results of test pairs are made worse in nine ways, each in four grades, and rendered anew where the expression
changes. Each measure of `--mode evaluate` judges all of them. Writes OUT.csv, one row per corrupted clip, and OUT.md:
rank correlation of each measure with the grade, per fault and over all of them.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from benchmarks.demo_runs import markdown_table, write_rows
from demo.data_set_plan import Settings, clip_subject, intensities, load_face, read_settings
from demo.face import DemoFace
from demo.geometry import Key
from demo.make_demo import make_demo
from demo.muscles import MUSCLES
from demo.truth import Pair, read_frames, read_pairs
from evaluation.face_clip import FaceClip, resized, scaled_points
from evaluation.judge import Source, judge
from evaluation.measures import MEASURES, badness, measures_in_table
from evaluation.measuring import Methods, measure_driving
from evaluation.methods import face_mesh
from faces.action_units import SIDES
from preparation.workers import run_in_processes

GRADES = (0.25, 0.5, 0.75, 1.0)
STEP = 2  # every second frame is used, because the judges take seconds per clip
ESTIMATORS = ("dis", "tvl1")
SEEN, UNSEEN = 0.9, 0.3  # rank correlations above which a fault is seen, and below which it is not
OTHER_UNITS = ((25, 17), (2, 4), (9, 10))  # those that may act wrongly: the first pair of which none acts

Curves = dict[Key, NDArray[np.float64]]
Frames = NDArray[np.float32]

log = logging.getLogger("judges")


class Fault(NamedTuple):
    """A way to make a result worse.

    Attributes:
        curves: changes the expression: curves, grade, curves of another unit; None leaves it.
        frames: changes the frames: frames, grade, frames of another person, generator; None leaves them.
    """

    title: str
    curves: Callable[[Curves, float, Curves], Curves] | None = None
    frames: Callable[[Frames, float, Frames, np.random.Generator], Frames] | None = None


def _weaker(curves: Curves, grade: float, _other: Curves) -> Curves:
    return {key: (1 - 0.9 * grade) * curve for key, curve in curves.items()}


def _delayed(curves: Curves, grade: float, _other: Curves) -> Curves:
    times = np.arange(len(next(iter(curves.values()))))
    return {key: np.interp(times - 10 * grade, times, curve) for key, curve in curves.items()}


def _leaking(curves: Curves, grade: float, other: Curves) -> Curves:
    return curves | {key: grade * curve for key, curve in other.items()}


def _wrong_unit(curves: Curves, grade: float, other: Curves) -> Curves:
    kept = {key: (1 - grade) * curve for key, curve in curves.items()}
    return kept | {key: grade * curve for key, curve in other.items()}


def _wrong_side(curves: Curves, grade: float, _other: Curves) -> Curves:
    """Move the expression to the other side; a symmetric one first loses its other side."""
    moved: Curves = {}
    for (unit, side), curve in curves.items():
        opposite = SIDES[1 - SIDES.index(side)]
        both = (unit, opposite) in curves
        if not both:
            moved[unit, side] = (1 - grade) * curve
            moved[unit, opposite] = grade * curve
        else:
            moved[unit, side] = curve if side == SIDES[0] else (1 - grade) * curve
    return moved


def _blurred(frames: Frames, grade: float, _other: Frames, _rng: np.random.Generator) -> Frames:
    return np.stack([cv2.GaussianBlur(frame, (0, 0), 2 * grade) for frame in frames])


def _jittering(frames: Frames, grade: float, _other: Frames, rng: np.random.Generator) -> Frames:
    size = frames.shape[2], frames.shape[1]
    shifts = [np.array([[1.0, 0, x], [0, 1, y]]) for x, y in rng.normal(0, 0.8 * grade, (len(frames), 2))]
    moved = [
        cv2.warpAffine(frame, shift, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        for frame, shift in zip(frames[1:], shifts[1:], strict=True)
    ]
    return np.stack([frames[0], *moved]).astype(np.float32)


def _noisy(frames: Frames, grade: float, _other: Frames, rng: np.random.Generator) -> Frames:
    noise = rng.normal(0, 8 / 255 * grade, frames.shape).astype(np.float32)
    return frames + noise


def _other_person(frames: Frames, grade: float, other: Frames, _rng: np.random.Generator) -> Frames:
    return (1 - np.float32(grade)) * frames + np.float32(grade) * other


FAULTS = {
    "amplitude": Fault("too weak", _weaker),
    "delay": Fault("too late", _delayed),
    "leakage": Fault("another unit acts, too", _leaking),
    "unit": Fault("wrong unit", _wrong_unit),
    "side": Fault("wrong side", _wrong_side),
    "blur": Fault("blur", frames=_blurred),
    "jitter": Fault("jitter", frames=_jittering),
    "noise": Fault("noise", frames=_noisy),
    "identity": Fault("another person", frames=_other_person),
}


def judge_pair(data: Path, settings: Settings, job: tuple[Pair, str]) -> list[dict[str, Any]]:
    """Judge a fault of a pair in all its grades; returns one row per grade, the perfect result first."""
    cv2.setNumThreads(1)
    pair, name = job
    fault = FAULTS[name]
    methods = Methods(ESTIMATORS, slow_frames=8, mesh=face_mesh())
    driving = measure_driving(_clip(read_frames(data / "test" / pair.driving)[::STEP], data, pair.driving), methods)
    face = load_face(data, pair.source)
    curves = {key: curve[::STEP] for key, curve in intensities(settings, pair.driving).items()}
    other_curves = _unrelated(face, curves)
    perfect = face.render(curves)
    stranger = load_face(
        data, next(p.source for p in read_pairs(data) if clip_subject(p.source) != clip_subject(pair.source))
    )
    other = stranger.render(curves).frames if name == "identity" else perfect.frames
    source = _source(data, pair)
    truth = _working(perfect.frames)
    rows = []
    for grade in (0.0, *GRADES):
        made = perfect.frames
        if fault.curves and grade:
            made = face.render(fault.curves(curves, grade, other_curves)).frames
        if fault.frames and grade:
            made = fault.frames(made, grade, other, np.random.default_rng(0))
        result = FaceClip(_working(made), source.landmarks, len(made))
        shape = _shape(result.frames[0])
        scores = judge(result, driving, source, methods, truth=truth, shape=shape).scores
        rows.append({"pair": pair.name, "fault": name, "grade": grade, **scores})
    return rows


def _unrelated(face: DemoFace, curves: Curves) -> Curves:
    """Curves of a unit that does not act, as strong as the expression and with its timing."""
    acting = {unit for unit, _ in curves}
    unit = next(u for pair in OTHER_UNITS for u in pair if u in MUSCLES and u not in acting)
    strongest = max(curves.values(), key=lambda curve: float(curve.max()))
    shape = strongest / strongest.max()
    wanted = max(face.amplitude({key: float(curve.max())}) for key, curve in curves.items())
    own = face.amplitude({(unit, side): 1.0 for side in SIDES})
    return {(unit, side): min(1.0, wanted / own) * shape for side in SIDES}


def _clip(frames: NDArray[np.uint8], data: Path, name: str) -> FaceClip:
    working = np.stack([resized(frame) for frame in frames])
    points = np.load(data / "landmarks" / f"{name}.npy")[0].astype(np.float64)
    return FaceClip(working, scaled_points(points, frames.shape[1:3], working.shape[1:3]), len(frames))


def _source(data: Path, pair: Pair) -> Source:
    clip = _clip(read_frames(data / "test" / pair.source)[:1], data, pair.source)
    return Source(clip.frames[0], clip.landmarks, _shape(clip.frames[0]))


def _shape(image: NDArray[np.uint8]) -> NDArray[np.float64] | None:
    mesh = face_mesh()
    try:
        face = None if mesh is None else mesh.largest(image)
    except ValueError:
        return None
    return None if face is None else np.concatenate([face.points[:, :2], face.landmarks])


def _working(frames: Frames) -> NDArray[np.uint8]:
    return np.stack([resized((np.clip(frame, 0, 1) * 255).round().astype(np.uint8)) for frame in frames])


def rank_correlations(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[tuple[str, str], float]:
    """Return the rank correlation of each measure with the grade, by measure and fault; `all` pools the faults.

    Within a fault, the mean over pairs; NaN for a measure without values. A measure that does not change has 0.
    """
    found = {}
    for name in names:
        for fault in (*FAULTS, "all"):
            groups: dict[str, list[tuple[float, float]]] = {}
            for row in rows:
                if fault in (row["fault"], "all"):
                    worse = badness(name, float(row[name]))
                    groups.setdefault(row["pair"], []).append((float(row["grade"]), worse))
            values = [_rank_correlation(group) for group in groups.values()]
            known = [value for value in values if value == value]
            found[name, fault] = float(np.mean(known)) if known else float("nan")
    return found


def _rank_correlation(points: Sequence[tuple[float, float]]) -> float:
    finite = np.array([point for point in points if np.isfinite(point[1])])
    if len(finite) < 3:
        return float("nan")
    grades, values = finite[:, 0], finite[:, 1].round(6)
    return 0.0 if np.ptp(values) == 0 else float(spearmanr(grades, values).statistic)


def table(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> str:
    """Return the rank correlations as Markdown."""
    correlations = rank_correlations(rows, names)
    count = sum(row["grade"] > 0 for row in rows)
    text = (
        "# Which measure sees which fault\n\n"
        f"`python -m benchmarks.judges`: {count} corrupted clips of the demo set, whose truth is known: {len(FAULTS)} "
        f"faults in {len(GRADES)} grades, for {len({row['pair'] for row in rows})} pairs of different people. Rank "
        "correlation of the measure (in its bad direction) with the grade: **1** means that it orders all grades, 0 "
        "that it sees nothing, a negative value that it prefers the worse clip. Values above "
        f"{SEEN} are bold, those between -{UNSEEN} and {UNSEEN} left out. `all`: over all faults together. The "
        "measures from L1 on compare with true frames, which exist here and hardly anywhere else.\n\n"
    )
    lines = []
    for name in names:
        cells = [_cell(correlations[name, fault]) for fault in (*FAULTS, "all")]
        if any(correlations[name, fault] == correlations[name, fault] for fault in FAULTS):
            lines.append([MEASURES[name].title, *cells])
    measured = [n for n in names if any(correlations[n, f] == correlations[n, f] for f in FAULTS)]
    blind = [MEASURES[n].title for n in measured if all(not correlations[n, f] > SEEN for f in FAULTS)]
    text += markdown_table(["measure", *(fault.title for fault in FAULTS.values()), "all"], lines)
    return text + (f"\nSee no fault reliably: {', '.join(blind)}.\n" if blind else "")


def _cell(value: float) -> str:
    if value != value or abs(value) < UNSEEN:
        return ""
    return f"**{value:.2f}**" if value > SEEN else f"{value:.2f}"


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--data", type=Path, default=Path("data/demo"))
    parser.add_argument("--pairs", type=int, default=2)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, default=Path("sup-mat/judges"))
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    make_demo(options.data, workers=options.workers)
    settings = read_settings(options.data)
    one_sided = [p for p in read_pairs(options.data) if _is_one_sided(settings, p)]
    others = [p for p in read_pairs(options.data) if p not in one_sided]
    pairs = [pair for both in zip(one_sided, others, strict=False) for pair in both][: options.pairs]
    jobs = [(pair, fault) for pair in pairs for fault in FAULTS]
    rows: list[dict[str, Any]] = []
    for job, judged in run_in_processes(partial(judge_pair, options.data, settings), jobs, options.workers):
        log.info("%s: %s", job[0].name, FAULTS[job[1]].title)
        rows += judged
    rows.sort(key=lambda row: (row["pair"], list(FAULTS).index(row["fault"]), row["grade"]))
    names = [n for n in measures_in_table(ESTIMATORS, True) if n in rows[0] and n not in ("agreement", "blend_wrong")]
    write_rows(options.out.with_suffix(".csv"), rows)
    options.out.with_suffix(".md").write_text(table(rows, names), encoding="utf-8")
    return 0


def _is_one_sided(settings: Settings, pair: Pair) -> bool:
    keys = set(intensities(settings, pair.driving))
    return any((unit, SIDES[1 - SIDES.index(side)]) not in keys for unit, side in keys)


if __name__ == "__main__":
    sys.exit(main())
