"""Tables as programs of different makers and countries write them: encodings, separators, numbers, workbooks."""

import io
import math
import struct
import zipfile
from pathlib import Path

import openpyxl
import pytest

from errors import UserError
from parsing.tables import read_cells, read_rows, read_table, read_tabs, to_number

CELLS = [["名字", "Müller", "a b"], ["1", "2.5", "x"], ["2", "-3", "y"]]


def saved(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def workbook(rows: list[list], **tabs: list[list]) -> bytes:
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    for name, others in tabs.items():
        sheet = book.create_sheet(name)
        for row in others:
            sheet.append(row)
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "gb18030"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "\uff0c", ", "])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_encoding_separator_and_line_ends_are_recognised(tmp_path, encoding, separator, end):
    text = end.join(separator.join(row) for row in CELLS) + end + (separator * 2).replace(" ", "") + end
    assert read_cells(saved(tmp_path / "a.csv", text.replace("ü", "u"), encoding)) == [
        [cell.replace("ü", "u") for cell in row] for row in CELLS
    ]


@pytest.mark.parametrize("text", ["Müller,é\nsé,à\n", "Größe,ä\nWörter,ü\n", "Façade,naïve\n"])
def test_western_letters_are_latin_1_and_chinese_ones_are_not(tmp_path, text):
    assert read_cells(saved(tmp_path / "a.csv", text, "latin-1")) == [line.split(",") for line in text.splitlines()]
    assert read_cells(saved(tmp_path / "b.csv", "主体,表情\n一,高兴\n", "gbk")) == [["主体", "表情"], ["一", "高兴"]]


@pytest.mark.parametrize(
    ("text", "cells"),
    [
        ("a;b\n1,5;2,5\n", [["a", "b"], ["1,5", "2,5"]]),
        ("1,5;2,5\n3,5;4,5\n", [["1,5", "2,5"], ["3,5", "4,5"]]),
        ("name,au\nx,4;7\n", [["name", "au"], ["x", "4;7"]]),
        ("name,remark\nx,'a;b;c'\ny,\"d,e\"\n", [["name", "remark"], ["x", "'a;b;c'"], ["y", "d,e"]]),
        ("sep=;\na;b,c\n", [["a", "b,c"]]),
        ("  1.5   2\n 10.25 3\n", [["1.5", "2"], ["10.25", "3"]]),
        ("my name   number\nclip one  1\n", [["my name", "number"], ["clip one", "1"]]),
        ("name\nclip one\n", [["name"], ["clip one"]]),
        ('a, "b, c"\n1, 2\n', [["a", "b, c"], ["1", "2"]]),
        ('a,"two\nlines"\n1,2\n', [["a", "two\nlines"], ["1", "2"]]),
        ("a,b\n1,2\n\x1a", [["a", "b"], ["1", "2"]]),
        ("", []),
    ],
)
def test_the_separator_is_the_one_that_gives_rows_the_same_length(tmp_path, text, cells):
    assert read_cells(saved(tmp_path / "a.csv", text)) == cells


def test_rows_keep_their_numbers_in_spreadsheets(tmp_path):
    path = saved(tmp_path / "a.csv", "# remark\n\na,b,,\n1,2,,\n,,,\n3,4,,\n,,,\n")
    assert [(row.number, row.cells) for row in read_rows(path)] == [(3, ("a", "b")), (4, ("1", "2")), (6, ("3", "4"))]
    assert read_table(path).header == ("a", "b")


def test_rows_that_do_not_fit_the_header_are_named(tmp_path):
    with pytest.raises(UserError, match=r"a\.csv: row 3: expected 2 cells as in the header, got 1"):
        read_table(saved(tmp_path / "a.csv", "a,b\n1,2\n3\n"))
    assert read_table(saved(tmp_path / "a.csv", "a,b\n1,2\n3\n"), short_rows=True).rows[1].cells == ("3", "")
    with pytest.raises(UserError, match=r"a\.csv: row 2: expected 2 cells as in the header, got 3"):
        read_table(saved(tmp_path / "a.csv", "a,b\n1,2,3\n"), short_rows=True)


@pytest.mark.parametrize(
    ("cell", "number"),
    [
        ("1.5", 1.5),
        (" 1,5 ", 1.5),
        ("-1e-05", -1e-5),
        ("1e30", 1e30),
        ("1.#INF", math.inf),
        ("-inf", -math.inf),
        (2, 2),
    ],
)
def test_numbers_may_have_decimal_commas(cell, number):
    assert to_number(cell) == number


@pytest.mark.parametrize("cell", ["", "NaN", "-nan(ind)", "nan(snan)", "1.#QNAN", "-1.#IND", "1,#QNAN", "#N/A", "NULL"])
def test_signs_of_missing_values_are_no_numbers(cell):
    assert math.isnan(to_number(cell))


@pytest.mark.parametrize("cell", ["x", "1_000", "1,2,3", "0x10", "1.2.3"])
def test_other_text_is_no_number(cell):
    with pytest.raises(ValueError, match="expected a number, got"):
        to_number(cell)


@pytest.mark.parametrize("name", ["a.xlsx", "a.xls", "a.csv"])
def test_workbooks_are_recognised_by_content(tmp_path, name):
    (tmp_path / name).write_bytes(workbook([["a", "b"], [1.0, 2.5], [None, "#DIV/0!"]], second=[["c"], [True]]))
    assert read_cells(tmp_path / name) == [["a", "b"], ["1", "2.5"]]
    assert read_tabs(tmp_path / name)["second"] == [["c"], ["True"]]


@pytest.mark.parametrize("name", ["a.xlsx", "a.xls"])
def test_a_text_under_the_name_of_a_workbook_is_read(tmp_path, name):
    assert read_cells(saved(tmp_path / name, "a\tb\n1\t2\n", "utf-16")) == [["a", "b"], ["1", "2"]]


def with_member(name: str, content: bytes, like: bytes) -> bytes:
    """A workbook with another content of one of its parts."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(like)) as old, zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            new.writestr(entry, content if entry.filename == name else old.read(entry))
    return stream.getvalue()


SHEET = "xl/worksheets/sheet1.xml"
OPEN = '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
CLOSE = "</sheetData></worksheet>"


def sheet_of(rows: str) -> bytes:
    return with_member(SHEET, f"{OPEN}{rows}{CLOSE}".encode(), workbook([["a"]]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0\0", "got binary data"),
        (bytes(range(1, 9)) * 9, "got binary data"),
        (b"\xff\xfe\0", "byte 2 is not utf-16"),
        (b"<html><table><tr><td>1</td></tr></table>", "got a web page or XML; save it as .xlsx"),
        (b"a,b\n1," + b"x" * 200_000, r"row 2: expected a readable CSV table \(field larger"),
        (b"a," * 20_000, "row 1: expected at most 16384 columns"),
        (b"PK\x03\x04", "expected a readable Excel workbook"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "expected a readable Excel workbook"),
        (
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600) + "EncryptedPackage".encode("utf-16-le"),
            "protected by a password",
        ),
        (workbook([["a"]])[:-40], "expected a readable Excel workbook"),
        (with_member(SHEET, b"0" * (129 * 2**20), workbook([["a"]])), "unpacks to 129 MiB, expected at most 128"),
        (
            sheet_of("".join(f'<row r="{r}"><c r="XFD{r}"><v>1</v></c></row>' for r in range(1, 900))),
            "expected at most 12000000 cells",
        ),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)
def test_what_is_no_table_is_refused_in_one_line(tmp_path, content, message):
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(UserError, match=rf"a\.csv: .*{message}") as caught:
        read_cells(tmp_path / "a.csv")
    assert "\n" not in str(caught.value)


def test_workbooks_of_old_versions_of_excel_are_read(tmp_path):
    """BIFF 2, the simplest: a stream of records, each a type, a length and content."""

    def record(kind: int, content: bytes) -> bytes:
        return struct.pack("<HH", kind, len(content)) + content

    cells = [
        record(4, struct.pack("<HH3sB", 0, 0, b"", 4) + b"name"),
        record(3, struct.pack("<HH3sd", 1, 0, b"", 4.0)),
        record(3, struct.pack("<HH3sd", 1, 1, b"", 0.5)),
    ]
    stream = record(9, struct.pack("<HH", 2, 16)) + b"".join(cells) + record(10, b"")
    (tmp_path / "a.xls").write_bytes(stream)
    assert read_cells(tmp_path / "a.xls") == [["name", ""], ["4", "0.5"]]


def test_a_row_far_below_the_others_does_not_cost_memory(tmp_path):
    (tmp_path / "a.xlsx").write_bytes(sheet_of('<row r="1"><c r="A1"><v>1</v></c></row><row r="200000"></row>'))
    assert read_cells(tmp_path / "a.xlsx") == [["1"]]
