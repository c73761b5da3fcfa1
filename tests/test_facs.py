import numpy as np
import pytest

from faces.action_units import ACTION_UNITS
from faces.facs import CodedUnit, intensity_curves, parse_code, rise_and_fall


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
    ],
)
def test_every_notation_is_read(text, units):
    assert parse_code(text) == units


def test_alternatives_are_flagged_or_refused():
    assert parse_code("R12 or R14 + 25", alternatives="flag") == [
        CodedUnit(12, "right"),
        CodedUnit(14, "right", alternative=True),
        CodedUnit(25),
    ]
    assert [u.alternative for u in parse_code("12A OR 12B", alternatives="flag")] == [False, True]
    with pytest.raises(ValueError, match="'R12 or R14': expected one choice, got alternatives"):
        parse_code("R12 or R14")


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("4+24", [CodedUnit(4)]),
        ("L10B + R24C or 12A", [CodedUnit(10, "left", 0.4), CodedUnit(12, None, 0.2, alternative=True)]),
        ("38", []),
    ],
)
def test_units_other_than_the_17_are_left_out_on_request(text, units):
    assert parse_code(text, alternatives="flag", others="leave_out") == units
    with pytest.raises(ValueError, match="expected action units among 1, 2, 4"):
        parse_code(text, alternatives="flag")
    with pytest.raises(ValueError, match="got 3"):
        parse_code(text + "+3", alternatives="flag", others="leave_out")


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
        ("AU4=nan", "AU4: expected an intensity from 0 to 5, got nan"),
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
    units = parse_code("4+7B + L12 or L14", alternatives="flag")
    apex = intensity_curves(units, 0, 1, 2, 3, default=0.6)[1]
    assert apex[ACTION_UNITS.index(4)] == pytest.approx([0.6, 0.6])
    assert apex[ACTION_UNITS.index(7)] == pytest.approx([0.4, 0.4])
    assert apex[ACTION_UNITS.index(12)] == pytest.approx([0.6, 0])
    assert not apex[ACTION_UNITS.index(14)].any(), "the alternative does not move"
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
    ],
)
def test_frames_out_of_order_are_named(times, message):
    with pytest.raises(ValueError, match=message):
        rise_and_fall(*times)
