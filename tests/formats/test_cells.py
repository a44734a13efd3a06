"""Cells that spreadsheets would run, and numbers that all readers take or refuse alike."""

import csv
import io
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvplace.cli.main import main
from kvplace.formats.plan.rows import parse_plan_table, table_text
from kvplace.formats.plan.table import PlanTable
from kvplace.formats.text.cells import plain_cell, safe_cell
from kvplace.report.tables.scores import rows_csv
from kvplace.units import parse_number

TEXTS = st.text(alphabet="=+-@\t\r'a1", max_size=6)


@given(TEXTS)
def test_a_cell_is_given_back_and_runs_nothing(text):
    assert plain_cell(safe_cell(text)) == text
    assert safe_cell(text)[:1] not in set("=+-@\t\r") or not text


@pytest.mark.parametrize("name", ["=HYPERLINK(1)", "+1", "-x", "@SUM(A1)", "'=x", "''"])
def test_names_that_begin_like_formulas_are_written_and_read(name):
    zero = array("q", [0])
    text = table_text(PlanTable([name], (["n/0"], zero), zero, zero, array("q", [5]), [1.0]))
    cell = next(csv.DictReader(io.StringIO(text)))["model"]
    assert cell[0] == "'"
    assert list(parse_plan_table(text).models) == [name]
    assert rows_csv([{"name": name, "value": -1}]).splitlines()[1].startswith("'")
    assert rows_csv([{"value": -1}]).splitlines()[1] == "-1"


@pytest.mark.parametrize(
    ("text", "number"),
    [("1.5", 1.5), (" -2e3 ", -2000), (".5", 0.5), ("1e400", float("inf")), ("0", 0),
     ("1e-300", 1e-300), ("1e-320", None), ("\uff11\uff12", None), ("1_000", None), ("nan", None),
     ("inf", None), ("", None), ("0x10", None), ("1 2", None), ("1" * 65, None), ("\u0661", None)],
)  # fmt: skip
def test_one_parser_of_numbers(text, number):
    assert parse_number(text) == number


@pytest.mark.parametrize(
    "args",
    [
        ("size", "{f}", "--target", "1e-320"),
        ("size", "{f}", "--target", "\uff18\uff10%"),
        ("size", "{f}", "--target", "80%", "--growth", "\uff11"),
        ("size", "{f}", "--target", "80%", "--growth", "1_0"),
        ("plan", "{f}", "--time-limit", "\uff15s"),
        ("plan", "{f}", "--time-limit", "1e-320"),
        ("plan", "{f}", "--gap", "1_0%"),
        ("plan", "{f}", "--iterations", "\uff15"),
        ("demand", "trace", "{f}", "--quantile", "nan"),
        ("init", "--models", "a/b", "--nodes", "8xH100", "--replicas", "\uff11-2"),
    ],
)
def test_odd_numbers_are_refused_alike(args, tmp_path, capsys):
    fleet = tmp_path / "f.csv"
    fleet.write_text("name,weights_gib,requests_per_second,slo_seconds\na,1,1,1\n")
    assert main([arg.format(f=fleet) for arg in args]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "internal error" not in captured.err
