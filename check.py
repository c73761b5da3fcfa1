"""`--mode check`: every clip that training or animation would reject or misread, a line each, and counts."""

import logging
from dataclasses import dataclass, field

from checkpoints import initial_model
from clip_checks import batch_problem, name_doubts
from clip_files import subject_of
from clips import Clip, ClipError
from config.options import RunOptions
from config.schema import Config
from devices import make_fabric
from frames_dataset import (
    ClipLoader,
    FramesDataset,
    PreparedClip,
    animation_pairs,
    make_clip_loader,
    split_clips,
    unfit_to_train,
)

log = logging.getLogger("check")

FOUND_PROBLEMS = 2


@dataclass
class Findings:
    """What was found in a split.

    Attributes:
        use: what the split is for.
        usable: clips that can be used.
        rejected: why others cannot be.
        doubts: what would be read, but hardly as it was meant.
    """

    use: str
    usable: list[PreparedClip] = field(default_factory=list)
    rejected: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)

    def tell(self) -> int:
        """Say everything, a line each, then counts; returns the number of problems."""
        for line in self.rejected:
            log.warning("%s: rejected: %s", self.use, line)
        for line in self.doubts:
            log.warning("%s: doubtful: %s", self.use, line)
        frames = sum(len(clip) for clip in self.usable)
        subjects = len({subject_of(clip.name) for clip in self.usable})
        log.info(
            "%s: %d clips of %d subjects, %d frames; %d rejected, %d doubtful",
            self.use,
            len(self.usable),
            subjects,
            frames,
            len(self.rejected),
            len(self.doubts),
        )
        return len(self.rejected) + len(self.doubts)


def check(config: Config, options: RunOptions) -> int:
    """Read every clip as training and animation would.

    Returns:
        Exit status: 0, or 2 where a clip would be rejected or misread.
    """
    model = initial_model(config)
    fabric = make_fabric(options.device_ids)

    def loader(*, landmarks: bool) -> ClipLoader:
        return make_clip_loader(
            config.dataset_params,
            str(fabric.device),
            landmarks=landmarks,
            action_units=model.needs_action_units,
            tell=log.debug,
        )

    training = loader(landmarks=model.needs_landmarks or config.dataset_params.remove_head_motion)
    devices = len(options.device_ids) if options.device_ids else 1
    problems = _training(config, training, devices).tell()
    problems += _animation(config, loader(landmarks=model.needs_landmarks)).tell()
    log.info("no problems" if not problems else f"{problems} problem{'s' if problems > 1 else ''}")
    return FOUND_PROBLEMS if problems else 0


def _training(config: Config, loader: ClipLoader, devices: int) -> Findings:
    found = Findings("train")
    try:
        clips = split_clips(config.dataset_params, "train")
    except ClipError as error:
        found.rejected.append(str(error))
        return found
    _read(found, loader, [(clip, True) for clip in clips])
    for clip in list(found.usable):
        if problem := unfit_to_train(clip, config.dataset_params):
            found.usable.remove(clip)
            found.rejected.append(problem)
    section = config.train_params
    if found.usable:
        pairs = FramesDataset(found.usable, config.dataset_params, seed=config.seed, num_repeats=section.num_repeats)
        if problem := batch_problem(len(pairs), section.batch_size, devices):
            found.rejected.append(problem)
    return found


def _animation(config: Config, loader: ClipLoader) -> Findings:
    """The clips of the pairs, and test clips that are in none; only driving clips need action units."""
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
            found.doubts += [f"clip {result.name}: {doubt}" for doubt in result.doubts]
    names = [clip.name for clip, _ in clips]
    found.doubts += name_doubts(names, "clips") + name_doubts(map(subject_of, names), "subjects")
