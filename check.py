"""`--mode check`: one line per clip that training or animation would reject or misread; and `--dry-run`."""

import logging
from dataclasses import dataclass, field

import yaml

from clips.checks import batch_problem, name_warnings, size_problem
from clips.files import subject_of
from clips.loader import ClipLoader, LoadedClip, make_clip_loader, training_problem
from clips.pairs import animation_pairs
from clips.reading import Clip, ClipError
from clips.splits import split_clips
from config.experiment import Config
from config.options import RunOptions
from core.devices import make_fabric
from core.memory import model_without_weights
from core.models import initial_model
from frames_dataset import FramesDataset
from modules.blocks import count_parameters

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
    """

    use: str
    usable: list[LoadedClip] = field(default_factory=list)
    rejected: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

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
    """Read every clip as training and animation would.

    Returns:
        Exit status: 0, or 2 if a clip would be rejected or misread.
    """
    model = initial_model(config)
    fabric = make_fabric(options.device_ids)

    def loader(*, landmarks: bool) -> ClipLoader:
        return make_clip_loader(
            config.dataset_params,
            str(fabric.device),
            landmarks=landmarks,
            action_units=model.needs_action_units,
            size_problems=config.size_problems,
            warn=log.debug,
        )

    training = loader(landmarks=model.needs_landmarks or config.dataset_params.remove_head_motion)
    devices = len(options.device_ids) if options.device_ids else 1
    problems = _training(config, training, devices).report()
    problems += _animation(config, loader(landmarks=model.needs_landmarks)).report()
    log.info("no problems" if not problems else f"{problems} problem{'s' if problems > 1 else ''}")
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


def _training(config: Config, loader: ClipLoader, devices: int) -> Findings:
    found = Findings("train")
    try:
        clips = split_clips(config.dataset_params, "train")
    except ClipError as error:
        found.rejected.append(str(error))
        return found
    _read(found, loader, [(clip, True) for clip in clips])
    for clip in list(found.usable):
        if problem := training_problem(clip, config.dataset_params):
            found.usable.remove(clip)
            found.rejected.append(problem)
    section = config.train_params
    if problem := size_problem(clip.cached.frames().shape[1:3] for clip in found.usable):
        found.rejected.append(problem)
    elif found.usable:
        pairs = FramesDataset(found.usable, config.dataset_params, seed=config.seed, num_repeats=section.num_repeats)
        if problem := batch_problem(len(pairs), section.batch_size, devices):
            found.rejected.append(problem)
    return found


def _animation(config: Config, loader: ClipLoader) -> Findings:
    """Check the clips of the animation pairs and the other test clips; only driving clips need action units."""
    found = Findings("test")
    try:
        drives = {clip.path: (clip, False) for clip in split_clips(config.dataset_params, "test")}
        for source, driving in animation_pairs(config.dataset_params):
            drives.setdefault(source.path, (source, False))
            drives[driving.path] = (driving, True)
    except ClipError as error:
        found.rejected.append(str(error))
        return found
    _read(found, loader, list(drives.values()))
    return found


def _read(found: Findings, loader: ClipLoader, clips: list[tuple[Clip, bool]]) -> None:
    for result in loader.attempt_all(clips, found.use):
        if isinstance(result, ClipError):
            found.rejected.append(str(result))
        else:
            found.usable.append(result)
            found.warnings += [f"clip {result.name}: {warning}" for warning in result.warnings]
    names = [clip.name for clip, _ in clips]
    found.warnings += name_warnings(names, "clips") + name_warnings(map(subject_of, names), "subjects")
