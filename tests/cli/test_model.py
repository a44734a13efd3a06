"""``kvplace model`` and ``kvplace catalogue``: figures, origins and refusals."""

import csv
import io
import json

import pytest

from kvplace.cli.main import main

LLAMA = "meta-llama/Llama-3.1-8B-Instruct"


@pytest.fixture(autouse=True)
def _no_own_catalogue(tmp_path, monkeypatch):
    monkeypatch.setenv("KVPLACE_CATALOGUE", str(tmp_path))


def run(capsys, *args) -> tuple[int, str, list[str]]:
    code = main([str(arg) for arg in args])
    out, err = capsys.readouterr()
    return code, out, err.splitlines()


def test_the_table_gives_figures_and_stderr_their_origins(capsys):
    code, out, err = run(capsys, "model", LLAMA)
    assert code == 0
    assert "14.96 GiB" in out
    assert "131,072" in out
    assert len(err) == 3
    assert "CUDA graphs" in err[2]
    assert all("catalogue:" in line for line in err[:2])
    assert run(capsys, "model", LLAMA, "--quiet")[2] == []


def test_json_and_csv_are_per_rank(capsys):
    args = ("model", LLAMA, "deepseek-ai/DeepSeek-V3", "--tensor-parallel", "16")
    code, out, _err = run(capsys, *args, "--format", "json")
    assert code == 0
    models = json.loads(out)["models"]
    assert [m["kv_bytes_per_token_per_rank"] for m in models] == [16384, 70272]
    code, out, _err = run(capsys, *args, "--format", "csv")
    assert code == 0
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [row["kv_bytes_per_token_per_rank"] for row in rows] == ["16384", "70272"]


def test_all_faults_are_told_at_once(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    code, out, err = run(
        capsys, "model", tmp_path / "empty", "Qwen/Qwen3.5-27B", LLAMA, "--tensor-parallel", "3"
    )
    assert (code, out) == (2, "")
    assert len(err) == 3
    assert "there is no config.json" in err[0]
    assert "does not know the state" in err[1]
    assert "do not split over 3 ranks" in err[2]


@pytest.mark.parametrize("kind", ["gpus", "models"])
def test_the_catalogue_is_listed_searched_and_sourced(kind, capsys):
    code, out, _err = run(capsys, "catalogue", kind, "--format", "csv")
    assert code == 0
    rows = list(csv.DictReader(io.StringIO(out)))
    assert len(rows) >= 23
    assert all(row["source"] for row in rows)
    part = rows[0]["name"][:5]
    code, out, _err = run(capsys, "catalogue", kind, "--search", part.upper(), "--format", "json")
    assert code == 0
    assert 0 < len(json.loads(out)[kind]) < len(rows)
    code, out, _err = run(capsys, "catalogue", kind)
    assert code == 0
    assert len(out.splitlines()) == len(rows) + 1


def test_a_search_without_a_hit_is_an_error(capsys):
    code, out, err = run(capsys, "catalogue", "gpus", "--search", "abacus")
    assert (code, out) == (2, "")
    assert err == ["kvplace: catalogue gpus: no name contains 'abacus'"]


def test_own_rows_are_said_to_be_there(tmp_path, capsys):
    (tmp_path / "gpus.csv").write_text("name,usable_gib,source\nMINE,10,measured\n")
    code, out, err = run(capsys, "catalogue", "gpus", "--search", "mine")
    assert code == 0
    assert "MINE" in out
    assert "gpus.csv" in err[0]


def test_a_file_and_an_empty_name_are_told_from_a_hub_id(tmp_path, capsys):
    sheet = tmp_path / "sheet.xlsx"
    sheet.write_bytes(b"PK")
    code, _out, err = run(capsys, "model", sheet, "")
    assert code == 2
    assert any("this is a file" in line for line in err)
    assert any("name is empty" in line for line in err)


@pytest.mark.parametrize("count", ["1x99999999xH100", "99999999x8xH100"])
def test_more_gpus_than_a_fleet_may_have_are_refused_as_that(count, tmp_path, capsys):
    table = tmp_path / "models.csv"
    table.write_text("name,weights\na,1GiB\n")
    code, _out, err = run(capsys, "plan", table, "--gpus", count)
    assert code == 2
    assert "more than 1,000,000 GPUs" in "\n".join(err)


def test_no_answer_is_written_under_the_ending_of_an_office_file(tmp_path, capsys):
    table, target = tmp_path / "models.csv", tmp_path / "plan.docx"
    table.write_text("name,weights\na,1GiB\n")
    code, _out, err = run(capsys, "plan", table, "--gpus", "1xH100", "-o", target)
    assert code == 2
    assert "no .docx file is written" in "\n".join(err)
    assert not target.exists()
