"""How much of a time limit is kept for writing."""

from dataclasses import replace

import pytest

import made
from kvplace.cli import began, output
from kvplace.cli.output import writing_seconds
from kvplace.core.certificates.claim import Bound
from kvplace.core.result import Stop
from kvplace.solver.solve import solve

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


def test_what_was_tried_is_not_written_after_the_time_limit(monkeypatch, tmp_path, capsys):
    nothing = replace(
        solve(PROBLEM),
        placement=None,
        evaluation=None,
        proof=Bound(0.0, "trivial"),
        stop=Stop.TIME_LIMIT,
    )
    monkeypatch.setattr(output, "writing_seconds", lambda *_: 100.0)
    began.Command.begin(of_process=False)
    for limit, written in ((1e9, True), (1.0, False)):
        path = tmp_path / f"{limit}.json"
        options = {"every_gpu": False, "quiet": True, "time_limit": limit}
        assert output.print_result(nothing, "json", str(path), **options) == 4
        assert path.exists() == written
        assert ("leaves none to write" in capsys.readouterr().err) != written
