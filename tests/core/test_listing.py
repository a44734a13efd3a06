"""Going through all placements: what brute force says, in bounded work."""

import dataclasses
import random

import pytest

from kvplace.core.certificates import listing
from kvplace.core.certificates.knapsack import TooLarge
from kvplace.core.certificates.listing import look_for_better
from kvplace.core.certificates.standing import Standing, standing_of
from kvplace.core.evaluation.evaluate import evaluate
from kvplace.core.models.objective import Objective
from kvplace.core.rules.apart import Apart
from oracle import solve_exactly
from oracle_splits import solve_by_force
from splits import OBJECTIVES, random_split_problem
from tiny import byte_problem, random_problem


@pytest.mark.parametrize("seed", [0, 2, pytest.param(1, marks=pytest.mark.heavy)])
def test_it_says_what_brute_force_says_of_splits_copies_and_rules(seed):
    for number in range(40):
        draw = random.Random(f"{seed}/{number}")
        drawn = (*OBJECTIVES, Objective.PRESSURE) if number % 2 else OBJECTIVES
        problem = random_split_problem(draw, 4, drawn)
        truth = solve_by_force(problem)
        anything = look_for_better(problem, None)
        if not truth.feasible:
            assert anything == ""
            continue
        assert "there is a valid placement" in anything
        best = Standing(truth.breaches, (truth.value,))
        assert look_for_better(problem, best) == ""
        if truth.value:
            worse = Standing(truth.breaches, (truth.value * 1.001,))
            assert "the worst GPU at" in look_for_better(problem, worse)
        if any(truth.breaches):
            *most, last = truth.breaches
            worse = Standing((*most, last + 1), (truth.value,))
            assert "soft rules" in look_for_better(problem, worse)


def test_it_tells_a_better_balance_of_the_other_gpus():
    draw, seen = random.Random(3), 0
    for _ in range(150):
        problem = random_problem(draw)
        truth = solve_exactly(problem)
        if not truth.feasible:
            assert look_for_better(problem, None) == ""
            continue
        best = standing_of(problem, evaluate(problem, truth.placement))
        assert look_for_better(problem, best) == ""
        for rank, pressure in enumerate(best.profile):
            if pressure and rank:
                profile = (*best.profile[:rank], pressure * 1.001, *best.profile[rank + 1 :])
                told = look_for_better(problem, best._replace(profile=profile))
                assert f"GPU {rank + 1} from the worst" in told
                seen += 1
    assert seen > 50


def test_work_is_bounded():
    rows = [(3 + j, 1.0 + j / 7) for j in range(40)]
    problem = byte_problem([300] * 12, rows)
    assert isinstance(look_for_better(problem, Standing((), (1e9,)), steps=1_000), TooLarge)
    many = byte_problem([10**6] * 3, [(1, 1.0)] * 201)
    assert isinstance(look_for_better(many, None), TooLarge)
    wide = byte_problem([10**6] * 200, [(1, 1.0)] * 190)
    assert isinstance(look_for_better(wide, None), TooLarge)


def test_what_is_only_preferred_is_not_looked_at_where_nothing_can_be_placed(monkeypatch):
    crowded = byte_problem([10, 10], [(6, 1.0), (6, 1.0), (6, 1.0)])
    preferred = dataclasses.replace(crowded, rules=(Apart(("*",), 1, "gpu"),))
    roomy = dataclasses.replace(preferred, fleet=byte_problem([7, 7, 7], [(1, 1.0)]).fleet)
    pair = byte_problem([99, 99], [(1, 1.0)]).fleet
    forced = dataclasses.replace(roomy, fleet=pair, rules=(Apart(("*",), None, "gpu"),))
    calls = []
    original = listing.rule_violations
    monkeypatch.setattr(listing, "rule_violations", lambda *a: calls.append(a) or original(*a))
    assert look_for_better(preferred, None) == ""
    assert "there is a valid placement" in look_for_better(roomy, None)
    assert not calls
    assert look_for_better(forced, None) == ""
    assert calls


def test_a_better_placement_is_compared_rank_by_rank():
    known = Standing((), (2.0, 1.0))
    assert Standing((), (2.0, 0.9)).betters(known)
    assert Standing((), (1.9, 1.5)).betters(known)
    assert not Standing((), (2.0, 1.0 - 1e-12)).betters(known)
    assert not Standing((), (2.0 + 1e-12, 0.5)).betters(known)
    assert Standing((), (2.0 + 1e-13, 0.5)).betters(known, sure=1e-12)
    assert Standing((0.0,), (9.0,)).betters(Standing((1.0,), (1.0,)))
