"""Reads data sets of micro-expressions as they were received, each clip as one record.

`data_sets` describes the published data sets in the terms of `description`, and `coded` reads them; `loose` reads
folders and videos of any other origin. `sheets` reads tables, `layout` finds folders and frames, `labels` checks the
one against the other.
"""

import re
from dataclasses import replace
from pathlib import Path

from natsort import natsorted

from errors import UserError
from preparation.clip_record import ClipRecord, LeftOut, Listing, Repair
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
) -> Listing:
    """List the clips of a data set.

    Args:
        kind: one of `KINDS`.
        root: folder of the data set as it was unpacked, or of one of its releases; for `video` also a single video.
        sheet: the coding sheet, or the table of labels of loose clips; None: by its documented name in `root`, beside
            it or beside the clips.
        release: name of a folder above the clips, where several releases lie in `root` (raw and cropped, for example).
        fps: frames a second of loose clips that carry none; the data sets have their own.
        missing_apex: what becomes of an apex that the release does not give or that lies outside the movement; a FACS
            code has no course in time without one.
    Returns:
        The clips in natural order of their names, and what was left out and put right.
    Raises:
        UserError: no such kind, folder or sheet; a folder that is not laid out like the data set; a sheet that is
            unreadable or lacks a column; no clips.
    """
    if kind in DATA_SETS:
        if fps is not None:
            raise UserError(f"fps: expected none, because the clips of {kind} have their own, got {fps:g}")
        listing = read_coded(DATA_SETS[kind], root, sheet=sheet, release=release, missing_apex=missing_apex)
    elif kind in KINDS:
        if release is not None:
            raise UserError(f"release: expected none, because {kind} has no releases, got {release!r}")
        videos = kind == "video"
        listing = read_loose(kind, root, videos=videos, sheet=sheet, fps=fps, missing_apex=missing_apex)
    else:
        raise UserError(f"expected a data set among {', '.join(KINDS)}, got {kind!r}")
    listing = _with_unique_names(listing)
    if not listing.clips:
        reasons = [f"{out.name}: {out.reason}" for out in listing.left_out]
        reasons += [f"{repair.what}: {repair.done}" for repair in listing.repairs]
        raise UserError(f"{root}: none of the clips can be used; {len(reasons)} reasons, such as {reasons[0]}")
    return listing


def _with_unique_names(listing: Listing) -> Listing:
    """Clips under names that a file may have anywhere, each once and in natural order."""
    clips: dict[str, ClipRecord] = {}
    left_out = list(listing.left_out)
    for clip in natsorted(listing.clips, key=lambda clip: clip.name):
        name = re.sub(r"[^A-Za-z0-9_-]+", "-", clip.name)
        if name != clip.name:
            repair = Repair(f"name {clip.name}", f"{name}: letters, digits, _ and - only")
            clip = replace(clip, name=name, repairs=(*clip.repairs, repair))
        if other := clips.get(name.casefold()):
            left_out.append(LeftOut(str(clip.source), f"has the name {name} of {other.source}"))
        else:
            clips[name.casefold()] = clip
    return Listing(tuple(clips.values()), tuple(left_out), listing.repairs)
