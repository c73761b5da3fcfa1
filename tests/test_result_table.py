"""The table of finished clips: rows of several runs, files of other programs, cells that Excel would run."""

import csv
import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from errors import UserError
from output.result_table import ResultTable, csv_text
from parsing.cells import plain_cell, safe_cell

COLUMNS = ["source", "folder", "key"]


def row(name: str, **changes: str) -> dict[str, str]:
    return {"source": "s", "folder": name, "key": "k", **changes}


def read(path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("text", ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "'=1", "-", "=", "＝1"])
def test_formulas_become_text(text):
    assert safe_cell(text) == "'" + text
    assert plain_cell(safe_cell(text)) == text


@pytest.mark.parametrize("value", ["-0.5", "+3", "-1e-05", "-inf", -0.5, 2, "4+L7B", "'quoted'", "a=b", "", "-.5"])
def test_numbers_and_other_texts_stay(value):
    assert safe_cell(value) == str(value)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_every_text_comes_back(text):
    assert plain_cell(safe_cell(text)) == text


@given(st.text(st.sampled_from("=+-@\t'1a.,\"\n")), st.text())
def test_no_cell_starts_a_formula(start, rest):
    cell = safe_cell(start + rest)
    assert cell[:1] not in ("=", "@", "\t", "\r")
    if cell[:1] in ("+", "-"):
        assert float(cell) is not None


def test_names_that_are_not_utf_8_are_escaped(tmp_path):
    name = os.fsdecode(b"\xd6\xd0")
    table = ResultTable(tmp_path / "results.csv", COLUMNS)
    table.add(row("a", source=name))
    assert read(table.path)[0]["source"] == r"\udcd6\udcd0"
    assert ResultTable(table.path, COLUMNS).rows["a"] == table.rows["a"]


def test_rows_of_several_runs_merge(tmp_path):
    first, second = (ResultTable(tmp_path / "results.csv", COLUMNS) for _ in range(2))
    first.add(row("a"))
    second.add(row("=b"))
    first.add(row("a", key="new"))
    assert [(r["folder"], r["key"]) for r in read(first.path)] == [("a", "new"), ("'=b", "k")]
    assert list(ResultTable(first.path, COLUMNS).rows) == ["a", "=b"]
    assert os.listdir(tmp_path) == ["results.csv"], "no lock file is left"


def test_no_row_is_lost_among_many_writers(tmp_path):
    def write(number: int) -> None:
        table = ResultTable(tmp_path / "results.csv", COLUMNS)
        for i in range(5):
            table.add(row(f"{number}-{i}"))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(read(tmp_path / "results.csv")) == 40


def test_columns_of_other_programs_are_kept(tmp_path):
    path = tmp_path / "results.csv"
    path.write_text("source,folder,key,remark\ns,a,k,good\n", encoding="utf-8-sig")
    table = ResultTable(path, COLUMNS)
    table.add(row("b"))
    table.add(row("a", key="new"))
    assert [(r["folder"], r["key"], r["remark"]) for r in read(path)] == [("a", "new", "good"), ("b", "k", "")]


@pytest.mark.parametrize(
    "content",
    [
        "source,folder,key\ns,a,k\n".encode("utf-16"),
        os.urandom(100),
        b"",
        b"name,age\nx,3\n",
        b"source;folder;key\ns;a;k\n",
        b'source,folder,key\ns,"a,k\n',
        b"source,folder,key\ns,a\n",
        b"source,folder,key\ns,a,k,more\n",
        b"source,folder,key\ns," + b"a" * 200_000 + b",k\n",
    ],
    ids=range(9),
)
def test_files_that_are_no_such_table_are_moved_aside(tmp_path, content, caplog):
    path = tmp_path / "results.csv"
    path.write_bytes(content)
    (tmp_path / "results_unreadable_1.csv").write_text("an earlier one")
    ResultTable(path, COLUMNS).add(row("b"))
    assert [r["folder"] for r in read(path)] == ["b"]
    assert (tmp_path / "results_unreadable_2.csv").read_bytes() == content
    (record,) = caplog.records
    assert "it is now results_unreadable_2.csv" in record.getMessage()


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_a_folder_or_fifo_of_this_name_is_refused(tmp_path, make):
    make(tmp_path / "results.csv")
    with pytest.raises(UserError, match=r"results\.csv: expected a file, got a (folder|FIFO)"):
        ResultTable(tmp_path / "results.csv", COLUMNS)


def test_lines_end_with_a_line_feed_and_missing_cells_are_empty():
    assert csv_text(["a", "b"], [{"a": 0.1}, {"a": None, "b": -2}]) == "a,b\n0.1,\n,-2\n"
