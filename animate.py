"""`--mode animate`: give source faces the movement of driving clips, or of FACS codes (`generation/facs_codes.py`)."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from clips.loader import ClipLoader, LoadedClip
from clips.pairs import animation_pairs
from clips.reading import Clip, open_clip
from config.experiment import Config
from config.options import RunOptions
from errors import UserError
from generation.batch import Batch, content_hash
from generation.engine import Engine
from generation.facs_codes import animate_codes
from generation.photos import FaceFinder
from generation.reference import choose_reference
from generation.results import (
    ANIMATION_COLUMNS,
    check_result,
    clip_frames,
    frame_rate_of,
    read_result,
    write_result,
    write_single,
)
from generation.setup import animation_settings, make_engine, make_loader, result_folder
from logger import log_to_file
from output.contact_sheet import SheetRow, write_batch_sheet


def animate(config: Config, options: RunOptions) -> int:
    """Animate the pairs of the data set, one source with one driving clip, or sources with FACS codes.

    Returns:
        Exit status 0.
    Raises:
        UserError: checkpoint, clips or settings cannot be used.
    """
    if options.au is not None or options.au_list is not None:
        return animate_codes(config, options)
    if options.source is None and (options.crop == "face" or options.face is not None):
        raise UserError(f"--{'crop face' if options.crop == 'face' else 'face'} has no meaning without --source")
    for name in ("onset", "apex", "offset", "frames", "fps"):
        if getattr(options, name) is not None:
            raise UserError(f"--{name} has no meaning without --au")
    engine, weights = make_engine(
        config, options, config.animate_params.batch_size, fast_error=config.animate_params.fast_error
    )
    loader = make_loader(config, engine)
    if options.source or options.driving or options.result:
        _animate_files(config, options, engine, loader)
    else:
        _animate_pairs(config, options, engine, loader, weights)
    return 0


# --- one source, one driving clip -------------------------------------------------------------------------------------


def _animate_files(config: Config, options: RunOptions, engine: Engine, loader: ClipLoader) -> None:
    source, driving, result = options.source, options.driving, options.result
    names = ("--source", "--driving", "--result")
    for name in names:
        if getattr(options, name[2:]) is None:
            raise UserError(f"{name} is required with {' and '.join(other for other in names if other != name)}")
    assert source is not None, "checked above"
    assert driving is not None, "checked above"
    assert result is not None, "checked above"
    check_result(result)
    finder = FaceFinder(loader, engine.device.name, options.crop, needs_landmarks=engine.model.needs_landmarks)
    photo = finder.load_photo(open_clip(source), options.source_landmarks, options.face)
    clip = finder.load_driving(options, open_clip(driving))
    fps = frame_rate_of(loader, clip)
    reference = choose_reference(clip, options.reference_frame)
    generated = engine.animate(photo.face, clip, config.animate_params, reference=reference, changes=photo.is_cropped)
    write_single(result, photo.paste_back(generated), fps, config.animate_params.crf, sound_of=driving)


# --- pairs of a data set ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PairJob:
    """A source face to animate with a driving clip."""

    source: LoadedClip
    driving: LoadedClip

    @property
    def name(self) -> str:
        """`DRIVING-SOURCE`."""
        return f"{self.driving.clip.label}-{self.source.clip.label}"

    @property
    def identity(self) -> dict[str, str]:
        """Names of both clips, of which several pairs may make the same name."""
        return {"source": self.source.name, "driving": self.driving.name}

    @property
    def inputs(self) -> str:
        """Hashes of both clips."""
        return f"{content_hash(self.source)} {content_hash(self.driving)}"


def _animate_pairs(config: Config, options: RunOptions, engine: Engine, loader: ClipLoader, weights: str) -> None:
    reference = options.reference_frame or 0  # clips of a data set begin with their onset
    pairs = animation_pairs(config.dataset_params)
    if not pairs:
        raise UserError(
            f"{config.dataset_params.root_dir}: expected at least two test clips to animate each by the others, got "
            "one; add clips, or name them by dataset_params.pairs_list, or by --source and --driving"
        )
    folder = result_folder(options, "animation")
    loaded: dict[tuple[Path, bool], LoadedClip] = {}

    def load(clip: Clip, *, drives: bool) -> LoadedClip:
        """A clip in one of its two roles: only a driving clip needs action units, relative to its reference frame."""
        if (clip.path, drives) not in loaded:
            loaded[clip.path, drives] = loader.load(clip, "test", action_units=drives, reference=reference)
        return loaded[clip.path, drives]

    def load_pair(pair: tuple[Clip, Clip]) -> PairJob:
        return PairJob(load(pair[0], drives=False), load(pair[1], drives=True))

    with log_to_file(folder):
        batch = Batch(folder, ANIMATION_COLUMNS, [weights, reference, *animation_settings(config)])
        finished = batch.run(
            pairs[: config.animate_params.num_pairs],
            load_pair,
            partial(_animate_pair, config, engine, loader, reference),
            title="animating",
            skip_bad=config.dataset_params.on_bad_clip == "skip",
        )
        write_batch_sheet(
            folder / "contact_sheet.png",
            ((clip.number, partial(_sheet_row, folder, clip.job, clip.row, reference)) for clip in finished),
        )


def _animate_pair(
    config: Config, engine: Engine, loader: ClipLoader, reference: int, job: PairJob, folder: Path
) -> dict[str, Any]:
    """Generate one clip, write it and its comparison with the driving clip; returns its row of `results.csv`."""
    params, fps = config.animate_params, frame_rate_of(loader, job.driving)
    generated = engine.animate(job.source, job.driving, params, reference=reference)
    row = write_result(folder, generated, fps, params, reference, clip_frames(job.driving))
    return {"source": job.source.name, "driving": job.driving.name, "au": "", "onset": "", "offset": "", **row}


def _sheet_row(folder: Path, job: PairJob, row: Mapping[str, str], reference: int) -> SheetRow:
    apex = int(row["apex"])
    shown = clip_frames(job.driving)
    label = f"{row['source']} <- {row['driving']}, apex frame {apex}"
    return SheetRow(label, read_result(folder, row, reference, apex), (shown[reference], shown[apex]))
