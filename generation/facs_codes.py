"""`--mode animate` without a driving clip: give source faces the micro-expression of a FACS code.

The code's action units move the landmarks of the source as `data/action_unit_geometry.csv` says, and the model follows
the landmarks. There is no driving picture, so of the section `animate_params` everything about one has no effect:
`mode`, `normalization_params`, `remove_head_motion`, and `motion: flow`, in whose place the splines move the face.

Legend: T frames.
"""

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clips.loader import LoadedClip
from clips.reading import ClipError, open_clip
from config.experiment import Config
from config.options import RunOptions
from errors import UserError
from faces.au_geometry import displace
from faces.facs import MAX_INTENSITY
from generation.batch import Batch, content_hash
from generation.code_list import CodedClip, code_curves, read_code_list
from generation.engine import Engine
from generation.limits import check_fps
from generation.photos import FaceFinder
from generation.results import ANIMATION_COLUMNS, check_result, frame_rate_of, read_result, write_result, write_single
from generation.setup import animation_settings, make_engine, make_loader, result_folder
from logger import log_to_file
from output.contact_sheet import SheetRow, write_batch_sheet

log = logging.getLogger("animate")

REQUIRED_WITH_CODE = ("source", "result", "onset", "apex", "offset")
NOT_WITH_CODE = ("driving", "driving_landmarks", "driving_au", "au_list")
NOT_WITH_LIST = (
    *("driving", "driving_landmarks", "driving_au", "source", "source_landmarks", "result"),
    *("onset", "apex", "offset", "frames"),
)


def animate_codes(config: Config, options: RunOptions) -> int:
    """Animate one source with the code `--au`, or the rows of `--au-list`.

    Returns:
        Exit status 0.
    Raises:
        UserError: arguments, list, clips or model cannot be used.
    """
    _check_options(options)
    if options.au_list is None:
        _animate_code(config, options)
    else:
        _animate_list(config, options, options.au_list)
    return 0


def _check_options(options: RunOptions) -> None:
    name = "--au-list" if options.au is None else "--au"
    refused: tuple[str, ...] = NOT_WITH_LIST if options.au is None else NOT_WITH_CODE
    required: tuple[str, ...] = () if options.au is None else REQUIRED_WITH_CODE
    for field in refused:
        if getattr(options, field) is not None:
            raise UserError(f"{name} and --{field.replace('_', '-')}: expected one of them, got both")
    for field in required:
        if getattr(options, field) is None:
            raise UserError(f"--{field} is required with {name}")
    if options.au is None and options.face is not None:
        raise UserError("--au-list and --face: expected one of them, got both")
    if options.reference_frame:
        raise UserError(f"{name} and --reference-frame: expected one of them, got both")
    if options.result is not None:
        check_result(options.result)
    if options.fps is not None:
        try:
            check_fps(options.fps, "--fps")
        except ValueError as error:
            raise UserError(str(error)) from error
    if not 0 <= options.au_intensity <= MAX_INTENSITY:
        raise UserError(f"--au-intensity: expected 0 to 5, got {options.au_intensity:g}")


def _make_engine(config: Config, options: RunOptions) -> tuple[Engine, str]:
    engine, weights = make_engine(
        config, options, config.animate_params.batch_size, fast_error=config.animate_params.fast_error
    )
    if not engine.model.motion_from_landmarks:
        raise UserError(
            "--au and --au-list: expected a model whose motion comes from landmarks (`warp`, or `tps` with "
            f"`keypoints: landmarks`), got a `{config.family}` without them"
        )
    return engine, weights


def _displaced(face: LoadedClip, curves: NDArray[np.float32]) -> NDArray[np.float64]:
    """Landmarks of the face so moved, (T, 68, 2) in pixels of its own frame; in frame 0 it is at rest."""
    assert face.landmarks is not None, "clips of a family that needs landmarks are loaded with them"
    try:
        return displace(face.cached.to_own(face.landmarks[:1])[0], curves - curves[0])
    except ValueError as error:
        raise ClipError(f"clip {face.name}: {error}") from error


# --- one code ---------------------------------------------------------------------------------------------------------


def _animate_code(config: Config, options: RunOptions) -> None:
    code, source, result = options.au, options.source, options.result
    onset, apex, offset = options.onset, options.apex, options.offset
    assert code is not None, "checked before"
    assert source is not None, "checked before"
    assert result is not None, "checked before"
    assert onset is not None, "checked before"
    assert apex is not None, "checked before"
    assert offset is not None, "checked before"
    try:
        warn = partial(log.warning, "--au %s: %s", code)
        curves = code_curves(code, onset, apex, offset, options.frames, options.au_intensity, warn)
    except ValueError as error:
        raise UserError(f"--au: {error}") from error
    engine, _ = _make_engine(config, options)
    loader = make_loader(config, engine)
    finder = FaceFinder(loader, engine.device.name, options.crop, needs_landmarks=True)
    photo = finder.load_photo(open_clip(source), options.source_landmarks, options.face)
    face = photo.face
    fps = options.fps or frame_rate_of(loader, face)
    generated = engine.animate_landmarks(face, _displaced(face, curves), curves, changes=photo.is_cropped)
    write_single(result, photo.paste_back(generated), fps, config.animate_params.crf)


# --- a list of codes --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CodeJob:
    """A source face to animate with a code.

    Attributes:
        coded: the row of the list.
        face: its source.
        landmarks: (T, 68, 2), the moved ones, pixels of the face's own frame.
        fps: frames per second of the result.
    """

    coded: CodedClip
    face: LoadedClip
    landmarks: NDArray[np.float64]
    fps: float

    @property
    def name(self) -> str:
        """Name of the result, as the list gives it."""
        return self.coded.name

    @property
    def identity(self) -> dict[str, str]:
        """Source and code, of which several rows may make the same name; nothing where the list gives the name."""
        return {} if self.coded.named else {"source": self.face.name, "au": self.coded.code}

    @property
    def inputs(self) -> str:
        """Hashes of the face and of its movement, and the frame rate."""
        movement = hashlib.sha256(self.landmarks.tobytes() + self.coded.curves.tobytes()).hexdigest()
        return f"{content_hash(self.face)} {movement} {self.fps}"


def _animate_list(config: Config, options: RunOptions, path: Path) -> None:
    coded = read_code_list(path, config.dataset_params, intensity=options.au_intensity, fps=options.fps)
    engine, weights = _make_engine(config, options)
    loader = make_loader(config, engine)
    folder = result_folder(options, "animation")
    faces: dict[Path, LoadedClip] = {}

    def load(one: CodedClip) -> CodeJob:
        if one.source.path not in faces:
            faces[one.source.path] = loader.load(one.source, "test", action_units=False)
        face = faces[one.source.path]
        return CodeJob(one, face, _displaced(face, one.curves), one.fps or frame_rate_of(loader, face))

    with log_to_file(folder):
        batch = Batch(folder, ANIMATION_COLUMNS, [weights, *animation_settings(config)])
        finished = batch.run(
            coded[: config.animate_params.num_pairs],
            load,
            partial(_generate, config, engine),
            title="animating",
            skip_bad=config.dataset_params.on_bad_clip == "skip",
        )
        write_batch_sheet(
            folder / "contact_sheet.png",
            ((clip.number, partial(_sheet_row, folder, clip.job, clip.row)) for clip in finished),
        )


def _generate(config: Config, engine: Engine, job: CodeJob, folder: Path) -> dict[str, Any]:
    """Generate one clip and write it; returns its row of `results.csv`."""
    generated = engine.animate_landmarks(job.face, job.landmarks, job.coded.curves)
    row = write_result(folder, generated, job.fps, config.animate_params, 0)
    coded = job.coded
    return {
        **row,
        "source": job.face.name,
        "driving": "",
        "au": coded.code,
        "onset": coded.onset,
        "offset": coded.offset,
    }


def _sheet_row(folder: Path, job: CodeJob, row: Mapping[str, str]) -> SheetRow:
    apex = int(row["apex"])
    label = f"{job.face.name} <- {job.coded.code}, apex frame {apex}"
    return SheetRow(label, read_result(folder, row, 0, apex))
