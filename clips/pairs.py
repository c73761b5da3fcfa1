"""Pairs of source and driving clips to animate."""

import os
from dataclasses import replace
from pathlib import Path

from clips.files import read_list
from clips.reading import Clip, ClipError, open_clip
from clips.splits import split_clips
from config.sections import DatasetParams


def animation_pairs(params: DatasetParams) -> list[tuple[Clip, Clip]]:
    """Return the source and driving clips to animate: those of the pair list, or all combinations of test clips.

    Raises:
        ClipError: the list lacks a column, or names a clip that does not exist.
    """
    clips = clips_by_name(params)
    if params.pairs_list is None:
        if not clips:
            raise ClipError("expected dataset_params.root_dir, or --source and --driving; got neither")
        return [(source, driving) for source in clips.values() for driving in clips.values() if source != driving]
    pairs = []
    for line, row in read_list(params.pairs_list, ("source", "driving")):
        names = (row["source"], row["driving"])
        source, driving = (resolve_clip(name, clips, params.pairs_list, line) for name in names)
        pairs.append((source, driving))
    return pairs


def clips_by_name(params: DatasetParams) -> dict[str, Clip]:
    """Return the test clips by name; empty without `root_dir`."""
    return {clip.name: clip for clip in split_clips(params, "test")} if params.root_dir else {}


def resolve_clip(name: str, clips: dict[str, Clip], pairs_list: Path, line: int) -> Clip:
    """Find a clip by name, with or without extension, among the test clips, else among the files beside the list.

    A clip beside the list keeps its folder as part of its name, because folders may hold clips of the same name.

    Args:
        pairs_list, line: position of the name, for the message.
    Raises:
        ClipError: there is no such clip.
    """
    stem = pairs_list.parent / name
    suffixes = _suffixes(stem)
    for known in (name, Path(name).stem):
        if known in clips:
            return clips[known]
    for path in (stem, *(stem.with_name(stem.name + suffix) for suffix in sorted(suffixes))):
        if name and _exists(path):
            try:
                clip = open_clip(path)
            except ClipError:
                continue
            return replace(clip, name=(Path(name).parent / clip.name).as_posix())
    raise ClipError(f"{pairs_list}: line {line}: {name!r} is neither a test clip nor a clip beside the list")


def _suffixes(stem: Path) -> set[str]:
    """Return the suffixes with which a name occurs in its folder."""
    try:
        names = os.listdir(stem.parent)
    except (OSError, ValueError):  # no such folder, or no possible name
        return set()
    return {Path(name).suffix for name in names if name.startswith(f"{stem.name}.") and not name.startswith(".")}


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # too long, or with a NUL character
        return False
