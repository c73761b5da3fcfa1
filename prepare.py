"""`--mode prepare`: turns a data set, as researchers receive it, into folders that training and animation read."""

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
from preparation.clip_maker import ClipTask, is_done, make_clip
from preparation.clip_record import ClipRecord, LeftOut, Listing
from preparation.onset import OnsetDetector, read_boxes
from preparation.planning import Planner
from preparation.prepared_folder import PreparedFolder, State
from preparation.readers import read_data_set
from preparation.report import write_report
from preparation.splits import Splits, by_list, by_megc, by_subject, leave_one_subject_out
from preparation.tables import PreparedClip, write_tables
from preparation.workers import run_in_processes

log = logging.getLogger("prepare")


def prepare(config: PrepareConfig, options: RunOptions) -> int:
    """Prepare a data set. Results of an earlier run are kept, except those whose inputs or settings have changed.

    Returns:
        Exit status: 0, or 130 after Ctrl-C.
    Raises:
        UserError: the data set or its sheet cannot be read, no clip can be prepared, or the output cannot be written.
    """
    params = config.prepare_params
    try:
        prepare_listing(_listing(params), params, options)
    except KeyboardInterrupt:
        log.warning("stopped; run the same command again to resume")
        return 130
    return 0


def describe(config: PrepareConfig, options: RunOptions) -> int:
    """`--dry-run`: log the settings and the clips that are found, without preparing them."""
    params = config.prepare_params
    listing = _listing(params)
    log.info("%s", yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False).rstrip())
    for out in listing.left_out:
        log.info("left out: %s: %s", out.name, out.reason)
    for remark in listing.remarks:
        log.info("%s: %s", remark.found, remark.done)
    subjects = {record.subject for record in listing.clips}
    frames = sum(len(record.frame_numbers) for record in listing.clips)
    log.info("%d clips of %d subjects, %d frames", len(listing.clips), len(subjects), frames)
    return 0


def prepare_listing(listing: Listing, params: PrepareParams, options: RunOptions) -> list[PreparedClip]:
    """Prepare the clips of a listing.

    Returns:
        The clips that could be prepared, in the order of the listing.
    Raises:
        UserError: as `prepare`.
    """
    _check_names(listing.clips)
    prepared = PreparedFolder(params.output_dir)
    prepared.create()
    planner = Planner(params, prepared, _onset_detector(params, options), _splits(listing.clips, params.split_params))
    by_name, reasons = _make_clips(listing.clips, planner, prepared, params)
    for name in set(prepared.clip_names()) - {record.name for record in listing.clips}:
        prepared.remove_clip(name)
    prepared.remove_unfinished()
    left_out = [
        *listing.left_out,
        *(LeftOut(record.name, reasons[record.name]) for record in listing.clips if record.name in reasons),
    ]
    clips = [by_name[record.name] for record in listing.clips if record.name in by_name]
    write_tables(clips, prepared)
    _write_folds(tuple(clip.record for clip in clips), prepared)
    report = write_report(clips, left_out, listing.remarks, params, prepared)
    for out in left_out:
        log.warning("left out: %s: %s", out.name, out.reason)
    log.info("%d clips prepared, %d left out; see %s", len(clips), len(left_out), report)
    if not clips:
        raise UserError(f"{params.root_dir}: no clip could be prepared; the reasons are in {report}")
    return clips


def _make_clips(
    records: tuple[ClipRecord, ...], planner: Planner, prepared: PreparedFolder, params: PrepareParams
) -> tuple[dict[str, PreparedClip], dict[str, str]]:
    """Make the clips that are not complete yet.

    Returns:
        All prepared clips, and the reasons why others are left out, by name.
    """
    clips: dict[str, PreparedClip] = {}
    reasons: dict[str, str] = {}
    with logging_redirect_tqdm(), tqdm(total=len(records), desc="preparing", unit="clip", disable=None) as bar:

        def add_result(task: ClipTask, state: State) -> None:
            if "error" in state:
                reasons[task.record.name] = state["error"]["reason"]
            else:
                clips[task.record.name] = PreparedClip(task, state)
            bar.update()

        def tasks_to_do() -> Iterator[ClipTask]:
            for record in records:
                try:
                    task = planner.plan(record)
                except UserError:
                    raise
                except ValueError as error:
                    prepared.remove_files(record.name)
                    reasons[record.name] = str(error)
                    bar.update()
                    continue
                prepared.move_to_split(record.name, task.split)
                state = prepared.load_state(record.name)
                if is_done(task, prepared, state):
                    add_result(task, state)
                else:
                    yield task

        work = partial(make_clip, prepared=prepared, params=params)
        for task, state in run_in_processes(work, tasks_to_do(), params.workers or os.cpu_count() or 1):
            add_result(task, state)
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
            raise UserError(f"{other.source} and {record.source}: two clips are named {record.name}; rename one")


def _onset_detector(params: PrepareParams, options: RunOptions) -> OnsetDetector | None:
    """The detector, whose networks are loaded when a clip needs them; None where landmarks come from files."""
    landmarks = params.landmark_params
    backend = landmarks.detection_backend
    if backend is None:
        return None

    def device() -> str:
        from core.devices import make_fabric  # torch takes seconds to load

        return str(make_fabric(options.device_ids).device)

    return OnsetDetector(backend, device, None if landmarks.boxes is None else read_boxes(landmarks.boxes))


def _splits(clips: tuple[ClipRecord, ...], params: PrepareSplitParams) -> Splits:
    """Split of every clip, by name."""
    if params.test_list is not None:
        try:
            lines = params.test_list.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{params.test_list}: expected a readable text file ({error})") from error
        return by_list(clips, [line.strip() for line in lines if line.strip()])
    if params.by == "subject":
        return by_subject(clips, params.test_fraction, seed=params.seed)
    if params.by == "megc":
        return by_megc(clips)
    return {clip.name: "train" for clip in clips}


def _write_folds(clips: tuple[ClipRecord, ...], prepared: PreparedFolder) -> None:
    """Write leave-one-subject-out folds as lists of test clips, for `split_params.test_list`."""
    folder = prepared.path / "splits"
    folds = leave_one_subject_out(clips) if len({clip.subject for clip in clips}) > 1 else {}
    wanted = {f"{subject}.txt" for subject in folds}
    for path in folder.glob("*.txt"):
        if path.name not in wanted:
            path.unlink()
    for subject, split in folds.items():
        tested = [name for name, part in split.items() if part == "test"]
        write_text(folder / f"{subject}.txt", "".join(f"{name}\n" for name in tested))
