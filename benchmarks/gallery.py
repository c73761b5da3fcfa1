"""Shows and measures systems on demo faces, as the repositories of the papers do.

    python -m benchmarks.gallery [--data data/demo] [--results log/comparison] [--out sup-mat/gallery]

Animates demo faces with the family that needs no training (`ours`), finds the results that `benchmarks.comparison` left
in --results, and writes OUT.md: nine driving clips with our result on one face; cases with the results of all systems;
and the figures of `--mode evaluate`. GIFs are in the folder OUT. The first table goes into the README, between marks.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import run
from clips.reading import Clip, open_clip
from config.evaluation import Estimator, EvaluateParams
from config.sections import DatasetParams
from core.files import replacing_file, write_text
from demo.make_demo import make_demo
from demo.truth import read_frames
from evaluation.face_clip import resized
from evaluation.jobs import Settings
from evaluation.measures import measures_in_table
from evaluation.methods import describe_methods
from evaluation.result_clips import Pair, SystemResults, read_pairs
from evaluation.run import Evaluation, make_jobs
from evaluation.tables import markdown

OURS = "ours"
SYSTEMS = {
    "fomm": "FOMM",
    "fomm-ewp": "FOMM w/ EWP",
    "fomm-awp": "FOMM w/ AWP",
    "mraa": "MRAA",
    "mraa-awp": "MRAA w/ AWP",
    "tps": "TPS",
    "tps-rau": "TPS w/ relative AU",
}
CONFIG = Path("config/warp-256.yaml")
CLIPS, CASES = 9, 3
SIDE, FRAMES, COLOURS, MILLISECONDS = 96, 14, 96, 90
BEGIN, END = "<!-- gallery: begin -->", "<!-- gallery: end -->"
_ESTIMATORS: tuple[Estimator, ...] = ("dis", "tvl1")

log = logging.getLogger("gallery")


def main(arguments: list[str] | None = None) -> int:
    """Write the gallery; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--data", type=Path, default=Path("data/demo"))
    parser.add_argument("--results", type=Path, default=Path("log/comparison"))
    parser.add_argument("--log-dir", type=Path, default=Path("log/gallery"))
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, default=Path("sup-mat/gallery"))
    parser.add_argument("--readme", type=Path, default=Path("README.md"))
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    make_demo(options.data, workers=options.workers)
    folders = {OURS: animate_ours(options.data, options.log_dir), **trained_results(options.results)}
    pairs, _ = read_pairs(options.log_dir / "pairs.csv", dataset(options.data))
    missing = [title for title in SYSTEMS.values() if title not in folders]
    if missing:
        log.warning("no results of %s in %s; run python -m benchmarks.comparison", ", ".join(missing), options.results)
    options.out.mkdir(parents=True, exist_ok=True)
    clips = clip_table(options.out, pairs[:CLIPS], folders[OURS])
    cases = case_table(options.out, pairs[CLIPS:][:CASES], folders)
    figures = figure_table(pairs[CLIPS:], folders, options)
    text = "\n".join(["# Gallery", "", *_introduction(missing), "", clips, cases, "", figures])
    write_text(options.out.with_suffix(".md"), text)
    put_into(options.readme, clips.replace(f"({options.out.name}/", f"({options.out.as_posix()}/"))
    return 0


def _introduction(missing: Sequence[str]) -> list[str]:
    lines = [
        "`python -m benchmarks.gallery`: faces and clips of the demo set. Ours is one thin-plate spline through the "
        "tracked landmarks (`config/warp-256.yaml`), without training.",
    ]
    if missing:
        lines.append(f"Not trained for this page: {', '.join(missing)} (`python -m benchmarks.comparison`).")
    return lines


def dataset(data: Path) -> DatasetParams:
    """Return the section of the demo set."""
    return DatasetParams(root_dir=data, keypoint_dir=data / "landmarks", frame_shape=(256, 256, 3), fps=100.0)


def animate_ours(data: Path, log_dir: Path) -> Path:
    """Animate nine clips on one face, and the test pairs of the demo set; returns the folder of the results."""
    names = sorted(path.name for path in (data / "test").iterdir())
    template = names[-1]
    driving = [name for name in names if name.split("_")[0] != template.split("_")[0]][:CLIPS]
    tests = (data / "test_pairs.csv").read_text(encoding="utf-8").splitlines()[1:]
    rows = [f"{template},{name}" for name in driving]
    rows += [row for row in tests if row not in rows]
    write_text(log_dir / "pairs.csv", "\n".join(["source,driving", *rows, ""]))
    settings = {
        "dataset_params.root_dir": data,
        "dataset_params.keypoint_dir": data / "landmarks",
        "dataset_params.pairs_list": log_dir / "pairs.csv",
        "animate_params.format": ".png",
    }
    changes = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    arguments = ["--config", str(CONFIG), "--mode", "animate", "--log-dir", str(log_dir), *changes]
    if run.main(arguments):
        raise RuntimeError("the demo faces could not be animated; see the message above")
    return log_dir / CONFIG.stem / "animation"


def trained_results(folder: Path) -> dict[str, Path]:
    """Return the results that `benchmarks.comparison` left, by title of the system."""
    found = {}
    for system, title in SYSTEMS.items():
        if animations := sorted(folder.glob(f"{system}-[0-9]*/*/animation")):
            found[title] = animations[-1]
    return found


def clip_table(out: Path, pairs: Sequence[Pair], ours: Path) -> str:
    """Write GIFs of driving clips and our results; returns a Markdown table, three clips in a row."""
    cells = []
    for number, pair in enumerate(pairs, start=1):
        own = write_gif(out / f"clip{number}-driving.gif", read_frames(pair.driving.path))
        made = write_gif(out / f"clip{number}-ours.gif", read_frames(ours / pair.name))
        cells.append(f"![driving clip {pair.driving.name}]({own}) ![our result for it]({made})")
    lines = [f"| {' | '.join(['driving, ours'] * 3)} |", "|---" * 3 + "|"]
    lines += [f"| {' | '.join(cells[i : i + 3])} |" for i in range(0, len(cells), 3)]
    return "\n".join(lines) + "\n"


def case_table(out: Path, pairs: Sequence[Pair], folders: Mapping[str, Path]) -> str:
    """Write GIFs of all systems for some cases; returns a Markdown table."""
    systems = [*(title for title in folders if title != OURS), OURS]
    lines = [f"| case | driving | {' | '.join(systems)} |", "|---" * (len(systems) + 2) + "|"]
    for number, pair in enumerate(pairs, start=1):
        cells = [f"![driving]({write_gif(out / f'case{number}-driving.gif', read_frames(pair.driving.path))})"]
        for system in systems:
            place = folders[system] / pair.name
            label = system.lower().replace(" w/ ", "-").replace(" ", "-")
            made = write_gif(out / f"case{number}-{label}.gif", read_frames(place)) if place.is_dir() else ""
            cells.append(f"![{system}]({made})" if made else "")
        lines.append(f"| {number} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def figure_table(pairs: Sequence[Pair], folders: Mapping[str, Path], options: argparse.Namespace) -> str:
    """Judge all systems on the test pairs; returns a Markdown table with its notes."""
    systems = [SystemResults(name, _results(folder, pairs), ()) for name, folder in folders.items()]
    params = EvaluateParams(flow_estimators=_ESTIMATORS, report_clips=0, workers=options.workers)
    folder = options.log_dir / "evaluation"
    folder.mkdir(parents=True, exist_ok=True)
    notes = describe_methods(params)
    with Evaluation(folder, Settings(params, options.data / "landmarks", 100.0), pairs, notes) as evaluation:
        evaluation.run(make_jobs(pairs, systems))
        evaluation.write(folder)
        names = evaluation.table.known(measures_in_table(_ESTIMATORS, True))
        return "\n".join(["## Figures", "", " ".join(notes), "", markdown(evaluation.table, names)])


def _results(folder: Path, pairs: Sequence[Pair]) -> dict[int, Clip]:
    return {n: open_clip(folder / pair.name) for n, pair in enumerate(pairs) if (folder / pair.name).is_dir()}


def write_gif(path: Path, frames: NDArray[np.uint8]) -> str:
    """Write a small GIF that repeats; returns its path relative to the page."""
    chosen = np.linspace(0, len(frames) - 1, min(len(frames), FRAMES)).round().astype(int)
    images = [Image.fromarray(resized(frames[t], SIDE)).quantize(COLOURS, dither=Image.Dither.NONE) for t in chosen]
    with replacing_file(path) as temporary:
        images[0].save(
            temporary,
            format="GIF",
            save_all=True,
            append_images=images[1:],
            duration=MILLISECONDS,
            loop=0,
            optimize=True,
        )
    return f"{path.parent.name}/{path.name}"


def put_into(readme: Path, table: str) -> None:
    """Replace what stands between the marks of a page; a page without marks stays as it is."""
    text = readme.read_text(encoding="utf-8")
    if BEGIN in text and END in text:
        head, foot = text.split(BEGIN)[0], text.split(END)[1]
        write_text(readme, f"{head}{BEGIN}\n{table}{END}{foot}")


if __name__ == "__main__":
    sys.exit(main())
