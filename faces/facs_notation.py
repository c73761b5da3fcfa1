"""FACS notation: reads and writes action units with sides and intensities, as coded by a person.

One parser reads all notations; blanks, case and the width of characters are ignored. "L" and "R" are the subject's own
left and right:

    AU4=2.0,AU7=1.5,L12=1        a number, a side before or after it, the intensity from 0 to 5
                                 (2,5 is refused: a decimal comma, or AU5)
    4   4+7   L12   R2+15        CASME II
    7B   R14A   A12B   T23       SAMM: A to E are the FACS intensities 1 to 5; "A" before the number: asymmetric (both
                                 sides, one of them stronger); "T" or "B" before it: only the top or bottom lip
    12L   4R+7                   MMEW: side after the number
    AU 1+2   4(k)   4?           "(k)" or "?" after the unit: optional
    (R12 or 14)+25   A/L12   10A/B   alternatives; "or" binds more tightly than "+"
    L+R12   bilateral 12   12-L   unilateral L14   4C7D   AU04_r   [4+7]   other spellings
    ref(7B)                      reference: a unit that the coder compared with, which does not move
    AD38   M58   57   61         action descriptors, movements of head and eyes

Coders use more action units than the 17 whose movement is known here; see `others` of `parse_code`. AU43 (eyes closed)
moves as AU45 (blink). `format_code` writes what `parse_code` read.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from faces.action_unit_tables import ACTION_UNITS, Side
from faces.action_units import SIDES

MAX_INTENSITY = 5.0  # FACS grades intensities from A to E, OpenFace from 0 to 5
MAX_LENGTH = 2000
"""Characters of a code; all 17 units of both sides with decimals need 400."""

_SEPARATORS = "+,;&|\N{IDEOGRAPHIC COMMA}"
_SPLIT_PARTS = re.compile(rf"[()]|[{_SEPARATORS}]|(?<![A-Z])(?:AND|WITH|PLUS)(?![A-Z])", re.IGNORECASE)
_SPLIT_CHOICES = re.compile(r"[()]|/|(?<![A-Z])OR(?![A-Z])|(?<=[A-E])-(?=[A-E](?![A-Z0-9]))", re.IGNORECASE)
_UNIT = re.compile(
    r"(?P<before>(?:(?:LEFT|RIGHT|[LRATB]) ?){0,2})(?:(?P<kind>AUS?|AD|M) ?[-_.:]? ?)?"
    r"(?P<after>(?:(?:LEFT|RIGHT|[LRATB]) ?){0,2})(?P<number>[0-9]{1,3})(?:\.0+)?(?![0-9.])"
    r"(?:_[RC](?![A-Z]))?(?P<suffix>[A-E](?= [0-9])|[C-E](?=[0-9])"  # 4b 7c, 4C7D
    r"|(?:(?: ?|-)\(?(?:LEFT|RIGHT|[A-ELRT])\)?(?! ?[0-9])){0,3})(?P<mark> ?(?:\(K\)|\?))?"
    r"(?: ?[=:] ?(?P<value>[^ (?]*)(?P<late_mark> ?(?:\(K\)|\?))?)?(?=$|[ (]|[LR][0-9]|(?<=[0-9][C-E])[0-9])",
    re.IGNORECASE,
)
_DECIMAL_COMMA = re.compile(r"(= ?[0-9]+),([0-9]+)(?= ?(?:$|[+,;&|) ]))(?! ?=)")
_BOTH_SIDES = re.compile(
    r"(?<![A-Z0-9])(?:BILATERAL(?:LY)?|BOTH(?: SIDES)?)(?![A-Z])|(?:^|(?<=[+,;&(])|(?<=[+,;&] ))"
    r"(?:L ?[+&] ?R|R ?[+&] ?L)(?= ?[0-9])",
    re.IGNORECASE,
)
_ONE_SIDE = re.compile(
    r"(?<![A-Z])(?:UNILATERAL(?:LY)?|UNI\.?|U) ?(?=(?:AU ?)?(?:[LR] ?[0-9]|[0-9]{1,2} ?\(?[LR]))"
    r"|(?<=[LR0-9]) UNILATERAL(?:LY)?(?![A-Z])",
    re.IGNORECASE,
)
_SAME_CHARACTERS = str.maketrans(
    {
        **dict.fromkeys("[{\N{LEFT BLACK LENTICULAR BRACKET}", "("),
        **dict.fromkeys("]}\N{RIGHT BLACK LENTICULAR BRACKET}", ")"),
        **dict.fromkeys("\N{SUPERSCRIPT PLUS SIGN}\N{SMALL PLUS SIGN}\u548c\u53ca\u4e0e", "+"),
        "\u6216": " or ",
        "\u5de6": "L",
        "\u53f3": "R",
    }
)
"""Brackets, signs and the Chinese words for and, or, left and right."""
_REFERENCE = re.compile(r"REF(?:ERENCE)?(?![A-Z])[ .:]*(?P<inner>.*)", re.IGNORECASE)
_DECIMAL = re.compile(r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+")
_FACS_NUMBERS = frozenset((1, 2, *range(4, 47), *range(50, 67), 68, 69, *range(70, 75), *range(80, 86), *range(91, 99)))
"""Action units, movements of head and eyes, visibility and gross behaviour (Ekman, Friesen and Hager, FACS, 2002)."""
_SAME_MOVEMENT = {43: 45}
_COMMA = "\N{ARABIC DECIMAL SEPARATOR}"  # stands for a comma that may be decimal, while a code is split at commas
_EXPECTED = "expected action units such as 4+L12B or AU4=2.0,L12=1"
_LETTERS = "ABCDE"
_MAX_DEPTH = 4  # nested brackets
_SHOWN = 60  # characters of a code in a message
_MAX_PROBLEMS = 3  # notices on parts of a code

Lip = Literal["top", "bottom"]


@dataclass(frozen=True)
class CodedUnit:
    """One action unit of a code.

    Attributes:
        au: number, one of `ACTION_UNITS`.
        side: the subject's own; None for both.
        intensity: 0 to 1 (FACS and OpenFace divided by 5); None where the code gives none.
        optional: marked "(k)" or "?".
        alternative: written after "or": the coder meant this unit or the one before it.
        asymmetric: both sides, one of them stronger; the code does not name it.
        lip: the only lip that the unit moves; None for both, and for other units.
        reference: marked "ref": the coder compared with this unit.
    """

    au: int
    side: Side | None = None
    intensity: float | None = None
    optional: bool = False
    alternative: bool = False
    asymmetric: bool = False
    lip: Lip | None = None
    reference: bool = False

    @property
    def sides(self) -> tuple[Side, ...]:
        """Sides that move."""
        return SIDES if self.side is None else (self.side,)

    @property
    def moves(self) -> bool:
        """False for units that the code only mentions: alternatives and references."""
        return not (self.alternative or self.reference)


def parse_code(
    text: str,
    *,
    alternatives: Literal["flag", "error"] = "error",
    others: Literal["leave_out", "error"] = "error",
    notice: Callable[[str], None] | None = None,
) -> list[CodedUnit]:
    """Read a FACS code.

    Args:
        text: one of the notations above.
        alternatives: `flag` keeps both units of "12 or 14" and marks the second, which does not move; `error` refuses
            the code. The first of the alternatives is the first that can be read and is one of the 17.
        others: `leave_out` leaves out every part that cannot be used and keeps the rest: FACS numbers other than the
            17, such as the 24 of "4+24", even if no unit is left; remarks; repeated units with another intensity.
            `error` refuses the code.
        notice: receives one line on every decision: parts that were left out, and units that move differently than
            coded.
    Returns:
        The units in the order of the code; repeated units appear once.
    Raises:
        ValueError: an empty code, a code of which no part can be read, or that is longer than `MAX_LENGTH`; with
            `error`, also any other part that cannot be used.
    """
    plain = _normalised(text[: MAX_LENGTH + 1])
    if plain in ("", "?"):
        raise ValueError(f"FACS code {_shown(text)}: {_EXPECTED}, got no code")
    if len(text) > MAX_LENGTH:
        raise ValueError(f"FACS code {_shown(text)}: expected at most {MAX_LENGTH} characters, got {len(text)}")
    plain = _DECIMAL_COMMA.sub(rf"\1{_COMMA}\2", plain)
    reader = _CodeReader(strict=others == "error", one_choice=alternatives == "error")
    try:
        reader.read(plain)
    except _Unusable as reason:
        raise ValueError(f"FACS code {_shown(text)}: {reason}") from None
    if not (reader.units or reader.others):
        raise ValueError(f"FACS code {_shown(text)}: {reader.problems[0]}")
    if notice is not None:
        for line in reader.notices():
            notice(line)
    return reader.units


def format_code(units: Iterable[CodedUnit]) -> str:
    """Write a code that `parse_code` reads as these units; an alternative follows a unit that is none."""
    text = ""
    for unit in units:
        before = {None: "", "top": "T", "bottom": "B"}[unit.lip]
        before += "A" if unit.asymmetric else {None: "", "left": "L", "right": "R"}[unit.side]
        level = None if unit.intensity is None else round(unit.intensity * MAX_INTENSITY, 6)
        mark = "(k)" if unit.optional else ""
        if level in (1, 2, 3, 4, 5):
            one = f"{before}{unit.au}{_LETTERS[int(level) - 1]}{mark}"
        else:
            value = "" if level is None else f"={level:.6f}".rstrip("0").rstrip(".")
            one = f"{before}{unit.au}{mark}{value}"
        one = f"ref({one})" if unit.reference else one
        text += (" or " if unit.alternative else "+" if text else "") + one
    return text


_UNMARKED = CodedUnit(0)


class _Unusable(Exception):
    """A part of a code that cannot be used; the message is the reason."""


@dataclass
class _CodeReader:
    """Reads a normalised code.

    Attributes:
        strict: refuse the code because of one part that cannot be used.
        one_choice: refuse alternatives.
        units: read so far.
        problems: reasons why parts were left out.
        others: action units and descriptors that FACS defines, other than the 17.
    """

    strict: bool
    one_choice: bool
    units: list[CodedUnit] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)

    def read(self, text: str, depth: int = 0, context: CodedUnit = _UNMARKED) -> bool:
        """Add the units of a code, or of a group in brackets; the group's units take the marks of `context`.

        Returns:
            True if units were found.
        """
        found = False
        for part in _split(_SPLIT_PARTS, text):
            choices = _completed(_split(_SPLIT_CHOICES, part))
            if len(choices) > 1 and self.one_choice:
                raise _Unusable("expected one choice, got alternatives; keep only one")
            taken = False
            for choice in choices:
                marks = replace(context, alternative=context.alternative or taken)
                taken = self._read_choice(choice, depth, marks) or taken
            found = found or taken
        return found

    def _read_choice(self, text: str, depth: int, context: CodedUnit) -> bool:
        reference = _REFERENCE.fullmatch(text)
        if reference:
            text, context = reference["inner"], replace(context, reference=True)
        inner = _without_brackets(text)
        if inner != text and depth < _MAX_DEPTH:
            return self.read(inner, depth + 1, context)
        found, end = False, 0
        for match in _units_in(text):
            end = match.end()
            try:
                found = self._add(match, context) or found
            except _Unusable as problem:
                self._leave_out(str(problem))
        if rest := text[end:].strip():
            self._leave_out(f"{_EXPECTED}, got {_shown(rest)}")
        elif not end:
            self._leave_out(f"{_EXPECTED}, got ''")
        return found

    def _leave_out(self, problem: str) -> None:
        if self.strict:
            raise _Unusable(problem)
        self.problems.append(problem)

    def _add(self, match: re.Match[str], context: CodedUnit) -> bool:
        """Add a unit; returns True if it is one of the 17."""
        unit = _unit_of(match, context)
        described = (match["kind"] or "AU").upper().rstrip("S")
        if described != "AU" or unit.au not in ACTION_UNITS:
            if self.strict or not (described != "AU" or unit.au in _FACS_NUMBERS):
                known = ", ".join(map(str, ACTION_UNITS))
                raise _Unusable(f"expected action units among {known}; got {match['number']}")
            self.others.append(f"{described}{int(match['number'])}")
            return False
        if unit.moves:
            if not _is_repeated(unit, [other for other in self.units if other.moves]):
                self.units.append(unit)
        elif unit not in self.units and replace(unit, alternative=False) not in self.units:
            self.units.append(unit)
        return True

    def notices(self) -> Iterator[str]:
        """One line on each kind of decision."""
        unread = f"{_EXPECTED}, got "
        for problem in self.problems[:_MAX_PROBLEMS]:
            text = problem.removeprefix(unread)
            yield f"{text} left out: no action unit" if text != problem else f"left out: {problem}"
        if len(self.problems) > _MAX_PROBLEMS:
            yield f"{len(self.problems) - _MAX_PROBLEMS} more parts left out"
        if self.others:
            yield f"{_listed(self.others)} left out, because no network uses it"
        groups = (
            ("alternative", "first alternative used; {} left out"),
            ("reference", "{} left out: a reference, not a movement"),
            ("optional", "{} marked as optional; used like the others"),
            ("asymmetric", "{} asymmetric; both sides move alike, because the code does not name the stronger one"),
            ("lip", "{} of one lip; both lips move"),
        )
        for name, line in groups:
            plain = (replace(unit, alternative=False, reference=False) for unit in self.units if getattr(unit, name))
            if names := [_name(format_code([unit])) for unit in plain]:
                yield line.format(_listed(names))


# --- parts of a code --------------------------------------------------------------------------------------------------


def _normalised(text: str) -> str:
    """A code in ASCII where full-width characters have an equivalent, with single blanks, without invisible characters
    and without brackets that have no counterpart."""
    ascii_text = "".join(chr(ord(c) - 0xFEE0) if "\uff01" <= c <= "\uff5e" else c for c in text)
    visible = "".join(c for c in ascii_text if unicodedata.category(c) != "Cf")
    text = " ".join(visible.translate(_SAME_CHARACTERS).split())
    text = _ONE_SIDE.sub("", _BOTH_SIDES.sub("", text)).strip()
    opened: list[int] = []
    alone = set()
    for at, character in enumerate(text):
        if character == "(":
            opened.append(at)
        elif character == ")":
            if opened:
                opened.pop()
            else:
                alone.add(at)
    alone |= set(opened)
    return "".join(character for at, character in enumerate(text) if at not in alone).strip()


def _split(pattern: re.Pattern[str], text: str) -> list[str]:
    """Split at matches outside brackets; the pattern matches brackets, too."""
    parts, start, depth = [], 0, 0
    for match in pattern.finditer(text):
        if match[0] in "()":
            depth += 1 if match[0] == "(" else -1
        elif depth == 0:
            parts.append(text[start : match.start()].strip())
            start = match.end()
    return [*parts, text[start:].strip()]


def _completed(choices: Sequence[str]) -> list[str]:
    """Alternatives with what they leave out: `A/L12` is A12 or L12, `10A/B` is 10A or 10B."""
    complete: list[str] = []
    for at, choice in enumerate(choices):
        head = re.match(r"[^0-9()]*[0-9]+", complete[-1]) if complete else None
        tail = re.search(r"[0-9]+[^()]*", choices[at + 1]) if at + 1 < len(choices) else None
        if head and re.fullmatch(r"[A-ELR]", choice, re.IGNORECASE):
            choice = head[0] + choice
        elif tail and re.fullmatch(r"(?:AU ?)?(?:LEFT|RIGHT|[LRATB])", choice, re.IGNORECASE):
            choice += tail[0]
        complete.append(choice)
    return complete


def _without_brackets(text: str) -> str:
    """The content of brackets around the whole text, or the text itself."""
    if not (text.startswith("(") and text.endswith(")")):
        return text
    depth = 0
    for at, character in enumerate(text):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth == 0 and at < len(text) - 1:
            return text
    return text[1:-1].strip()


def _units_in(text: str) -> Iterator[re.Match[str]]:
    """Units at the start of a text, one after another; blanks between them are optional."""
    at = 0
    while match := _UNIT.match(text, at):
        yield match
        at = match.end()
        at += text[at : at + 1] == " "


def _unit_of(match: re.Match[str], context: CodedUnit) -> CodedUnit:
    """The unit that a match of `_UNIT` names, which may be none of the 17.

    Raises:
        _Unusable: contradictory letters, or an intensity outside 0 to 5.
    """
    before = re.findall(r"LEFT|RIGHT|[LRATB]", f"{match['before']} {match['after']}".upper())
    after = re.findall(r"LEFT|RIGHT|[A-ELRT]", match["suffix"].upper())
    sides = [word[0] for word in before + after if word[0] in "LR"] + ["A" for word in before if word == "A"]
    lips = [word for word in before if word in ("T", "B")] + [word for word in after if word == "T"]
    letters = [word for word in after if word in _LETTERS]
    if max(len(sides), len(lips), len(letters) + (match["value"] is not None)) > 1:
        raise _Unusable(f"{_EXPECTED}, got {_shown(match[0].strip())}")
    number = int(match["number"])
    intensity = None
    if letters:
        intensity = (_LETTERS.index(letters[0]) + 1) / MAX_INTENSITY
    elif match["value"] is not None:
        intensity = _parse_intensity(match["value"], number)
    side: dict[str, Side] = {"L": "left", "R": "right"}
    lip: dict[str, Lip] = {"T": "top", "B": "bottom"}
    return replace(
        context,
        au=_SAME_MOVEMENT.get(number, number),
        side=side.get("".join(sides)),
        intensity=intensity,
        optional=bool(match["mark"] or match["late_mark"]),
        asymmetric=sides == ["A"],
        lip=lip.get("".join(lips)),
    )


def _parse_intensity(value: str, number: int) -> float:
    if _COMMA in value:
        first, second = value.split(_COMMA)
        raise _Unusable(
            f"AU{number}: expected a decimal point ({first}.{second}) or + between action units "
            f"({first}+AU{second}), got '{first},{second}'"
        )
    if value.upper() in _LETTERS and len(value) == 1:
        return (_LETTERS.index(value.upper()) + 1) / MAX_INTENSITY
    if not re.fullmatch(r"-?" + f"(?:{_DECIMAL.pattern})", value):
        raise _Unusable(f"AU{number}: expected a number, got {_shown(value)}")
    intensity = float(value)
    if not 0 <= intensity <= MAX_INTENSITY:
        raise _Unusable(f"AU{number}: expected an intensity from 0 to 5, got {_shown(value)[1:-1]}")
    return round(intensity, 6) / MAX_INTENSITY


def _is_repeated(unit: CodedUnit, units: Sequence[CodedUnit]) -> bool:
    """True if earlier units cover a unit on all its sides.

    Raises:
        _Unusable: an earlier unit gives the same action unit another intensity.
    """
    same = [u for u in units if u.au == unit.au and u.lip in (None, unit.lip) and set(u.sides) & set(unit.sides)]
    if any(other.intensity != unit.intensity for other in same):
        raise _Unusable(f"AU{unit.au}: expected one intensity on each side, got two")
    return set(unit.sides) <= {side for other in same for side in other.sides}


def _listed(names: Sequence[str]) -> str:
    """Names in a line, each once, at most 8."""
    once = list(dict.fromkeys(names))
    return ", ".join(once[:8]) + (f" and {len(once) - 8} more" if len(once) > 8 else "")


def _name(code: str) -> str:
    return f"AU{code}" if code[:1].isdigit() else code


def _shown(text: str) -> str:
    """A text in quotes for a message, in one line and cut where it is long."""
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")
