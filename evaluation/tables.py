"""Tables over systems and clips: CSV, LaTeX, and the cells of the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.measures import MEASURES, PER_SYSTEM
from evaluation.statistics import Interval, bootstrap

STATIC, REGISTERED = "static copy", "registered driving flow"
REFERENCES = (STATIC, REGISTERED)
"""Names of the references: the source image without motion, and the driving clip's flow applied to it."""

Scores = Mapping[str, float]


class SystemTable:
    """Scores of all clips by system, and their means with intervals.

    Args:
        seed: of the bootstrap.
    """

    def __init__(self, seed: int = 0):
        self._seed = seed
        self._scores: dict[str, dict[str, list[float]]] = {}
        self._system_values: dict[str, dict[str, float]] = {}
        self._intervals: dict[str, dict[str, Interval]] = {}

    def add(self, system: str, scores: Scores) -> None:
        """Add the scores of one clip."""
        self._intervals.pop(system, None)
        lists = self._scores.setdefault(system, {})
        for name, value in scores.items():
            lists.setdefault(name, []).append(value)

    def set_value(self, system: str, name: str, value: float) -> None:
        """Set a measure that exists once per system."""
        self._intervals.pop(system, None)
        self._system_values.setdefault(system, {})[name] = value

    @property
    def systems(self) -> list[str]:
        """Names of the systems, the references last."""
        names = sorted(self._scores, key=lambda name: (name in REFERENCES, name))
        return names

    def intervals(self, system: str) -> dict[str, Interval]:
        """Return the mean and interval of every measure of a system."""
        if system in self._intervals:
            return self._intervals[system]
        found = {
            name: bootstrap(np.asarray(values), self._seed)
            for name, values in self._scores.get(system, {}).items()
            if name in MEASURES
        }
        for name, value in self._system_values.get(system, {}).items():
            found[name] = Interval(value, float("nan"), float("nan"), 1 if value == value else 0)
        self._intervals[system] = found
        return found

    def values(self, system: str, name: str) -> NDArray[np.float64]:
        """Return the values of a measure over the clips of a system, without missing ones."""
        found = np.asarray(self._scores.get(system, {}).get(name, []), np.float64)
        return found[np.isfinite(found)]

    def clips(self, system: str) -> int:
        """Return the number of clips of a system."""
        return max(map(len, self._scores.get(system, {}).values()), default=0)

    def known(self, names: Sequence[str]) -> list[str]:
        """Return the measures of a list of which some system has a value."""
        found = {name: False for name in names}
        for system in self.systems:
            for name, interval in self.intervals(system).items():
                if name in found and interval.clips:
                    found[name] = True
        return [name for name in names if found[name]]

    def csv_rows(self, names: Sequence[str]) -> list[dict[str, Any]]:
        """Return one row per system and measure: mean, ends of the interval, number of clips, unit and direction."""
        rows = []
        for system in self.systems:
            intervals = self.intervals(system)
            for name in names:
                if (interval := intervals.get(name)) and interval.clips:
                    measure = MEASURES[name]
                    numbers = {key: rounded(getattr(interval, key)) for key in ("mean", "low", "high")}
                    rows.append(
                        {
                            "system": system,
                            "measure": name,
                            **numbers,
                            "clips": interval.clips,
                            "unit": measure.unit,
                            "better": measure.better,
                        }
                    )
        return rows

    def latex(self, names: Sequence[str]) -> str:
        """Return a LaTeX table, systems in rows; needs the package booktabs."""
        head = " & ".join(["System", *(_latex_text(_heading(name)) for name in names)])
        lines = [rf"\begin{{tabular}}{{l{'r' * len(names)}}}", r"\toprule", head + r" \\", r"\midrule"]
        for system in self.systems:
            if system == next((s for s in self.systems if s in REFERENCES), None):
                lines.append(r"\midrule")
            intervals = self.intervals(system)
            cells = [_latex_cell(name, intervals.get(name)) for name in names]
            lines.append(" & ".join([_latex_text(system), *cells]) + r" \\")
        notes = [f"% {MEASURES[name].title}: {MEASURES[name].definition}." for name in names]
        return "\n".join([*notes, *lines, r"\bottomrule", r"\end{tabular}", ""])


def rounded(value: float) -> float | str:
    """Return a number with six significant digits for a CSV file; empty for NaN."""
    return "" if value != value else float(f"{value:.6g}")


def text(name: str, value: float) -> str:
    """Return a value with the decimals of its measure; a dash for NaN."""
    if value != value:
        return "\u2013"
    digits = MEASURES[name].digits
    return f"{round(value, digits) + 0.0:.{digits}f}"  # no negative zero


def cell(name: str, interval: Interval | None) -> str:
    """Return mean and interval as text, `0.94 [0.81, 1.05]`."""
    if interval is None or not interval.clips:
        return "\u2013"
    ends = "" if interval.low != interval.low else f" [{text(name, interval.low)}, {text(name, interval.high)}]"
    return text(name, interval.mean) + ends


def markdown(table: SystemTable, names: Sequence[str]) -> str:
    """Return a table in Markdown, measures in rows and systems in columns."""
    header = ["", *table.systems]
    lines = ["| " + " | ".join(header) + " |", "|---" * len(header) + "|"]
    intervals = {system: table.intervals(system) for system in table.systems}
    for name in names:
        cells = [_heading(name), *(cell(name, intervals[system].get(name)) for system in table.systems)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _heading(name: str) -> str:
    measure = MEASURES[name]
    return measure.title + (f" ({measure.unit})" if measure.unit else "")


def _latex_cell(name: str, interval: Interval | None) -> str:
    if interval is None or not interval.clips:
        return "--"
    mean = f"${text(name, interval.mean)}$"
    if name in PER_SYSTEM or interval.low != interval.low:
        return mean
    return rf"{mean} {{\scriptsize$[{text(name, interval.low)}, {text(name, interval.high)}]$}}"


def _latex_text(value: str) -> str:
    special = {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    }
    return "".join(special.get(sign, sign) for sign in value)
