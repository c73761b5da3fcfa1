"""FACS codes: action units with sides and intensities, as coded by a person, and their course over a clip.

One parser reads all notations; blanks and case are ignored. "L" and "R" are the subject's own left and right:

    AU4=2.0,AU7=1.5,L12=1        a number, a side before it or before "AU", the intensity from 0 to 5
    4   4+7   L12   R2+15        CASME II
    7B   R14A   R12 + R15        SAMM: letters A to E are the FACS intensities 1 to 5
    AU 1+2   4(k)                "(k)" after the unit: optional
    R12 or R14 + 25              alternatives; "or" binds more tightly than "+"

Coders use more action units than the 17 whose movement is known here; see `others` of `parse_code`.

Legend: T frames, 17 action units in the order of `ACTION_UNITS`, 2 sides of the face in the order of `SIDES`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from faces.action_unit_tables import ACTION_UNITS, Side
from faces.action_units import SIDES

MAX_INTENSITY = 5.0  # FACS grades intensities from A to E, OpenFace from 0 to 5

_UNIT = re.compile(
    r"(?P<before>[LR])?\s*(?:AU)?\s*(?P<after>[LR])?\s*(?P<number>\d+)\s*(?P<letter>[A-E])?\s*(?P<mark>\(k\))?"
    r"\s*(?:=\s*(?P<value>.*))?",
    re.IGNORECASE | re.DOTALL,
)
_FACS_NUMBERS = frozenset(
    (1, 2, *range(4, 47), *range(50, 59), *range(61, 67), *range(69, 75), *range(80, 86), *range(91, 99))
)
"""Action units, movements of head and eyes, visibility and gross behaviour (Ekman, Friesen and Hager, FACS, 2002)."""
_EXPECTED = "expected action units such as 4+L12B or AU4=2.0,L12=1"
_LETTERS = "ABCDE"


@dataclass(frozen=True)
class CodedUnit:
    """One action unit of a code.

    Attributes:
        au: number, one of `ACTION_UNITS`.
        side: the subject's own; None for both.
        intensity: 0 to 1 (FACS and OpenFace divided by 5); None where the code gives none.
        optional: marked "(k)".
        alternative: written after "or": the coder meant this unit or the one before it.
    """

    au: int
    side: Side | None = None
    intensity: float | None = None
    optional: bool = False
    alternative: bool = False

    @property
    def sides(self) -> tuple[Side, ...]:
        """Sides that move."""
        return SIDES if self.side is None else (self.side,)


def parse_code(
    text: str, *, alternatives: Literal["flag", "error"] = "error", others: Literal["leave_out", "error"] = "error"
) -> list[CodedUnit]:
    """Read a FACS code.

    Args:
        text: one of the notations above.
        alternatives: `flag` keeps both units of "12 or 14" and marks the second, which `intensity_curves` ignores;
            `error` refuses the code.
        others: `leave_out` ignores FACS numbers other than the 17, such as the 24 of "4+24", even if no unit is left;
            `error` refuses the code.
    Returns:
        The units in the order of the code; repeated units appear once.
    Raises:
        ValueError: an empty or unreadable code, an action unit other than the 17, an intensity outside 0 to 5, a unit
            that is repeated with another intensity.
    """
    if text.strip() in ("", "?"):
        raise ValueError(f"FACS code {text!r}: {_EXPECTED}, got no code")
    units: list[CodedUnit] = []
    for part in re.split(r"[+,]", text):
        for place, choice in enumerate(re.split(r"\bor\b", part, flags=re.IGNORECASE)):
            if place and alternatives == "error":
                raise ValueError(f"FACS code {text!r}: expected one choice, got alternatives; keep only one")
            unit = replace(_parse_unit(choice.strip(), text, others), alternative=place > 0)
            if unit.au not in ACTION_UNITS:
                continue
            if unit.alternative or not _is_repeated(unit, units, text):
                units.append(unit)
    return units


def _parse_unit(part: str, text: str, others: Literal["leave_out", "error"]) -> CodedUnit:
    match = _UNIT.fullmatch(part)
    if match is None or (match["before"] and match["after"]) or (match["letter"] and match["value"] is not None):
        raise ValueError(f"FACS code {text!r}: {_EXPECTED}, got {part!r}")
    number = int(match["number"])
    if number not in ACTION_UNITS and (others == "error" or number not in _FACS_NUMBERS):
        known = ", ".join(map(str, ACTION_UNITS))
        raise ValueError(f"FACS code {text!r}: expected action units among {known}; got {number}")
    intensity = None
    if match["letter"]:
        intensity = (_LETTERS.index(match["letter"].upper()) + 1) / MAX_INTENSITY
    elif match["value"] is not None:
        intensity = _parse_intensity(match["value"], number, text)
    sides: dict[str, Side] = {"L": "left", "R": "right"}
    side = sides.get((match["before"] or match["after"] or "").upper())
    return CodedUnit(number, side, intensity, optional=match["mark"] is not None)


def _parse_intensity(value: str, number: int, text: str) -> float:
    try:
        intensity = float(value)
    except ValueError as error:
        raise ValueError(f"FACS code {text!r}: AU{number}: expected a number, got {value!r}") from error
    if not 0 <= intensity <= MAX_INTENSITY:
        raise ValueError(f"FACS code {text!r}: AU{number}: expected an intensity from 0 to 5, got {value}")
    return intensity / MAX_INTENSITY


def _is_repeated(unit: CodedUnit, units: Sequence[CodedUnit], text: str) -> bool:
    """True if earlier units cover a unit on all its sides.

    Raises:
        ValueError: an earlier unit gives the same action unit another intensity.
    """
    same = [u for u in units if u.au == unit.au and not u.alternative and set(u.sides) & set(unit.sides)]
    if any(other.intensity != unit.intensity for other in same):
        raise ValueError(f"FACS code {text!r}: AU{unit.au}: expected one intensity on each side, got two")
    return set(unit.sides) <= {side for other in same for side in other.sides}


# --- course -----------------------------------------------------------------------------------------------------------


def intensity_curves(
    units: Sequence[CodedUnit],
    onset: int,
    apex: int,
    offset: int,
    num_frames: int,
    *,
    default: float | None = None,
) -> NDArray[np.float32]:
    """Intensities of coded units in every frame; alternatives are ignored, optional units are used.

    Args:
        units: from `parse_code`.
        onset: last frame at rest, counted from 0.
        apex: frame in which every unit has its full intensity.
        offset: first frame at rest after the apex.
        num_frames: T.
        default: intensity, 0 to 1, of units without one in the code; None: such a unit is an error.
    Returns:
        (T, 17, 2), 0 to 1, sides left and right of the subject.
    Raises:
        ValueError: frames out of order, or a unit without an intensity.
    """
    course = rise_and_fall(onset, apex, offset, num_frames)
    curves = np.zeros((num_frames, len(ACTION_UNITS), len(SIDES)), np.float32)
    for unit in units:
        if unit.alternative:
            continue
        intensity = default if unit.intensity is None else unit.intensity
        if intensity is None:
            raise ValueError(f"AU{unit.au}: expected an intensity such as AU{unit.au}=2, got none")
        for side in unit.sides:
            curves[:, ACTION_UNITS.index(unit.au), SIDES.index(side)] = intensity * course
    return curves


def rise_and_fall(onset: int, apex: int, offset: int, num_frames: int) -> NDArray[np.float64]:
    """Minimum-jerk course from rest at the onset to 1 at the apex and back to rest at the offset.

    Args:
        onset, apex, offset, num_frames: as in `intensity_curves`.
    Returns:
        (T,), 0 to 1; zero up to the onset and from the offset.
    Raises:
        ValueError: not 0 <= onset < apex < offset < T.
    Source: 10 s^3 - 15 s^4 + 6 s^5 (Flash and Hogan, Journal of Neuroscience, 1985).
    """
    if onset < 0:
        raise ValueError(f"expected an onset from 0, got {onset}")
    if apex <= onset:
        raise ValueError(f"expected an apex after the onset, got apex {apex} and onset {onset}")
    if offset <= apex:
        raise ValueError(f"expected an offset after the apex, got offset {offset} and apex {apex}")
    if num_frames <= offset:
        raise ValueError(f"expected at least {offset + 1} frames for offset {offset}, got {num_frames}")
    t = np.arange(num_frames, dtype=np.float64)
    rise, fall = np.clip((t - onset) / (apex - onset), 0, 1), np.clip((t - apex) / (offset - apex), 0, 1)
    up, down = (s**3 * (10 - 15 * s + 6 * s**2) for s in (rise, fall))
    return up - down
