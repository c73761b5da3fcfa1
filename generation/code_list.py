"""Lists of FACS codes: a CSV file whose rows are clips to generate.

Legend: T frames.
"""

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clips.files import read_list
from clips.loader import table_rules
from clips.pairs import clips_by_name, resolve_clip
from clips.reading import Clip
from config.sections import DatasetParams
from errors import UserError
from faces.action_unit_tables import ACTION_UNITS, read_table
from faces.action_units import TableRules, clip_action_units
from faces.facs import MAX_FRAMES, MAX_INTENSITY, intensity_curves, parse_code
from generation.limits import check_fps

COLUMNS = ("source", "au", "onset", "apex", "offset")

log = logging.getLogger("animate")


@dataclass(frozen=True)
class CodedClip:
    """A clip to generate from a code.

    Attributes:
        source: its first frame is the face.
        code: as it was written, or the file of the curves.
        curves: (T, 17, 2) intensities, 0 to 1.
        onset, offset: frames, empty for curves.
        fps: frames per second; None takes the source's or the config's.
        name: of its folder of results.
        named: True if the list gives the name.
    """

    source: Clip
    code: str
    curves: NDArray[np.float32]
    onset: int | str
    offset: int | str
    fps: float | None
    name: str
    named: bool


def code_curves(
    code: str,
    onset: int,
    apex: int,
    offset: int,
    frames: int | None,
    intensity: float,
    notice: Callable[[str], None],
) -> NDArray[np.float32]:
    """Intensity curves of a FACS code.

    Args:
        onset, apex, offset: frames, from 0: last at rest, strongest, first at rest again.
        frames: T; None takes offset + onset.
        intensity: 0 to 5, of action units whose code gives none.
        notice: receives one line on every part of the code that does not move as written, see `parse_code`.
    Returns:
        (T, 17, 2), 0 to 1.
    Raises:
        ValueError: a code or times that cannot be used.
    """
    units = parse_code(code, alternatives="flag", others="leave_out", notice=notice)
    if not any(unit.moves for unit in units):
        raise ValueError(
            f"FACS code {code!r}: expected action units among {', '.join(map(str, ACTION_UNITS))}; got none"
        )
    length = max(offset + onset, offset + 1) if frames is None else frames
    return intensity_curves(units, onset, apex, offset, length, default=intensity / MAX_INTENSITY)


def read_code_list(path: Path, params: DatasetParams, *, intensity: float, fps: float | None) -> list[CodedClip]:
    """Read `--au-list`.

    Columns `source,au,onset,apex,offset` and, where wanted, `frames,fps,name,curves`. A source is a test clip, or a
    clip beside the list. `curves` names a table of action units beside the list, as `read_table` reads it, in
    the place of code, times and length. Of alternatives ("12 or 14") the first is taken; parts of a code that cannot be
    used are left out with a warning.

    Args:
        params: the section `dataset_params`.
        intensity: 0 to 5, of action units whose code gives none.
        fps: frames per second of rows that give none; None takes the source's or the config's.
    Raises:
        UserError: a list without the columns, or a row that cannot be used; the message names list and line.
    """
    clips = clips_by_name(params)
    rules = table_rules(params)
    coded: dict[str, tuple[int, CodedClip]] = {}
    for line, row in read_list(path, COLUMNS):
        clip = resolve_clip(row["source"], clips, path, line)
        try:
            warn = partial(log.warning, "%s: line %d: FACS code %s: %s", path, line, row["au"])
            one = _coded_clip(row, clip, path.parent, rules, intensity, fps, warn)
            if one.name in coded:
                raise ValueError(f"name {one.name!r} is also that of line {coded[one.name][0]}; fill the column `name`")
        except ValueError as error:
            raise UserError(f"{path}: line {line}: {error}") from error
        coded[one.name] = line, one
    return [one for _, one in coded.values()]


def _coded_clip(
    row: Mapping[str, str],
    source: Clip,
    folder: Path,
    rules: TableRules,
    intensity: float,
    fps: float | None,
    notice: Callable[[str], None],
) -> CodedClip:
    code, table = row["au"], row.get("curves", "")
    times: tuple[int | str, int | str] = "", ""
    if table:
        filled = [name for name in ("au", "onset", "apex", "offset", "frames") if row.get(name)]
        if filled:
            raise ValueError(f"expected `curves` or `{filled[0]}`, got both")
        code = table
        curves = _table_curves(folder / table, rules)
    else:
        onset, apex, offset = (_number(row, name, int) for name in ("onset", "apex", "offset"))
        frames = _number(row, "frames", int) if row.get("frames") else None
        curves = code_curves(code, onset, apex, offset, frames, intensity, notice)
        times = onset, offset
    fps = _number(row, "fps", float) if row.get("fps") else fps
    if fps is not None:
        check_fps(fps, "fps")
    name = row.get("name") or re.sub(r"[^\w.+=-]+", "_", f"{Path(code).stem if table else code}-{source.label}")
    if not re.fullmatch(r"[\w+=-][\w.+=-]*", name):
        raise ValueError(f"name: expected letters, digits and any of _ . + = -, got {name!r}")
    return CodedClip(source, code, curves, *times, fps, name, bool(row.get("name")))


def _number(row: Mapping[str, str], name: str, kind: Callable[[str], Any]) -> Any:
    try:
        return kind(row[name])
    except ValueError as error:
        raise ValueError(f"{name}: expected a {'whole ' * (kind is int)}number, got {row[name]!r}") from error


def _table_curves(path: Path, rules: TableRules) -> NDArray[np.float32]:
    """(T, 17, 2) of a table; T follows from its first and last frame number, or from its rows where it has none."""
    table = read_table(path, rules.min_confidence)
    numbers, length = None, len(table.values)
    if table.numbers is not None and len(table.numbers):
        first, last = int(table.numbers.min()), int(table.numbers.max())
        numbers, length = range(first, last + 1), last + 1 - first
    if length > MAX_FRAMES:
        raise ValueError(f"{path}: expected at most {MAX_FRAMES} frames, got {length}; is a frame number mistaken?")
    return clip_action_units(table, length, frame_numbers=numbers, rules=rules)
