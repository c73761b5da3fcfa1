"""Bootstrap intervals and tables."""

import csv
import io

import numpy as np
import pytest

from evaluation.measures import MEASURES
from evaluation.statistics import bootstrap
from evaluation.tables import REFERENCES, SystemTable, cell, markdown, text
from output.result_table import csv_text


def test_the_interval_covers_the_mean_as_often_as_it_says():
    rng = np.random.default_rng(0)
    samples = [bootstrap(rng.normal(0, 1, 30), seed) for seed in range(200)]
    assert 0.88 <= np.mean([found.low <= 0 <= found.high for found in samples]) <= 0.99


def test_the_interval_narrows_with_the_number_of_clips():
    rng = np.random.default_rng(1)
    few, many = bootstrap(rng.normal(size=20)), bootstrap(rng.normal(size=2000))
    assert many.high - many.low < 0.2 * (few.high - few.low)


def test_the_seed_moves_the_interval_and_not_the_mean():
    values = np.random.default_rng(1).normal(size=20)
    one, other = SystemTable(seed=1), SystemTable(seed=2)
    for value in values:
        one.add("a", {"akd": value})
        other.add("a", {"akd": value})
    first, second = one.intervals("a")["akd"], other.intervals("a")["akd"]
    assert first.mean == second.mean
    assert first.low != second.low
    assert first == bootstrap(values, 1)


def test_missing_values_are_left_out_of_the_mean():
    found = bootstrap(np.array([1.0, np.nan, 3.0]))
    assert (found.mean, found.clips) == (2.0, 2)
    assert bootstrap(np.array([np.nan])).clips == 0
    one = bootstrap(np.array([2.0]))
    assert one.mean == 2
    assert np.isnan(one.low)


@pytest.fixture
def table() -> SystemTable:
    """Two systems and a reference."""
    table = SystemTable()
    for system, error in (("b_1", 0.5), ("A & C", 0.7), (REFERENCES[0], 1.0)):
        for clip in range(4):
            table.add(system, {"motion_error_dis": error + 0.01 * clip, "asymmetry": float("nan")})
    table.set_value("b_1", "fid", 12.34)
    return table


def test_references_stand_last_and_unknown_measures_are_left_out(table):
    assert table.systems == ["A & C", "b_1", REFERENCES[0]]
    assert table.known(["motion_error_dis", "asymmetry", "fid", "psnr"]) == ["motion_error_dis", "fid"]


def test_tables_hold_mean_interval_and_unit(table):
    rows = list(
        csv.DictReader(
            io.StringIO(
                csv_text(
                    ["system", "measure", "mean", "low", "high", "clips", "unit", "better"],
                    table.csv_rows(["motion_error_dis", "fid"]),
                )
            )
        )
    )
    (row,) = [row for row in rows if row["system"] == "b_1" and row["measure"] == "motion_error_dis"]
    assert float(row["mean"]) == pytest.approx(0.515)
    assert float(row["low"]) < float(row["mean"]) < float(row["high"])
    assert (row["clips"], row["better"]) == ("4", "lower")


def test_latex_escapes_names_and_separates_the_references(table):
    latex = table.latex(["motion_error_dis", "fid"])
    assert r"A \& C" in latex
    assert r"b\_1" in latex
    assert latex.count(r"\midrule") == 2
    assert "$12.3$" in latex
    assert latex.index(r"b\_1 &") < latex.index(f"{REFERENCES[0]} &")


def test_cells_have_the_decimals_of_their_measure(table):
    intervals = table.intervals("b_1")
    assert cell("motion_error_dis", intervals["motion_error_dis"]).startswith("0.52 [0.5")
    assert cell("fid", intervals["fid"]) == "12.3"
    assert text("motion_corr_dis", -0.001) == "0.00"
    assert "| 12.3 |" in markdown(table, ["fid"])
    assert set(MEASURES) >= {"fid", "motion_error_dis"}
