"""Finds the results of systems for a list of pairs: folders of frames, videos and animations.

A folder of results holds one folder per system, or the results of one system themselves. A result is named
DRIVING-SOURCE after its two clips; results of `--mode animate` are found by their `results.csv`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from clips.files import read_list, subject_of
from clips.pairs import clips_by_name, resolve_clip
from clips.reading import IMAGE_SUFFIXES, VIDEO_SUFFIXES, Clip, ClipError, open_clip
from config.sections import DatasetParams
from errors import printable
from parsing.folders import data_entries, is_leftover

LABELS = ("data_set", "emotion", "au", "subject")
"""Columns of the pair list by which the report filters."""
TABLE = "results.csv"
_ENDINGS = ("_comparison", "_keypoints", "_slow2x")  # of files that `animate` writes beside its results
_MAX_LISTED = 3


@dataclass(frozen=True)
class Pair:
    """A pair of clips, for which systems have results.

    Attributes:
        source, driving: clips.
        names: names under which its results may be found.
        truth: clip of the true frames; None if there are none.
        labels: by column of `LABELS`; unknown ones are empty.
    """

    source: Clip
    driving: Clip
    names: tuple[str, ...]
    truth: Clip | None = None
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name in tables."""
        return self.names[0]


@dataclass(frozen=True)
class SystemResults:
    """Results of one system.

    Attributes:
        results: by index of the pair.
        problems: one line each: entries that match no pair, and pairs without a result.
    """

    system: str
    results: dict[int, Clip]
    problems: tuple[str, ...]


def read_pairs(pairs_list: Path, params: DatasetParams) -> tuple[list[Pair], list[str]]:
    """Read the list of pairs.

    Columns: `source,driving`, names of test clips or of clips beside the list; optionally `published` or `name`, the
    name of the results; `truth`, a clip of the true frames; and those of `LABELS`.

    Returns:
        The pairs, and one line for each row that cannot be used.
    Raises:
        ClipError: the list is unreadable, or lacks a column.
    """
    clips = clips_by_name(params)
    labels = clip_labels(params)
    pairs, problems = [], []
    for line, row in read_list(pairs_list, ("source", "driving")):
        try:
            source, driving = (resolve_clip(row[key], clips, pairs_list, line) for key in ("source", "driving"))
            truth = resolve_clip(row["truth"], clips, pairs_list, line) if row.get("truth") else None
        except ClipError as error:
            problems.append(str(error))
            continue
        if truth is None and source.path == driving.path:
            truth = driving  # a clip that drives itself is its own true result
        own = labels.get(driving.name, {})
        pairs.append(Pair(source, driving, _names(source, driving, row), truth, _labels(row, own, driving)))
    return pairs, problems


def _labels(row: Mapping[str, str], own: Mapping[str, str], driving: Clip) -> dict[str, str]:
    found = {key: row.get(key) or own.get(key, "") for key in LABELS}
    found["subject"] = found["subject"] or subject_of(driving.name.rpartition("/")[2])
    return found


def clip_labels(params: DatasetParams) -> dict[str, dict[str, str]]:
    """Return the labels of clips by name, from the `clips.csv` of a prepared data set; empty without one."""
    if params.root_dir is None or not (table := params.root_dir / "clips.csv").is_file():
        return {}
    try:
        rows = [row for _, row in read_list(table, ("name",))]
    except ClipError:
        return {}
    return {
        row["name"]: {key: row.get("facs" if key == "au" else key, "") for key in LABELS} for row in rows if row["name"]
    }


def _names(source: Clip, driving: Clip, row: Mapping[str, str]) -> tuple[str, ...]:
    given = [row[key] for key in ("published", "name") if row.get(key)]
    short = f"{driving.name.rpartition('/')[2]}-{source.name.rpartition('/')[2]}"
    return tuple(dict.fromkeys([*given, short, f"{driving.label}-{source.label}"]))


def find_results(folder: Path, pairs: Sequence[Pair]) -> Iterator[SystemResults]:
    """Find the results of all systems in a folder.

    Raises:
        ClipError: there is no such folder, or it is empty.
    """
    if not folder.is_dir():
        raise ClipError(f"{folder}: no such folder of results; expected SYSTEM/DRIVING-SOURCE in it")
    names = {name for pair in pairs for name in pair.names}
    entries = [entry for entry in data_entries(folder) if not is_leftover(entry)]
    if (folder / TABLE).is_file() or any(_stem(entry) in names for entry in entries):
        yield _system(folder.parent.name if folder.name == "animation" else folder.name, folder, pairs)
        return
    systems = [entry for entry in entries if entry.is_dir()]
    if not systems:
        raise ClipError(f"{folder}: no results; expected SYSTEM/DRIVING-SOURCE or DRIVING-SOURCE in it")
    for entry in systems:
        inner = entry / "animation"
        yield _system(entry.name, inner if inner.is_dir() else entry, pairs)


def _system(name: str, folder: Path, pairs: Sequence[Pair]) -> SystemResults:
    found = {_stem(path): path for path in sorted(data_entries(folder), key=lambda p: p.is_dir()) if _is_result(path)}
    listed = _listed_results(folder)
    results: dict[int, Clip] = {}
    problems: list[str] = []
    used: set[str] = set()
    for number, pair in enumerate(pairs):
        known = listed.get((pair.source.name, pair.driving.name))
        candidates = [key for key in ((known,) if known else pair.names) if key in found]
        if not candidates:
            continue
        used.update(candidates)
        try:
            results[number] = open_clip(found[candidates[0]])
        except ClipError as error:
            problems.append(f"{name}: {error}")
    missing = [pair.name for number, pair in enumerate(pairs) if number not in results]
    problems += [
        f"{name}: {printable(key)} matches no pair of the list; expected DRIVING-SOURCE, such as {pairs[0].name}"
        for key in found
        if key not in used
    ]
    if missing and results:
        shown = ", ".join(missing[:_MAX_LISTED]) + (", ..." if len(missing) > _MAX_LISTED else "")
        problems.append(f"{name}: no result for {len(missing)} of {len(pairs)} pairs: {printable(shown)}")
    elif missing:
        problems.append(f"{name}: no result for any of the {len(pairs)} pairs")
    return SystemResults(name, results, tuple(problems))


def _listed_results(folder: Path) -> dict[tuple[str, str], str]:
    """Names of results by source and driving clip, from the table that `animate` writes; empty without one."""
    table = folder / TABLE
    if not table.is_file():
        return {}
    try:
        rows = read_list(table, ("source", "driving", "folder"))
    except ClipError:
        return {}
    return {(row["source"], row["driving"]): row["folder"] for _, row in rows if row["folder"]}


def _stem(path: Path) -> str:
    return path.name if path.is_dir() else path.stem


def _is_result(path: Path) -> bool:
    if is_leftover(path) or path.name.startswith("."):
        return False
    if path.is_dir():
        return path.name != "evaluation"
    return path.suffix.lower() in VIDEO_SUFFIXES | IMAGE_SUFFIXES and not (
        path.stem.endswith(_ENDINGS) or path.stem == "contact_sheet"
    )
