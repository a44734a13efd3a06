"""``forecast`` and ``simulate`` on the command line."""

import json
from pathlib import Path

import pytest

from kvplace.cli.main import main

FLEET = """\
schema: kvplace.fleet/v1
nodes: [{name: a, gpus: 2, gpu: {type: H100-SXM-80GB, memory: 79GiB}}]
models:
  - name: one
    weights: 15GiB
    kv_bytes_per_token: 131072
    demand: {requests_per_second: 2, prompt_tokens: 500, output_tokens: 100}
    slo: {ttft: 1s, tpot: 40ms}
  - name: two
    weights: 30GiB
    kv_bytes_per_token: 131072
    demand: {requests_per_second: 1, prompt_tokens: 500, output_tokens: 100}
    slo: {ttft: 1s, tpot: 60ms}
"""


@pytest.fixture
def plan(tmp_path, capsys):
    (tmp_path / "fleet.yaml").write_text(FLEET)
    path = str(tmp_path / "plan.json")
    args = ["plan", str(tmp_path / "fleet.yaml"), "--format", "json", "--output", path, "--quiet"]
    assert main(args) == 0
    capsys.readouterr()
    return path


def test_forecast(plan, capsys):
    assert main(["forecast", plan]) == 0
    out = capsys.readouterr().out
    assert "of the requests keep their objectives" in out
    assert "estimated from the size of the weights" in out
    assert main(["forecast", plan, "--format", "json", "--load", "2", "--quiet"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert 0 < found["attainment"] <= 1
    assert {m["model"] for m in found["models"]} == {"one", "two"}
    assert found["load"] == 2
    assert main(["forecast", plan, "--format", "csv", "--quiet"]) == 0
    assert capsys.readouterr().out.startswith("model,requests_per_second,attainment,ttft_seconds")


@pytest.mark.parametrize("rate", [0, 2])
def test_gpus_without_requests_are_counted_and_not_listed(rate, tmp_path, capsys):
    """Of four GPUs two hold a model; without its rate nothing but standbys is there."""
    fleet = FLEET.replace("gpus: 2", "gpus: 4").replace("per_second: 1,", f"per_second: {rate},")
    (tmp_path / "fleet.yaml").write_text(fleet.replace("per_second: 2,", f"per_second: {rate},"))
    path = str(tmp_path / "plan.json")
    assert main(["plan", str(tmp_path / "fleet.yaml"), "--output", path, "--quiet"]) == 0
    capsys.readouterr()
    assert main(["forecast", path]) == 0
    out = capsys.readouterr().out
    assert f"{2 if rate else 4} GPUs without requests" in out
    assert out.count("\na/") == (2 if rate else 0)
    assert "worst ratio: the largest of" in out


def test_simulate_finds_the_load_that_is_served(plan, capsys):
    assert main(["simulate", plan, "--seconds", "20"]) == 0
    out = capsys.readouterr().out
    assert "times the stated demand within its objectives at 95" in out
    assert "preemptions" in out


def test_simulate_loads_seeds_and_plot(plan, tmp_path, capsys):
    plot = tmp_path / "served.svg"
    args = ["simulate", plan, "--load", "0.5,40", "--seed", "1,2", "--seconds", "30", "--quiet",
            "--format", "json", "--plot", str(plot)]  # fmt: skip
    assert main(args) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(o["load"], o["seed"]) for o in found["outcomes"]] == [
        (0.5, 1), (0.5, 2), (40, 1), (40, 2),
    ]  # fmt: skip
    assert found["loads"][0]["attainment"] > found["loads"][1]["attainment"]
    assert plot.read_text().startswith("<?xml")


def test_simulate_replays_a_log(plan, tmp_path, capsys):
    log = tmp_path / "log.csv"
    rows = [f"{at},one,100,5" for at in range(20)]
    log.write_text("\n".join(["t_s,model,prompt_tokens,output_tokens", *rows]))
    args = ["simulate", plan, "--trace", str(log), "--load", "1", "--format", "csv", "--quiet"]
    assert main(args) == 0
    lines = capsys.readouterr().out.splitlines()
    # The first tenth of the 19 s is not counted: 18 of 20 requests are.
    assert lines[1].startswith("1.0,0,one,18,18,0,0,")
    assert lines[2].startswith("1.0,0,two,0,0,0,0,")
    log.write_text("t_s,model,prompt_tokens,output_tokens\n0,other,5,5\n1,other,5,5")
    assert main(args) == 2
    assert "none of the plan's models, but of other" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--load", "2..1"], "is no range"),
        (["--load", "x"], "write them like 0.5..2"),
        (["--load", "0"], "write them like 0.5..2"),
        (["--burst", "-1"], "is no coefficient of variation"),
        (["--sharing", "msp"], "did you mean 'mps'"),
        (["--seeds", "a"], "is no list of seeds"),
        (["--level", "0"], "above 0 and up to 1"),
        (["--plot", "x.gif", "--load", "1", "--seconds", "1"], "a plot ends in"),
    ],
)
def test_wrong_options(plan, capsys, args, said):
    assert main(["simulate", plan, *args]) == 2
    assert said in capsys.readouterr().err


def test_refine_on_the_forecast(plan, tmp_path, capsys):
    fleet, better = str(tmp_path / "fleet.yaml"), str(tmp_path / "better.json")
    args = ["refine", fleet, "--start", plan, "--objective", "forecast", "--format", "json"]
    assert main([*args, "--output", better]) == 0
    assert "times the stated demand at 95 %" in capsys.readouterr().err
    assert main(["check", fleet, better]) == 0
    assert main(["plan", fleet, "--objective", "forecast"]) == 2


def test_refine_takes_the_fleet_of_a_plan_from_the_plan(plan, tmp_path, capsys):
    fleet, better, same = (str(tmp_path / name) for name in ("fleet.yaml", "b.json", "s.json"))
    args = ["--objective", "forecast", "--format", "json", "--output"]
    assert main(["refine", plan, *args, better]) == 0
    assert "times the stated demand at 95 %" in capsys.readouterr().err
    assert main(["refine", fleet, "--start", plan, *args, same]) == 0
    found, wanted = (json.loads(Path(name).read_text()) for name in (better, same))
    assert found["placements"] == wanted["placements"]
    assert found["problem_digest"] == wanted["problem_digest"]
    assert main(["check", fleet, better, "--quiet"]) == 0
    capsys.readouterr()
    assert main(["refine", better, "--objective", "tokens", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["objective"]["name"] == "tokens"


def test_refine_says_which_plan_carries_no_fleet(plan, tmp_path, capsys):
    table, bare = str(tmp_path / "plan.csv"), tmp_path / "bare.json"
    fleet = str(tmp_path / "fleet.yaml")
    assert main(["plan", fleet, "--output", table, "--quiet"]) == 0
    stated = json.loads(Path(plan).read_text())
    bare.write_text(json.dumps({k: v for k, v in stated.items() if k != "models"}))
    capsys.readouterr()
    for name in (table, str(bare)):
        assert main(["refine", name]) == 2
        assert f"kvplace refine FLEET --start {name}" in capsys.readouterr().err
    bare.write_text(json.dumps(stated | {"gpus": [], "placements": []}))
    for args in ([str(bare)], [fleet, "--start", str(bare)]):
        assert main(["refine", *args]) == 2
        assert "this plan places nothing that could be improved" in capsys.readouterr().err
    assert main(["refine", fleet]) == 2
    assert "a fleet file, and a plan is wanted" in capsys.readouterr().err


def test_compare_plans_side_by_side(plan, tmp_path, capsys):
    other, plot = str(tmp_path / "other.json"), tmp_path / "bars.svg"
    fleet = str(tmp_path / "fleet.yaml")
    args = ["plan", fleet, "--solver", "prism-greedy", "--format", "json", "-o", other, "-q"]
    assert main(args) == 0
    prices = tmp_path / "prices.yaml"
    prices.write_text("H100-SXM-80GB: 2.5\n")
    options = ["--seeds", "0,1", "--seconds", "20", "--prices", str(prices), "--quiet"]
    capsys.readouterr()
    assert main(["compare", plan, other, *options, "--format", "json", "--plot", str(plot)]) == 0
    found = json.loads(capsys.readouterr().out)["plans"]
    assert [one["plan"] for one in found] == [plan, other]
    assert all(len(one["served_loads"]) == 2 and one["served_load"] > 0 for one in found)
    assert found[0]["cost_per_hour"] == 2.5 * found[0]["gpus"]
    assert plot.read_text().startswith("<?xml")
    assert main(["compare", plan, *options, "--format", "markdown"]) == 0
    assert capsys.readouterr().out.startswith("| plan | worst GPU | bound | forecast | serves |")
    assert main(["compare", plan, *options]) == 0
    assert "simulated, mean over 2 seeds with its 90 % interval" in capsys.readouterr().out
    prices.write_text("L4-24GB: 1\n")
    assert main(["compare", plan, *options]) == 2
    assert "no price for H100-SXM-80GB" in capsys.readouterr().err


def test_a_plan_says_on_request_what_it_is_forecast_to_serve(plan, tmp_path, capsys):
    fleet = str(tmp_path / "fleet.yaml")
    assert main(["forecast", plan, "--format", "json", "--quiet"]) == 0
    expected = json.loads(capsys.readouterr().out)
    assert main(["plan", fleet, "--forecast"]) == 0
    out = capsys.readouterr().out
    head = out.splitlines()[0].split()
    assert head[-5:] == ["in", "time", "TTFT", "/token", "on"]
    ms = {m["model"]: f"{1e3 * m['tpot_seconds']:.1f} ms" for m in expected["models"]}
    rows = {line.split()[0]: line for line in out.splitlines()[1:3]}
    assert all(ms[name] in rows[name] for name in ("one", "two"))
    assert "of the requests keep their objectives" in out
    assert main(["plan", fleet, "--forecast", "--format", "csv"]) == 0
    told = capsys.readouterr()
    assert "forecast:" in told.err
    assert "forecast:" not in told.out
    assert main(["plan", fleet]) == 0
    assert "in time" not in capsys.readouterr().out
