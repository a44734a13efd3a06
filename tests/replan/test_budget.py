from dataclasses import replace
from random import Random

import pytest
from every import best_by_budget
from transitions import model, random_placement, small_fleet, split_transition, tight_transition

from kvplace.core.evaluation.evaluate import evaluate
from kvplace.core.hardware import GPU, Fleet, Node
from kvplace.core.models.model import Demand
from kvplace.core.models.objective import Objective
from kvplace.core.placement import Placement
from kvplace.core.problem import Problem
from kvplace.replan.budget import search as budgets
from kvplace.replan.budget.prices import Measure, Prices
from kvplace.replan.budget.search import Search
from splits import random_split_problem

EVERY = (Objective.REQUESTS, Objective.TOKENS, Objective.PRESSURE)


def ruled(random):
    """A problem with every kind of rule, split and windowed models, and any start."""
    problem = random_split_problem(random, models=4, objectives=EVERY)
    before = random_placement(problem, random)
    return None if before is None else (problem, before, None, None)


def origins(random, count):
    """Tiny problems with what runs: a valid placement, a broken one, or none for some models."""
    made = 0
    while made < count:
        kind = random.choice([tight_transition, split_transition, None])
        found = ruled(random) if kind is None else kind(random, evaluate)
        if found is None:
            continue
        problem, before, _, _ = found
        if random.random() < 0.3:
            before = random_placement(problem, random) or before
        if random.random() < 0.2:
            before = Placement(tuple(r for r in before if random.random() < 0.7))
        made += 1
        yield problem, before


def check_tiny(random, problem, current):
    truth = best_by_budget(problem, current)
    if truth is None:
        return None
    search = Search(problem, current)
    search.run()
    dearest = max(truth, default=0)
    for budget in range(dearest + 2):
        within = [profile for cost, profile in truth.items() if cost <= budget]
        best, bound = search.best(budget), search.bounds.at(budget)
        if not within:
            assert best is None
            continue
        soft, optimum = min(within)
        assert all(bound <= profile[0] * (1 + 1e-9) for _, profile in within)
        assert best is not None
        assert best.price <= budget
        assert best.soft == pytest.approx(soft)
        assert best.profile == pytest.approx(optimum, rel=1e-9, abs=1e-300)
        found = evaluate(problem, search.placement(best))
        assert found.valid
        assert found.profile() == pytest.approx(best.profile, rel=1e-9, abs=1e-300)
    return truth


@pytest.mark.parametrize("seed", range(4))
def test_the_best_of_every_budget_is_found_in_tiny_fleets(seed):
    random = Random(seed)
    for problem, current in origins(random, 8):
        check_tiny(random, problem, current)


@pytest.mark.heavy
@pytest.mark.parametrize("seed", range(100, 110))
def test_the_best_of_every_budget_is_found_in_five_thousand_tiny_fleets(seed):
    random = Random(seed)
    checked = 0
    while checked < 500:
        for problem, current in origins(random, 50):
            checked += check_tiny(random, problem, current) is not None


def check_search(problem, current):
    """The search that looks at some placements only, against all of them: how often it is best."""
    truth = best_by_budget(problem, current)
    if not truth:
        return None
    search = Search(problem, current)
    search.run()
    met, all_ = 0, 0
    for budget in range(max(truth) + 1):
        within = [profile for cost, profile in truth.items() if cost <= budget]
        if within:
            best = search.best(budget)
            all_ += 1
            if best is not None:
                found = evaluate(problem, search.placement(best))
                assert found.valid
                soft, profile = min(within)
                met += best.soft <= soft and found.value <= profile[0] * (1 + 1e-9)
    return met, all_


def test_the_search_without_enumeration_is_nearly_always_best(monkeypatch):
    monkeypatch.setattr(budgets, "_FEW", 0)
    random = Random(1)
    met = of = 0
    for problem, current in origins(random, 15):
        found = check_search(problem, current)
        if found:
            met, of = met + found[0], of + found[1]
    assert met >= 0.7 * of, (met, of)


def test_bytes_are_counted_as_moves_are():
    random = Random(3)
    for problem, current in origins(random, 10):
        search = Search(problem, current, Prices(Measure.BYTES))
        search.run()
        points = search.frontier()
        for point in points:
            found = evaluate(problem, search.placement(point))
            assert found.valid
            assert search.bounds.at(point.price) <= found.value * (1 + 1e-9)
        assert [p.price for p in points] == sorted(p.price for p in points)


def test_loads_of_nothing_have_a_bound_of_nothing():
    idle = [model(f"m{at}", 5, Random(0)) for at in range(3)]
    idle = tuple(replace(m, demand=Demand(0.0)) for m in idle)
    fleet = small_fleet(Random(1), gpus=2, memory=(20, 20))
    problem = Problem(idle, fleet, Objective.REQUESTS)
    search = Search(problem, Placement.single({m.name: fleet.gpus[0].id for m in idle}))
    assert [search.bounds.at(budget) for budget in range(3)] == [0.0, 0.0, 0.0]


def test_a_copy_on_a_gpu_of_a_type_it_may_not_run_on_has_to_move():
    gpus = (GPU("n/0", "a", 20), GPU("n/1", "b", 20))
    only = replace(model("m", 5, Random(0)), gpu_types=("b",))
    problem = Problem((only,), Fleet((Node("n", gpus),)), Objective.REQUESTS)
    search = Search(problem, Placement.single({"m": "n/0"}))
    search.run()
    assert search.best(0) is None
    assert search.placement(search.best(1)) == Placement.single({"m": "n/1"})
