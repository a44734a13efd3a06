"""Demand by window in fleet files and in plan files."""

import json
import re
from dataclasses import replace

import pytest

from kvplace.checking.check import check
from kvplace.core.certificates.certificate import Certificate
from kvplace.core.certificates.claim import Bound
from kvplace.core.evaluation.evaluate import evaluate
from kvplace.core.hardware import GPU, Fleet, Node
from kvplace.core.models.demand import SLO, Demand
from kvplace.core.models.model import Model
from kvplace.core.models.window import ALWAYS, Window
from kvplace.core.placement import Placement
from kvplace.core.problem import Problem
from kvplace.core.result import Result, Stop
from kvplace.errors import InputError
from kvplace.formats.fleet.write import write_fleet
from kvplace.formats.plan.io import write_plan
from kvplace.formats.plan.of_result import plan_of
from kvplace.formats.plan.schema import parse_plan
from kvplace.formats.read import parse_fleet
from timings import PowerTiming

FLEET = """\
schema: kvplace.fleet/v1
objective: occupancy
nodes:
  - {name: n, gpus: 2, gpu: {type: T, memory: 80GiB}}
windows:
  - {name: day, weight: 16}
  - {name: night, weight: 8}
models:
  - name: a
    weights: 10GiB
    kv_bytes_per_token: 1000
    demand:
      - {window: day, requests_per_second: 3, prompt_tokens: 100, output_tokens: 10}
      - {window: night, requests_per_second: 0}
    slo: {ttft: 1s, tpot: 0.1s}
  - name: b
    weights: 10GiB
    kv_bytes_per_token: 1000
    demand: {requests_per_second: 1, prompt_tokens: 100, output_tokens: 10}
    slo: {ttft: 1s, tpot: 0.1s}
"""


def test_a_list_of_demands_is_read_with_its_mean():
    problem = parse_fleet(FLEET)
    a, b = problem.models
    assert problem.windows == (Window("day", 16.0), Window("night", 8.0))
    assert a.windows == {"day": Demand(3.0, 100.0, 10.0), "night": Demand(0.0)}
    assert a.demand == Demand(2.0, 100.0, 10.0)
    assert b.windows == {}
    assert b.demand_in("night") == b.demand
    assert problem.pressures.window_loads[1][0] == 0.0


def test_windows_without_a_section_weigh_the_same():
    bare = re.sub(r"windows:\n.*\n.*\n(?=models)", "", FLEET)
    problem = parse_fleet(bare)
    assert problem.windows == (Window("day"), Window("night"))
    assert problem.models[0].demand.requests_per_second == 1.5
    assert parse_fleet(write_fleet(problem)) == problem


def test_windows_are_written_as_they_are_read():
    problem = parse_fleet(FLEET)
    text = write_fleet(problem)
    assert parse_fleet(text) == problem
    assert "- {window: day," in text
    # A mean that does not follow from the windows is kept beside them.
    a, b = problem.models
    other = replace(problem, models=(replace(a, demand=Demand(5.0, 1.0, 1.0)), b))
    assert parse_fleet(write_fleet(other)) == other
    # So is their order, where the models do not give it.
    turned = replace(problem, windows=problem.windows[::-1])
    assert parse_fleet(write_fleet(turned)) == turned


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            "{window: night, ",
            "{window: day, ",
            "demand[1].window, line 14: 'day' is stated twice",
        ),
        ("{window: night, requests", "{window: night, request", "unknown key 'request_per_second'"),
        ("{window: night, ", "{", "models[0].demand[1].window, line 14: is missing"),
        ("weight: 8", "weight: 0", "windows[1].weight"),
        ("name: night, weight", "name: dusk, weight", "no window 'night'"),
        ("name: night, weight", "name: day, weight", "two windows are named 'day'"),
        ("- {window: night, requests_per_second: 0}", "", "no demand in window 'night'"),
    ],
)
def test_faults_of_windows_say_where_they_are(old, new, words):
    text = FLEET.replace(old, new)
    assert text != FLEET
    with pytest.raises(InputError) as error:
        parse_fleet(text, "fleet.yaml")
    assert words in str(error.value)


def test_a_plan_states_pressures_and_weights_by_window():
    models = tuple(
        Model(
            name, 4, Demand(2.0, 1.0, 0.0), SLO(1.0, 1.0), 1, overhead_bytes=0,
            windows={"day": Demand(day, 1.0, 0.0), "night": Demand(4.0 - day, 1.0, 0.0)},
        )
        for name, day in (("a", 3.0), ("b", 1.0))
    )  # fmt: skip
    gpus = (GPU("n/0", "fast", 10), GPU("n/1", "slow", 12))
    timing = PowerTiming({"a": 0.2, "b": 0.2}, {"fast": 2.0, "slow": 0.75}, exponent=1.0)
    problem = Problem(models, Fleet((Node("n", gpus),)), "pressure", timing=timing)
    placement = Placement.single({"a": "n/0", "b": "n/1"})
    weights, worths = ((1, 1, 0, 0), (0, 0, 1, 1)), ((10, 1), (12, 0))
    claim = Certificate(0.79, (1, 1), worths, (), weights, ("fast", "slow"))
    found = evaluate(problem, placement)
    proof = Bound(0.79, "configuration", claim)
    result = Result(problem, placement, found, proof, Stop.LOCAL_OPTIMUM, "auto", 0, 0, 0.0)
    text = write_plan(plan_of(result))
    stated = json.loads(text)
    assert stated["windows"] == [{"name": "day"}, {"name": "night"}]
    assert stated["gpus"][1]["occupancies"] == {"day": 1 / 8, "night": 3 / 8}
    assert stated["gpus"][1]["time_shares"]["night"] == pytest.approx(0.8)
    assert stated["gpus"][1]["shards"][0]["time_shares"]["night"] == pytest.approx(0.8)
    assert stated["certificate"]["worths"][1] == {"memory_bytes": 12, "worth": 0, "type": "slow"}
    assert stated["certificate"]["weights"][0][0] == {"window": "day", "kv": 1, "time": 0}
    plan = parse_plan(text)
    assert write_plan(plan) == text
    # The order of windows does not matter to what is proved.
    for of in (problem, replace(problem, windows=problem.windows[::-1])):
        verdict = check(of, plan)
        assert verdict.agrees, list(map(str, verdict))
        assert "the bound is proved by the certificate (configuration)" in verdict.verified
    for path, value in [
        (("gpus", 1, "time_shares", "night"), 0.1),
        (("gpus", 1, "occupancies", "day"), 0.1),
        (("gpus", 1, "shards", 0, "time_shares", "day"), 0.1),
        (("certificate", "weights", 0, 0, "window"), "noon"),
        (("certificate", "worths", 1, "type"), "fast"),
        (("objective", "value"), 0.1),
    ]:
        damaged = json.loads(text)
        inner = damaged
        for step in path[:-1]:
            inner = inner[step]
        inner[path[-1]] = value
        assert not check(problem, parse_plan(json.dumps(damaged))).agrees, path


def test_old_plans_and_fleets_say_nothing_of_windows():
    plain = parse_fleet(FLEET)
    models = tuple(replace(m, windows={}) for m in plain.models)
    problem = replace(plain, models=models, windows=())
    assert problem.windows == (ALWAYS,)
    assert "window" not in write_fleet(problem)
    placement = Placement.single({"a": "n/0", "b": "n/1"})
    found = evaluate(problem, placement)
    result = Result(problem, placement, found, Bound(0.0, "trivial"), Stop.GAP, "auto", 0, 0, 0.0)
    text = write_plan(plan_of(result))
    assert not {"window", "time_shares", "occupancies", 'weights"'} & set(re.findall(r"\w+", text))


def test_what_ifs_are_read_written_and_planned_for():
    what_ifs = "  - {name: sale, like: day, factor: 3, models: [a]}\nmodels:"
    problem = parse_fleet(FLEET.replace("models:", what_ifs, 1))
    sale = Window("sale", 1.0, "day", 3.0, ("a",))
    assert problem.windows == (Window("day", 16.0), Window("night", 8.0), sale)
    a, b = problem.models
    assert a.demand_in("sale") == Demand(9.0, 100.0, 10.0)
    assert b.demand_in("sale") == b.demand
    assert a.demand == Demand(2.0, 100.0, 10.0)  # a what-if is no part of the mean
    assert parse_fleet(write_fleet(problem)) == problem
    alone = "windows: [{name: sale, like: always, factor: 3, models: b}]\n"
    stated = FLEET[: FLEET.index("windows:")] + FLEET[FLEET.index("models:") :]
    only = parse_fleet(stated[: stated.index("  - name: a")] + stated[stated.index("  - name: b") :]
                       + alone)  # fmt: skip
    assert [window.name for window in only.windows] == ["always", "sale"]
    assert only.models[0].demand_in("sale").requests_per_second == 3.0
    assert parse_fleet(write_fleet(only)) == only


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{name: sale, like: dusk, factor: 3, models: [a]}", "there is no window 'dusk'"),
        ("{name: sale, like: day, factor: 3, models: [z]}", "there is no model 'z'"),
        ("{name: sale, like: day, factor: 3}", "belong together"),
        ("{name: sale, factor: 3}", "is like no other"),
        ("{name: night, like: day, factor: 3, models: [b]}", "is a what-if"),
    ],
)
def test_what_is_wrong_with_a_what_if_is_told_with_its_place(line, message):
    text = FLEET.replace("models:", f"  - {line}\nmodels:", 1)
    with pytest.raises(InputError, match=message) as error:
        parse_fleet(text)
    assert error.value.faults[0].line
