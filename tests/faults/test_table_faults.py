"""Tables with mutated cells and bytes: a value or one line, never another error, a hang or a heap of memory."""

import io
import os
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import run
from clips.files import read_list, read_names
from clips.loader import ClipLoader
from clips.pairs import resolve_clip
from clips.reading import ClipError, open_clip
from config.sections import DatasetParams
from errors import UserError
from faces.action_unit_tables import ACTION_UNITS, read_table
from faces.action_units import TableRules, clip_action_units, read_action_units
from faces.landmarks import read_landmarks
from parsing.tables import read_cells
from preparation.onset import read_boxes
from tests.conftest import face_landmarks

FACE = face_landmarks(128)
ODD_CELLS = (
    *("", " ", "nan", "-nan(ind)", "1.#QNAN", "inf", "-inf", "1e30", "1e400", "-1", "1.5", "1,5", "1_0", "0x1", "NULL"),
    *(
        "9" * 400,
        "-9223372036854775809",
        "x",
        "a**b",
        "*",
        "..",
        "/",
        "\0",
        "'",
        '"',
        ";",
        "\t",
        "=1+1",
        "#",
        "#N/A",
        "[",
        "[[1]]",
    ),
    *(
        "x" * 300,
        "x" * 140_000,
        "\u8138",
        "\u202e",
        "\x1b[31m",
        "True",
        "1;2",
        "\r",
        "\n",
        "\u0661",
        "\u2028",
        "\ufeff",
    ),
)


def openface_header() -> list[str]:
    return ["frame", "face_id", "confidence", "success", *(f"AU{unit:02d}_r" for unit in ACTION_UNITS)]


TABLES: dict[str, list[list]] = {
    "action units": [openface_header(), *([t, t % 2, 0.9, 1, *([0.1 * t] * 17)] for t in range(1, 5))],
    "openface 3": [["frame_index", "face_id", "action_units"], *([t, 0, str([[0.1 * t] * 8])] for t in range(4))],
    "py-feat": [["frame", "FaceScore", *(f"AU{n:02d}" for n in (*ACTION_UNITS[:-1], 43))], [0, 0.9, *([0.2] * 17)]],
    "libreface": [
        ["frame_idx", *(f"au_{n}_intensity" for n in (1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26))],
        [0, *[1] * 12],
    ],
    "points": [["x", "y"], *FACE.round(2).tolist()],
    "landmarks": [
        ["frame", "face_id", "success", *(f"{axis}_{i}" for axis in "xy" for i in range(68))],
        *([t, 0, 1, *(FACE.T.ravel() + t).round(2).tolist()] for t in range(3)),
    ],
    "pairs": [["source", "driving"], ["a", "b"], ["c.png", "d"]],
    "codes": [["source", "au", "onset", "apex", "offset", "fps"], ["a", "4+L7B", 1, 3, 6, 100]],
    "boxes": [["clip", "x0", "y0", "x1", "y1"], ["a", 1, 2, 3, 4]],
}


def read_by_all(path: Path) -> None:
    """Every reader of tables; mistakes must be `UserError`, or `ValueError` with one line where clips are loaded."""
    readers: tuple[Callable[[], object], ...] = (
        lambda: read_table(path),
        lambda: read_action_units(path, 4, rules=TableRules(unknown="zero", max_gap=2), notice=lambda text: None),
        lambda: read_landmarks(path, lambda text: None),
        lambda: [resolve_clip(row["source"], {}, path, n) for n, row in read_list(path, ("source", "driving"))],
        lambda: read_list(path, ("source", "au", "onset", "apex", "offset")),
        lambda: read_boxes(path),
        lambda: read_names(path),
        lambda: read_cells(path),
    )
    for read in readers:
        error = mistake_of(read)
        if error is not None:
            assert type(error) in (UserError, ClipError, ValueError)
            assert "\n" not in str(error)
            assert len(str(error)) < 2000


def mistake_of(read: Callable[[], object]) -> ValueError | None:
    """The mistake that a reader reports; any other error is a fault."""
    try:
        read()
    except ValueError as error:
        return error
    return None


def as_text(rows: list[list], separator: str, encoding: str) -> bytes:
    text = "\r\n".join(separator.join(map(str, row)) for row in rows) + "\r\n"
    return text.encode(encoding, "replace")


def as_workbook(rows: list[list]) -> bytes:
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append([openpyxl.cell.cell.ILLEGAL_CHARACTERS_RE.sub("", str(cell))[:30_000] for cell in row])
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


@st.composite
def mutated_cells(draw: st.DrawFn) -> list[list]:
    rows = [list(row) for row in TABLES[draw(st.sampled_from(sorted(TABLES)))]]
    for _ in range(draw(st.integers(1, 3))):
        r = draw(st.integers(0, len(rows) - 1))
        kind = draw(st.sampled_from(("cell", "cell", "cell", "drop cell", "double row", "drop row", "more cells")))
        c = draw(st.integers(0, max(len(rows[r]) - 1, 0)))
        odd = draw(st.sampled_from(ODD_CELLS) | st.text(max_size=5) | st.floats().map(str) | st.integers().map(str))
        if kind == "cell" and rows[r]:
            rows[r][c] = odd
        elif kind == "drop cell" and rows[r]:
            del rows[r][c]
        elif kind == "double row":
            rows.insert(r, list(rows[r]))
        elif kind == "drop row" and len(rows) > 1:
            del rows[r]
        else:
            rows[r] += [odd] * draw(st.integers(1, 5))
    return rows


@st.composite
def mutated_bytes(draw: st.DrawFn, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(changed) - 1)) if changed else 0
        kind = draw(st.sampled_from(("set", "cut", "insert", "delete")))
        if kind == "set" and changed:
            changed[at] = draw(st.integers(0, 255))
        elif kind == "cut":
            del changed[at:]
        elif kind == "insert":
            changed[at:at] = draw(st.binary(max_size=8))
        else:
            del changed[at : at + draw(st.integers(1, 40))]
    return bytes(changed)


@given(
    mutated_cells(),
    st.sampled_from((",", ";", "\t", " ", "\uff0c", ", ")),
    st.sampled_from(("utf-8", "utf-8-sig", "utf-16", "gb18030", "latin-1")),
    st.sampled_from((".csv", ".txt")),
)
def test_mutated_cells_of_text_tables(tmp_path_factory, rows, separator, encoding, suffix):
    path = tmp_path_factory.getbasetemp() / f"cells{suffix}"
    path.write_bytes(as_text(rows, separator, encoding))
    read_by_all(path)


@given(st.data())
def test_mutated_bytes_of_text_tables(tmp_path_factory, data):
    name, encoding = data.draw(st.sampled_from(sorted(TABLES))), data.draw(st.sampled_from(("utf-8", "utf-16")))
    path = tmp_path_factory.getbasetemp() / "bytes.csv"
    path.write_bytes(data.draw(mutated_bytes(as_text(TABLES[name], ",", encoding))))
    read_by_all(path)


@given(mutated_cells())
def test_mutated_cells_of_workbooks(tmp_path_factory, rows):
    path = tmp_path_factory.getbasetemp() / "cells.xlsx"
    path.write_bytes(as_workbook(rows))
    read_by_all(path)


@given(st.data())
def test_mutated_bytes_of_workbooks(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "bytes.xlsx"
    path.write_bytes(data.draw(mutated_bytes(WORKBOOK)))
    read_by_all(path)


@given(st.data())
def test_mutated_parts_of_workbooks(tmp_path_factory, data):
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(WORKBOOK)) as old, zipfile.ZipFile(stream, "w") as new:
        part = data.draw(st.sampled_from(sorted(old.namelist())))
        for entry in old.namelist():
            content = old.read(entry)
            new.writestr(entry, data.draw(mutated_bytes(content)) if entry == part else content)
    path = tmp_path_factory.getbasetemp() / "parts.xlsx"
    path.write_bytes(stream.getvalue())
    read_by_all(path)


@given(st.data())
def test_mutated_bytes_of_old_workbooks(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "bytes.xls"
    path.write_bytes(data.draw(mutated_bytes(OLD_WORKBOOK)))
    read_by_all(path)


@given(st.binary(max_size=300))
def test_arbitrary_bytes(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(content)
    read_by_all(path)


def test_a_frame_number_far_away_does_not_cost_memory(tmp_path):
    rows = [list(row) for row in TABLES["action units"]]
    rows[1][0] = 999_999_999
    (tmp_path / "a.csv").write_bytes(as_text(rows, ",", "utf-8"))
    table = read_table(tmp_path / "a.csv")
    with pytest.raises(
        ValueError, match="expected a row for each of 999999999 frames, got .; is a frame number mistaken"
    ):
        clip_action_units(table, 999_999_999, frame_numbers=range(1, 10**9))


@pytest.mark.parametrize(
    ("arguments", "content", "message"),
    [
        ("--au-list", "source,au,onset,apex,offset\na**b,4,1,2,3\n", "line 2: 'a**b' is neither a test clip"),
        ("--au-list", f"source,au,onset,apex,offset\n{'9' * 400},4,1,2,3\n", "is neither a test clip"),
        ("pairs", "source,driving\na**b,*\n", "line 2: 'a**b' is neither a test clip"),
        ("pairs", f"source,driving\n{'x' * 300},b\n", "is neither a test clip"),
        ("curves", "1e30", "row 2: frame: expected a whole number from 0 to 1000000000, got '1e30'"),
        ("curves", "-9223372036854775809", "row 2: frame: expected a whole number"),
        ("curves", "1000000000000", "row 2: frame: expected a whole number"),
        ("curves", "999999999", "is a frame number mistaken?"),
    ],
)
def test_the_command_line_refuses_tables_in_one_line(warp_experiment, tmp_path, caplog, arguments, content, message):
    command = ["--config", str(warp_experiment), "--mode", "animate", "--log-dir", str(tmp_path / "log")]
    path = tmp_path / "list.csv"
    if arguments == "curves":
        rows = [list(row) for row in TABLES["action units"]]
        rows[1:] = [[row[0], 0, *row[2:]] for row in rows[1:]]
        rows[1][0] = content
        (tmp_path / "curves.csv").write_bytes(as_text(rows, ",", "utf-8"))
        content = "source,au,onset,apex,offset,curves\n006,,,,,curves.csv\n"
    path.write_text(content)
    command += ["--set", f"dataset_params.pairs_list={path}"] if arguments == "pairs" else ["--au-list", str(path)]
    assert run.main(command) == 2
    (line,) = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert message in line
    assert "\n" not in line


@pytest.mark.parametrize("option", ["landmark_file", "action_unit_file"])
@pytest.mark.parametrize("content", [b"", b"frame,AU01_r\n1e30,0\n", None])
def test_files_given_by_hand_are_read_although_the_model_ignores_them(clips_root, tmp_path, option, content):
    path = tmp_path / ("a.csv" if option == "action_unit_file" else "a.npy")
    os.mkfifo(path) if content is None else path.write_bytes(content)
    loader = ClipLoader(DatasetParams(cache_dir=None, frame_shape=None), landmarks=False, action_units=False)
    with pytest.raises(ClipError, match=re.escape(str(path))):
        loader.load(open_clip(clips_root / "test" / "006"), **{option: path})


WORKBOOK = as_workbook(TABLES["pairs"])


def _old_workbook() -> bytes:
    """An .xls workbook, if the package that writes them is installed; otherwise bytes that begin as one."""
    try:
        import xlwt
    except ImportError:
        return b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + np.random.default_rng(0).bytes(3000)
    book = xlwt.Workbook()
    sheet = book.add_sheet("pairs")
    for r, row in enumerate(TABLES["boxes"]):
        for c, cell in enumerate(row):
            sheet.write(r, c, cell)
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


OLD_WORKBOOK = _old_workbook()
