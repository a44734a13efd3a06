"""What each search says of itself: steps, limits, values and bounds that hold."""

import functools
import math
import random

import pytest

import made
from kvplace.core.certificates.certificate import check_certificate
from kvplace.core.evaluation.evaluate import evaluate
from kvplace.core.models.objective import Objective
from kvplace.solver.clock import Watch
from kvplace.solver.strategies.cluster.strategy import ClusterSearch
from kvplace.solver.strategies.large.strategy import LargeSearch
from kvplace.solver.strategies.stages import Settings
from kvplace.solver.strategies.undivided.strategy import UndividedSearch
from splits import random_split_problem
from tiny import GIB, byte_problem

SEARCHES = {"undivided": UndividedSearch, "large": LargeSearch, "cluster": ClusterSearch}


def plain(seed, gpus=4, models=14):
    draw = random.Random(seed)
    rows = [(draw.randint(4, 14), draw.choice([0.0, draw.uniform(0, 20)])) for _ in range(models)]
    return byte_problem([draw.choice([70, 90]) for _ in range(gpus)], rows)


@functools.cache
def decided(seed):
    """Return a search that has found the best plan."""
    best = UndividedSearch(plain(seed, 5, 18), Settings())
    best.solve(None)
    return best


@pytest.mark.parametrize("name", SEARCHES)
def test_before_it_runs_nothing_is_placed_and_the_bound_is_known(name):
    search = SEARCHES[name](plain(1), Settings())
    assert search.value == math.inf
    assert search.placement is None
    assert search.low > 0
    assert not search.closed
    assert search.steps == 0


@pytest.mark.parametrize("name", SEARCHES)
@pytest.mark.parametrize("seed", range(2))
def test_the_three_searches_agree_on_undivided_models(name, seed):
    problem = plain(seed, 5, 18)
    search = SEARCHES[name](problem, Settings(iterations=50))
    search.solve(None)
    evaluation = evaluate(problem, search.placement)
    assert not evaluation.violations
    assert evaluation.value == pytest.approx(search.value, rel=1e-9)
    proof = search.proof
    assert proof.value <= search.value * (1 + 1e-9)
    best = decided(seed)
    assert proof.value <= best.value * (1 + 1e-9)
    assert search.value >= best.low * (1 - 1e-9)
    assert search.value <= best.value * 1.1


@pytest.mark.parametrize("name", SEARCHES)
@pytest.mark.parametrize("limit", [0, 5])
def test_steps_are_limited(name, limit):
    search = SEARCHES[name](plain(2), Settings(iterations=limit, without=frozenset({"balance"})))
    search.solve(None)
    assert search.steps <= limit
    assert search.placement is not None
    assert search.limited == (search.left <= 0 and not search.closed)
    assert search.most(3) == min(3, search.left)


@pytest.mark.parametrize("name", SEARCHES)
def test_a_start_is_never_made_worse(name):
    problem = plain(3)
    first = SEARCHES[name](problem, Settings(iterations=0))
    first.solve(None)
    again = SEARCHES[name](problem, Settings(iterations=50, seed=5))
    again.solve(first.placement)
    assert again.value <= first.value * (1 + 1e-12)
    refined = SEARCHES[name](problem, Settings(iterations=50))
    refined.refine(first.placement, 1e-9, 0.0)
    assert refined.value <= first.value * (1 + 1e-12)
    assert not evaluate(problem, refined.placement).violations


@pytest.mark.parametrize("name", SEARCHES)
def test_no_time_still_gives_a_plan_or_none(name):
    search = SEARCHES[name](plain(4), Settings(watch=Watch(0.0)))
    search.solve(None)
    assert search.placement is None or not evaluate(plain(4), search.placement).violations
    assert search.low > 0


@pytest.mark.parametrize("seed", range(2))
def test_clusters_say_what_core_says(seed):
    draw, placed = random.Random(seed), 0
    for _ in range(25):
        problem = random_split_problem(
            draw, objectives=(Objective.REQUESTS, Objective.PRESSURE), models=4
        )
        search = ClusterSearch(problem, Settings(iterations=30))
        search.solve(None)
        if search.placement is None:
            continue
        placed += 1
        evaluation = evaluate(problem, search.placement)
        assert not evaluation.violations
        assert evaluation.value == pytest.approx(search.value, rel=1e-9)
        assert search.proof.value <= search.value * (1 + 1e-9) or evaluation.preferences
    assert placed > 10


def test_the_bound_of_clusters_knows_of_the_kv_that_must_be_left():
    """Five of 30 GiB keep 35 each, so beside one fits one of 10: seven of those share a GPU.

    They load 14 requests on the 10 GiB that are left there, 1.4 a GiB.
    """
    keeping = {"min_kv_bytes": 35 * GIB, "tensor_parallel": (1, 2)}
    kept = [made.model(f"k{at}", 30, 1.0, **keeping) for at in range(5)]
    small = [made.model(f"s{at}", 10, 2.0) for at in range(12)]
    problem = made.problem([*kept, *small], made.fleet(*[80] * 6))
    search = ClusterSearch(problem, Settings())
    search.solve(None)
    assert search.value == pytest.approx(1.4)
    assert search.proof.value == pytest.approx(1.4)
    assert check_certificate(problem, search.proof.certificate) == ""
