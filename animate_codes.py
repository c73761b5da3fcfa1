"""`--mode animate` without a driving clip: give source faces the micro-expression of a FACS code.

The code's action units move the landmarks of the source as `data/action_unit_geometry.csv` says, and the model follows
the landmarks. There is no driving picture, so of the section `animate_params` what is about one is without effect:
`mode`, `normalization_params`, `remove_head_motion`, and `motion: flow`, in whose place the splines move the face.

Legend: T frames.
"""

import hashlib
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from animate import check_result, make_engine, make_loader, result_folder, write_one
from animation_list import Planned, animate_list, content_hash, read_result, write_result
from clip_files import read_list
from clips import Clip, ClipError, open_clip
from config.options import RunOptions
from config.schema import Config
from errors import UserError
from faces.action_unit_tables import read_table
from faces.action_units import TableRules, clip_action_units
from faces.au_geometry import displace
from faces.facs import MAX_INTENSITY, intensity_curves, parse_code
from frames_dataset import ClipLoader, PreparedClip, clips_by_name, resolve_clip, table_rules
from inference import Engine
from video import SheetRow

COLUMNS = ("source", "au", "onset", "apex", "offset")
NEEDED = ("source", "result", "onset", "apex", "offset")
NOT_WITH_CODE = ("driving", "driving_landmarks", "driving_au", "au_list")
NOT_WITH_LIST = (*NOT_WITH_CODE[:-1], "source", "source_landmarks", "result", *COLUMNS[2:], "frames")


@dataclass(frozen=True)
class CodedClip:
    """A clip to generate.

    Attributes:
        source: its first frame is the face.
        code: as it was written, or the file of the curves.
        curves: (T, 17, 2) intensities, 0 to 1.
        onset, offset: frames, empty for curves.
        fps: frames a second; None takes the source's or the config's.
        name: of its folder of results.
    """

    source: Clip
    code: str
    curves: NDArray[np.float32]
    onset: int | str
    offset: int | str
    fps: float | None
    name: str


def animate_codes(config: Config, options: RunOptions) -> int:
    """Animate one source with the code `--au`, or the rows of `--au-list`.

    Returns:
        Exit status 0.
    Raises:
        UserError: arguments, list, clips or model cannot be used.
    """
    single = options.au is not None
    _check(options, NOT_WITH_CODE if single else NOT_WITH_LIST, NEEDED if single else ())
    coded = [] if single else read_codes(config, options)
    curves = _curves_of_arguments(options) if single else None
    engine, weights = make_engine(config, options, config.animate_params.batch_size)
    if not engine.model.motion_from_landmarks:
        raise UserError(
            "--au and --au-list: expected a model whose motion comes from landmarks (`warp`, or `tps` with "
            f"`keypoints: landmarks`), got a `{config.family}` without them"
        )
    loader = make_loader(config, engine)
    if curves is not None:
        assert options.source is not None, "checked above"
        assert options.result is not None, "checked above"
        face = loader.load(open_clip(options.source), landmark_file=options.source_landmarks, action_units=False)
        fps = options.fps or loader.fps(face)
        generated = engine.animate_landmarks(face, _moved(face, curves), curves)
        write_one(options.result, generated, fps, config.animate_params.crf)
    else:
        _animate_rows(config, options, engine, loader, weights, coded)
    return 0


def _check(options: RunOptions, refused: tuple[str, ...], needed: tuple[str, ...]) -> None:
    name = "--au" if options.au is not None else "--au-list"
    for field in refused:
        if getattr(options, field) is not None:
            raise UserError(f"{name} and --{field.replace('_', '-')}: expected one of them, got both")
    for field in needed:
        if getattr(options, field) is None:
            raise UserError(f"--{field}: expected together with {name}, got nothing")
    if options.reference_frame:
        raise UserError(f"{name} and --reference-frame: expected one of them, got both")
    if options.result is not None:
        check_result(options.result)
    if options.fps is not None and not 0 < options.fps < math.inf:
        raise UserError(f"--fps: expected frames a second, got {options.fps:g}")
    if not 0 <= options.au_intensity <= MAX_INTENSITY:
        raise UserError(f"--au-intensity: expected 0 to 5, got {options.au_intensity:g}")


def _curves_of_arguments(options: RunOptions) -> NDArray[np.float32]:
    times = [options.onset, options.apex, options.offset]
    try:
        return _curves(options.au or "", times, options.frames, options.au_intensity, "error")
    except ValueError as error:
        raise UserError(f"--au: {error}") from error


def _curves(
    code: str, times: list[Any], frames: int | None, intensity: float, alternatives: Literal["flag", "error"]
) -> NDArray[np.float32]:
    """Curves of a code; onset, apex and offset in `times`, 0 to 5 in `intensity`."""
    onset, apex, offset = times
    units = parse_code(code, alternatives=alternatives)
    length = max(offset + onset, offset + 1) if frames is None else frames
    return intensity_curves(units, onset, apex, offset, length, default=intensity / MAX_INTENSITY)


def _moved(face: PreparedClip, curves: NDArray[np.float32]) -> NDArray[np.float64]:
    """Landmarks of the face so moved, (T, 68, 2) in pixels of its own frame; in frame 0 it is at rest."""
    assert face.landmarks is not None, "clips of a family that needs landmarks are loaded with them"
    try:
        return displace(face.cached.to_own(face.landmarks[:1])[0], curves - curves[0])
    except ValueError as error:
        raise ClipError(f"clip {face.name}: {error}") from error


# --- a list of codes --------------------------------------------------------------------------------------------------


def read_codes(config: Config, options: RunOptions) -> list[CodedClip]:
    """Read `--au-list`.

    Columns `source,au,onset,apex,offset` and, where wanted, `frames,fps,name,curves`. A source is a test clip, or a
    clip beside the list. `curves` names a table of action units beside the list, as `read_table` reads it, in
    the place of code, times and length. Of alternatives ("12 or 14") the first is taken.

    Raises:
        UserError: a list without the columns, or a row that cannot be used; the message names list and line.
    """
    path = options.au_list
    assert path is not None, "read only where the list is given"
    clips = clips_by_name(config.dataset_params)
    rules = table_rules(config.dataset_params)
    coded: dict[str, tuple[int, CodedClip]] = {}
    for line, row in read_list(path, COLUMNS):
        clip = resolve_clip(row["source"], clips, path, line)
        try:
            one = _row(row, clip, path.parent, options, rules)
            if one.name in coded:
                raise ValueError(f"name {one.name!r} is also that of line {coded[one.name][0]}; fill the column `name`")
        except ValueError as error:
            raise UserError(f"{path}: line {line}: {error}") from error
        coded[one.name] = line, one
    return [one for _, one in coded.values()]


def _row(row: Mapping[str, str], source: Clip, folder: Path, options: RunOptions, rules: TableRules) -> CodedClip:
    code, table = row["au"], row.get("curves", "")
    onset: int | str = ""
    offset: int | str = ""
    if table:
        filled = [name for name in ("au", "onset", "apex", "offset", "frames") if row.get(name)]
        if filled:
            raise ValueError(f"expected `curves` or `{filled[0]}`, got both")
        code = table
        curves = _read_curves(folder / table, rules)
    else:
        times = [_number(row, name, int) for name in ("onset", "apex", "offset")]
        frames = _number(row, "frames", int) if row.get("frames") else None
        curves = _curves(code, times, frames, options.au_intensity, "flag")
        onset, _, offset = times
    fps = _number(row, "fps", float) if row.get("fps") else options.fps
    if fps is not None and not 0 < fps < math.inf:
        raise ValueError(f"fps: expected frames a second, got {fps:g}")
    name = row.get("name") or re.sub(r"[^\w.+=-]+", "_", f"{Path(code).stem if table else code}-{source.label}")
    if not re.fullmatch(r"[\w+=-][\w.+=-]*", name):
        raise ValueError(f"name: expected letters, digits and any of _ . + = -, got {name!r}")
    return CodedClip(source, code, curves, onset, offset, fps, name)


def _number(row: Mapping[str, str], name: str, kind: Callable[[str], Any]) -> Any:
    try:
        return kind(row[name])
    except ValueError as error:
        raise ValueError(f"{name}: expected a {'whole ' * (kind is int)}number, got {row[name]!r}") from error


def _read_curves(path: Path, rules: TableRules) -> NDArray[np.float32]:
    """(T, 17, 2) of a table; its first and last frame number, or its rows where it has none, say how long it is."""
    table = read_table(path, rules.min_confidence)
    numbers = None
    if table.numbers is not None and len(table.numbers):
        numbers = range(int(table.numbers.min()), int(table.numbers.max()) + 1)
    length = len(table.values) if numbers is None else len(numbers)
    return clip_action_units(table, length, frame_numbers=numbers, rules=rules)


def _animate_rows(
    config: Config, options: RunOptions, engine: Engine, loader: ClipLoader, weights: str, coded: list[CodedClip]
) -> None:
    folder = result_folder(options, "animation")
    prepared: dict[Path, PreparedClip] = {}

    def plan(one: CodedClip) -> Planned:
        if one.source.path not in prepared:
            prepared[one.source.path] = loader.load(one.source, "test", action_units=False)
        face = prepared[one.source.path]
        moved, fps = _moved(face, one.curves), one.fps or loader.fps(face)
        movement = hashlib.sha256(moved.tobytes() + one.curves.tobytes()).hexdigest()

        def make(result: Path) -> dict[str, Any]:
            generated = list(engine.animate_landmarks(face, moved, one.curves))
            row = write_result(result, generated, fps, config.animate_params, 0)
            return {**row, "source": face.name, "driving": "", "au": one.code, "onset": one.onset, "offset": one.offset}

        def show(row: Mapping[str, str]) -> SheetRow:
            apex = int(row["apex"])
            return SheetRow(f"{face.name} <- {one.code}, apex frame {apex}", read_result(folder, row, 0, apex))

        return Planned(one.name, f"{content_hash(face)} {movement} {fps}", make, show)

    animate_list(config, folder, [weights], coded, plan)
