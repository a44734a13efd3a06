"""``kvplace bench``: the scores are those that the public benchmark publishes."""

import csv
import io
import json
import math
from importlib.util import find_spec

import pytest

from kvplace.bench.families import FAMILIES, family
from kvplace.bench.solvers import POLICIES, RIVALS
from kvplace.cli.main import main
from kvplace.cli.serving import bench
from kvplace.core.evaluation.evaluate import evaluate
from kvplace.core.placement import Placement
from kvplace.report.tables.scores import rows_csv, rows_json
from kvplace.solver.strategies.stages import NEEDED, STAGES


def test_the_reference_reaches_its_published_score(capsys):
    assert main(["bench", "adrs", "--solver", "reference", "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    (score,) = document["scores"]
    assert score["solved"] == score["cases"] == 50
    assert score["score"] >= 26.2332
    assert score["optimal"] >= 49
    assert len(document["runs"]) == 50
    assert all(run["value"] >= run["optimum"] * (1 - 1e-9) for run in document["runs"])


def test_the_baseline_scores_what_is_published(capsys):
    assert main(["bench", "adrs", "--solver", "prism-greedy"]) == 0
    head, row, *_ = capsys.readouterr().out.splitlines()
    assert head.split()[0] == "solver"
    assert row.split()[:2] == ["prism-greedy", "50/50"]
    assert "21.891622" in row


def test_csv_has_a_line_per_solver(capsys):
    args = ["bench", "20x40", "--solver", "prism-greedy", "--solver", "reference", "--format=csv"]
    assert main(args) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["solver"] for row in rows] == ["prism-greedy", "reference"]
    assert float(rows[1]["ratio"]) == 1


def test_numbers_that_are_not_finite_leave_no_trace_in_files():
    assert rows_csv([{"a": math.inf, "b": 1.5}]) == "a,b\n,1.5\n"
    assert json.loads(rows_json({"a": [math.nan, 1], "b": {"c": math.inf}})) == {
        "a": [None, 1],
        "b": {"c": None},
    }


def test_the_command_line_knows_the_names_of_the_library():
    assert tuple(FAMILIES) == bench.FAMILIES
    assert tuple(RIVALS) == bench.RIVALS
    assert POLICIES == bench.POLICIES
    assert (*bench.STAGES, *NEEDED) == tuple(
        sorted(STAGES, key=lambda name: (name in NEEDED, name))
    )


def test_a_stage_is_left_out_beside_the_whole(capsys):
    args = ["bench", "20x40", "--solver", "auto", "--without", "group-cover", "--format=csv"]
    assert main(args) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["solver"] for row in rows] == ["auto", "auto without group-cover"]


def test_an_algorithm_of_one_s_own_runs_beside_the_others(capsys, tmp_path):
    mine = tmp_path / "mine.py"
    mine.write_text(
        "import kvplace\n"
        "def first(problem):\n"
        "    gpus = [gpu.id for gpu in problem.fleet.gpus]\n"
        "    named = (model.name for model in problem.models)\n"
        "    return kvplace.Placement.single({n: gpus[i // 2] for i, n in enumerate(named)})\n"
        "def none(problem): return None\n"
        "def fails(problem): raise KeyError('x')\n"
        "def other(problem): return {}\n",
        "utf-8",
    )
    names = [f"{mine}:{name}" for name in ("first", "none", "fails", "other")]
    own = [word for name in names for word in ("--own", name)]
    args = ["bench", "20x40", "--solver", "prism-greedy", *own]
    assert main([*args, "--format", "json"]) == 0
    captured = capsys.readouterr()
    runs = {run["solver"]: run for run in json.loads(captured.out)["runs"]}
    assert list(runs) == ["prism-greedy", *names]
    case = next(family("20x40", [0]))
    gpus = [gpu.id for gpu in case.problem.fleet.gpus]
    placed = {model.name: gpus[i // 2] for i, model in enumerate(case.problem.models)}
    evaluation = evaluate(case.problem, Placement.single(placed))
    expected = evaluation.value if evaluation.valid else None
    assert runs[names[0]]["value"] == expected
    assert [runs[name]["evidence"] for name in names[1:3]] == ["none", "failed: KeyError: 'x'"]
    assert f"kvplace: {names[2]} on {case.name}: failed: KeyError: 'x'" in captured.err
    assert "it returns dict; return a kvplace.Placement or None" in captured.err


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("mine.py", "'mine.py' is not FILE:FUNCTION"),
        ("nowhere.py:place", "nowhere.py: it cannot be run: FileNotFoundError"),
        (f"{__file__}:nothing", "it has no function 'nothing'"),
    ],
)
def test_an_algorithm_that_cannot_be_loaded_is_refused(named, said, capsys):
    assert main(["bench", "adrs", "--own", named]) == 2
    assert said in capsys.readouterr().err


def test_several_families_ranges_of_seeds_and_cases_as_csv(capsys):
    args = ["bench", "20x40", "20x50", "--seeds", "1-2", "--seed", "5", "--solver", "prism-greedy"]
    assert main([*args, "--cases", "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    names = [f"{family}-{seed}" for family in ("20x40", "20x50") for seed in (1, 2, 5)]
    assert [row["case"] for row in rows] == names
    assert {row["evidence"] for row in rows} == {"certificate: fluid"}


def test_a_fleet_file_is_a_case_per_objective(capsys, tmp_path):
    fleet = tmp_path / "two.yaml"
    fleet.write_text(
        """
schema: kvplace.fleet/v1
nodes: [{name: n, gpus: 2, gpu: {type: A100-SXM-80GB, memory: 79GiB}}]
models:
  - name: a
    weights: 20GiB
    kv_bytes_per_token: 100000
    demand: {requests_per_second: 2, prompt_tokens: 500, output_tokens: 100}
    slo: {ttft: 1s, tpot: 50ms}
  - name: b
    weights: 30GiB
    kv_bytes_per_token: 200000
    demand: {requests_per_second: 1, prompt_tokens: 500, output_tokens: 100}
    slo: {ttft: 1s, tpot: 50ms}
""",
        "utf-8",
    )
    args = ["bench", str(fleet), "--objective", "tokens", "--objective", "requests"]
    assert main([*args, "--solver", "auto", "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [run["case"] for run in document["runs"]] == ["two-tokens", "two-requests"]
    assert all(run["proved"] for run in document["runs"])


def test_a_name_that_is_neither_family_nor_file_is_refused(capsys):
    assert main(["bench", "20x41"]) == 2
    assert "neither a family" in capsys.readouterr().err
    assert main(["bench", "4x8"]) == 2
    said = capsys.readouterr().err
    assert "As GPUs x models there are 20x40, " in said
    assert "4 hosts of 8 GPUs" in said
    assert "kvplace init --nodes 4x8xH100 " in said
    assert main(["bench", "4x8xH100"]) == 2
    assert "but GPUs. Write a fleet file of them" in capsys.readouterr().err
    assert main(["bench", "adrs-lik"]) == 2
    assert "did you mean 'adrs-like'?" in capsys.readouterr().err
    assert main(["bench", "nowhere.yaml"]) == 2
    assert "no such file" in capsys.readouterr().err
    assert main(["bench", "20x40", "--seeds", "9-1"]) == 2
    assert "must rise" in capsys.readouterr().err


def test_a_rival_that_is_not_installed_is_named(capsys, monkeypatch):
    monkeypatch.setattr("kvplace.bench.solvers.find_spec", lambda _: None)
    args = ["bench", "20x40", "--solver", "all", "--format", "json"]
    assert main(args) == 0
    printed = capsys.readouterr()
    for rival in RIVALS:
        assert f"{rival} is left out: " in printed.err
    document = json.loads(printed.out)
    assert list(document["absent"]) == list(RIVALS)
    assert document["solvers"] == ["auto", "reference", "prism-greedy", *POLICIES]
    assert main(["bench", "20x40", "--solver", "cp-sat"]) == 2
    assert "ortools is not installed" in capsys.readouterr().err


@pytest.mark.skipif(find_spec("ortools") is None, reason="ortools is not installed")
def test_rivals_run_beside_auto_and_a_plot_is_written(capsys, tmp_path):
    plot = tmp_path / "gaps.svg"
    args = ["bench", "20x40", "--solver", "auto", "--solver", "cp-sat", "--solver", "highs"]
    assert main([*args, "--time-limit", "0.5", "--cases", "--plot", str(plot)]) == 0
    printed = capsys.readouterr().out
    for word in ("auto", "cp-sat", "highs", "below auto", "claim", "20x40-0"):
        assert word in printed
    assert plot.read_text("utf-8").startswith("<?xml")


def test_fleets_with_soft_rules_are_not_said_to_be_compared_by_them(tmp_path, capsys):
    (tmp_path / "fleet.yaml").write_text(
        "schema: kvplace.fleet/v1\nnodes: 2x80GiB\nrules: [{rule: apart, models: '*', over: gpu, "
        "soft: 1}]\nmodels:\n"
        + "".join(
            f"  - {{name: {name}, weights: 9GiB, demand: {{requests_per_second: 1}}, "
            "slo: {latency: 1s}}\n"
            for name in "ab"
        )
    )
    assert main(["bench", str(tmp_path / "fleet.yaml"), "--solver", "auto"]) == 0
    assert "tables compare pressures alone" in capsys.readouterr().err
