import sys
from types import SimpleNamespace

import numpy as np
import pytest

from clips.reading import Clip
from faces import action_unit_extraction
from faces.action_unit_extraction import COLUMNS, extract_action_units
from faces.action_unit_tables import parse_table, read_table
from faces.action_units import ACTION_UNITS, TableRules, read_action_units

OPENFACE = [f"AU{unit:02d}_r" for unit in ACTION_UNITS]
PY_FEAT = [f"AU{unit:02d}" for unit in (1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 14, 15, 17, 20, 23, 24, 25, 26, 28, 43)]
LIBREFACE = [f"au_{unit}_intensity" for unit in (1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26)]
DETECTIONS = [f"au_{unit}" for unit in (1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24)]


def unit(number: int) -> int:
    return ACTION_UNITS.index(number)


def value(name: str, t: int, top: float) -> float:
    """A value that belongs to one column and one frame only."""
    return round(top * (0.02 + 0.009 * int("".join(c for c in name if c.isdigit())) + 0.03 * t), 6)


def make(names: list[str], numbers=range(1, 5), number="frame", top=5.0, before=(), **extra) -> list[list]:
    """Header and rows; row i is frame i of the clip, whatever its number. `extra` are columns, one cell per row."""
    header = [number, *extra, *before, *names]
    rows = []
    for t, n in enumerate(numbers):
        rows.append([n, *(cells[t] for cells in extra.values()), *(77 for _ in before)])
        rows[-1] += [value(name, t, top) for name in names]
    return [header, *rows]


def without(table: list[list], column: str) -> list[list]:
    at = table[0].index(column)
    return [row[:at] + row[at + 1 :] for row in table]


def put(table: list[list], row: int, column: str, cell) -> list[list]:
    """The table with one cell changed; row 0 is the first below the header."""
    changed = [list(line) for line in table]
    changed[row + 1][table[0].index(column)] = cell
    return changed


@pytest.fixture
def write(tmp_path):
    def write(table: list[list], separator: str = ",", encoding: str = "utf-8"):
        path = tmp_path / "clip.csv"
        path.write_text("\n".join(separator.join(map(str, row)) for row in table) + "\n", encoding=encoding)
        return path

    return write


def expected(names: list[str], frames: int = 4, top: float = 5.0) -> np.ndarray:
    """Values (T, 17) of `make`; 0 for missing columns."""
    found = np.zeros((frames, 17))
    for name in names:
        number = int("".join(c for c in name if c.isdigit()))
        number = 45 if number == 43 else number
        if number in ACTION_UNITS:
            found[:, unit(number)] = [value(name, t, top) / top for t in range(frames)]
    return found


def check(units: np.ndarray, names: list[str], frames: int = 4, top: float = 5.0) -> None:
    assert units.shape == (frames, 17, 2)
    assert units.dtype == np.float32
    for side in range(2):
        np.testing.assert_allclose(units[:, :, side], expected(names, frames, top), atol=1e-6)


# --- formats ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("separator", [",", ", "])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_openface_columns_are_found_by_name(write, separator, encoding):
    other = ["AU28_c", "AU01_c", "x_0", "gaze_0_x"]
    shuffled = [*OPENFACE[8:], *OPENFACE[:8]]
    table = make(shuffled, before=other, confidence=[0.98] * 4, success=[1] * 4)
    check(read_action_units(write(table, separator, encoding), 4), OPENFACE)
    table = read_table(write(table, separator, encoding))
    assert (table.tool.name, table.kind) == ("OpenFace", "intensity")
    assert table.columns[0] == (12, "both")


def test_rows_in_any_order_belong_to_frames_by_number(write):
    header, *rows = make(OPENFACE)
    check(read_action_units(write([header, rows[2], rows[0], rows[3], rows[1]]), 4), OPENFACE)


def test_sides_replace_the_column_of_both(write):
    names = [*OPENFACE, "AU12_r_right", "AU12_r_left"]
    table = put(put(make(names, range(1, 2)), 0, "AU12_r_left", 4), 0, "AU12_r_right", 1)
    units = read_action_units(write(table), 1)
    assert units[0, unit(12)].tolist() == pytest.approx([0.8, 0.2])
    only_sides = without(table, "AU12_r")
    np.testing.assert_array_equal(read_action_units(write(only_sides), 1), units)
    assert units[0, unit(14), 0] == units[0, unit(14), 1]
    with pytest.raises(ValueError, match=r"clip\.csv: expected the 17 columns of OpenFace, found none of AU12"):
        read_action_units(write(without(only_sides, "AU12_r_left")), 1)


def test_a_single_image_has_one_row_without_a_number(write):
    table = without(make(OPENFACE, range(1, 2), face=[0], confidence=[0.9]), "frame")
    check(read_action_units(write(table), 1), OPENFACE, 1)


def test_merged_tables_without_numbers_have_one_row_per_frame(write):
    table = without(make(OPENFACE), "frame")
    check(read_action_units(write(table), 4), OPENFACE)
    for frames in (3, 5):
        with pytest.raises(ValueError, match=rf"expected a row for each of {frames} frames \(there is no .*got 4"):
            read_action_units(write(table), frames)


@pytest.mark.parametrize("first", [0, 1])
def test_py_feat(write, first):
    said = []
    table = make(PY_FEAT, range(first, first + 4), top=1.0, FaceScore=[0.99] * 4, before=["FaceRectX", "x_0"])
    check(read_action_units(write(table), 4, notice=said.append), PY_FEAT, top=1.0)
    assert said == ["py-feat gives probabilities, not intensities of action units; they are used as intensities"]


def test_closed_eyes_are_read_as_a_blink(write):
    table = put(make(PY_FEAT, range(1), top=1.0), 0, "AU43", 0.75)
    assert read_action_units(write(table), 1)[0, unit(45)].tolist() == [0.75, 0.75]


def test_py_feat_values_of_0_and_1_are_binary(write):
    header, *rows = make(PY_FEAT, range(2), top=1.0)
    rows = [[row[0], *([t] * len(PY_FEAT))] for t, row in enumerate(rows)]
    said = []
    units = read_action_units(write([header, *rows]), 2, notice=said.append)
    assert (units[0].max(), units[1].min()) == (0, 1)
    assert said == ["py-feat gives 0 or 1, not intensities of action units; they are used as intensities"]


def test_libreface_estimates_12_action_units(write):
    table = make([*DETECTIONS, *LIBREFACE], range(4), "frame_idx", frame_time_in_ms=[0, 5, 10, 15])
    for row in table[1:]:
        row[2 : 2 + len(DETECTIONS)] = [1] * len(DETECTIONS)
    with pytest.raises(
        ValueError,
        match=r"LibreFace \(intensity\) does not estimate AU7, AU10, AU14, AU23, AU45; use a table .*au_unknown: zero",
    ):
        read_action_units(write(table), 4)
    said = []
    units = read_action_units(write(table), 4, rules=TableRules(unknown="zero"), notice=said.append)
    check(units, LIBREFACE)
    assert len(said) == 1
    assert "AU7, AU10, AU14, AU23, AU45; taken as 0" in said[0]


def test_libreface_detections_are_read_without_intensities(write):
    header, *rows = make(DETECTIONS, range(1), "frame_idx")
    rows[0][1:] = [int(name in ("au_7", "au_24")) for name in DETECTIONS]
    said = []
    units = read_action_units(write([header, *rows]), 1, rules=TableRules(unknown="zero"), notice=said.append)
    assert np.flatnonzero(units[0, :, 0]).tolist() == [unit(7)]
    assert "AU5, AU9, AU20, AU25, AU26, AU45" in said[0]
    assert "LibreFace gives 0 or 1" in said[1]


def openface_3(lists: list[str], faces=None) -> list[list]:
    """Cells of the table that OpenFace 3 writes of a video."""
    header = ["timestamp", "frame_index", "face_id", "emotion", "action_units"]
    ids = faces or [0] * len(lists)
    frames = [t for t, face in enumerate(ids) if face == 0] if faces is None else list(range(len(lists)))
    return [header, *(["x", n, i, 0, f'"{cell}"'] for n, i, cell in zip(frames, ids, lists, strict=True))]


def test_openface_3_writes_8_values_into_one_cell(write):
    lists = [str([[round(0.01 * i + 0.1 * t, 3) for i in range(8)]]) for t in range(3)]
    path = write(openface_3(lists))
    with pytest.raises(ValueError, match=r"OpenFace 3 \(probability\) does not estimate AU5, AU7, AU10, .*AU45"):
        read_action_units(path, 3)
    units = read_action_units(path, 3, rules=TableRules(unknown="zero"), notice=lambda text: None)
    assert units[2, [unit(n) for n in (1, 2, 4, 6, 9, 12, 25, 26)], 0].tolist() == pytest.approx(
        [0.2, 0.21, 0.22, 0.23, 0.24, 0.25, 0.26, 0.27]
    )
    assert units[2, unit(5)].tolist() == [0, 0]
    with pytest.raises(ValueError, match="row 2: action_units: expected the 8 values of OpenFace 3"):
        read_table(write(openface_3([str([0.1] * 7)])))
    lost = read_table(write(openface_3([lists[0], ""])))
    assert lost.unusable == {1: "no values"}


def test_8_columns_under_the_names_of_openface_2_are_refused_with_the_reason(write):
    names = [f"AU{n:02d}_r" for n in range(1, 9)]
    with pytest.raises(
        ValueError, match=r"none of AU9, .*8 columns are those of OpenFace 3, whose values belong to AU 1"
    ):
        read_table(write(make(names, top=1.0)))


@pytest.mark.parametrize(
    "printed",
    ["[{}]", "tensor([[{}]], device='cuda:0')", "array([{}], dtype=float32)", "({})"],
)
def test_lists_of_openface_3_are_read_as_python_prints_them(write, printed):
    values = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]
    cell = printed.format("; ".join(map(str, values)))
    table = read_table(write([["frame", "action_units"], [0, f'"{cell}"']]))
    assert dict(zip(table.columns, table.values[0], strict=True)) == pytest.approx(
        {(au, "both"): value for au, value in zip((1, 2, 4, 6, 9, 12, 25, 26), values, strict=True)}
    )


@pytest.mark.parametrize(
    "rename", [str.lower, str.upper, lambda name: name.replace("AU0", "AU")], ids=["lower", "upper", "no zeros"]
)
@pytest.mark.parametrize(("names", "top"), [(OPENFACE, 5.0), (PY_FEAT, 1.0), (LIBREFACE, 5.0)])
def test_names_of_columns_may_have_other_case_and_no_zeros(write, names, top, rename):
    table = make(names, range(1, 5), top=top)
    table[0] = ["frame", *map(rename, names)]
    check(read_action_units(write(table), 4, rules=TableRules(unknown="zero")), names, top=top)


def test_occurrences_of_openface_alone_are_refused_by_name(write):
    with pytest.raises(ValueError, match=r"found OpenFace's occurrences \(AU01_c\), expected its intensities"):
        read_action_units(write(make([name.replace("_r", "_c") for name in OPENFACE])), 4)


def test_a_py_feat_table_with_blinks_and_closed_eyes_gives_the_blinks(write):
    table = make([*PY_FEAT, "AU45"], range(1), top=1.0)
    table = put(put(table, 0, "AU43", 0.75), 0, "AU45", 0.25)
    assert read_action_units(write(table), 1)[0, unit(45)].tolist() == [0.25, 0.25]


def test_rounding_of_openface_is_clipped_with_a_remark(write):
    table = put(put(make(OPENFACE), 1, "AU12_r", -1e-05), 2, "AU12_r", 5.00001)
    said = []
    units = read_action_units(write(table), 4, notice=said.append)
    assert units[1:3, unit(12), 0].tolist() == [0, 1]
    assert said == [f"{write(table)}: 2 values beyond 0 to 5 by rounding (-1e-05 in row 3), moved to the limit"]


def test_of_two_faces_the_one_with_more_rows_is_used(write):
    header, *rows = make(OPENFACE, [1, 2, 3, 4, 2, 3], face_id=[1, 1, 1, 1, 0, 0], success=[1] * 6)
    said = []
    units = read_action_units(write([header, *rows]), 4, notice=said.append)
    check(units, OPENFACE)
    assert said[0].endswith("several faces: face_id 1 used, which has the most rows; 2 rows of other faces left out")


@pytest.mark.parametrize("number", ["1e30", "-9223372036854775809", "-1", "1000000000000"])
def test_frame_numbers_beyond_all_recordings_are_refused(write, number):
    with pytest.raises(ValueError, match=rf"row 3: frame: expected a whole number from 0 .*got '{number}'"):
        read_action_units(write(put(make(OPENFACE), 1, "frame", number)), 4)


@pytest.mark.parametrize("missing", ["-nan(ind)", "1.#QNAN", "nan", "#N/A", ""])
def test_signs_of_missing_values_make_a_row_unusable(write, missing):
    table = make(OPENFACE)
    for name in OPENFACE:
        table = put(table, 1, name, missing)
    assert read_table(write(table)).unusable == {1: "no values"}


# --- frame numbers ----------------------------------------------------------------------------------------------------


def test_numbers_may_be_those_of_the_frame_files(write):
    path = write(make(OPENFACE, range(46, 50)))
    check(read_action_units(path, 4, frame_numbers=range(46, 50)), OPENFACE)
    with pytest.raises(ValueError, match=r"clip\.csv: expected the frame numbers 1 to 4, found 4 rows, 46 to 49"):
        read_action_units(path, 4)
    with pytest.raises(ValueError, match=r"numbers 1 to 4 or those of the frame files \(48 to 51\), found 4 rows, 46"):
        read_action_units(path, 4, frame_numbers=range(48, 52))


@pytest.mark.parametrize("first", [0, 1, 46])
def test_openface_counts_from_1_whatever_the_frame_files_are_called(write, first):
    units = read_action_units(write(make(OPENFACE)), 4, frame_numbers=range(first, first + 4))
    check(units, OPENFACE)


def test_a_table_of_a_longer_recording_needs_frame_files_with_its_numbers(write):
    path = write(make(OPENFACE, range(1, 11)))
    units = read_action_units(path, 3, frame_numbers=range(4, 7))
    np.testing.assert_allclose(units[:, :, 0], expected(OPENFACE, 10)[3:6], atol=1e-6)
    with pytest.raises(ValueError, match="expected the frame numbers 1 to 3, found 10 rows, 1 to 10"):
        read_action_units(path, 3)
    with pytest.raises(ValueError, match=r"numbers 1 to 3 or those of the frame files \(1 to 3\), found 10 rows"):
        read_action_units(path, 3, frame_numbers=(1, 2, 3))


def test_numbers_that_fit_twice_must_agree(write):
    path = write(make(OPENFACE))
    with pytest.raises(ValueError, match="counted from 1 and as in the frame files' names, which disagree"):
        read_action_units(path, 4, frame_numbers=(2, 1, 3, 4))
    shorter = write(make(PY_FEAT, range(1, 4), top=1.0))
    with pytest.raises(ValueError, match="each of 4 frames; 3 rows, 1 to 3, can be frames counted from 0 and counted"):
        read_action_units(shorter, 4)


def test_clips_use_the_numbers_of_their_frame_files(tmp_path):
    def numbers(*names: str):
        return Clip("c", tmp_path, tuple(tmp_path / name for name in names)).frame_numbers

    assert numbers("reg_img46.jpg", "reg_img47.jpg") == (46, 47)
    assert numbers("006_01_0009.jpg", "006_01_0010.jpg") == (9, 10)
    assert numbers("img1.jpg", "neutral.jpg") is None
    assert numbers("a1.jpg", "b1.jpg") is None
    assert numbers() is None


# --- gaps -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda table: [table[0], table[1], *table[3:]], "no row"),
        (lambda table: put(table, 1, "success", 0), "success 0"),
        (lambda table: put(table, 1, "confidence", 0.3), r"confidence 0\.3, below dataset_params.au_min_confidence"),
        (lambda table: [*table[:2], [2, 0, 0, *([""] * 17)], *table[3:]], "no values"),
    ],
)
def test_a_frame_without_a_usable_row_is_an_error_or_interpolated(write, spoil, reason):
    table = spoil(make(OPENFACE, confidence=[0.9] * 4, success=[1] * 4))
    for row in table[2:]:  # what stands in an unusable row must not be used
        if row[0] == 2 and row[3] != "":
            row[3:] = [5] * 17
    path = write(table)
    with pytest.raises(ValueError, match=rf"clip\.csv: frame 2: expected values, found {reason}.*au_max_gap: 1 "):
        read_action_units(path, 4, rules=TableRules(min_confidence=0.8))
    said = []
    units = read_action_units(path, 4, rules=TableRules(min_confidence=0.8, max_gap=1), notice=said.append)
    check(units, OPENFACE)
    assert said == [f"{path}: 1 of 4 frames interpolated: 2"]


def test_gaps_are_interpolated_linearly_up_to_a_length(write):
    header, *rows = make(OPENFACE, range(46, 54))
    for row in rows[2:4]:
        row[1:] = [0] * 17
    path = write([header, *rows[:2], *rows[4:]])
    read = {"frame_numbers": range(46, 54)}
    with pytest.raises(ValueError, match=r"frame 48: expected values, found no row; dataset_params\.au_max_gap: 2"):
        read_action_units(path, 8, rules=TableRules(max_gap=1), **read)
    check(read_action_units(path, 8, rules=TableRules(max_gap=2), **read), OPENFACE, 8)


@pytest.mark.parametrize("lost", [0, 3])
def test_gaps_at_the_ends_are_not_extrapolated(write, lost):
    table = put(make(OPENFACE, success=[1] * 4), lost, "success", 0)
    with pytest.raises(ValueError, match=rf"frame {lost + 1}: .* success 0; frames at the start or end of a clip"):
        read_action_units(write(table), 4, rules=TableRules(max_gap=4))


def test_a_table_shorter_than_the_clip_names_the_first_frame_without_a_row(write):
    with pytest.raises(ValueError, match=r"clip\.csv: frame 5: expected values, found no row"):
        read_action_units(write(make(OPENFACE)), 6)


# --- what cannot be read ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda t: without(t, "AU05_r"), "expected the 17 columns of OpenFace, found none of AU5"),
        (lambda t: [row[:1] for row in t], "expected columns of OpenFace .*found frame$"),
        (lambda t: [[*row, x] for row, x in zip(t, ["AU01", 0, 0, 0, 0], strict=True)], "expected columns of one tool"),
        (lambda t: [[*row, row[1]] for row in t], "expected one column of AU1, found AU01_r and AU01_r"),
        (lambda t: put(t, 2, "AU12_r", 5.5), "row 4, frame 3: AU12_r: expected 0 to 5, got 5.5"),
        (lambda t: put(t, 2, "AU12_r", -0.1), "row 4, frame 3: AU12_r: expected 0 to 5, got -0.1"),
        (lambda t: put(t, 2, "AU12_r", "x"), "row 4, frame 3: AU12_r: expected a number, got 'x'"),
        (lambda t: put(t, 2, "AU12_r", ""), "row 4, frame 3: AU12_r: expected a number, got ''"),
        (lambda t: put(t, 2, "AU12_r", "nan"), "row 4, frame 3: AU12_r: expected a number, got 'nan'"),
        (lambda t: put(t, 2, "frame", 2), "frame 2: expected one row, found rows 3 and 4; keep one face"),
        (lambda t: put(t, 2, "frame", 2.5), "row 4: frame: expected a whole number from 0 to 1000000000, got '2.5'"),
        (lambda t: put(t, 2, "frame", ""), "row 4: frame: expected a number, got ''"),
        (lambda t: [*t[:3], t[3][:-1], t[4]], "row 4: expected 18 cells as in the header, got 17"),
        (lambda t: t[:1], "expected a row for each of 4 frames, got 0"),
        (lambda t: [[""]], "expected a table, found an empty file"),
    ],
)
def test_errors_of_a_table_are_named(write, spoil, message):
    with pytest.raises(ValueError, match=rf"clip\.csv: {message}"):
        read_action_units(write(spoil(make(OPENFACE))), 4)


def test_a_probability_above_1_is_an_error(write):
    with pytest.raises(ValueError, match="frame 2: AU04: expected 0 to 1, got 2"):
        read_action_units(write(put(make(PY_FEAT, top=1.0), 1, "AU04", 2)), 4)


def test_files_that_are_not_text_are_named(tmp_path):
    (tmp_path / "clip.csv").write_bytes(b"\xff\xfe\x00")
    for name, message in (("clip.csv", "expected a readable text table"), ("absent.csv", "no such file")):
        with pytest.raises(ValueError, match=rf"{name}: {message}"):
            read_action_units(tmp_path / name, 4)


# --- extraction -------------------------------------------------------------------------------------------------------


@pytest.fixture
def py_feat(monkeypatch):
    """A package `feat` whose detector reads AU12 from the red channel and AU01 from the first row's blue."""
    made = []

    class Detector:
        def __init__(self, **settings):
            made.append(settings)

        def detect(self, inputs, data_type="image", progress_bar=True):
            assert (inputs.ndim, inputs.shape[1], data_type) == (4, 3, "tensor")
            pictures = inputs.numpy() / 255
            table = {name: np.zeros(len(pictures)) for name in ("Identity", *COLUMNS)}
            table["frame"] = np.arange(len(pictures))
            table["FaceScore"] = np.ones(len(pictures))
            table["AU12"] = pictures[:, 0].mean(axis=(1, 2))
            table["AU01"] = pictures[:, 2, 0].mean(axis=1)
            return table

    package = SimpleNamespace(Detectorv1=object, Detectorv2=Detector)
    monkeypatch.setitem(sys.modules, "feat", package)
    action_unit_extraction._load_detector.cache_clear()
    yield SimpleNamespace(made=made, package=package)
    action_unit_extraction._load_detector.cache_clear()


def test_py_feat_extracts_a_table(py_feat):
    frames = np.zeros((3, 8, 10, 3), np.uint8)
    frames[1, :, :, 0] = 102
    frames[2, 0, :, 2] = 255
    rows = extract_action_units(frames)
    table = parse_table(COLUMNS, rows.tolist(), "x")
    assert table.tool.name == "py-feat"
    assert table.numbers.tolist() == [0, 1, 2]
    np.testing.assert_allclose(table.values[:, table.columns.index((12, "both"))], [0, 0.4, 0])
    np.testing.assert_allclose(table.values[:, table.columns.index((1, "both"))], [0, 0, 1])
    extract_action_units(frames)
    assert len(py_feat.made) == 1, "networks are loaded once"
    assert py_feat.made == [{"identity_model": None, "device": "cpu"}], "which knows no other models"


@pytest.mark.parametrize("name", ["Detectorv1", "Detector"])
def test_older_detectors_are_used_where_there_is_no_newer_one(py_feat, name):
    detector = py_feat.package.Detectorv2
    del py_feat.package.Detectorv2, py_feat.package.Detectorv1
    setattr(py_feat.package, name, detector)
    assert extract_action_units(np.zeros((1, 8, 8, 3), np.uint8)).shape == (1, len(COLUMNS))
    assert py_feat.made[0]["au_model"] == "xgb"


@pytest.mark.parametrize(
    ("package", "message"),
    [
        (None, r'py-feat cannot be imported .*`pip install "py-feat>=2"`, or give tables with dataset_params\.au_dir'),
        (SimpleNamespace(Detector=object), "this py-feat has no `detect`; install it"),
    ],
)
def test_without_py_feat_the_message_names_the_remedy(monkeypatch, package, message):
    monkeypatch.setitem(sys.modules, "feat", package)
    action_unit_extraction._load_detector.cache_clear()
    with pytest.raises(RuntimeError, match=message):
        extract_action_units(np.zeros((1, 8, 8, 3), np.uint8))


def test_weights_that_cannot_be_loaded_are_named(py_feat, monkeypatch):
    def refuse(self, **settings):
        raise OSError("no network")

    monkeypatch.setattr(py_feat.package.Detectorv2, "__init__", refuse)
    with pytest.raises(RuntimeError, match=r"weights of py-feat cannot be loaded \(no network\)"):
        extract_action_units(np.zeros((1, 8, 8, 3), np.uint8))
