"""Covers by known sets: what they find is valid, and what they prove is so by brute force."""

import random
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from kvplace.core.models.objective import Objective
from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.clock import Watch
from kvplace.solver.column_generation.option_sets import OptionSets, Verdict
from kvplace.solver.construct.target_search import construct
from kvplace.solver.exact import close_gap, option_cover
from kvplace.solver.exact.close_gap import Effort, Proof, lower_by_known_sets
from kvplace.solver.instance.door import load_instance
from kvplace.solver.instance.options import Chooser
from oracle_splits import solve_by_force
from splits import random_split_problem


def starts(count, seed):
    """Yield instances under pressure without rules, with a start and its least pressure."""
    draw = random.Random(seed)
    while count:
        problem = random_split_problem(draw, models=4, objectives=(Objective.PRESSURE,))
        models = tuple(replace(model, resources={}) for model in problem.models)
        problem = replace(problem, models=models, rules=())
        truth = solve_by_force(problem)
        if not truth.feasible or not truth.value:
            continue
        instance = load_instance(problem)
        boards = list(construct(Chooser(instance), 0.0, Watch()))
        boards = [board for board in boards if board.valid]
        if boards:
            count -= 1
            yield instance, max(boards, key=Assignment.worth), truth.value


def test_values_fall_to_no_less_than_what_is_possible_and_bounds_rise_to_no_more():
    lowered = best = raised = 0
    for instance, start, optimum in starts(30, seed=3):
        value, proof = start.worst(), Proof(OptionSets(instance), optimum / 4)
        found = lower_by_known_sets(proof, start, 0.0, Effort(), Watch())
        assert found.valid
        assert optimum * (1 - 1e-9) <= found.worst() <= value
        assert proof.value <= optimum * (1 + 1e-9)
        lowered += found.worst() < value
        best += found.worst() <= optimum * (1 + 1e-6)
        raised += proof.value > optimum / 4
    assert lowered > 2
    assert best > 22
    assert raised > 15


def test_lower_targets_are_asked_where_one_is_missed(monkeypatch):
    """The third target alone is met; then all of them are asked again, below the new value."""
    instance, start, optimum = next(starts(1, seed=3))
    low, value, asked = optimum / 2, start.worst(), []
    better = start.copy()
    better.worst = lambda: 0.6 * value

    def dived(_program, target, *_):
        asked.append(target)
        return better if len(asked) == 3 else None

    monkeypatch.setattr(close_gap, "_dived", dived)
    monkeypatch.setattr(close_gap, "covered", lambda *_: None)
    verdict = Verdict(0.0, 0.5, np.zeros(0), np.zeros(0), exact=True)
    monkeypatch.setattr(OptionSets, "decide", lambda *_, **__: verdict)
    found = lower_by_known_sets(Proof(OptionSets(instance), low), start, 0.0, Effort(), Watch())
    assert found is better
    parts = [(at, value) for at in close_gap.PARTS[:3]]
    parts += [(at, 0.6 * value) for at in close_gap.PARTS]
    assert asked == pytest.approx([of - (of - low) * at for at, of in parts])


def test_a_dive_keeps_models_to_one_option_each(monkeypatch):
    asked = []
    covered = close_gap.covered

    def spied(program, target, within, nodes, watch):
        asked.append((program, within))
        return covered(program, target, within, nodes, watch)

    monkeypatch.setattr(close_gap, "covered", spied)
    for instance, start, optimum in starts(10, seed=4):
        proof = Proof(OptionSets(instance), optimum / 2)
        lower_by_known_sets(proof, start, 0.0, Effort(), Watch())
    dived = [(program, within) for program, within in asked if within is not None]
    assert dived
    for program, within in dived:
        assert np.array_equal(np.unique(program.model[within]), np.arange(program.instance.n))
        assert within.sum() == program.instance.n


def test_a_dive_that_went_too_far_goes_back(monkeypatch):
    """Every first try of several models at once, and every third after, is told impossible."""
    asked = []
    decide = OptionSets.decide

    def spied(program, target, watch, *, within, rounds):
        verdict = decide(program, target, watch, within=within, rounds=rounds)
        asked.append(within.copy())
        return replace(verdict, share=2.0) if len(asked) % 3 == 1 else verdict

    found = 0
    for instance, _, optimum in starts(4, seed=5):
        program, target = OptionSets(instance), optimum * 1.5
        program.decide(target, Watch())
        with monkeypatch.context() as patch:
            patch.setattr(OptionSets, "decide", spied)
            asked.clear()
            placed = close_gap._dived(program, target, Effort(), Watch())
        assert not any(np.array_equal(*pair) for pair in pairwise(asked[:2]))
        found += placed is not None
    assert found


def test_shards_beyond_those_of_the_option_chosen_are_left_out():
    instance, _, _ = next(starts(1, seed=5))
    program = OptionSets(instance)
    row = int(instance.columns.starts[0])
    shards = int(program.shards[row])
    groups = [(0, (row,))] * (shards + 2)
    assert option_cover._without_surplus(program, groups) == groups[:shards]


def test_no_time_finds_nothing():
    instance, start, optimum = next(starts(1, seed=6))
    value, watch = start.worst(), Watch(0.0)
    proof = Proof(OptionSets(instance), optimum / 2)
    found = lower_by_known_sets(proof, start, 0.0, Effort(), watch)
    assert (found.worst(), proof.value) == (value, optimum / 2)
