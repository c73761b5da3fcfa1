"""Finished clips of earlier runs that this run cannot make, because inputs are missing or cannot be used.

They stay in the folder and in its tables, unless `prepare_params.remove_missing` is set.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from preparation.clip_record import LeftOut, Remark
from preparation.clip_state import STAGES
from preparation.prepared_folder import PreparedFolder
from preparation.tables import PreparedClip, read_table
from preparation.verification import adopt, damaged_stages, looks_complete

MISSING = "no longer in the data set"


class EarlierClips:
    """Finished clips of earlier runs.

    Args:
        prepared: opened.
        settings: hash of the settings of this run, as in the part `listed` of records.
        remove: True removes clips that cannot be made.
    """

    def __init__(self, prepared: PreparedFolder, settings: str, *, remove: bool):
        self._prepared, self._settings, self._remove = prepared, settings, remove
        self._table = read_table(prepared)
        for name in prepared.clip_names():
            adopt(name, prepared)

    def missing_from(self, names: Collection[str]) -> tuple[list[PreparedClip], list[LeftOut]]:
        """Clips other than `names`: those that are finished, and those that are damaged. Others are removed."""
        finished, damaged = [], []
        for name in self._prepared.clip_names():
            if name in names:
                continue
            if clip := self.after_failure(name, MISSING):
                finished.append(clip)
            elif self._prepared.frames(name) is not None:
                damaged.append(LeftOut(name, f"{MISSING}{self.damage(name)}"))
            else:
                self._prepared.remove_clip(name)
        return finished, damaged

    def damage(self, name: str) -> str:
        """Continuation of the reason for which a clip is left out, about damaged files that stay."""
        frames = self._prepared.frames(name)
        return "" if frames is None else f"; its files, such as those in {frames}, are damaged: remove them"

    def after_failure(self, name: str, reason: str) -> PreparedClip | None:
        """Finished clip that this run cannot make; None if there is none.

        Without a finished clip, and with `remove`, the files of the name are removed. Frames whose record or other
        files are damaged are left.
        """
        clip = None if self._remove else self._finished(name)
        if clip is None:
            if self._remove or self._prepared.frames(name) is None:
                self._forget_stages(name)
            return None
        return replace(clip, kept=reason)

    def _forget_stages(self, name: str) -> None:
        """Remove the files of a clip and their part of its record."""
        self._prepared.remove_files(name)
        state = self._prepared.load_state(name)
        remaining = {part: value for part, value in state.items() if part not in (*STAGES, "listed")}
        if remaining != state:
            self._prepared.save_state(name, remaining)

    def _finished(self, name: str) -> PreparedClip | None:
        state = self._prepared.load_state(name)
        if all(stage in state for stage in STAGES):
            whole = not damaged_stages(name, self._prepared, state)
        else:  # the record is damaged
            whole = looks_complete(name, self._prepared)
        if not whole:
            return None
        if "listed" not in state:
            return _from_row(self._table.get(name))
        listed = state["listed"]
        remarks = [Remark(found, done) for found, done in listed["remarks"]]
        if listed["settings"] != self._settings:
            remarks.append(Remark("other settings", "the clip was prepared with those of an earlier run"))
        return PreparedClip(listed["row"], tuple(remarks))


def _from_row(row: dict[str, Any] | None) -> PreparedClip | None:
    """Clip of an earlier version, whose record holds no row."""
    if row is None or not row["frames"].isdecimal():
        return None
    remarks = (Remark(row["remarks"], ""),) if row["remarks"] else ()
    return PreparedClip({**row, "frames": int(row["frames"])}, remarks)


def kept_warning(clips: Sequence[PreparedClip]) -> str:
    """One line on clips that are kept: how many, why, and how to remove them."""
    missing = [clip for clip in clips if clip.kept == MISSING]
    unusable = [clip for clip in clips if clip.kept != MISSING]
    parts = [
        *([f"{len(missing)} {MISSING}, such as {missing[0].name}"] if missing else []),
        *(
            [f"{len(unusable)} with unusable inputs, such as {unusable[0].name}: {unusable[0].kept}"]
            if unusable
            else []
        ),
    ]
    return (
        f"clips of earlier runs that cannot be made again are kept, {len(clips)} in total ({'; '.join(parts)}); "
        "prepare_params.remove_missing=true removes them"
    )
