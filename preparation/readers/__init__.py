"""Reads data sets of micro-expressions as researchers receive them, one record per clip.

`data_sets` describes the published data sets in the terms of `description`, and `coded` reads them; `loose` reads
folders and videos of any other origin. `finding` finds tables, `cells` reads their cells, `sheets` their columns;
`layout` finds folders and frames, `labels` checks tables against frames.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from natsort import natsorted

from errors import UserError
from preparation.clip_record import ClipRecord, LeftOut, Listing, Remark
from preparation.readers.coded import read_coded
from preparation.readers.data_sets import DATA_SETS
from preparation.readers.labels import MissingApex
from preparation.readers.loose import read_loose

KINDS = (*DATA_SETS, "folder", "video")


def read_data_set(
    kind: str,
    root: Path,
    *,
    sheet: Path | None = None,
    release: str | None = None,
    fps: float | None = None,
    missing_apex: MissingApex = "leave",
    columns: Mapping[str, str] | None = None,
) -> Listing:
    """List the clips of a data set.

    Args:
        kind: one of `KINDS`.
        root: folder of the unpacked data set, or of one of its releases; for `video` also a single video.
        sheet: the coding sheet, or the table of labels of loose clips; None: found by its documented name, or else by
            its columns, in `root`, beside it or beside the clips.
        release: name of a folder above the clips, for a `root` with several releases (such as raw and cropped).
        fps: frames per second of loose clips that carry no frame rate; the data sets have their own.
        columns: names that columns of the sheet have instead of the documented ones, by documented name.
        missing_apex: treatment of an apex that the release does not give or that lies outside the movement.
    Returns:
        The clips in natural order of their names, with remarks, and what was left out.
    Raises:
        UserError: no such kind, folder or sheet; a folder without the layout of the data set; a sheet that is
            unreadable or lacks a column; no clips.
    """
    if kind in DATA_SETS:
        data_set = DATA_SETS[kind].with_columns(columns or {})
        if fps is not None and not data_set.needs_fps:
            raise UserError(f"fps: expected none, because the clips of {kind} have their own frame rate, got {fps:g}")
        listing = read_coded(data_set, root, sheet=sheet, release=release, fps=fps, missing_apex=missing_apex)
    elif kind in KINDS:
        if release is not None:
            raise UserError(f"release: expected none, because {kind} has no releases, got {release!r}")
        videos = kind == "video"
        listing = read_loose(
            kind, root, videos=videos, sheet=sheet, fps=fps, missing_apex=missing_apex, columns=columns or {}
        )
    else:
        raise UserError(f"expected a data set among {', '.join(KINDS)}, got {kind!r}")
    listing = _with_unique_names(listing)
    if not listing.clips:
        reasons = [f"{out.name}: {out.reason}" for out in listing.left_out]
        reasons += [f"{remark.found}: {remark.done}" for remark in listing.remarks]
        raise UserError(f"{root}: no clip can be used; {len(reasons)} reasons, such as {reasons[0]}")
    return listing


def _with_unique_names(listing: Listing) -> Listing:
    """Clips in natural order, renamed to valid file names on every system; names differ by more than case."""
    clips: dict[str, ClipRecord] = {}
    left_out = list(listing.left_out)
    for clip in natsorted(listing.clips, key=lambda clip: clip.name):
        name = re.sub(r"[^A-Za-z0-9_-]+", "-", clip.name)
        if name != clip.name:
            remark = Remark(f"name {clip.name}", f"renamed to {name}: letters, digits, _ and - only")
            clip = replace(clip, name=name, remarks=(*clip.remarks, remark))
        if other := clips.get(name.casefold()):
            left_out.append(LeftOut(str(clip.source), f"has the same name {name} as {other.source}; rename one"))
        else:
            clips[name.casefold()] = clip
    return Listing(tuple(clips.values()), tuple(left_out), listing.remarks)
