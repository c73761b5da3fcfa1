"""`--mode prepare`: a data set as researchers receive it -> folders that training and animation read."""

import logging
import os
import re
from collections.abc import Iterator
from functools import partial

import yaml
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from config.options import RunOptions
from config.preparation import PrepareConfig, PrepareParams, PrepareSplitParams
from core.files import write_text
from errors import UserError
from preparation.clip_maker import Task, is_done, make_clip
from preparation.clip_record import ClipRecord, LeftOut, Listing
from preparation.onset import OnsetDetector, read_boxes
from preparation.output import Output
from preparation.planning import Planner
from preparation.readers import read_data_set
from preparation.report import write_report
from preparation.splits import Splits, by_list, by_subject, leave_one_subject_out, megc_safe
from preparation.tables import PreparedClip, write_tables
from preparation.workers import in_processes

log = logging.getLogger("prepare")


def prepare(config: PrepareConfig, options: RunOptions) -> int:
    """Prepare a data set. What an earlier run has made is kept as far as nothing that it depends on has changed.

    Returns:
        Exit status: 0, or 130 after Ctrl-C.
    Raises:
        UserError: the data set or its sheet cannot be read, no clip can be prepared, or nothing can be written.
    """
    params = config.prepare_params
    try:
        prepare_listing(_listing(params), params, options)
    except KeyboardInterrupt:
        log.warning("stopped; the same command goes on")
        return 130
    return 0


def describe(config: PrepareConfig, options: RunOptions) -> int:
    """`--dry-run`: print the settings and what the reader finds, and prepare nothing."""
    params = config.prepare_params
    listing = _listing(params)
    log.info("%s", yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False).rstrip())
    for one in listing.left_out:
        log.info("left out: %s: %s", one.name, one.reason)
    for repair in listing.repairs:
        log.info("%s: %s", repair.what, repair.done)
    subjects = {record.subject for record in listing.clips}
    frames = sum(len(record.frame_numbers) for record in listing.clips)
    log.info("%d clips of %d subjects, %d frames", len(listing.clips), len(subjects), frames)
    return 0


def prepare_listing(listing: Listing, params: PrepareParams, options: RunOptions) -> list[PreparedClip]:
    """Prepare the clips of a listing.

    Returns:
        Those that could be prepared, in the order of the listing.
    Raises:
        UserError: as `prepare`.
    """
    _check_names(listing.clips)
    output = Output(params.output_dir)
    output.open()
    planner = Planner(params, output, _detector(params, options), _splits(listing.clips, params.split_params))
    clips, reasons = _make_all(listing.clips, planner, output, params)
    for name in set(output.known()) - {record.name for record in listing.clips}:
        output.forget(name)
    output.close()
    left_out = [
        *listing.left_out,
        *(LeftOut(record.name, reasons[record.name]) for record in listing.clips if record.name in reasons),
    ]
    prepared = [clips[record.name] for record in listing.clips if record.name in clips]
    write_tables(prepared, output)
    _write_folds(tuple(clip.record for clip in prepared), output)
    report = write_report(prepared, left_out, listing.repairs, params, output)
    for one in left_out:
        log.warning("left out: %s: %s", one.name, one.reason)
    log.info("%d clips prepared, %d left out; see %s", len(prepared), len(left_out), report)
    if not prepared:
        raise UserError(f"{params.root_dir}: no clip could be prepared; {report} says why")
    return prepared


def _make_all(
    records: tuple[ClipRecord, ...], planner: Planner, output: Output, params: PrepareParams
) -> tuple[dict[str, PreparedClip], dict[str, str]]:
    """Make what is not there yet; returns the clips, and why others were left out, by name."""
    clips: dict[str, PreparedClip] = {}
    reasons: dict[str, str] = {}
    with logging_redirect_tqdm(), tqdm(total=len(records), desc="preparing", unit="clip", disable=None) as bar:

        def note(task: Task, state: dict) -> None:
            if "error" in state:
                reasons[task.record.name] = state["error"]["reason"]
            else:
                clips[task.record.name] = PreparedClip(task, state)
            bar.update()

        def to_make() -> Iterator[Task]:
            for record in records:
                try:
                    task = planner.plan(record)
                except UserError:
                    raise
                except ValueError as error:
                    output.withdraw(record.name)
                    reasons[record.name] = str(error)
                    bar.update()
                    continue
                output.move(record.name, task.split)
                state = output.state(record.name)
                if is_done(task, output, state):
                    note(task, state)
                else:
                    yield task

        work = partial(make_clip, output=output, params=params)
        for task, state in in_processes(work, to_make(), params.workers or os.cpu_count() or 1):
            note(task, state)
    return clips, reasons


def _listing(params: PrepareParams) -> Listing:
    return read_data_set(
        params.data_set,
        params.root_dir,
        sheet=params.sheet,
        release=params.release,
        fps=params.fps,
        missing_apex="midpoint" if params.missing_apex == "midpoint" else "leave",
    )


def _check_names(records: tuple[ClipRecord, ...]) -> None:
    seen: dict[str, ClipRecord] = {}
    for record in records:
        if not re.fullmatch(r"[A-Za-z0-9_#-]+", record.name):
            raise UserError(f"{record.source}: expected a clip name of letters, digits, _ and -, got {record.name!r}")
        other = seen.setdefault(record.name.lower(), record)
        if other is not record:
            raise UserError(f"{other.source} and {record.source}: two clips named {record.name}; rename one")


def _detector(params: PrepareParams, options: RunOptions) -> OnsetDetector | None:
    """The networks, which are loaded when a clip needs them."""
    landmarks = params.landmark_params
    if landmarks.backend == "files":
        return None

    def device() -> str:
        from core.devices import make_fabric  # torch takes seconds to load

        return str(make_fabric(options.device_ids).device)

    return OnsetDetector(device, None if landmarks.boxes is None else read_boxes(landmarks.boxes))


def _splits(clips: tuple[ClipRecord, ...], params: PrepareSplitParams) -> Splits:
    """`train` or `test` by clip."""
    if params.test_list is not None:
        try:
            lines = params.test_list.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{params.test_list}: expected a readable text file ({error})") from error
        return by_list(clips, [line.strip() for line in lines if line.strip()])
    if params.by == "subject":
        return by_subject(clips, params.test_fraction, seed=params.seed)
    if params.by == "megc":
        return megc_safe(clips)
    return {clip.name: "train" for clip in clips}


def _write_folds(clips: tuple[ClipRecord, ...], output: Output) -> None:
    """Leave-one-subject-out folds as lists of test clips, which `split_params.test_list` takes."""
    folder = output.folder / "splits"
    folds = leave_one_subject_out(clips) if len({clip.subject for clip in clips}) > 1 else {}
    wanted = {f"{subject}.txt" for subject in folds}
    for path in folder.glob("*.txt"):
        if path.name not in wanted:
            path.unlink()
    for subject, split in folds.items():
        tested = [name for name, part in split.items() if part == "test"]
        write_text(folder / f"{subject}.txt", "".join(f"{name}\n" for name in tested))
