"""FACS codes: round trips of generated codes, and mutated codes, which end in units or in one line."""

import contextlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faces.action_units import ACTION_UNITS
from faces.facs import CodedUnit, format_code, parse_code

CODES = (
    *("4", "4+7", "L12", "R2+15", "7B", "R14A", "R12 + R15", "AU 1+2", "4(k)", "12L", "4R+7", "A1B+A2C", "7C+A12B"),
    *("A9E+ref(10)", "(R6 or R12)+R15", "10A/B", "A/L12", "T23", "B18+25", "4+7+AD38", "1+2+5+AD38+M58", "57", "?"),
    *("AU4=2.0,AU7=1.5,L12=1", "R14+17+soft focus", "4D+ref(6)+7C+43E", "4\N{FULLWIDTH COMMA}7", "(1+2) or (1+4)"),
)
PIECES = st.one_of(
    st.sampled_from("0123456789ABCDELRTK+,;/()=.-? \n\t\0"),
    st.sampled_from(["or", "ref(", "(k)", "AU", "AD", "M", "=", "9" * 400, "(" * 50, "\u202e", "\u0664", "\ud800"]),
    st.integers(0, 0x10FFFF).map(chr),
)


def read(text: str) -> tuple[list[CodedUnit], list[str]]:
    """Units and notices of a code that may hold anything."""
    notices: list[str] = []
    return parse_code(text, alternatives="flag", others="leave_out", notice=notices.append), notices


@st.composite
def mutated_codes(draw) -> str:
    text = draw(st.sampled_from(CODES))
    for _ in range(draw(st.integers(1, 6))):
        at, end = (draw(st.integers(0, len(text))) for _ in range(2))
        text = text[:at] + draw(st.one_of(PIECES, st.just(text[at:end]))) + text[max(at, end) :]
    return text


@st.composite
def coded_units(draw) -> CodedUnit:
    side = draw(st.sampled_from([None, "left", "right"]))
    level = draw(st.one_of(st.none(), st.sampled_from([1, 2, 3, 4, 5]), st.decimals(0, 5, places=3)))
    return CodedUnit(
        draw(st.sampled_from(ACTION_UNITS)),
        side,
        None if level is None else float(level) / 5,
        optional=draw(st.booleans()),
        asymmetric=side is None and draw(st.booleans()),
        lip=draw(st.sampled_from([None, "top", "bottom"])),
        reference=draw(st.booleans()),
    )


@given(coded_units())
def test_a_unit_is_read_as_it_is_written(unit):
    assert read(format_code([unit]))[0] == [unit]


@given(mutated_codes())
def test_mutated_codes_give_units_or_one_line(text):
    try:
        units, notices = read(text)
    except ValueError as error:
        notices = [str(error)]
    else:
        assert all(unit.au in ACTION_UNITS for unit in units)
        assert all(unit.intensity is None or 0 <= unit.intensity <= 1 for unit in units)
        if units:
            assert not units[0].alternative
            assert read(format_code(units))[0] == units
    assert all("\n" not in notice and len(notice) < 400 for notice in notices)


@pytest.mark.parametrize(
    "text",
    ["9" * 100_000, " " * 100_000, "4 or " * 20_000, "(" * 100_000, "1/" * 950, "A " * 1000, "(" * 1000 + ")" * 1000],
    ids=["digits", "blanks", "long", "brackets", "alternatives", "letters", "nested"],
)
def test_no_code_takes_long(text):
    began = time.perf_counter()
    with contextlib.suppress(ValueError):
        read(text)
    assert time.perf_counter() - began < 1
