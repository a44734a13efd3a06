"""Bounds on the GPUs after the worst: what is proved of them is so."""

import dataclasses
import math
import random
from itertools import product

import pytest

from kvplace.checking.check import check
from kvplace.core.certificates.balance import RankBound, check_rank_bound
from kvplace.core.evaluation.evaluate import evaluate
from kvplace.core.models.objective import Objective
from kvplace.core.placement import Placement, Replica
from kvplace.formats.plan.io import write_plan
from kvplace.formats.plan.of_result import plan_of
from kvplace.formats.plan.schema import parse_plan
from kvplace.report.summary import summary
from kvplace.solver.bounds import balance
from kvplace.solver.bounds.balance import rank_bounds, told_ranks
from kvplace.solver.clock import Watch
from kvplace.solver.instance.door import load_instance
from kvplace.solver.solve import solve
from made import fleet, model, problem
from oracle_splits import ways
from splits import OBJECTIVES, random_split_problem

MOST = 300
"""Placements of a case that are looked at."""


def profiles(case):
    """Return the pressures of every valid placement, each from the worst GPU on."""
    every = [ways(case, index) for index in range(len(case.models))]
    found = []
    if not all(every) or math.prod(map(len, every)) > MOST:
        return found
    for chosen in product(*every):
        replicas = [
            Replica(name, at, copy)
            for name, way in zip(case.names, chosen, strict=True)
            for at, copy in enumerate(way)
        ]
        evaluation = evaluate(case, Placement(tuple(replicas)))
        if evaluation.valid:
            found.append(evaluation.profile())
    return found


def cases(seed, number, objectives):
    draw = random.Random(seed)
    for _ in range(number):
        case = random_split_problem(draw, 3, objectives)
        found = profiles(case)
        if found and min(found)[0] > 0:
            yield draw, case, found


def least_at(found, rank, worst):
    """Return the least pressure at a rank where the worst GPU is no worse than that."""
    return min(profile[rank - 1] for profile in found if profile[0] <= worst * (1 + 1e-9))


@pytest.mark.parametrize("objectives", [OBJECTIVES, (Objective.PRESSURE,)])
def test_what_is_proved_of_a_rank_is_what_brute_force_finds(objectives):
    proved = 0
    for draw, case, found in cases(3, 100, objectives):
        worst = draw.choice(found)[0]
        for rank in range(1, len(case.fleet.gpus) + 1):
            truth = least_at(found, rank, worst)
            at = worst * draw.uniform(0.05, 1.0)
            resource = draw.choice(["kv", "time"]) if objectives != OBJECTIVES else "kv"
            window = draw.randrange(len(case.windows)) if objectives != OBJECTIVES else 0
            claim = RankBound(rank, at, draw.uniform(0.5, 8.0), resource, window)
            if not check_rank_bound(case, claim, worst):
                proved += 1
                assert at <= truth * (1 + 1e-12), (case, claim, worst)
    assert proved > 8


@pytest.mark.parametrize("objectives", [OBJECTIVES, (Objective.PRESSURE,)])
def test_what_the_solver_bounds_holds(objectives):
    seen = 0
    for _, case, found in cases(4, 60, objectives):
        best = min(found)
        for claim in rank_bounds(case, load_instance(case), best, Watch()):
            seen += 1
            assert not check_rank_bound(case, claim, best[0])
            assert claim.bound <= least_at(found, claim.rank, best[0]) * (1 + 1e-12)
    assert seen > 8


def test_few_models_summed_up_in_plain_python_give_the_same_bounds(monkeypatch):
    draw = random.Random(5)
    for _ in range(10):
        gpus = fleet(*(draw.choice([40, 80]) for _ in range(draw.randint(16, 24))))
        sizes = [(draw.randint(1, 30), draw.uniform(0.0, 30.0)) for _ in range(30)]
        case = problem([model(f"m{j}", *each) for j, each in enumerate(sizes)], gpus)
        profile, instance = solve(case).evaluation.profile(), load_instance(case)
        monkeypatch.setattr(balance, "FEW", 300)
        plain = rank_bounds(case, instance, profile, Watch())
        monkeypatch.setattr(balance, "FEW", 0)
        arrays = rank_bounds(case, instance, profile, Watch())
        assert plain
        for claim, other in zip(plain, arrays, strict=True):
            assert claim == pytest.approx(other)


def test_the_second_hot_model_bounds_the_second_gpu():
    # Two hot models do not fit one GPU within 0.5: 20 + 20 GiB leave 40 for 20 + 15.
    gpus = fleet(*[80] * 16)
    rest = [model(f"c{j}", 20, 0.5) for j in range(40)]
    hot = [model("a", 20, 30.0), model("b", 20, 15.0)]
    result = solve(problem([*hot, *rest], gpus))
    assert result.value == pytest.approx(0.5)
    (second, *_) = result.balance
    assert second.rank == 2
    assert second.bound == pytest.approx(0.25, rel=1e-3)
    assert "number 2 at 0.2500 (at least 0.2500)" in summary(result)
    plan = parse_plan(write_plan(plan_of(result)))
    assert any("ranks 2" in text for text in check(result.problem, plan).verified)
    higher = dataclasses.replace(plan.balance[0], bound=0.26)
    found = check(result.problem, dataclasses.replace(plan, balance=(higher,)))
    assert [one.path for one in found] == ["objective.balance[0]"]


@pytest.mark.parametrize(
    ("claim", "words"),
    [
        (RankBound(0, 0.1, 1.0), "no GPU at rank 0"),
        (RankBound(3, 0.1, 1.0), "no GPU at rank 3"),
        (RankBound(2, 0.9, 1.0), "at most the worst"),
        (RankBound(2, float("nan"), 1.0), "not above 0"),
        (RankBound(2, 0.1, float("inf")), "worth"),
        (RankBound(2, 0.1, float("nan")), "worth"),
        (RankBound(2, 0.1, 1.0, "time"), "no pressure on 'time'"),
        (RankBound(2, 0.1, 1.0, "kv", -1), "in window -1"),
        (RankBound(2, 0.1, 1.0), "may be below"),
    ],
)
def test_what_proves_nothing_is_told(claim, words):
    case = problem([model("a", 20, 30.0), model("b", 20, 1.0)], fleet(80, 80))
    assert words in check_rank_bound(case, claim, 0.5)


def test_ranks_told_are_few_and_after_the_worst():
    assert told_ranks(16) == [2, 4, 8]
    assert told_ranks(1000) == [2, 10, 50, 100, 250, 500]


def test_no_rank_is_begun_for_which_too_little_time_is_left(monkeypatch):
    case = problem([model(f"m{j}", 20, 1.0 + j) for j in range(40)], fleet(*[80] * 16))
    profile, instance = solve(case).evaluation.profile(), load_instance(case)
    assert rank_bounds(case, instance, profile, Watch(1000))
    monkeypatch.setattr(balance, "RANK_SECONDS", 1000)
    assert rank_bounds(case, instance, profile, Watch(1000)) == ()
    assert rank_bounds(case, instance, profile, Watch()) != ()
