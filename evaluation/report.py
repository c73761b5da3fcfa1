"""The report of an evaluation: one self-contained HTML file with tables, distributions and players.

Pictures and curves wait on disk until the page is written, which then holds the worst clips of each system. A content
security policy permits no script, style or address but those of the page itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from markupsafe import Markup

from core.files import replacing_file
from evaluation.distributions import ROW, WIDTH, distributions
from evaluation.measures import MEASURES
from evaluation.report_clip import MAX_SHOWN, SIDE
from evaluation.result_clips import LABELS
from evaluation.spool import Place, Spool
from evaluation.tables import SystemTable, cell, text
from output.page_parts import source_hash, template_environment

_TEMPLATES = Path(__file__).with_name("templates")
_SHARED_STYLE = Path(__file__).resolve().parents[1] / "output" / "templates" / "clip_page.css"
_ROWS_HERE = "<!-- rows -->"
_MAX_BYTES = 160 * 2**20  # of all players
KEY_FIGURES = (
    *("motion_error", "motion_corr", "motion_gain", "au_corr", "blend_corr", "apex_error", "leak_face"),
    *("asymmetry", "identity", "sharpness", "flicker"),
)
SORTING = ("motion_corr", "motion_error", "au_corr", "blend_corr", "leak_face", "identity", "sharpness", "flicker")


@dataclass(frozen=True)
class ReportRow:
    """A judged result, without its pictures.

    Attributes:
        pair: place of the driving clip's data.
        badness: larger is worse.
    """

    system: str
    name: str
    labels: Mapping[str, str]
    scores: Mapping[str, float]
    notes: Sequence[str]
    pair: int
    badness: float


class _Entry(NamedTuple):
    badness: float
    system: str
    name: str
    pair: int
    row: Place
    player: Place


class Report:
    """Collects the players of all clips on disk until `write`.

    Args:
        most: clips in the page.
        sorted_by: measure by which clips are sorted.
    """

    def __init__(self, most: int, sorted_by: str):
        self._most, self._sorted_by = most, sorted_by
        self._spool = Spool()
        self._pairs: list[Place] = []
        self._entries: list[_Entry] = []

    def add_pair(self, player: Mapping[str, Any] | None) -> int | None:
        """Add the data of a driving clip and its source; returns its place, None without data."""
        if player is None:
            return None
        self._pairs.append(self._spool.add(json.dumps(player)))
        return len(self._pairs) - 1

    def add_result(self, row: ReportRow, player: Mapping[str, Any]) -> None:
        """Add a judged result."""
        about = json.dumps({"labels": dict(row.labels), "scores": dict(row.scores), "notes": list(row.notes)})
        self._entries.append(
            _Entry(
                row.badness, row.system, row.name, row.pair, self._spool.add(about), self._spool.add(json.dumps(player))
            )
        )

    def close(self) -> None:
        """Delete what was collected."""
        self._spool.close()

    def write(self, path: Path, title: str, notes: Sequence[str], table: SystemTable, names: Sequence[str]) -> None:
        """Write the page.

        Args:
            names: measures of the main table.
        Raises:
            WriteError: it cannot be written.
        """
        chosen = self._chosen()
        with replacing_file(path) as temporary, temporary.open("wb") as file:
            for part in self._parts(chosen, title, notes, table, names):
                file.write(part.encode("utf-8", "backslashreplace"))

    def _chosen(self) -> list[_Entry]:
        """The worst clips, equally many of each system, the worst first."""
        ordered = sorted(self._entries, key=lambda entry: (-entry.badness, entry.system, entry.name))
        systems = {entry.system for entry in ordered}
        each = -(-self._most // max(len(systems), 1))
        kept: list[_Entry] = []
        counts, size, shown_pairs = dict.fromkeys(systems, 0), 0, set[int]()
        for entry in ordered:
            new = 0 if entry.pair in shown_pairs else self._pairs[entry.pair].size
            size += entry.player.size + new
            if counts[entry.system] >= each or len(kept) >= self._most or size > _MAX_BYTES:
                continue
            counts[entry.system] += 1
            shown_pairs.add(entry.pair)
            kept.append(entry)
        return kept

    def _parts(
        self, chosen: list[_Entry], title: str, notes: Sequence[str], table: SystemTable, names: Sequence[str]
    ) -> Iterator[str]:
        """Head, rows and foot of the page."""
        style = _SHARED_STYLE.read_text(encoding="utf-8") + (_TEMPLATES / "report.css").read_text(encoding="utf-8")
        script = (_TEMPLATES / "report.js").read_text(encoding="utf-8")
        rows = [json.loads(self._spool.read(entry.row)) for entry in chosen]
        values = {key: sorted({row["labels"][key] for row in rows if row["labels"][key]}) for key in LABELS}
        values["au"] = sorted({unit for row in rows for unit in _units(row["labels"]["au"])}, key=_unit_order)
        known = sorted({key for row in rows for key in row["scores"]})
        page = (
            template_environment(_TEMPLATES)
            .get_template("report.html")
            .render(
                title=title,
                notes=notes,
                systems=table.systems,
                clips={system: table.clips(system) for system in table.systems},
                rows=_table_rows(table, names),
                drawings=distributions(table, names),
                width=WIDTH,
                row_height=ROW,
                shown=len(chosen),
                total=len(self._entries),
                filters={"system": sorted({entry.system for entry in chosen}), **values},
                sorting=[(name, MEASURES[name].title) for name in _matching(SORTING, known)],
                sorted_by=self._sorted_by,
                frames=MAX_SHOWN,
                style=Markup(style),
                script=Markup(script),
                policy=f"default-src 'none'; img-src data:; style-src {source_hash(style)}; "
                f"script-src {source_hash(script)}; base-uri 'none'; form-action 'none'",
            )
        )
        head, foot = page.split(_ROWS_HERE)
        yield head
        written: set[int] = set()
        for number, (entry, row) in enumerate(zip(chosen, rows, strict=True)):
            yield self._row(number, entry, row, new=entry.pair not in written)
            written.add(entry.pair)
        yield foot

    def _row(self, number: int, entry: _Entry, row: Mapping[str, Any], *, new: bool) -> str:
        scores = row["scores"]
        figures = [(MEASURES[name], text(name, scores[name])) for name in _matching(KEY_FIGURES, sorted(scores))]
        return (
            template_environment(_TEMPLATES)
            .get_template("report_row.html")
            .render(
                number=number,
                entry=entry,
                labels=row["labels"],
                units=_units(row["labels"]["au"]),
                notes=row["notes"],
                figures=figures,
                scores={name: f"{scores[name]:.6g}" for name in _matching(SORTING, sorted(scores))},
                side=SIDE,
                player=Markup(_for_script(self._spool.read(entry.player))),
                pair=Markup(_for_script(self._spool.read(self._pairs[entry.pair]))) if new else None,
            )
        )


def _table_rows(table: SystemTable, names: Sequence[str]) -> list[tuple[Any, list[str]]]:
    """Measure and cells of each row of the main table."""
    intervals = [table.intervals(system) for system in table.systems]
    return [(MEASURES[name], [cell(name, found.get(name)) for found in intervals]) for name in names]


def _matching(wanted: Sequence[str], known: Sequence[str]) -> list[str]:
    """Known names among those wanted; of motion, those of the estimator that comes first in alphabetical order."""
    found = (next((k for k in known if k == name or k.startswith(f"{name}_")), None) for name in wanted)
    return [name for name in found if name is not None]


def _units(code: str) -> list[str]:
    """Action units of a FACS code, as `AU4`."""
    return list(dict.fromkeys(f"AU{number}" for number in re.findall(r"\d+", code)))


def _unit_order(unit: str) -> int:
    return int(unit[2:])


def _for_script(text: str) -> str:
    """JSON in which nothing ends a script element."""
    return text.replace("<", "\\u003c")
