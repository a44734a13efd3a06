"""How much of a time limit is kept for writing."""

import pytest

import made
from kvplace.cli.output import writing_seconds

PROBLEM = made.problem([made.model("m", 6, 1.0, tensor_parallel=(1, 2))], made.fleet(80, 80))


def test_a_busy_machine_is_given_longer_to_write_but_a_download_counts_for_nothing():
    usual = writing_seconds(PROBLEM, "json", "plan.json", 0.0)
    assert usual > 0
    assert writing_seconds(PROBLEM, "json", "plan.json", usual) == usual
    assert usual < writing_seconds(PROBLEM, "json", "plan.json", 3 * usual) < 3 * usual
    assert writing_seconds(PROBLEM, "json", "plan.json", 1000.0) == pytest.approx(3 * usual)


def test_a_csv_takes_longer_to_write_where_reading_took_longer():
    usual = writing_seconds(PROBLEM, "csv", "plan.csv", 0.0)
    assert 0 < usual < writing_seconds(PROBLEM, "csv", "plan.csv", 3 * usual) < 3 * usual


def test_a_table_takes_no_time_worth_keeping():
    assert writing_seconds(PROBLEM, "table", None, 1.0) == 0
