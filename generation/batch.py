"""The loop over many clips to generate: each is written when it is ready, and none is generated twice.

Several runs, also on several machines, may write to one folder: each clip is claimed by one run, the others go on with
the next clips and come back to it.
"""

import hashlib
import json
import logging
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from tqdm import tqdm

from clips.loader import LoadedClip
from clips.reading import ClipError
from core.files import remove_abandoned, replacing_entries
from core.locks import claimed
from core.stop_signal import raise_if_interrupted
from errors import printable
from generation.records import FOLDER, Records, Row
from output.result_table import ResultTable
from output.video import check_frame_folder
from parsing.cells import cell_text

log = logging.getLogger("generation")

_LONGEST_NAME = 220  # bytes; endings such as `_comparison_slow2x.gif` still fit into the 255 of file systems
# Names that are also those of other files beside the clips: of another clip's video or comparison, or of the table.
_TAKEN = re.compile(r"(\..*)?|.*(_comparison|_slow[\d.e+]+x|\.(mp4|gif|npy|csv|txt|png|json|lock))", re.IGNORECASE)


class ClipJob(Protocol):
    """A clip that is ready to be generated."""

    @property
    def name(self) -> str:
        """Name of the folder of its frames."""

    @property
    def identity(self) -> Mapping[str, str]:
        """Columns of its row that distinguish it from other clips of this name; empty: it replaces any of this name."""

    @property
    def inputs(self) -> str:
        """A text that changes whenever the clip's own inputs change."""


Item = TypeVar("Item")
Job = TypeVar("Job", bound=ClipJob)


class Finished(NamedTuple, Generic[Job]):
    """A clip of a batch.

    Attributes:
        number: position in the list of clips, from 0.
        job: the clip.
        row: of the table.
    """

    number: int
    job: Job
    row: Row


@dataclass
class _Counts:
    kept: int = 0
    skipped: int = 0
    first_problem: str = ""


class Batch:
    """Clips that are generated into one folder, with their table `results.csv`.

    Args:
        folder: of the results.
        columns: of the table; `folder` and `key` among them.
        settings: everything, beside its own inputs, that each clip depends on; JSON can write it.
    """

    def __init__(self, folder: Path, columns: list[str], settings: Sequence[Any]):
        self.folder = folder
        for place in (folder, folder / FOLDER):
            remove_abandoned(place)
        self.table = ResultTable(folder / "results.csv", columns)
        self.records = Records(folder, columns)
        self.settings = json.dumps(settings)

    def run(
        self,
        items: Sequence[Item],
        load: Callable[[Item], Job],
        generate: Callable[[Job, Path], Mapping[str, Any]],
        *,
        title: str,
        skip_bad: bool,
    ) -> Iterator[Finished[Job]]:
        """Generate the clips that no other run has finished, and log how many there are.

        Args:
            load: makes the job of an item; a ClipError leaves the item out with `skip_bad`, else it ends the run.
            generate: writes a job's clip into the folder of that name, and its other files beside it; returns its row,
                without `folder`, `key` and `seconds`.
            title: of the progress bar.
        Yields:
            Every clip, generated now or before; those that other runs were generating come last.
        Raises:
            ClipError: a clip cannot be generated, or none can.
        """
        counts = _Counts()
        waiting = list(enumerate(items))
        with tqdm(total=len(items), desc=title, unit="clip", disable=None) as progress:
            for wait in (False, True):
                others = []
                for number, item in waiting:
                    raise_if_interrupted()
                    try:
                        job = load(item)
                        with self._finished(job, generate, counts, wait=wait) as row:
                            if row is None:
                                others.append((number, item))
                                continue
                            yield Finished(number, job, row)
                    except ClipError as error:
                        if not skip_bad:
                            raise
                        log.warning("left out: %s", printable(str(error)))
                        counts.skipped += 1
                        counts.first_problem = counts.first_problem or str(error)
                    progress.update()
                waiting = others
        self._report(len(items), counts)

    def _report(self, number: int, counts: _Counts) -> None:
        if number and counts.skipped == number:
            raise ClipError(f"none of {number} clips can be used; the first: {counts.first_problem}")
        made = (number - counts.skipped, self.folder, counts.kept, counts.skipped)
        log.info("%d clips in %s (%d were there before, %d left out)", *made)

    @contextmanager
    def _finished(
        self, job: Job, generate: Callable[[Job, Path], Mapping[str, Any]], counts: _Counts, *, wait: bool
    ) -> Iterator[Row | None]:
        """Check or generate a clip, and hold it against other runs.

        Yields:
            Its row; None if another run holds it.
        """
        key = hashlib.sha256(f"{self.settings} {job.inputs}".encode()).hexdigest()[:16]
        identity = {name: cell_text(cell) for name, cell in job.identity.items()}
        for name in _folder_names(job.name, identity):
            if wait:
                log.info("%s: waiting for the run that is generating it", self.folder / name)
            with claimed(self.records.lock(name), wait=wait) as held:
                if not held:
                    yield None
                    return
                if self._belongs_to_another(name, identity):
                    continue
                row = self._kept(name, key)
                if row is None:
                    row = self._generate(job, generate, name, key)
                else:
                    counts.kept += 1
                yield row
                return
        raise AssertionError(f"{job.name}: the last name is always free")

    def _belongs_to_another(self, name: str, identity: Mapping[str, str]) -> bool:
        """True if another clip whose name is alike has this folder."""
        record = self.records.read(name)
        row = record.row if record else self.table.rows.get(name)
        return row is not None and any(row[column] != cell for column, cell in identity.items())

    def _kept(self, name: str, key: str) -> Row | None:
        """Row of a clip that is finished and undamaged; None if it must be generated."""
        record = self.records.read(name)
        if record is not None:
            if record.row["key"] != key or not self.records.is_complete(record):
                return None
            row = record.row
        else:
            known = self.table.rows.get(name, {})
            row = {column: known[column] for column in self.table.columns if column in known}
            if row.get("key") != key or self.records.exists(name) or not self.records.adopt(row):
                return None
        if not row.items() <= self.table.rows.get(name, {}).items():
            self.table.add(row)
        return row

    def _generate(self, job: Job, generate: Callable[[Job, Path], Mapping[str, Any]], name: str, key: str) -> Row:
        check_frame_folder(self.folder / name)
        began = time.perf_counter()
        with replacing_entries(self.folder, "make room or choose another result") as place:
            values = generate(job, place / name)
            seconds = round(time.perf_counter() - began, 3)
            values = {**values, "folder": name, "seconds": seconds, "key": key}
            row = {column: cell_text(values[column]) for column in self.table.columns}
            self.records.write(name, row, place)
        self.table.add(row)
        return row


def _folder_names(name: str, identity: Mapping[str, str]) -> list[str]:
    """Folder names that a clip may take: the usual one, and one that no other clip has."""
    usual = re.sub(r"[\x00-\x1f\x7f/]", "_", name.encode("utf-8", "backslashreplace").decode("utf-8"))
    digest = hashlib.sha256(json.dumps([name, dict(identity)]).encode()).hexdigest()[:8]
    short = os.fsencode(usual)[: _LONGEST_NAME - 9].decode("utf-8", "ignore")
    own = f"{short}-{digest}"
    fits = len(os.fsencode(usual)) <= _LONGEST_NAME and not _TAKEN.fullmatch(usual)
    return [usual, own] if fits else [own]


def content_hash(clip: LoadedClip) -> str:
    """Hash of everything that a clip brings: frames, landmarks, action units."""
    arrays = [array.tobytes() for array in (clip.landmarks, clip.action_units) if array is not None]
    return hashlib.sha256(b"".join([clip.cached.key.encode(), *arrays])).hexdigest()
