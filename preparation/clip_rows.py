"""Rows of the page of clips, for clips that were prepared and for clips that `--mode check` has read.

Labels are those of `clips.csv`. Nothing is guessed: an apex that the labels do not name is estimated from the landmarks
and marked as such, and what is unknown stays empty.

Legend: T frames.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clips.files import find_landmarks, find_table, subject_of
from clips.frame_cache import ARRAY_LOCK, CachedClip, FrameCache
from clips.loader import LoadedClip, table_rules
from clips.pictures import read_image
from clips.reading import Clip, ClipError, Frame
from config.sections import DatasetParams
from faces.action_units import read_action_units
from faces.landmarks import read_landmarks
from output.clip_page import ClipRow, Finding
from output.clip_pictures import Apex, Picture, action_unit_curves, clip_pictures, find_apex
from preparation.prepared_folder import PreparedFolder
from preparation.tables import PreparedClip, read_table

Labels = Mapping[str, Any]
"""Row of `clips.csv`; empty for a clip that is not in the table."""


@dataclass(frozen=True)
class Contents:
    """Contents of a clip, as far as they can be read.

    Attributes:
        count: T.
        size: width and height of the first frame, pixels.
        read: returns a frame, uint8 (H, W, 3).
        landmarks: (T or 1, 68, 2), pixels of the frames, or None.
        action_units: (T, 17, 2), 0 to 1, or None.
        fps: frames per second, or None.
        pixel: side of a pixel of the frames in which landmarks are given, pixels of the clip as it is on disk.
    """

    count: int
    size: tuple[int, int]
    read: Callable[[int], Frame]
    landmarks: NDArray[np.float64] | None = None
    action_units: NDArray[np.floating] | None = None
    fps: float | None = None
    pixel: float = 1.0


def clip_row(name: str, split: str, contents: Contents, labels: Labels, findings: tuple[Finding, ...]) -> ClipRow:
    """Return the row of a clip with its labels.

    Args:
        labels: those that do not fit the number of frames are left out.
    Raises:
        ValueError: a frame cannot be read.
    """
    count, points = contents.count, contents.landmarks
    onset, labelled, offset = (_frame_number(labels, key, count) for key in ("onset", "apex", "offset"))
    if labels.get("release_onset") in ("", None):
        onset = None  # the table then names the first frame
    first = onset or 0
    tracked = points if points is not None and len(points) == count else None
    apex = find_apex(tracked, first, labelled, offset)
    at_first = points[first] if points is not None and first < len(points) else None
    pictures = clip_pictures(contents.read, first, apex, at_first, onset_known=onset is not None)
    motion = None if apex.motion is None else apex.motion * contents.pixel
    width, height = contents.size
    return ClipRow(
        name=name,
        split=split,
        findings=findings,
        facts=(
            ("subject", str(labels.get("subject") or subject_of(name))),
            ("frames", str(count)),
            ("size", f"{width} \u00d7 {height}"),
            ("fps", "" if contents.fps is None else f"{contents.fps:.6g}"),
            ("emotion", str(labels.get("emotion") or "")),
            ("code", str(labels.get("facs") or "")),
            ("onset", "" if onset is None else str(onset)),
            ("apex", _apex_text(apex)),
            ("offset", "" if offset is None else str(offset)),
            ("motion", "" if motion is None else f"{motion:.2f} px"),
        ),
        pictures=pictures,
        curves=None if contents.action_units is None else action_unit_curves(contents.action_units),
        marks=tuple(frame for frame in (onset, apex.frame) if frame is not None),
        frames=count,
        motion=motion,
    )


def rejected_row(clip: Clip, split: str, reason: str, cache: FrameCache) -> ClipRow:
    """Return the row of a clip that cannot be used, with its first frame if all frames can be read."""
    facts = [("subject", subject_of(clip.name))]
    pictures: tuple[Picture, ...] = ()
    count = len(clip.frames) or None
    try:
        cached = cache.add(clip)
        frames, count = cached.frames(), len(cached)
        height, width = cached.sizes[0].tolist()
        pictures = clip_pictures(lambda number: np.asarray(frames[number]), 0, Apex(None), None, onset_known=False)[:1]
        facts += [("frames", str(count)), ("size", f"{width} \u00d7 {height}")]
    except ClipError:
        facts.append(("frames", "" if count is None else str(count)))
    finding = Finding(reason.removeprefix(f"clip {clip.name}: "))
    return ClipRow(clip.name, split, "rejected", (finding,), tuple(facts), pictures, frames=count)


def prepared_row(clip: PreparedClip, prepared: PreparedFolder) -> ClipRow:
    """Return the row of a prepared clip, with its remarks."""
    findings = [Finding(f"{remark.found}: {remark.done}" if remark.done else remark.found) for remark in clip.remarks]
    if clip.kept is not None:
        findings.append(Finding(f"kept from an earlier run: {clip.kept}", "kept from an earlier run"))
    try:
        return clip_row(clip.name, clip.split, _prepared_contents(clip, prepared), clip.row, tuple(findings))
    except (ValueError, OSError) as error:  # files of a clip that is kept may be damaged
        findings.append(Finding(f"no pictures: {error}", "no pictures"))
        return ClipRow(clip.name, clip.split, findings=tuple(findings))


def _prepared_contents(clip: PreparedClip, prepared: PreparedFolder) -> Contents:
    folder, count = prepared.frames(clip.name), int(clip.row["frames"])
    if folder is None:
        raise ClipError(f"{clip.name}: no frames")
    first = read_image(folder / f"{0:04d}.png")
    table = prepared.action_units(clip.name)
    return Contents(
        count,
        (first.shape[1], first.shape[0]),
        lambda number: read_image(folder / f"{number:04d}.png") if number else first,
        _checked(np.load(prepared.landmarks(clip.name)).astype(np.float64), count),
        read_action_units(table, count, notice=_ignore) if table.is_file() else None,
        float(clip.row["fps"]),
    )


class LabelledClips:
    """Rows of clips that were read for training or animation, with the labels of a prepared folder.

    Args:
        params: the section `dataset_params`.
    """

    def __init__(self, params: DatasetParams):
        self.params = params
        root = params.root_dir
        self._prepared = None if root is None else PreparedFolder(root)
        self._table = {} if self._prepared is None else read_table(self._prepared)

    def row(self, clip: LoadedClip, split: str, findings: tuple[Finding, ...]) -> ClipRow:
        """Return the row of a clip."""
        labels: Labels = self._table.get(clip.name, {})
        if str(labels.get("frames")) != str(len(clip)):
            labels = {}  # the frames were changed since
        height, width = clip.cached.sizes[0].tolist()
        frames = clip.cached.frames()
        contents = Contents(
            len(clip),
            (width, height),
            lambda number: np.asarray(frames[number]),
            self._landmarks(clip.clip, clip.cached, split) if clip.landmarks is None else clip.landmarks,
            self._action_units(clip.clip, len(clip), split) if clip.action_units is None else clip.action_units,
            _number(labels.get("fps")) or clip.cached.fps or self.params.fps,
            float(clip.cached.pixel_size.mean()),
        )
        return clip_row(clip.name, split, contents, labels, findings)

    def _landmarks(self, clip: Clip, cached: CachedClip, split: str) -> NDArray[np.float64] | None:
        """Landmarks that the model does not need, in pixels of the resized frames; None where there are none."""
        find = partial(find_landmarks, name=clip.name, split=split)
        path = self._file(self.params.keypoint_dir, "landmarks", find, clip.name)
        if path is None:
            return None
        try:
            with ARRAY_LOCK:
                rows = read_landmarks(path, _ignore)
            return cached.to_resized(rows) if len(rows) in (1, len(cached)) else None
        except (ValueError, OSError):
            return None

    def _action_units(self, clip: Clip, count: int, split: str) -> NDArray[np.float32] | None:
        """Action units that the model does not need; None where there are none."""
        find = partial(find_table, name=clip.name, split=split)
        path = self._file(self.params.au_dir, "au", find, clip.name)
        if path is None:
            return None
        try:
            numbers, rules = clip.frame_numbers, table_rules(self.params)
            return read_action_units(path, count, frame_numbers=numbers, rules=rules, notice=_ignore)
        except (ValueError, OSError):
            return None

    def _file(self, folder: Path | None, inside: str, find: Callable[[Path], Path], name: str) -> Path | None:
        """File of a clip in a folder of the settings, else in that of a prepared data set; None if there is none."""
        if folder is None and self._prepared is not None and name in self._table:
            folder = self._prepared.path / inside
        if folder is None:
            return None
        try:
            return find(folder)
        except (ValueError, OSError):
            return None


def _checked(landmarks: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    if landmarks.shape != (count, 68, 2) or not np.isfinite(landmarks).all():
        raise ValueError(f"expected landmarks of {count} frames, got an array of shape {landmarks.shape}")
    return landmarks


def _frame_number(labels: Labels, key: str, count: int) -> int | None:
    """Frame of a label, from 0; None where the label is missing or no frame of the clip."""
    number = _number(labels.get(key))
    return int(number) if number is not None and number == int(number) and 0 <= number < count else None


def _number(value: object) -> float | None:
    try:
        number = float(str(value))
    except ValueError:
        return None
    return number if np.isfinite(number) else None


def _apex_text(apex: Apex) -> str:
    if apex.frame is None:
        return ""
    return f"{apex.frame}{', estimated' if apex.estimated else ''}"


def _ignore(text: str) -> None:
    """Leave out a notice, which the reader of the clip has reported before."""
