"""``kvplace replan`` and ``kvplace verify``: from what runs to a proposal and back."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import jsonschema
import pytest

from kvplace.cli.main import main
from kvplace.core.evaluation.evaluate import evaluate
from kvplace.core.hardware import GPU, Fleet, Node
from kvplace.core.models.demand import SLO, Demand
from kvplace.core.models.model import Model, Replicas
from kvplace.core.models.objective import Objective
from kvplace.core.placement import Placement, Replica
from kvplace.core.problem import Problem
from kvplace.formats.plan import schema
from kvplace.formats.schemas import schema_files
from kvplace.replan.reasons import reasons_for
from kvplace.replan.schedule.changes import Change

PARSE = schema.parse_plan
FLEET = """\
schema: kvplace.fleet/v1
nodes:
  - {name: a, count: 2, gpus: 2, gpu: {type: X, memory: 80GiB}, labels: {zone: z}}
models:
"""
MODEL = """\
  - name: {name}
    weights: {weights}GiB
    overhead: 0B
    demand: {{requests_per_second: {rate}}}
    slo: {{latency: 1s}}
"""
# 40 + 30 GiB and 9/s on a-0/0: 9 / 10 = 0.9. 10 GiB and 7/s on a-0/1: 0.1. a-1/0: 2 / 75.
# b alone on a-1/1: 4 / 50 = 0.08, and a on a-0/0: 5 / 40 = 0.125.
MODELS = (("a", 40, 5), ("b", 30, 4), ("c", 10, 7), ("d", 5, 2))
RUNNING = {"a": "a-0/0", "b": "a-0/0", "c": "a-0/1", "d": "a-1/0"}


def table(places):
    return "model,replica,shard,gpu\n" + "".join(f"{m},0,0,{g}\n" for m, g in places.items())


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    models = "".join(MODEL.format(name=n, weights=w, rate=r) for n, w, r in MODELS)
    (tmp_path / "fleet.yaml").write_text(FLEET + models)
    (tmp_path / "running.csv").write_text(table(RUNNING))
    (tmp_path / "done.csv").write_text(table(RUNNING | {"b": "a-1/1"}))
    return tmp_path


def test_one_move_and_why(here, capsys):
    assert main(["replan", "fleet.yaml", "--current", "running.csv", "--max-moves", "1"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert " ".join(out[0].split()) == "~ b a-0/0 -> a-1/1 moves: a-0/0 goes from 0.9 to 0.125"
    assert out[2] == "max KVPR 0.9000 -> 0.1250 (-86.1 %); within this budget none is below 0.1250"
    assert out[3].startswith("1 change, 30.0 GiB of weights to load, about 96.00 s, no downtime")


def test_a_reason_that_does_not_fit_beside_its_change_stands_below(here, capsys):
    for name in ("fleet.yaml", "running.csv"):
        text = (here / name).read_text().replace("a-", "production-europe-west-1a-")
        (here / name).write_text(text.replace("name: a,", "name: production-europe-west-1a,"))
    assert main(["replan", "fleet.yaml", "--current", "running.csv", "--max-moves", "1"]) == 0
    out = capsys.readouterr().out.splitlines()
    node = "production-europe-west-1a"
    assert out[0] == f"  ~ b  {node}-0/0 -> {node}-1/1"
    assert out[1] == f"        moves: {node}-0/0 goes from 0.9 to 0.125"
    assert max(map(len, out[:2])) <= 80


def test_a_fleet_that_was_not_valid_is_called_so_by_replan_and_by_verify(here, capsys):
    # 40, 30 and 10 GiB fill the 80 of a-0/0: nothing is left for KV.
    (here / "full.csv").write_text(table(RUNNING | {"c": "a-0/0"}))
    run = ["replan", "fleet.yaml", "--current", "full.csv"]
    assert main(run) == 0
    assert "max KVPR not valid -> " in capsys.readouterr().out
    assert main([*run, "--format", "json", "--output", "p.json"]) == 0
    assert main(["verify", "p.json", "--observed", "full.csv", "--fleet", "fleet.yaml"]) == 0
    told = capsys.readouterr().out.splitlines()[-1]
    assert told.startswith("max KVPR before not valid, predicted 0.")
    assert told.endswith(", now not valid")


def test_nothing_to_gain_is_nothing_to_do(here, capsys):
    assert main(["replan", "fleet.yaml", "--current", "done.csv"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("nothing to do: max KVPR 0.1250")
    assert "step" not in out


def test_no_moves_allowed(here, capsys):
    assert main(["replan", "fleet.yaml", "--current", "running.csv", "--max-moves", "0"]) == 0
    assert "nothing to do: max KVPR 0.9000" in capsys.readouterr().out


def test_a_model_that_is_kept_stays(here, capsys):
    args = ["replan", "fleet.yaml", "--current", "running.csv", "--max-moves", "1", "--keep", "b"]
    assert main(args) == 0
    assert capsys.readouterr().out.split()[:2] == ["~", "a"]


def test_the_frontier_has_a_bound_for_every_budget(here, capsys):
    args = ["replan", "fleet.yaml", "--current", "running.csv", "--frontier", "--format", "json"]
    assert main(args) == 0
    points = json.loads(capsys.readouterr().out)["points"]
    assert [p["changes"] for p in points][:2] == [0, 1]
    values = [p["value"] for p in points]
    assert values == sorted(values, reverse=True)
    assert all(p["bound"] <= p["value"] for p in points)


def proposed(here, *more):
    args = ["replan", "fleet.yaml", "--current", "running.csv", "--max-moves", "1"]
    assert main([*args, "--format", "json", "-o", "proposal.json", *more]) == 0
    return json.loads((here / "proposal.json").read_text())


def test_a_proposal_is_verified_from_ready_to_done(here, capsys):
    data = proposed(here, "--plan", "plan.json")
    assert capsys.readouterr().err.startswith("max KVPR 0.9000 -> 0.1250 (-86.1 %)")
    jsonschema.validate(data, json.loads(schema_files()["kvplace.proposal.v1.json"]))
    assert [m["model"] for m in data["moves"]] == ["b"]
    assert [s["kind"] for s in data["steps"]] == ["load", "switch", "drain", "unload"]
    assert main(["check", "fleet.yaml", "plan.json"]) == 0
    capsys.readouterr()
    for observed, verdict, done in (
        ("running.csv", "ready", []),
        ("done.csv", "done", [1, 2, 3, 4]),
        ("plan.json", "done", [1, 2, 3, 4]),
    ):
        args = ["verify", "proposal.json", "--observed", observed, "--format", "json"]
        assert main([*args, "--fleet", "fleet.yaml"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert (found["verdict"], found["done"]) == (verdict, done)
        assert found["value_now"] == pytest.approx(0.9 if verdict == "ready" else 0.125)


def test_a_proposal_half_done_is_under_way(here, capsys):
    proposed(here)
    both = table(RUNNING) + "b,1,0,a-1/1\n"
    (here / "both.csv").write_text(both)
    assert main(["verify", "proposal.json", "--observed", "both.csv"]) == 0
    out = capsys.readouterr().out
    assert "under way" in out
    assert "[x]   1 load" in out
    assert "[ ]   3 drain" in out


def test_a_proposal_for_another_state_is_refused(here, capsys):
    proposed(here)
    (here / "other.csv").write_text(table(RUNNING | {"c": "a-1/1"}))
    assert main(["verify", "proposal.json", "--observed", "other.csv"]) == 1
    out = capsys.readouterr().out
    assert "refused" in out
    assert "'c' runs on a-1/1, which is not foreseen" in out


def test_an_expired_proposal_is_refused(here, capsys):
    data = proposed(here)
    data["expires"] = "2020-01-01T00:00:00Z"
    (here / "proposal.json").write_text(json.dumps(data))
    assert main(["verify", "proposal.json", "--observed", "running.csv"]) == 1
    assert "its time was over" in capsys.readouterr().out


def test_the_same_re_plan_has_the_same_id(here):
    assert proposed(here)["id"] == proposed(here)["id"]


def test_a_node_that_is_gone_is_restored_elsewhere(here, capsys):
    assert main(["replan", "fleet.yaml", "--current", "running.csv", "--without", "a-0"]) == 0
    captured = capsys.readouterr()
    assert "GPUs a-0/0, a-0/1 are gone: what ran there is taken for dead" in captured.err
    changes = [line.split()[:2] for line in captured.out.split("\n\n")[0].splitlines()]
    assert sorted(changes) == [["+", "a"], ["+", "b"], ["+", "c"]]


def test_a_copy_that_relieves_nothing_makes_no_room_either():
    gpus = tuple(GPU(f"n/{at}", "X", 20) for at in range(3))
    two = Model("m", 2, Demand(1.0), SLO(latency_seconds=1.0), overhead_bytes=0)
    two = replace(two, tensor_parallel=(1, 2), replicas=Replicas(1, 2))
    problem = Problem((two,), Fleet((Node("n", gpus),)), Objective.REQUESTS)
    before = Placement((Replica("m", 0, ("gone/0", "gone/1")),))
    after = Placement((Replica("m", 0, ("n/0", "n/1")), Replica("m", 1, ("n/2",))))
    worth = [evaluate(problem, placement) for placement in (before, after)]
    todo = [Change("m", 0, (), ("n/0", "n/1")), Change("m", 1, (), ("n/2",))]
    assert [*reasons_for(problem, before, *worth, todo)] == [
        "its GPUs gone/0, gone/1 are gone",
        "another copy",
    ]


def test_a_move_that_relieves_nothing_says_who_comes_in_its_place():
    gpus = (GPU("n/0", "X", 20), GPU("n/1", "X", 20), GPU("n/2", "X", 20))
    sizes = {"light": 1, "heavy": 10, "idle": 2}
    models = [
        Model(name, size, Demand(1.0), SLO(latency_seconds=1.0), overhead_bytes=0)
        for name, size in sizes.items()
    ]
    problem = Problem(tuple(models), Fleet((Node("n", gpus),)), Objective.REQUESTS)
    before = Placement.single({"light": "n/0", "heavy": "n/1", "idle": "n/1"})
    after = Placement.single({"light": "n/1", "heavy": "n/0", "idle": "n/2"})
    worth = [evaluate(problem, placement) for placement in (before, after)]
    todo = [Change("light", 0, ("n/0",), ("n/1",)), Change("heavy", 0, ("n/1",), ("n/0",))]
    first, second = reasons_for(problem, before, *worth, todo)
    assert first == "moves to make room for heavy"
    assert second.startswith("moves: n/1 goes from ")
    assert [*reasons_for(problem, before, *worth, todo[:1])] == ["moves"]  # nobody comes


def test_what_no_gpu_is_left_to_is_not_said_to_be_stopped(here, capsys):
    text = (here / "fleet.yaml").read_text().replace("name: d\n", "name: d\n    gpu_types: [Y]\n")
    node = "  - {name: b, gpus: 1, gpu: {type: Y, memory: 80GiB}}\n"
    (here / "fleet.yaml").write_text(text.replace("models:", f"{node}models:"))
    (here / "running.csv").write_text(table(RUNNING | {"d": "b-0/0"}))
    text = (here / "fleet.yaml").read_text().replace("name: b, gpus", "name: b-0, gpus")
    (here / "fleet.yaml").write_text(text)
    assert main(["replan", "fleet.yaml", "--current", "running.csv", "--without", "b-0"]) == 0
    said = capsys.readouterr().err
    assert "GPU b-0/0 is gone" in said
    assert "'d' is not restored: no GPU is left that it may run on" in said
    assert "no longer to be served" not in said


def test_how_far_a_budget_is_from_enough_is_said_in_its_measure(here, capsys):
    (here / "running.csv").write_text(table({"a": "a-0/0", "b": "a-0/0", "c": "a-0/0"}))
    args = ["replan", "fleet.yaml", "--current", "running.csv"]
    assert main([*args, "--max-moves", "0"]) == 3
    out = capsys.readouterr().out
    assert "no placement within the budget is valid: a valid one takes at least 1 change" in out
    assert "now: a-0/0 holds 80.000 GiB" in out
    assert main([*args, "--max-bytes", "1GiB"]) == 3
    assert "takes at least 5.0 GiB of weights to load" in capsys.readouterr().out


def test_a_valid_placement_that_was_not_found_is_not_called_impossible(here, capsys):
    args = ["replan", "fleet.yaml", "--current", "running.csv", "--drain", "a-0/1"]
    assert main([*args, "--max-moves", "0", "--max-downtime", "2m"]) == 4
    out = capsys.readouterr().out
    assert "no valid placement within the budget was found; a valid one takes at least 0" in out
    assert "and the cheapest that was found 1 change" in out


def test_all_models_and_costs_that_are_none_are_named_at_once(here, capsys):
    args = ["--cost", "x=2", "--cost", "a=0", "--cost", "b", "--keep", "nobody", "--keep", "a"]
    assert main(["replan", "fleet.yaml", "--current", "running.csv", *args]) == 2
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "kvplace: --cost: no model is named 'x'",
        "kvplace: --cost: 'a=0' is no MODEL=N with N above 0",
        "kvplace: --cost: 'b' is no MODEL=N with N above 0",
        "kvplace: --keep: no model is named 'nobody'",
    ]


def test_what_finds_no_room_is_named(here, capsys):
    args = ["replan", "fleet.yaml", "--current", "running.csv", "--without", "a-0"]
    assert main([*args, "--without", "a-1/1"]) == 0
    err = capsys.readouterr().err
    assert err.count("is not restored") == 1


def test_a_node_to_be_drained_ends_empty(here, capsys):
    args = [
        "replan",
        "fleet.yaml",
        "--current",
        "running.csv",
        "--drain",
        "a-0",
        "--plan",
        "p.json",
    ]
    assert main(args) == 0
    plan = json.loads((here / "p.json").read_text())
    assert {gpu for r in plan["placements"] for gpu in r["gpus"]} <= {"a-1/0", "a-1/1"}


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--without", "nowhere"], "'nowhere' is no GPU"),
        (["--keep", "nobody"], "no model is named 'nobody'"),
        (["--cost", "a=0"], "'a=0' is no MODEL=N"),
        (["--max-bytes", "400"], "no unit"),
        (["--load-rate", "0GiB"], "must be above 0"),
    ],
)
def test_bad_options_are_told_in_one_line(here, capsys, more, words):
    assert main(["replan", "fleet.yaml", "--current", "running.csv", *more]) == 2
    err = capsys.readouterr().err
    assert words in err
    assert "Traceback" not in err


def test_engines_on_unknown_gpus_cannot_be_planned_around(here, capsys):
    seen = {
        "schema": "kvplace.observation/v1",
        "engines": [{"model": "a", "gpus": ["a-0/0"]}, {"model": "b"}],
    }
    (here / "seen.json").write_text(json.dumps(seen))
    assert main(["replan", "fleet.yaml", "--current", "seen.json"]) == 2
    assert "engines[1].gpus" in capsys.readouterr().err


def test_a_full_fleet_needs_downtime_which_must_be_allowed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    head = "schema: kvplace.fleet/v1\nnodes: [{name: n, gpus: 2, gpu: {memory: 20GiB}}]\nmodels:\n"
    # 12 + 7 and 12 + 7 GiB: the two of 7 change places, or else nothing does.
    rows = (("a", 12, 5), ("b", 12, 0.1), ("c", 7, 5), ("d", 7, 0.1))
    models = "".join(MODEL.format(name=n, weights=w, rate=r) for n, w, r in rows)
    (tmp_path / "f.yaml").write_text(head + models)
    (tmp_path / "now.csv").write_text(table({"a": "n/0", "c": "n/0", "b": "n/1", "d": "n/1"}))
    assert main(["replan", "f.yaml", "--current", "now.csv"]) == 0
    out = capsys.readouterr().out
    assert "nothing to do" in out
    assert "set aside" in out
    assert "every order was tried" in out
    assert main(["replan", "f.yaml", "--current", "now.csv", "--max-downtime", "10min"]) == 0
    assert "of downtime" in capsys.readouterr().out


def proposal_of(here):
    assert main(["replan", "fleet.yaml", "--current", "running.csv", "--max-moves", "1",
                 "--format", "json", "--output", "p.json"]) == 0  # fmt: skip
    return json.loads((here / "p.json").read_text())


def test_what_a_proposal_has_come_to_is_recorded_once_it_is_done(here, capsys):
    before = proposal_of(here)
    hot = (
        (here / "fleet.yaml")
        .read_text()
        .replace("requests_per_second: 5}", "requests_per_second: 6}")
    )
    (here / "today.yaml").write_text(hot)
    args = ["verify", "p.json", "--fleet", "today.yaml", "--record", "p.json"]
    assert main([*args, "--observed", "running.csv"]) == 0
    assert "not all steps are done" in capsys.readouterr().err
    assert json.loads((here / "p.json").read_text()) == before
    assert main([*args, "--observed", "done.csv"]) == 0
    # a alone on a-0/0 with 6/s: 6 / 40, where 5 / 40 was predicted and 0.9 was before.
    worth = json.loads((here / "p.json").read_text())["worth"]
    assert (worth["before"], worth["after"], worth["measured"]) == pytest.approx((0.9, 0.125, 0.15))
    assert worth["measured_at"].endswith("Z")
    assert "measured 0.1500 at" in capsys.readouterr().out
    assert main([*args[:2], "--observed", "done.csv", "--record", "q.json"]) == 2


def test_what_runs_may_stand_in_the_fleet_file(here, capsys):
    text = (here / "fleet.yaml").read_text()
    for name, gpu in RUNNING.items():
        text = text.replace(f"name: {name}\n", f"name: {name}\n    placed_on: {gpu}\n")
    (here / "fleet.yaml").write_text(text)
    assert main(["replan", "fleet.yaml", "--max-moves", "1"]) == 0
    assert capsys.readouterr().out.split()[:2] == ["~", "b"]


def test_the_plan_that_runs_is_read_once_and_its_names_count(here, monkeypatch, capsys):
    assert main(["plan", "fleet.yaml", "--format", "json", "-o", "plan.json"]) == 0
    plan = json.loads((here / "plan.json").read_text())
    first = plan["placements"][0]
    plan["engine_names"] = [
        {"model": first["model"], "replica": 0, "label": "as-it-was", "port": 20017}
    ]
    (here / "plan.json").write_text(json.dumps(plan))
    read = []
    monkeypatch.setattr(schema, "parse_plan", lambda *given: read.append(1) or PARSE(*given))
    assert main(["replan", "fleet.yaml", "--current", "plan.json", "--format", "json"]) == 0
    proposal = json.loads(capsys.readouterr().out)
    names = {part["model"]: (part["label"], part["port"]) for part in proposal["current"]}
    assert names[first["model"]] == ("as-it-was", 20017)
    assert len(set(names.values())) == len(MODELS)
    assert read == [1]


def test_without_anything_that_runs_the_way_out_is_named(here, capsys):
    assert main(["replan", "fleet.yaml"]) == 2
    assert "--current" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("move", "moved"), [("cost: 3", "a"), ("cost: never", "a"), ("cost: 1", "b")]
)
def test_a_model_states_what_moving_it_costs(here, capsys, move, moved):
    text = (here / "fleet.yaml").read_text()
    text = text.replace("name: b\n", f"name: b\n    move: {{{move}}}\n")
    (here / "fleet.yaml").write_text(text)
    assert main(["replan", "fleet.yaml", "--current", "running.csv", "--max-moves", "1"]) == 0
    assert capsys.readouterr().out.split()[:2] == ["~", moved]


@pytest.mark.parametrize(("ago", "moved"), [(600, "a"), (7200, "b")])
def test_who_serves_for_less_than_its_least_time_stays(here, capsys, ago, moved):
    begun = (datetime.now(UTC) - timedelta(seconds=ago)).isoformat()
    engines = [{"model": m, "gpus": [g], "since": begun if m == "b" else ""}
               for m, g in RUNNING.items()]  # fmt: skip
    seen = {"schema": "kvplace.observation/v1", "engines": engines}
    (here / "now.json").write_text(json.dumps(seen))
    text = (here / "fleet.yaml").read_text()
    (here / "fleet.yaml").write_text(
        text.replace("name: b\n", "name: b\n    move: {min_stay: 1h}\n")
    )
    assert main(["replan", "fleet.yaml", "--current", "now.json", "--max-moves", "1"]) == 0
    out = capsys.readouterr()
    assert out.out.split()[:2] == ["~", moved]
    assert ("'b' stays" in out.err) == (moved == "a")
    assert main(["replan", "fleet.yaml", "--current", "now.json", "--min-stay", "1min"]) == 0
    assert "since when 3 models serve is not known" in capsys.readouterr().err


def test_a_pod_starts_again_with_all_its_engines_and_that_is_counted(here, capsys):
    args = ["replan", "fleet.yaml", "--current", "running.csv", "--max-moves", "1"]
    assert main([*args, "--runtime", "kubernetes"]) == 0
    out = capsys.readouterr().out
    # Without downtime nothing may change: a shares a pod with b, which leaves it.
    assert out.startswith("nothing to do")
    assert "starts again beside it" in out
    assert main([*args, "--runtime", "kubernetes", "--max-downtime", "10min"]) == 0
    out = capsys.readouterr().out
    # 30 GiB of b and 40 of a, which is without a copy while its pod starts: 45 + 20 + 5 s.
    assert "70.0 GiB of weights to load" in out
    assert "1 min 10 s of downtime (a)" in out or "70.00 s of downtime (a)" in out
    assert "40.0 GiB for 1 engine that only start again: a" in out
    assert main([*args, "--runtime", "kvcached"]) == 0
    assert "30.0 GiB of weights to load" in capsys.readouterr().out


def test_fixed_parts_start_the_neighbours_of_whoever_comes_again(here, capsys):
    (here / "running.csv").write_text(table(RUNNING | {"d": "a-1/1"}))
    args = ["replan", "fleet.yaml", "--current", "running.csv", "--max-moves", "1",
            "--keep", "a", "--keep", "d", "--max-downtime", "10min"]  # fmt: skip
    assert main([*args, "--runtime", "compose", "--without", "a-1/0", "--without", "a-0/1"]) == 0
    assert "c" in capsys.readouterr().out
    assert main([*args, "--runtime", "compose", "--kv", "kvcached"]) == 0
    assert "only start again" not in capsys.readouterr().out


def test_a_disk_that_all_gpus_of_a_node_share_is_what_a_load_waits_for(here, capsys):
    args = ["replan", "fleet.yaml", "--current", "running.csv", "--max-moves", "1"]
    assert main([*args, "--read-rate", "1GiB", "--loads-per-node", "1", "--graph-time", "10s"]) == 0
    # 45 + 10 + 30 s to load, 1 to switch, 30 to drain, 5 to unload, where 2 GiB/s took 96 s.
    assert "about 121" in capsys.readouterr().out


def test_a_proposal_may_start_from_what_is_not_valid(here, capsys):
    # d does not run yet: nothing is worth anything before, which is null in the file.
    (here / "running.csv").write_text(table({k: v for k, v in RUNNING.items() if k != "d"}))
    stated = proposal_of(here)
    assert stated["worth"]["before"] is None
    assert [m["change"] for m in stated["moves"]] == ["start"]
    assert main(["verify", "p.json", "--observed", "running.csv"]) == 0
    assert main(["export", "p.json", "--to", "kubernetes", "--output", "book"]) == 0
    assert (here / "book" / "runbook.sh").stat().st_mode & 0o100
    capsys.readouterr()
