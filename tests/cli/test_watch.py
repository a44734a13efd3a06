"""``kvplace watch`` and ``kvplace backtest`` on a trace."""

import json
import math
from importlib import import_module

import pytest

import kvplace
from kvplace.cli.main import main

FLEET = """\
schema: kvplace.fleet/v1
nodes: [{name: n, gpus: 2, gpu: {memory: 20GiB}}]
models:
"""
MODEL = """\
  - name: {name}
    weights: 5GiB
    overhead: 0B
    demand: {{requests_per_second: 1}}
    slo: {{latency: 1s}}
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = FLEET + "".join(MODEL.format(name=name) for name in "abc")
    (tmp_path / "fleet.yaml").write_text(text)
    (tmp_path / "now.csv").write_text("model,replica,shard,gpu\na,0,0,n/0\nb,0,0,n/0\nc,0,0,n/1\n")
    rows = ["model,t_s,requests"]
    for window in range(6):
        for name in "abc":
            rate = 5 if window >= 2 and name != "c" else 1
            rows.append(f"{name},{600 * window},{rate * 600}")
    rows.append("other,0,600")
    (tmp_path / "trace.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


WATCH = ["watch", "fleet.yaml", "--once", "--current", "now.csv"]


def test_watch_advises_and_says_why(here, capsys):
    args = [*WATCH, "--trace", "trace.csv", "--step", "10min", "--above", "0.9"]
    assert main([*args, "--history", "h.json"]) == 1
    out = capsys.readouterr().out
    assert out.startswith("re-plan now: it takes 40.0 % off the highest pressure")
    assert main([*args, "--history", "h.json", "--cooldown", "1h"]) == 0
    assert "leave it: the last re-plan was" in capsys.readouterr().out


def test_watch_leaves_a_calm_fleet(here, capsys):
    assert main([*WATCH, "--above", "0.9", "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["replan"] is False
    assert found["reasons"]


def test_watch_keeps_a_time_limit(here, capsys, monkeypatch):
    module = import_module("kvplace.replan.watch")
    limits, replan = [], module.replan

    def noted(*args, watch, **others):
        limits.append(watch.limit)
        return replan(*args, watch=watch, **others)

    monkeypatch.setattr(module, "replan", noted)
    assert main([*WATCH, "--time-limit", "9s"]) == 0
    assert main(WATCH) == 0
    assert 0 < limits[0] <= 9
    assert limits[1] == math.inf
    capsys.readouterr()


def test_watch_refuses_a_history_that_is_none(here, capsys):
    (here / "h.json").write_text("[]")
    assert main([*WATCH, "--history", "h.json"]) == 2
    assert "no history" in capsys.readouterr().err


def test_backtest_compares_ways(here, capsys):
    args = ["backtest", "fleet.yaml", "--trace", "trace.csv", "--current", "now.csv"]
    args += ["--step", "10min", "--max-moves", "1", "--target", "0.9", "--format", "json"]
    assert main([*args, "--plot", "churn.svg"]) == 0
    captured = capsys.readouterr()
    ways = {row["policy"]: row for row in json.loads(captured.out)["policies"]}
    assert ways["never"]["changes"] == 0
    assert ways["never"]["seconds_over_target"] == 2400
    assert ways["budget"]["changes"] == 1
    assert ways["budget"]["mean_pressure"] < ways["never"]["mean_pressure"]
    assert "not in the fleet file" in captured.err
    assert (here / "churn.svg").stat().st_size > 1000


def test_the_same_from_python(here):
    problem = kvplace.read("fleet.yaml")
    current = kvplace.load_plan("now.csv", problem).placement
    found = kvplace.watch(problem, current, policy=kvplace.Policy(gain=0.99))
    assert not found.decision.act
    assert "takes off" in found.decision.reasons[0] or "no change" in found.decision.reasons[0]
    done = kvplace.History(last_seconds=1000.0)
    policy = kvplace.Policy(gain=0.0, cooldown_seconds=60)
    waits = kvplace.watch(problem, current, policy=policy, history=done, now=1010.0)
    assert not waits.decision.act
    assert waits.replan.before.value > 0


def test_names_of_the_trace_are_models_by_alias(here, capsys):
    text = (here / "trace.csv").read_text()
    (here / "named.csv").write_text(text.replace("\nc,", "\nchat,").replace("\nb,", "\ncode,"))
    args = ["--trace", "named.csv", "--step", "10min", "--quiet", "--format", "json"]
    both = ["--alias", "chat=c", "--alias", "code=b"]
    ways = ["--policy", "peak", "--processes", "1"]

    def answer(*command):
        assert main([*command]) in (0, 1)
        return capsys.readouterr().out

    plain = ["--trace", "trace.csv", *args[2:]]
    for command in (WATCH, ["backtest", "fleet.yaml", *ways]):
        assert answer(*command, *args, *both) == answer(*command, *plain)
    # What comes under two names of one model is added.
    summed = answer("demand", "trace", *args[1:], "--alias", "code=c", "--alias", "chat=c")
    rates = {m["name"]: m["mean_requests_per_second"] for m in json.loads(summed)["models"]}
    assert rates["c"] == pytest.approx(1 + (2 * 1 + 4 * 5) / 6)


@pytest.mark.parametrize(
    ("alias", "said"),
    [
        ("oter=c", "'oter' does not occur in it; did you mean 'other'?"),
        ("other=C", "--alias: 'C' is no model of the fleet file; did you mean 'c'?"),
        ("other", "--alias 'other' must be NAME=MODEL"),
    ],
)
def test_an_alias_of_what_is_not_there_is_refused(here, capsys, alias, said):
    assert main([*WATCH, "--trace", "trace.csv", "--alias", alias]) == 2
    assert said in capsys.readouterr().err
