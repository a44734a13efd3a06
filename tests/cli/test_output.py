"""How much of a time limit is kept for writing."""

import os
from dataclasses import replace

import pytest

import made
from kvplace.checking.load import load_plan
from kvplace.cli import began, output
from kvplace.cli.main import main
from kvplace.cli.output import writing_seconds
from kvplace.core.certificates.claim import Bound
from kvplace.core.result import Stop
from kvplace.formats.fleet.write import write_fleet
from kvplace.solver.solve import solve

PROBLEM = made.problem([made.model("m", 6, 1.0, tensor_parallel=(1, 2))], made.fleet(80, 80))


READING = 25e-6  # of the one model


@pytest.mark.parametrize("form", ["json", "csv", "table"])
def test_a_slow_machine_is_given_longer_to_write_but_a_download_counts_for_nothing(form):
    usual = writing_seconds(PROBLEM, form, None, "fleet.json", READING)
    assert usual > 0
    assert writing_seconds(PROBLEM, form, None, "fleet.json", READING / 2) == pytest.approx(
        usual / 2
    )
    assert writing_seconds(PROBLEM, form, None, "fleet.json", 0.0) == pytest.approx(0.4 * usual)
    assert writing_seconds(PROBLEM, form, None, "fleet.json", 2 * READING) == pytest.approx(
        2 * usual
    )
    assert writing_seconds(PROBLEM, form, None, "fleet.json", 1000.0) == pytest.approx(3 * usual)


def test_columns_are_written_sooner_than_json():
    usual = writing_seconds(PROBLEM, "json", "plan.json", "fleet.json", 0.0)
    assert 0 < writing_seconds(PROBLEM, "table", "plan.parquet", "fleet.json", 0.0) < usual


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


@pytest.mark.parametrize("name", ["plan.json", "plan.csv", "plan.parquet"])
def test_a_disk_that_is_full_at_the_end_loses_no_plan(tmp_path, capsys, monkeypatch, name):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    answers, written = [OSError(28, "No space left on device")], os.fsync

    def fsync(handle):
        if answers:
            raise answers.pop()
        written(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    fleet, target = tmp_path / "fleet.yaml", tmp_path / name
    fleet.write_text(write_fleet(PROBLEM))
    form = "csv" if name.endswith("csv") else "json"
    assert main(["plan", str(fleet), "-o", str(target), "--format", form]) == 2
    told = capsys.readouterr().err
    assert "no space left on device" in told
    assert not target.exists()
    (kept,) = tmp_path.glob(f"kvplace-*/{name}")
    assert f"{target}: what was found is in {kept}" in told
    assert load_plan(kept, fleet).placement is not None


def test_a_folder_that_is_not_there_is_told_before_any_work(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("kvplace.formats.read.read", None)  # nothing is read
    for name in ("no/plan.json", "."):
        output = str(tmp_path / name)
        assert main(["plan", "fleet.yaml", "--output", output]) == 2
        assert "directory" in capsys.readouterr().err
