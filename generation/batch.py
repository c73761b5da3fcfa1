"""The loop over many clips to generate: each is written when it is ready, and none is made twice."""

import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from tqdm import tqdm

from clips.loader import LoadedClip
from clips.reading import ClipError
from output.result_table import ResultTable

log = logging.getLogger("generation")


class ClipJob(Protocol):
    """A clip that is ready to be generated."""

    @property
    def name(self) -> str:
        """Name of the folder of its frames, unique in the batch."""

    @property
    def inputs(self) -> str:
        """A text that changes whenever the clip's own inputs change."""


Item = TypeVar("Item")
Job = TypeVar("Job", bound=ClipJob)


class Batch:
    """Clips that are generated into one folder, with their table `results.csv`.

    Args:
        folder: of the results.
        columns: of the table; `folder` and `key` among them.
        settings: everything, beside its own inputs, that each clip depends on; JSON can write it.
    """

    def __init__(self, folder: Path, columns: list[str], settings: Sequence[Any]):
        self.folder = folder
        self.table = ResultTable(folder / "results.csv", columns)
        self.settings = json.dumps(settings)

    def run(
        self,
        items: Sequence[Item],
        load: Callable[[Item], Job],
        generate: Callable[[Job, Path], Mapping[str, Any]],
        *,
        title: str,
        skip_bad: bool,
    ) -> Iterator[tuple[Job, dict[str, str]]]:
        """Generate the clips that no earlier run has finished, and log how many there are.

        Args:
            load: makes the job of an item; a ClipError leaves the item out with `skip_bad`, else it ends the run.
            generate: writes a job's clip into the folder of that name; returns its row, without `folder`, `key` and
                `seconds`.
            title: of the progress bar.
        Yields:
            Every job and its row of the table, finished now or before.
        """
        skipped = kept = 0
        for item in tqdm(items, title, unit="clip", disable=None):
            try:
                job = load(item)
            except ClipError as error:
                if not skip_bad:
                    raise
                log.warning("left out: %s", error)
                skipped += 1
                continue
            key = hashlib.sha256(f"{self.settings} {job.inputs}".encode()).hexdigest()[:16]
            if self.table.finished(job.name, key):
                kept += 1
            else:
                began = time.perf_counter()
                row = generate(job, self.folder / job.name)
                seconds = round(time.perf_counter() - began, 3)
                self.table.add({**row, "folder": job.name, "seconds": seconds, "key": key})
            yield job, self.table.rows[job.name]
        log.info("%d clips in %s (%d were there before, %d left out)", len(items) - skipped, self.folder, kept, skipped)


def content_hash(clip: LoadedClip) -> str:
    """Hash of everything that a clip brings: frames, landmarks, action units."""
    arrays = [array.tobytes() for array in (clip.landmarks, clip.action_units) if array is not None]
    return hashlib.sha256(b"".join([clip.cached.key.encode(), *arrays])).hexdigest()
