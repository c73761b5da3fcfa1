"""Drawings of the distribution of a measure over the clips of each system, as SVG shapes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evaluation.measures import MEASURES
from evaluation.tables import SystemTable, text

WIDTH = 420  # of the drawing, without names
ROW = 26  # height of one system
MAX_DOTS = 80  # per system
PREFERRED = ("motion_error", "motion_corr", "au_corr", "blend_corr", "leak_face", "identity", "sharpness", "flicker")


@dataclass(frozen=True)
class Strip:
    """One system in a drawing; positions in units of the drawing.

    Attributes:
        y: middle of the row.
        box: first and third quartile; None without values.
        mean, low, high: mean and ends of its interval; None without.
        dots: clips.
        label: mean with interval.
    """

    system: str
    y: float
    box: tuple[float, float] | None
    mean: float | None
    low: float | None
    high: float | None
    dots: tuple[float, ...]
    label: str


@dataclass(frozen=True)
class Distribution:
    """Drawing of one measure.

    Attributes:
        ticks: position and text.
        best: position of the best value where it is in range: 0 or 1.
    """

    title: str
    definition: str
    strips: tuple[Strip, ...]
    ticks: tuple[tuple[float, str], ...]
    best: float | None
    height: int


def distributions(table: SystemTable, names: Sequence[str]) -> list[Distribution]:
    """Return the drawings of the preferred measures among `names`; of motion, those of the first estimator."""
    chosen = []
    for wanted in PREFERRED:
        found = next((name for name in names if name == wanted or name.startswith(f"{wanted}_")), None)
        if found is not None:
            chosen.append(_distribution(table, found))
    return [drawing for drawing in chosen if drawing is not None]


def _distribution(table: SystemTable, name: str) -> Distribution | None:
    measure = MEASURES[name]
    values = {system: table.values(system, name) for system in table.systems}
    everything = np.concatenate(list(values.values()))
    if not len(everything):
        return None
    low, high = (float(v) for v in np.quantile(everything, [0.01, 0.99]))
    best = {"near 1": 1.0, "near 0": 0.0, "lower": 0.0, "higher": 1.0}.get(measure.better)
    if measure.better != "lower" or low >= 0:
        low, high = min(low, 0.0), max(high, 1.0 if measure.unit == "" else high)
    span = (high - low) or 1.0

    def at(value: float) -> float:
        return round(float(np.clip((value - low) / span, 0, 1)) * WIDTH, 1)

    strips = []
    for number, (system, found) in enumerate(values.items()):
        interval = table.intervals(system)[name] if len(found) else None
        bounded = interval is not None and interval.low == interval.low
        dots = found[np.linspace(0, len(found) - 1, min(len(found), MAX_DOTS)).round().astype(int)]
        strips.append(
            Strip(
                system,
                ROW * (number + 0.5),
                None if len(found) < 4 else (at(np.quantile(found, 0.25)), at(np.quantile(found, 0.75))),
                None if interval is None else at(interval.mean),
                at(interval.low) if interval is not None and bounded else None,
                at(interval.high) if interval is not None and bounded else None,
                tuple(at(value) for value in dots),
                "no value" if interval is None else f"{text(name, interval.mean)} ({len(found)} clips)",
            )
        )
    ticks = tuple((at(v), text(name, v)) for v in np.linspace(low, high, 3))
    title = measure.title + (f" ({measure.unit})" if measure.unit else "")
    inside = at(best) if best is not None and low <= best <= high else None
    return Distribution(title, measure.definition, tuple(strips), ticks, inside, ROW * len(strips))
