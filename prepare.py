"""`--mode prepare`: turns a data set, as researchers receive it, into folders that training and animation read."""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial

import yaml
from natsort import natsorted
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from clips.files import read_names
from config.options import RunOptions
from config.preparation import PrepareConfig, PrepareParams, PrepareSplitParams
from errors import UserError
from preparation.clip_maker import is_done, make_clip
from preparation.clip_record import ClipRecord, LeftOut, Listing
from preparation.clip_state import State
from preparation.clip_task import ClipTask
from preparation.earlier_clips import EarlierClips, kept_warning
from preparation.failures import reason_of
from preparation.folds import write_folds
from preparation.onset import OnsetDetector, read_boxes
from preparation.planning import Planner
from preparation.prepared_folder import NAME_PATTERN, PreparedFolder
from preparation.readers import read_data_set
from preparation.report import write_report
from preparation.splits import LabelledClip, Splits, by_list, by_megc, by_subject, composite_clips
from preparation.tables import PreparedClip, finished_clip, settings_hash, write_tables
from preparation.workers import run_in_processes

log = logging.getLogger("prepare")


def prepare(config: PrepareConfig, options: RunOptions) -> int:
    """Prepare a data set. Results of an earlier run are kept, except those whose inputs or settings have changed.

    Returns:
        Exit status, 0.
    Raises:
        UserError: the data set or its sheet cannot be read, no clip can be prepared, or the output cannot be written.
    """
    params = config.prepare_params
    prepare_listing(_listing(params), params, options)
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
        The prepared clips, in the order of the listing, or in natural order where some are of earlier runs only.
    Raises:
        UserError: as `prepare`.
    """
    _check_names(listing.clips)
    prepared = PreparedFolder(params.output_dir)
    with prepared.opened():
        earlier = EarlierClips(prepared, settings_hash(params), remove=params.remove_missing)
        missing, damaged = earlier.missing_from({record.name for record in listing.clips})
        splits = _splits([*listing.clips, *missing], params.split_params)
        planner = Planner(params, prepared, _onset_detector(params, options), splits)
        made, reasons = _make_clips(listing.clips, planner, prepared, params)
        kept = [_in_split(clip, prepared, splits) for clip in missing]
        left_out = [*listing.left_out, *damaged]
        for name, reason in reasons.items():
            if clip := earlier.after_failure(name, reason):
                kept.append(_in_split(clip, prepared, splits))
            else:
                left_out.append(LeftOut(name, f"{reason}{earlier.damage(name)}"))
        clips = [made[record.name] for record in listing.clips if record.name in made]
        if kept:
            clips = natsorted([*clips, *kept], key=lambda clip: clip.name)
        write_tables(clips, prepared)
        write_folds(clips, prepared)
        report = write_report(clips, left_out, listing.remarks, params, prepared)
    for out in left_out:
        log.warning("left out: %s: %s", out.name, out.reason)
    if kept:
        log.warning("%s", kept_warning(kept))
    if not made:
        raise UserError(
            f"{params.root_dir}: no clip could be prepared{f', {len(kept)} finished ones are kept' if kept else ''}; "
            f"the reasons are in {report}"
        )
    log.info("%d clips prepared, %d left out; see %s", len(clips), len(left_out), report)
    return clips


def _make_clips(
    records: tuple[ClipRecord, ...], planner: Planner, prepared: PreparedFolder, params: PrepareParams
) -> tuple[dict[str, PreparedClip], dict[str, str]]:
    """Make the clips that are not complete yet.

    Returns:
        All prepared clips, and the reasons why others cannot be made in the order of the records, by name.
    """
    clips: dict[str, PreparedClip] = {}
    reasons: dict[str, str] = {}
    with logging_redirect_tqdm(), tqdm(total=len(records), desc="preparing", unit="clip", disable=None) as bar:

        def add_result(task: ClipTask, state: State) -> None:
            if "failure" in state:
                reasons[task.record.name] = state["failure"]["reason"]
            else:
                clips[task.record.name] = finished_clip(task, state, prepared, params)
            bar.update()

        def tasks_to_do() -> Iterator[ClipTask]:
            for record in records:
                try:
                    task = planner.plan(record)
                except UserError:
                    raise
                except (ValueError, OSError) as error:
                    reasons[record.name] = reason_of(error)
                    bar.update()
                    continue
                prepared.move_to_split(record.name, task.split)
                state = prepared.load_state(record.name)
                if is_done(task, prepared, state):
                    add_result(task, state)
                else:
                    yield task

        work = partial(make_clip, prepared=prepared, params=params)
        results = run_in_processes(work, tasks_to_do(), params.workers or os.cpu_count() or 1)
        with closing(results):  # also where an error holds this frame: workers end before their files are removed
            for task, state in results:
                add_result(task, state)
    return clips, {record.name: reasons[record.name] for record in records if record.name in reasons}


def _in_split(clip: PreparedClip, prepared: PreparedFolder, splits: Splits) -> PreparedClip:
    """A clip of an earlier run, in the split that it has now."""
    prepared.move_to_split(clip.name, splits[clip.name])
    return replace(clip, row={**clip.row, "split": splits[clip.name]})


def _listing(params: PrepareParams) -> Listing:
    return read_data_set(
        params.data_set,
        params.root_dir,
        sheet=params.sheet,
        release=params.release,
        fps=params.fps,
        columns=params.columns,
        missing_apex="midpoint" if params.missing_apex == "midpoint" else "leave",
    )


def _check_names(records: tuple[ClipRecord, ...]) -> None:
    seen: dict[str, ClipRecord] = {}
    for record in records:
        if not NAME_PATTERN.fullmatch(record.name):
            raise UserError(
                f"{record.source}: expected a clip name of at most 250 letters, digits, _ and -, got {record.name!r}"
            )
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


def _splits(clips: Sequence[LabelledClip], params: PrepareSplitParams) -> Splits:
    """Split of every clip, by name."""
    if params.test_list is not None:
        names = read_names(params.test_list)
        if composite := composite_clips(names, clips):
            names, absent = composite
            if absent:
                log.warning("%s: no clips of %s here; its lines are ignored", params.test_list, " and ".join(absent))
        return by_list(clips, names)
    if params.by == "subject":
        return by_subject(clips, params.test_fraction, seed=params.seed)
    if params.by == "megc":
        return by_megc(clips)
    return {clip.name: "train" for clip in clips}
