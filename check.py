"""`--mode check`: clips that training or animation would reject or misread, and a page of all; and `--dry-run`."""

import logging
from dataclasses import dataclass, field, replace
from pathlib import Path

import yaml

from clips.checks import batch_problem, name_warnings, similar_names, size_problem
from clips.files import subject_of
from clips.loader import ClipLoader, LoadedClip, make_clip_loader, training_problem
from clips.pairs import animation_pairs
from clips.reading import Clip, ClipError
from clips.splits import split_clips
from config.experiment import Config
from config.options import RunOptions
from core.inference import inference_device
from core.memory import model_without_weights
from core.models import initial_model
from core.run_folder import check_log_dir
from frames_dataset import FramesDataset
from modules.blocks import count_parameters
from output.clip_page import ClipPage, Finding, Heading, Table
from preparation.clip_rows import LabelledClips, rejected_row

log = logging.getLogger("check")

FOUND_PROBLEMS = 2


@dataclass
class Findings:
    """Findings in one split.

    Attributes:
        use: `train` or `test`.
        usable: clips that can be used.
        rejected: reasons why other clips cannot be used.
        warnings: input that can be read, but probably not as intended.
        general: those reasons and warnings that are not about one clip.
    """

    use: str
    usable: list[LoadedClip] = field(default_factory=list)
    rejected: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    general: list[str] = field(default_factory=list)

    def reject(self, problem: str) -> None:
        """Add a reason that concerns the split as a whole."""
        self.rejected.append(problem)
        self.general.append(problem)

    def report(self) -> int:
        """Log everything, one line each, then counts; returns the number of problems."""
        for line in self.rejected:
            log.warning("%s: rejected: %s", self.use, line)
        for line in self.warnings:
            log.warning("%s: warning: %s", self.use, line)
        frames = sum(len(clip) for clip in self.usable)
        subjects = len({subject_of(clip.name) for clip in self.usable})
        log.info(
            "%s: %d clips of %d subjects, %d frames; %d rejected, %d warning",
            self.use,
            len(self.usable),
            subjects,
            frames,
            len(self.rejected),
            len(self.warnings),
        )
        return len(self.rejected) + len(self.warnings)


def check(config: Config, options: RunOptions) -> int:
    """Read every clip as training and animation would, and write `check.html`.

    Returns:
        Exit status: 0, or 2 if a clip would be rejected or misread.
    Raises:
        UserError: the page cannot be written.
    """
    check_log_dir(options.log_dir)
    model = initial_model(config)
    device = inference_device(options.device_ids)
    notices: set[str] = set()

    def note(text: str) -> None:
        log.debug("%s", text)
        notices.add(text)

    def loader(*, landmarks: bool) -> ClipLoader:
        return make_clip_loader(
            config.dataset_params,
            device.name,
            landmarks=landmarks,
            action_units=model.needs_action_units,
            size_problems=config.size_problems,
            warn=note,
        )

    training = loader(landmarks=model.needs_landmarks or config.dataset_params.remove_head_motion)
    devices = len(options.device_ids) if options.device_ids else 1
    with ClipPage(_page_path(options)) as page:
        rows = _Rows(page, LabelledClips(config.dataset_params))
        findings = [_training(config, training, rows, devices)]
        findings.append(_animation(config, loader(landmarks=model.needs_landmarks), rows))
        problems = sum(found.report() for found in findings)
        notices -= {warning for found in findings for warning in found.warnings}
        _write_page(page, config, options, findings, sorted(notices))
    log.info("no problems" if not problems else f"{problems} problem{'s' if problems > 1 else ''}")
    log.info("all clips, with their pictures: %s", page.path)
    return FOUND_PROBLEMS if problems else 0


def describe(config: Config, options: RunOptions) -> int:
    """`--dry-run`: print the resolved settings, the size of each network and the number of clips.

    Raises:
        UserError: the clips cannot be found.
    """
    log.info("%s", yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False).rstrip())
    for name, network in model_without_weights(config).networks().items():
        log.info("%s: %s parameters", name, f"{count_parameters(network):,}")
    if config.dataset_params.root_dir is not None:
        for split in ("train", "test"):
            log.info("%s: %d clips", split, len(split_clips(config.dataset_params, split)))
    return 0


@dataclass(frozen=True)
class _Rows:
    """Adds clips to the page as they are read."""

    page: ClipPage
    labelled: LabelledClips

    def add(self, clip: LoadedClip, use: str, warnings: list[Finding], problem: str | None = None) -> None:
        """Add a clip that can be read; with a problem it is rejected."""
        findings = (*([Finding(problem)] if problem else []), *map(Finding, clip.warnings), *warnings)
        row = self.labelled.row(clip, use, findings)
        self.page.add(replace(row, status="rejected") if problem else row)


def _page_path(options: RunOptions) -> Path:
    """Path of the page, the same in every run of an experiment file."""
    return options.log_dir / f"{options.config_path.stem}-check" / "check.html"


def _write_page(
    page: ClipPage, config: Config, options: RunOptions, findings: list[Findings], notices: list[str]
) -> None:
    clips = sum(len(found.usable) for found in findings)
    root = config.dataset_params.root_dir
    heading = Heading(
        f"{options.config_path.stem}: {clips} clips can be used, {page.rejected} rejected",
        (
            f"Clips of {root.as_posix()}" if root is not None else "Clips of dataset_params.pairs_list",
            "An apex that no label names is estimated: the frame in which the landmarks, without head motion, are "
            "farthest from those of the first frame.",
        ),
    )
    general = [(found.use, text) for found in findings for text in found.general]
    page.write(
        heading,
        (
            Table("The data set as a whole", ("split", "warning"), general),
            Table("Notices of the readers", ("notice",), [(text,) for text in notices]),
        ),
    )


def _training(config: Config, loader: ClipLoader, rows: _Rows, devices: int) -> Findings:
    found = Findings("train")
    try:
        clips = split_clips(config.dataset_params, "train")
    except ClipError as error:
        found.reject(str(error))
        return found
    _read(found, loader, [(clip, True) for clip in clips], rows, trained=True)
    section = config.train_params
    if problem := size_problem(clip.cached.frames().shape[1:3] for clip in found.usable):
        found.reject(problem)
    elif found.usable:
        pairs = FramesDataset(found.usable, config.dataset_params, seed=config.seed, num_repeats=section.num_repeats)
        if problem := batch_problem(len(pairs), section.batch_size, devices):
            found.reject(problem)
    return found


def _animation(config: Config, loader: ClipLoader, rows: _Rows) -> Findings:
    """Check the clips of the animation pairs and the other test clips; only driving clips need action units."""
    found = Findings("test")
    try:
        drives = {clip.path: (clip, False) for clip in split_clips(config.dataset_params, "test")}
        for source, driving in animation_pairs(config.dataset_params):
            drives.setdefault(source.path, (source, False))
            drives[driving.path] = (driving, True)
    except ClipError as error:
        found.reject(str(error))
        return found
    _read(found, loader, list(drives.values()), rows, trained=False)
    return found


def _read(found: Findings, loader: ClipLoader, clips: list[tuple[Clip, bool]], rows: _Rows, *, trained: bool) -> None:
    """Read clips and add them to the findings and to the page.

    Args:
        trained: True also rejects clips that cannot be trained on.
    """
    names = [clip.name for clip, _ in clips]
    alike = similar_names(names, "clips")
    for (clip, _), result in zip(clips, loader.attempt_all(clips, found.use), strict=True):
        similar = [Finding(text, "names differ in padding or case only") for text in alike if clip.name in alike[text]]
        if isinstance(result, ClipError):
            found.rejected.append(str(result))
            row = rejected_row(clip, found.use, str(result), loader.cache)
            rows.page.add(replace(row, findings=(*row.findings, *similar)))
            continue
        problem = training_problem(result, loader.params) if trained else None
        if problem:
            found.rejected.append(problem)
        else:
            found.usable.append(result)
        found.warnings += [f"clip {result.name}: {warning}" for warning in result.warnings]
        rows.add(result, found.use, similar, problem)
    subjects = name_warnings(map(subject_of, names), "subjects")
    found.warnings += [*alike, *subjects]
    found.general += subjects
