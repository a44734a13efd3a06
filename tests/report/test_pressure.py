"""Reports under the objective pressure: what is fullest, where and when."""

import random
from dataclasses import replace

from kvplace.core.certificates.claim import Bound
from kvplace.core.evaluation.evaluate import evaluate, part_of
from kvplace.core.hardware import GPU, Fleet, Node
from kvplace.core.models.demand import SLO, Demand
from kvplace.core.models.model import Model
from kvplace.core.models.objective import Objective
from kvplace.core.placement import Placement
from kvplace.core.problem import Problem
from kvplace.core.result import Result, Stop
from kvplace.explain.bottleneck import alone, bottleneck_of
from kvplace.report.answers.differences import diff, differences_table
from kvplace.report.page.data import page_values
from kvplace.report.page.page import page
from kvplace.report.summary import summary
from kvplace.report.tables.plan import Look, plan_table
from oracle_splits import solve_by_force
from splits import random_split_problem
from timings import PowerTiming


def problem(**more):
    models = tuple(
        Model(
            name, 4 * 2**30, Demand(2.0, 1.0, 0.0), SLO(1.0, 1.0), 2**30, overhead_bytes=0,
            windows={"day": Demand(day, 1.0, 0.0), "night": Demand(4.0 - day, 1.0, 0.0)},
        )
        for name, day in (("a", 3.0), ("b", 1.0))
    )  # fmt: skip
    gpus = (GPU("n/0", "fast", 10 * 2**30), GPU("n/1", "slow", 12 * 2**30))
    timing = PowerTiming({"a": 0.2, "b": 0.2}, {"fast": 2.0, "slow": 0.75}, exponent=1.0)
    return replace(Problem(models, Fleet((Node("n", gpus),)), "pressure", timing=timing), **more)


def result(of, gpu_of):
    placement = Placement.single(gpu_of)
    found = evaluate(of, placement)
    return Result(of, placement, found, Bound(0.0, "trivial"), Stop.GAP, "auto", 0, 0, 0.0)


def test_the_table_shows_memory_and_time_and_the_last_line_says_what_binds():
    text = plan_table(result(problem(), {"a": "n/0", "b": "n/1"}), Look(100))
    assert "max pressure 0.8000 = GPU time 80 % in window night" in text
    head = next(line for line in text.splitlines() if line.startswith("GPU"))
    assert "KV used" in head
    assert "time" in head
    slow = next(line for line in text.splitlines() if line.startswith("n/1"))
    assert "38 %" in slow  # 3 GiB in use of 8
    assert "80 %" in slow
    models = next(line for line in text.splitlines() if line.startswith("model"))
    assert "pressure" in models


def test_the_page_explains_pressure_and_tells_the_parts_of_what_binds():
    """Together on the slow GPU time binds: its parts are those of time, not of KV in use."""
    found = result(problem(), {"a": "n/1", "b": "n/1"})
    gpu = found.evaluation.gpus[1]
    assert gpu.binding[0] == "time"
    parts = {shard.model: part_of(shard, gpu) for shard in gpu.shards}
    rows = {row["name"]: row["part"] for row in page_values(found)["models"]}
    assert rows == {name: f"{100 * part:.0f} %" for name, part in parts.items()}
    text = page(found)
    assert "The pressure of a GPU is the larger of two shares" in text
    assert "part of its GPU's pressure" in text
    assert "KVPR" not in text
    assert "how full the pool is" not in text


def test_memory_binds_where_it_does():
    text = summary(result(problem(), {"a": "n/0", "b": "n/0"}))
    assert "max pressure 2.000 = KV pool 200 % full in window day" in text


def test_under_another_objective_time_is_shown_and_does_not_count():
    text = plan_table(result(problem(objective=Objective.OCCUPANCY), {"a": "n/0", "b": "n/1"}))
    assert "max KVPR 0.3333 = KV pool 33 % full" in text
    assert "80 %" in text
    bare = problem(objective=Objective.OCCUPANCY, timing=None)
    assert " time " not in plan_table(result(bare, {"a": "n/0", "b": "n/1"}))


def test_the_bottleneck_is_the_gpu_whose_time_is_short():
    of = problem()
    found = evaluate(of, Placement.single({"a": "n/0", "b": "n/1"}))
    at = bottleneck_of(of, found)
    assert at.gpu.id == "n/1"
    assert part_of(at.gpu.shards[0], at.gpu) == 1.0


def test_what_a_bottleneck_is_held_by_is_never_above_the_optimum():
    draw = random.Random(5)
    for _ in range(80):
        of = random_split_problem(draw, models=3, objectives=(Objective.PRESSURE,))
        of = replace(of, rules=())
        truth = solve_by_force(of)
        if not truth.feasible:
            continue
        for index, model in enumerate(of.models):
            if model.replicas.split == "even":
                assert alone(of, index) <= truth.value * (1 + 1e-9)
        if all(model.replicas.split == "even" for model in of.models):
            cause = bottleneck_of(of, evaluate(of, truth.placement)).cause
            assert cause.value <= truth.value * (1 + 1e-6)


def test_a_difference_is_one_of_pressures():
    of = problem()
    one, two = result(of, {"a": "n/0", "b": "n/0"}), result(of, {"a": "n/0", "b": "n/1"})
    found = diff(one, two)
    assert "max pressure 2.000 -> 0.8000" in differences_table(found)


def test_names_give_way_where_a_difference_is_wider_than_the_terminal():
    of = problem()
    long = "organisation/b-model-with-quite-a-long-name-Instruct-2507"
    models = tuple(replace(m, name=long) if m.name == "b" else m for m in of.models)
    timing = PowerTiming({"a": 0.2, long: 0.2}, {"fast": 2.0, "slow": 0.75}, exponent=1.0)
    of = replace(of, models=models, timing=timing)
    one, two = result(of, {"a": "n/0", long: "n/0"}), result(of, {"a": "n/0", long: "n/1"})
    (line,) = [x for x in differences_table(diff(one, two), Look(60)).split("\n") if "~" in x]
    assert len(line) <= 60
    assert line.lstrip().startswith("~ b-model")
