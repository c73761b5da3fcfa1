import numpy as np
import pytest

from faces.action_units import ACTION_UNITS
from faces.facs import MAX_FRAMES, CodedUnit, format_code, intensity_curves, parse_code, rise_and_fall
from faces.facs_notation import MAX_LENGTH


def read(text: str) -> tuple[list[CodedUnit], list[str]]:
    """Units and notices of a code that may hold anything."""
    notices: list[str] = []
    return parse_code(text, alternatives="flag", others="leave_out", notice=notices.append), notices


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("4", [CodedUnit(4)]),
        ("4+7", [CodedUnit(4), CodedUnit(7)]),
        ("AU 1+2", [CodedUnit(1), CodedUnit(2)]),
        ("AU1+AU2", [CodedUnit(1), CodedUnit(2)]),
        ("L12", [CodedUnit(12, "left")]),
        ("l12", [CodedUnit(12, "left")]),
        ("R2+15", [CodedUnit(2, "right"), CodedUnit(15)]),
        ("4+L7", [CodedUnit(4), CodedUnit(7, "left")]),
        ("LAU12", [CodedUnit(12, "left")]),
        ("AUL12", [CodedUnit(12, "left")]),
        ("R12 + R15", [CodedUnit(12, "right"), CodedUnit(15, "right")]),
        ("7B", [CodedUnit(7, None, 0.4)]),
        ("R12A", [CodedUnit(12, "right", 0.2)]),
        ("4E", [CodedUnit(4, None, 1.0)]),
        ("4(k)+ 7 (K)", [CodedUnit(4, optional=True), CodedUnit(7, optional=True)]),
        ("7b(k)", [CodedUnit(7, None, 0.4, optional=True)]),
        ("AU4=2.0,AU7=1.5,L12=1", [CodedUnit(4, None, 0.4), CodedUnit(7, None, 0.3), CodedUnit(12, "left", 0.2)]),
        (" 4 = 0 , R12=5", [CodedUnit(4, None, 0.0), CodedUnit(12, "right", 1.0)]),
        ("L12=2,R12=3", [CodedUnit(12, "left", 0.4), CodedUnit(12, "right", 0.6)]),
        ("4+4+L4", [CodedUnit(4)]),
        ("L12+12", [CodedUnit(12, "left"), CodedUnit(12)]),
        ("12L", [CodedUnit(12, "left")]),
        ("4R+7", [CodedUnit(4, "right"), CodedUnit(7)]),
        ("12BR + 14 left", [CodedUnit(12, "right", 0.4), CodedUnit(14, "left")]),
        ("12(R)", [CodedUnit(12, "right")]),
        ("A12", [CodedUnit(12, asymmetric=True)]),
        ("A1B+A2C", [CodedUnit(1, None, 0.4, asymmetric=True), CodedUnit(2, None, 0.6, asymmetric=True)]),
        ("7C+A12B", [CodedUnit(7, None, 0.6), CodedUnit(12, None, 0.4, asymmetric=True)]),
        ("T23+B25", [CodedUnit(23, lip="top"), CodedUnit(25, lip="bottom")]),
        ("LT10C", [CodedUnit(10, "left", 0.6, lip="top")]),
        ("43", [CodedUnit(45)]),
        ("4D+43E+45E", [CodedUnit(4, None, 0.8), CodedUnit(45, None, 1.0)]),
        ("A9E+ref(10)", [CodedUnit(9, None, 1.0, asymmetric=True), CodedUnit(10, reference=True)]),
        ("ref(7B+L4)", [CodedUnit(7, None, 0.4, reference=True), CodedUnit(4, "left", reference=True)]),
        ("7B+ref(7B)", [CodedUnit(7, None, 0.4), CodedUnit(7, None, 0.4, reference=True)]),
        ("4?", [CodedUnit(4, optional=True)]),
        ("AU4(k)=2", [CodedUnit(4, None, 0.4, optional=True)]),
        ("4 7 12", [CodedUnit(4), CodedUnit(7), CodedUnit(12)]),
        ("4B R12", [CodedUnit(4, None, 0.4), CodedUnit(12, "right")]),
        ("4\N{FULLWIDTH COMMA}7\N{IDEOGRAPHIC COMMA}12", [CodedUnit(4), CodedUnit(7), CodedUnit(12)]),
        ("\N{FULLWIDTH DIGIT ONE}\N{FULLWIDTH DIGIT TWO}\N{FULLWIDTH PLUS SIGN}4", [CodedUnit(12), CodedUnit(4)]),
        ("\N{RIGHT-TO-LEFT MARK}4\N{NO-BREAK SPACE}+\N{ZERO WIDTH SPACE}7", [CodedUnit(4), CodedUnit(7)]),
        ("4; 7 and 12", [CodedUnit(4), CodedUnit(7), CodedUnit(12)]),
        ("AUs 6+12", [CodedUnit(6), CodedUnit(12)]),
        ("((4+7)", [CodedUnit(4), CodedUnit(7)]),
        ("12.0", [CodedUnit(12)]),
        ("[4+7]", [CodedUnit(4), CodedUnit(7)]),
        ("{R12B} with 25", [CodedUnit(12, "right", 0.4), CodedUnit(25)]),
        ("4 plus 7\N{SUPERSCRIPT PLUS SIGN}9\N{SMALL PLUS SIGN}10", [CodedUnit(au) for au in (4, 7, 9, 10)]),
        ("\u5de612\u548c\u53f34", [CodedUnit(12, "left"), CodedUnit(4, "right")]),
        ("4B 7c", [CodedUnit(4, None, 0.4), CodedUnit(7, None, 0.6)]),
        ("4D7E9", [CodedUnit(4, None, 0.8), CodedUnit(7, None, 1.0), CodedUnit(9)]),
        ("L+R12B", [CodedUnit(12, None, 0.4)]),
        ("4 + R&L 14", [CodedUnit(4), CodedUnit(14)]),
        ("12 L+R14", [CodedUnit(12, "left"), CodedUnit(14, "right")]),
        ("bilateral 12 + 9 both sides", [CodedUnit(12), CodedUnit(9)]),
        (
            "Unilateral L14 + U10R + 15L unilateral",
            [CodedUnit(14, "left"), CodedUnit(10, "right"), CodedUnit(15, "left")],
        ),
        ("AU6-R + 17-D", [CodedUnit(6, "right"), CodedUnit(17, None, 0.8)]),
        ("AU04_r + AU45_c", [CodedUnit(4), CodedUnit(45)]),
        ("AU4:2.5 + 7 = C", [CodedUnit(4, None, 0.5), CodedUnit(7, None, 0.6)]),
    ],
)
def test_every_notation_is_read(text, units):
    assert parse_code(text) == units
    assert read(text)[0] == units


def test_alternatives_are_flagged_or_refused():
    assert parse_code("R12 or R14 + 25", alternatives="flag") == [
        CodedUnit(12, "right"),
        CodedUnit(14, "right", alternative=True),
        CodedUnit(25),
    ]
    assert [u.alternative for u in parse_code("12A OR 12B", alternatives="flag")] == [False, True]
    assert [u.moves for u in parse_code("12 or 14 + ref(7)", alternatives="flag")] == [True, False, False]
    with pytest.raises(ValueError, match="'R12 or R14': expected one choice, got alternatives"):
        parse_code("R12 or R14")


@pytest.mark.parametrize(
    ("text", "units", "notice"),
    [
        ("(R6 or R12)+R15", "R6 or R12+R15", "first alternative used; R12 left out"),
        ("10A/B", "10A or 10B", "first alternative used; AU10B left out"),
        ("10A-B", "10A or 10B", "first alternative used; AU10B left out"),
        ("A/L12", "A12 or L12", "first alternative used; L12 left out"),
        ("L/R12B", "L12B or R12B", "first alternative used; R12B left out"),
        ("12L/R", "L12 or R12", "first alternative used; R12 left out"),
        ("6\u621612", "6 or 12", "first alternative used; AU12 left out"),
        ("(1+2) or (1+4)", "1+2 or 4", "first alternative used; AU4 left out"),
        ("x or 12 or 14", "12 or 14", "first alternative used; AU14 left out"),
        ("A12+4", "A12+4", "A12 asymmetric; both sides move alike, because the code does not name the stronger one"),
        ("T23", "T23", "T23 of one lip; both lips move"),
        ("4D+ref(6)", "4D+ref(6)", "AU6 left out: a reference, not a movement"),
        ("4(k)", "4(k)", "AU4(k) marked as optional; used like the others"),
        ("R14+17+soft focus", "R14+17", "'soft focus' left out: no action unit"),
        ("12 soft focus", "12", "'soft focus' left out: no action unit"),
        ("4++7", "4+7", "'' left out: no action unit"),
        ("4-7+12", "12", "'4-7' left out: no action unit"),
        ("12B+L12C", "12B", "left out: AU12: expected one intensity on each side, got two"),
        ("AU4=6,AU7=1", "7A", "left out: AU4: expected an intensity from 0 to 5, got 6"),
        ("4+99", "4", "left out: expected action units among"),
        ("4+7+AD38", "4+7", "AD38 left out, because no network uses it"),
        ("1+57+61+M58", "1", "AU57, AU61, M58 left out, because no network uses it"),
        ("T28+14", "14", "AU28 left out, because no network uses it"),
        ("24+T18+16", "", "AU24, AU18, AU16 left out, because no network uses it"),
        ("AD31", "", "AD31 left out, because no network uses it"),
        ("4+a+b+d+e+f", "4", "2 more parts left out"),
    ],
)
def test_one_part_that_cannot_be_used_does_not_discard_the_rest(text, units, notice):
    found, notices = read(text)
    assert format_code(found) == units
    assert any(notice in line for line in notices), notices
    assert all("\n" not in line for line in notices)


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("4+24", [CodedUnit(4)]),
        ("L10B + R24C or 12A", [CodedUnit(10, "left", 0.4), CodedUnit(12, None, 0.2)]),
        ("38", []),
    ],
)
def test_units_other_than_the_17_are_left_out_on_request(text, units):
    assert parse_code(text, alternatives="flag", others="leave_out") == units
    with pytest.raises(ValueError, match="expected action units among 1, 2, 4"):
        parse_code(text, alternatives="flag")
    assert parse_code(text + "+3", alternatives="flag", others="leave_out") == units


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "got no code"),
        ("  ", "got no code"),
        ("?", r"FACS code '\?': expected action units such as 4\+L12B or AU4=2.0,L12=1, got no code"),
        ("4-7", "got '4-7'"),
        ("4++7", "got ''"),
        ("4+", "got ''"),
        ("happy", "got 'happy'"),
        ("LAUR12", "got 'LAUR12'"),
        ("12A=3", "got '12A=3'"),
        ("12F", "got '12F'"),
        ("4+?", r"got '\?'"),
        ("3", "expected action units among 1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26, 45; got 3"),
        ("AU99=1", "got 99"),
        ("AU4=5.1", "AU4: expected an intensity from 0 to 5, got 5.1"),
        ("AU4=-1", "AU4: expected an intensity from 0 to 5, got -1"),
        ("AU4=nan", "AU4: expected a number, got 'nan'"),
        ("AU4=1_0", "AU4: expected a number, got '1_0'"),
        ("4.7", "got '4.7'"),
        ("AL12", "got 'AL12'"),
        ("\u0664", "got '\u0664'"),
        ("AU4=much", "AU4: expected a number, got 'much'"),
        ("AU4=", "AU4: expected a number, got ''"),
        ("4=1,4=2", "AU4: expected one intensity on each side, got two"),
        ("12B+L12C", "AU12: expected one intensity on each side, got two"),
        ("12+12A", "AU12: expected one intensity on each side, got two"),
    ],
)
def test_unreadable_codes_are_named(text, message):
    with pytest.raises(ValueError, match=message) as caught:
        parse_code(text)
    assert "\n" not in str(caught.value)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize("text", ["happy", "99", "soft focus + ?", "9" * 500, "AU4=9", "\0", "+", "()"])
def test_a_code_without_a_readable_part_is_named(text):
    with pytest.raises(ValueError, match="FACS code '"):
        read(text)


def test_long_codes_are_refused():
    assert read("4+" * (MAX_LENGTH // 2))[0] == [CodedUnit(4)]
    with pytest.raises(ValueError, match="expected at most 2000 characters, got 100000") as caught:
        read("4+" * 50_000)
    assert len(str(caught.value)) < 200


def test_curves_rise_from_rest_to_the_apex_and_return():
    curves = intensity_curves(parse_code("AU4=2,L12=5"), 12, 30, 60, 72)
    assert curves.shape == (72, 17, 2)
    assert curves.dtype == np.float32
    assert not curves[:13].any()
    assert not curves[60:].any()
    np.testing.assert_allclose(curves[30, ACTION_UNITS.index(4)], 0.4)
    np.testing.assert_allclose(curves[30, ACTION_UNITS.index(12)], [1, 0])
    assert np.count_nonzero(curves[30]) == 3
    smile = curves[:, ACTION_UNITS.index(12), 0]
    assert (np.diff(smile[12:31]) > 0).all()
    assert (np.diff(smile[30:61]) < 0).all()
    assert smile[21] == pytest.approx(0.5), "half way up after half of the time"
    assert smile[45] == pytest.approx(0.5)
    assert np.abs(np.diff(smile, 2)).max() < 0.03, "no kink at onset, apex and offset"


def test_units_without_intensity_get_the_default():
    units = parse_code("4+7B + L12 or L14 + ref(17)", alternatives="flag")
    apex = intensity_curves(units, 0, 1, 2, 3, default=0.6)[1]
    assert apex[ACTION_UNITS.index(4)] == pytest.approx([0.6, 0.6])
    assert apex[ACTION_UNITS.index(7)] == pytest.approx([0.4, 0.4])
    assert apex[ACTION_UNITS.index(12)] == pytest.approx([0.6, 0])
    assert not apex[ACTION_UNITS.index(14)].any(), "the alternative does not move"
    assert not apex[ACTION_UNITS.index(17)].any(), "the reference does not move"
    with pytest.raises(ValueError, match="AU4: expected an intensity such as AU4=2, got none"):
        intensity_curves(units, 0, 1, 2, 3)


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ((-1, 2, 4, 9), "expected an onset from 0, got -1"),
        ((3, 3, 4, 9), "expected an apex after the onset, got apex 3 and onset 3"),
        ((5, 3, 7, 9), "expected an apex after the onset, got apex 3 and onset 5"),
        ((1, 3, 3, 9), "expected an offset after the apex, got offset 3 and apex 3"),
        ((1, 3, 9, 9), "expected at least 10 frames for offset 9, got 9"),
        ((1, 3, 9, MAX_FRAMES + 1), "expected at most 10000 frames, got 10001"),
        ((1, 3, 9, 10**12), "expected at most 10000 frames, got 1000000000000"),
        ((10**30, 2 * 10**30, 3 * 10**30, 4 * 10**30), "expected at most 10000 frames"),
    ],
)
def test_frames_out_of_order_are_named(times, message):
    with pytest.raises(ValueError, match=message):
        rise_and_fall(*times)
