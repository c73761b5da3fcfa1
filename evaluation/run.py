"""Runs an evaluation over all pairs in several processes, and writes its tables.

Scores are kept in memory (about a kilobyte per clip); frames, curves and pictures only on disk.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

from tqdm import tqdm

from core.files import replacing_file, write_text
from core.stop_signal import raise_if_interrupted
from errors import printable
from evaluation.jobs import Job, Judged, Outcome, Settings, evaluate_pair
from evaluation.measures import MEASURES, badness, measures_in_table
from evaluation.motion import REGIONS
from evaluation.networks import FrechetDistance
from evaluation.report import Report, ReportRow
from evaluation.result_clips import LABELS, Pair, SystemResults
from evaluation.spool import Place, Spool
from evaluation.tables import REFERENCES, SystemTable, rounded
from output.result_table import csv_text
from preparation.workers import run_in_processes

WRONG_CLIPS = 2  # other driving clips with which blendshapes are correlated
_REGION_COLUMNS = [f"{region}_{figure}" for region in REGIONS for figure in ("error", "correlation", "gain")]

log = logging.getLogger("evaluate")


def make_jobs(pairs: Sequence[Pair], systems: Sequence[SystemResults]) -> list[Job]:
    """Return one job per pair with results, sorted by driving clip, so that each is measured once where possible."""
    order = sorted(range(len(pairs)), key=lambda n: str(pairs[n].driving.path))
    clips = list(dict.fromkeys(pairs[n].driving for n in order))
    place = {clip: i for i, clip in enumerate(clips)}
    jobs = []
    for number in order:
        found = tuple((system.system, system.results[number]) for system in systems if number in system.results)
        if found:
            at = place[pairs[number].driving]
            others = [clips[(at + step) % len(clips)] for step in range(1, min(WRONG_CLIPS + 1, len(clips)))]
            jobs.append(Job(number, pairs[number], found, tuple(others)))
    return jobs


class Evaluation:
    """An evaluation; a context manager.

    Args:
        folder: of its files, existing.
        notes: sentences on the methods.
    """

    def __init__(self, folder: Path, settings: Settings, pairs: Sequence[Pair], notes: Sequence[str]):
        self.folder, self.settings, self.pairs, self.notes = folder, settings, pairs, list(notes)
        self.table = SystemTable(settings.params.bootstrap_seed)
        self._distances: dict[str, FrechetDistance] = {}
        self._rows = Spool()
        self._order: list[tuple[bool, str, str, Place]] = []
        self._problems: list[str] = []
        self._report = Report(settings.params.report_clips, self._worst_by)
        self._seconds = 0.0

    @property
    def _worst_by(self) -> str:
        """Measure by which clips are sorted."""
        name = self.settings.params.worst_by
        for known in (name, f"{name}_{self.settings.params.flow_estimators[0]}"):
            if known in MEASURES:
                return known
        return f"motion_corr_{self.settings.params.flow_estimators[0]}"

    def __enter__(self) -> Evaluation:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._report.close()
        self._rows.close()

    def report(self, problem: str) -> None:
        """Log a problem in one line, up to a number of lines; all are written to `problems.txt`."""
        line = printable(problem)
        self._problems.append(line)
        shown = self.settings.params.max_problems
        if len(self._problems) <= shown:
            log.warning("%s", line)
        elif len(self._problems) == shown + 1:
            log.warning("further problems are in problems.txt only")

    def run(self, jobs: Sequence[Job]) -> int:
        """Judge all results; returns their number, without the references."""
        workers = self.settings.params.workers
        count = max(1, min(len(jobs), (os.cpu_count() or 1) if workers is None else workers))
        began, judged = time.perf_counter(), 0
        work = partial(evaluate_pair, self.settings)
        with tqdm(total=len(jobs), desc="evaluating", unit="pair", disable=None) as progress:
            for job, outcome in run_in_processes(work, jobs, count):
                raise_if_interrupted()
                judged += self._add(job, outcome)
                progress.update()
        self._seconds = time.perf_counter() - began
        if judged:
            log.info("%d results in %.1f s: %.2f clips/s", judged, self._seconds, judged / self._seconds)
        return judged

    def _add(self, job: Job, outcome: Outcome) -> int:
        for problem in outcome.problems:
            self.report(problem)
        place = self._report.add_pair(outcome.player)
        judged = 0
        for result in outcome.judged:
            self.table.add(result.system, result.scores)
            stored = self._rows.add(json.dumps(self._row(job, result)))
            self._order.append((result.system in REFERENCES, result.system, job.pair.name, stored))
            judged += result.system not in REFERENCES
            for note in result.notes:
                if result.system not in REFERENCES:
                    self.report(f"{result.system}: {job.pair.name}: {note}")
            if result.features is not None:
                self._distances.setdefault(result.system, FrechetDistance()).add(*result.features)
            if place is not None and result.player is not None and result.system not in REFERENCES:
                labels = {key: job.pair.labels.get(key, "") for key in LABELS}
                worst = badness(self._worst_by, result.scores.get(self._worst_by, float("nan")))
                row = ReportRow(result.system, job.pair.name, labels, result.scores, result.notes, place, worst)
                self._report.add_result(row, result.player)
        return judged

    def _row(self, job: Job, result: Judged) -> dict[str, Any]:
        pair = job.pair
        return {
            "system": result.system,
            "pair": pair.name,
            "source": pair.source.name,
            "driving": pair.driving.name,
            **{key: pair.labels.get(key, "") for key in LABELS},
            "frames": result.frames,
            **{name: rounded(result.scores.get(name, float("nan"))) for name in self._columns},
            **{name: rounded(result.regions.get(name, float("nan"))) for name in _REGION_COLUMNS},
            "notes": "; ".join(result.notes),
        }

    @property
    def _columns(self) -> list[str]:
        """Measures of `clips.csv`."""
        known = [f"_{estimator}" for estimator in self.settings.params.flow_estimators]
        others = ("dis", "tvl1", "farneback")
        return [
            name
            for name in MEASURES
            if name != "fid" and (name.rpartition("_")[2] not in others or any(name.endswith(end) for end in known))
        ]

    def write(self, results: Path) -> None:
        """Write `clips.csv`, `systems.csv`, `systems.tex`, `problems.txt` and `report.html`.

        Args:
            results: folder of the results, for the title.
        Raises:
            WriteError: a file cannot be written.
        """
        for system, distance in self._distances.items():
            self.table.set_value(system, "fid", distance.value())
        self._order.sort()
        names = self.table.known(measures_in_table(self.settings.params.flow_estimators, True))
        self._write_clips(self.folder / "clips.csv")
        rows = self.table.csv_rows(names)
        write_text(self.folder / "systems.csv", csv_text(list(rows[0]), rows))
        write_text(self.folder / "systems.tex", self.table.latex(names))
        write_text(self.folder / "problems.txt", "".join(f"{line}\n" for line in self._problems))
        if self.settings.params.report_clips:
            count = sum(not reference for reference, *_ in self._order)
            title = f"{results.name}: {count} results"
            self._report.write(self.folder / "report.html", title, self.notes, self.table, names)

    def _write_clips(self, path: Path) -> None:
        """Write one row per clip."""
        with replacing_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
            for number, (*_, place) in enumerate(self._order):
                row = json.loads(self._rows.read(place))
                text = csv_text(list(row), [row])
                file.write(text if not number else text.split("\n", 1)[1])
