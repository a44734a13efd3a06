"""Searches within budgets, held against all placements of a tiny fleet."""

from every import best_by_budget, rounded
from transitions import random_placement, split_transition, tight_transition

from kvplace.core.evaluation.evaluate import evaluate
from kvplace.core.models.objective import Objective
from kvplace.core.placement import Placement
from kvplace.replan.budget.search import Search
from splits import random_split_problem

EVERY = (Objective.REQUESTS, Objective.TOKENS, Objective.PRESSURE)
ROUNDING = 1e-9


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


def near(first, second):
    """Whether two profiles are the same, up to rounding."""
    return len(first) == len(second) and all(
        a == b or abs(a - b) <= ROUNDING * max(abs(a), abs(b))
        for a, b in zip(first, second, strict=True)
    )


def check_tiny(problem, current, truth=None):
    """Every budget's best and bound against the truth; the number of budgets, None if too many."""
    truth = best_by_budget(problem, current) if truth is None else truth
    if truth is None:
        return None
    search = Search(problem, current)
    search.run()
    budgets = range(max(truth, default=0) + 2)
    for budget in budgets:
        within = [profile for cost, profile in truth.items() if cost <= budget]
        best, bound = search.best(budget), search.bounds.at(budget)
        if not within:
            assert best is None
            continue
        soft, optimum = min(within, key=rounded)
        assert all(bound <= profile[0] * (1 + ROUNDING) for _, profile in within)
        assert best is not None
        assert best.price <= budget
        assert near(best.soft, soft)
        assert near(best.profile, optimum), (budget, best.profile, optimum)
        found = evaluate(problem, search.placement(best))
        assert found.valid
        assert near(found.profile(), best.profile)
    return len(budgets)


def check_search(problem, current, truth=None):
    """The search that looks at some placements only: how often it is best, of how many budgets."""
    truth = best_by_budget(problem, current) if truth is None else truth
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
            soft, profile = min(within)
            assert search.bounds.at(budget) <= profile[0] * (1 + ROUNDING)
            if best is not None:
                found = evaluate(problem, search.placement(best))
                assert found.valid
                met += best.soft <= soft and found.value <= profile[0] * (1 + ROUNDING)
    return met, all_
