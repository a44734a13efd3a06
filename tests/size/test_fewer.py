"""Plans on fewer, cheaper or thriftier GPUs: within the limit, and never below what is proved."""

import math
import random
from dataclasses import replace
from itertools import product

import pytest

from kvplace.checking.check import check
from kvplace.core.evaluation.evaluate import evaluate
from kvplace.core.hardware import GPU, Fleet, Node
from kvplace.core.models.objective import Objective
from kvplace.core.placement import Placement
from kvplace.errors import InputError
from kvplace.facts.catalogue.gpus import gpu_types
from kvplace.formats.fleet.write import write_fleet
from kvplace.formats.plan.of_result import plan_of
from kvplace.formats.read import parse_fleet
from kvplace.report.answers.fewer import fewer_lines
from kvplace.size.fewer import Saving, costs_of, solve_fewer
from kvplace.solver.solve import solve
from oracle_splits import solve_by_force
from splits import random_split_problem
from tiny import byte_problem, random_problem


def least_by_force(problem, costs, limit):
    """The least cost of any placement of undivided models within a limit."""
    gpus = [gpu.id for gpu in problem.fleet.gpus]
    best = math.inf
    for chosen in product(gpus, repeat=len(problem.models)):
        cost = math.fsum(costs[gpu] for gpu in set(chosen))
        if cost >= best:
            continue
        placement = Placement.single(dict(zip(problem.names, chosen, strict=True)))
        if evaluate(problem, placement).value <= limit:
            best = cost
    return best


def test_tiny_fleets_against_all_placements():
    draw = random.Random(3)
    tried = proved = met = 0
    while tried < 40:
        try:
            problem = random_problem(draw, gpus=4, models=5)
        except InputError:
            continue
        within = draw.choice([0.0, 0.1, 0.5, 3.0])
        prices = {gpu.type: draw.choice([1.0, 2.0, 5.0]) for gpu in problem.fleet.gpus}
        saving = draw.choice([Saving.GPUS, Saving.COST])
        found = solve_fewer(problem, saving, within=within, prices=prices)
        if found.result.placement is None:
            continue
        tried += 1
        costs = costs_of(problem, saving, prices)
        least = least_by_force(problem, costs, found.limit)
        assert found.result.value <= found.limit
        assert found.result.evaluation == evaluate(problem, found.result.placement)
        assert found.least <= least * (1 + 1e-9)
        assert found.spent >= least * (1 - 1e-9)
        assert found.spent <= found.spent_before
        used = {gpu for replica in found.result.placement for gpu in replica.gpus}
        assert set(found.idle) == {gpu.id for gpu in problem.fleet.gpus} - used
        met += found.spent <= least * (1 + 1e-9)
        proved += found.proved
    assert proved > 20
    assert met > 33


def test_divided_models_and_rules_keep_the_bound():
    draw = random.Random(8)
    tried = 0
    while tried < 10:
        problem = random_split_problem(draw, models=3, objectives=(Objective.PRESSURE,))
        found = solve_fewer(problem, within=0.2)
        best = solve_by_force(problem)
        if best is None or found.result.placement is None:
            continue
        tried += 1
        assert not found.result.evaluation.violations
        assert found.result.value <= found.limit
        assert found.least <= found.spent <= found.spent_before


def test_what_is_proved_of_the_best_plan_is_not_said_of_one_on_fewer_gpus():
    # Bounds on the GPUs after the worst hold where the worst is as good as it was.
    problem = byte_problem([100] * 16, [(1, 9.0), *((5 + j % 7, 1.0) for j in range(20))])
    assert solve(problem).balance
    found = solve_fewer(problem, within=9.0)
    assert found.spent < found.spent_before
    assert check(problem, plan_of(found.result)).agrees
    assert fewer_lines(found)[0].startswith("2 GPUs in use, 16 GPUs")


def test_what_a_gpu_less_costs_by_hand():
    # Four models of 3 bytes on GPUs of 10: two to a GPU is pressure 2 / 4, one is 1 / 7.
    problem = byte_problem([10, 10, 10, 10], [(3, 1.0)] * 4)
    tight, loose = solve_fewer(problem, within=0.0), solve_fewer(problem, within=3.0)
    assert (tight.spent, tight.idle, tight.proved) == (4.0, (), True)
    assert (loose.spent, len(loose.idle), loose.proved) == (2.0, 2, True)
    assert loose.proof == "sums"  # 4 x (3 + 1 / (4 / 7)) bytes need 1.9 GPUs
    assert loose.best.ranks == 4
    assert loose.result.ranks == 0  # nothing is proved of how the rest is balanced
    lines = fewer_lines(loose)
    assert lines[0].startswith("2 GPUs in use, 4 GPUs at the best pressure found (-50.0 %)")
    assert "which is proved" in lines[1]
    assert lines[2].startswith("idle: g")


def test_what_the_first_questions_left_open_is_asked_again_with_the_time_left(monkeypatch):
    problem = byte_problem([10, 10, 10, 10], [(3, 1.0)] * 4)
    asked = []

    def hasty(part, **options):
        """Find nothing on fewer GPUs than all when they are asked for the first time."""
        count = len(part.fleet.gpus)
        asked.append(count)
        if count < 4 and asked.count(count) == 1:
            return replace(solve(part, **options), evaluation=None, placement=None)
        return solve(part, **options)

    monkeypatch.setattr("kvplace.size.fewer.solve", hasty)
    assert solve_fewer(problem, within=3.0).spent == 4.0
    asked.clear()
    assert solve_fewer(problem, within=3.0, time_limit=60.0).spent == 2.0
    assert asked == [4, 2, 3, 3, 2]  # 2 was refused before


def test_the_solver_proves_what_sums_do_not():
    # Three models of 6 bytes: in sum they fit two GPUs of 10, and no two fit one.
    found = solve_fewer(byte_problem([10] * 5, [(6, 1.0)] * 3), within=10.0)
    assert (found.spent, found.least, found.proof) == (3.0, 3.0, "search")


def test_the_dear_gpus_are_left_idle():
    problem = byte_problem([10, 10, 10], [(3, 1.0)] * 2)
    gpus = tuple(
        replace(gpu, price_per_hour=price)
        for gpu, price in zip(problem.fleet.gpus, (5.0, 1.0, 1.0), strict=True)
    )
    priced = replace(problem, fleet=Fleet((Node("n", gpus),)))
    found = solve_fewer(priced, "cost", within=0.0)
    assert (found.spent, found.idle, found.proved) == (2.0, ("g0",), True)
    found = solve_fewer(priced, "cost", within=10.0)
    assert (found.spent, found.proved) == (1.0, True)


def test_power_is_that_of_the_type_or_as_given():
    assert all(kind.tdp_watts and kind.source_tdp for kind in gpu_types().values())
    problem = byte_problem([10], [(3, 1.0)])
    with pytest.raises(InputError, match="the power of 't' is not known"):
        costs_of(problem, Saving.POWER)
    with pytest.raises(InputError, match="the price of 't' is not known"):
        costs_of(problem, Saving.COST)
    gpus = (GPU("a", "H100-SXM-80GB", 10), GPU("b", "t", 10, watts=90.0))
    both = replace(problem, fleet=Fleet((Node("n", gpus),)))
    assert costs_of(both, Saving.POWER) == {"a": 700.0, "b": 90.0}
    short = replace(both, fleet=Fleet((Node("n", (GPU("a", "H100", 10), GPU("b", "H200", 10))),)))
    assert costs_of(short, Saving.POWER) == {"a": 700.0, "b": 700.0}  # of the usual H100
    for wrong in ({"watts": 0.0}, {"price_per_hour": math.inf}):
        with pytest.raises(InputError, match="must be above 0"):
            GPU("a", "t", 10, **wrong)


def test_prices_and_watts_stand_in_the_fleet_file():
    text = (
        "schema: kvplace.fleet/v1\nnodes:\n  - name: n\n    gpus: 2\n"
        "    gpu: {type: T, memory: 80GiB, price_per_hour: 2.5, watts: 400}\nmodels:\n"
        "  - {name: a, weights: 1GiB, demand: {requests_per_second: 1}, slo: {latency: 1s}}\n"
    )
    problem = parse_fleet(text)
    assert [(gpu.price_per_hour, gpu.watts) for gpu in problem.fleet.gpus] == [(2.5, 400.0)] * 2
    assert parse_fleet(write_fleet(problem)) == problem
    with pytest.raises(InputError, match="must be above 0"):
        parse_fleet(text.replace("2.5", "0"))


@pytest.mark.parametrize("wrong", [{"within": -0.1}, {"within": math.inf}, {"saving": "time"}])
def test_what_is_out_of_range_is_refused(wrong):
    with pytest.raises(InputError):
        solve_fewer(byte_problem([10], [(3, 1.0)]), **wrong)
