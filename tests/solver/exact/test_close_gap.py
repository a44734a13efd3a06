"""Deciding targets: the bound never passes the optimum, and at the end they meet."""

import math
import random
from itertools import islice

import numpy as np
import pytest

from boards import spread, undivided
from kvplace.bench.families import stress
from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.bounds.trivial import simple_bound
from kvplace.solver.clock import Watch
from kvplace.solver.column_generation.option_sets import OptionSets, Verdict
from kvplace.solver.construct.best_fit_decreasing import bisect_target
from kvplace.solver.exact.close_gap import (
    STEP,
    Effort,
    Proof,
    climb,
    close_gap,
    nothing_below,
    pack_exactly,
)
from kvplace.solver.instance.door import load_instance
from oracle import solve_exactly
from tiny import byte_problem, random_problem


def cases(count, seed=1):
    """Yield small problems with a start, its program and its truth."""
    draw = random.Random(seed)
    while count:
        problem = random_problem(draw)
        truth = solve_exactly(problem, leximax=False)
        instance = load_instance(problem)
        gpu_of = bisect_target(instance, tolerance=0.1)
        if gpu_of is None or not truth.optimum:
            continue
        count -= 1
        state = Assignment.single(instance, gpu_of)
        low = simple_bound(instance).value
        yield instance, state, Proof(OptionSets(instance), low), float(truth.optimum)


def test_bounds_never_pass_the_optimum_and_rise():
    raised = 0
    for _, state, proof, optimum in cases(40):
        before = proof.value
        climb(proof, state.worst(), 60, Watch())
        assert before <= proof.value <= optimum * (1 + 1e-9)
        targets = [verdict.target for verdict in proof.verdicts]
        assert targets == sorted(targets)
        raised += proof.value > before
    assert raised > 5


def test_hot_models_raise_the_bound_where_column_generation_has_no_time():
    # stress-7-5: 96 models on 24 GPUs, loads heavy-tailed. The fluid bound is 0.6691.
    problem = next(islice(stress(7), 5, None)).problem
    instance = load_instance(problem)
    proof = Proof(OptionSets(instance), simple_bound(instance).value)
    assert proof.value < 0.6692
    climb(proof, 0.6825, 0, Watch())
    assert proof.value > 0.6802


def test_the_gap_closes_from_both_sides():
    closed = 0
    for instance, state, proof, optimum in cases(40, seed=2):
        found = close_gap(proof, state, 0.0, Effort(), Watch())
        assert found.worst() <= state.worst()
        assert found.worst() >= optimum * (1 - 1e-9)
        assert proof.value <= optimum * (1 + 1e-9)
        fresh = Assignment.single(instance, found.gpu_of)
        assert fresh.valid
        closed += found.worst() <= proof.value * (1 + 4 * STEP)
    assert closed >= 36


def test_nothing_below_the_optimum_is_proved_and_nothing_else():
    proved = 0
    for _, _, proof, optimum in cases(30, seed=3):
        low = proof.value
        shown = nothing_below(proof, optimum * (1 + 1e-6), Watch(), 200)
        assert not shown or proof.value <= optimum * (1 + 1e-9)
        shown = nothing_below(proof, optimum, Watch(), 200)
        proved += shown
        assert proof.value == (optimum * (1 - STEP) if shown and proof.value > low else proof.value)
    assert proved > 10


def test_no_time_changes_nothing():
    instance = undivided(4, gpus=4, models=14)
    state = spread(instance, 4)
    proof = Proof(OptionSets(instance), simple_bound(instance).value)
    low = proof.value
    assert close_gap(proof, state, 0.0, Effort(), Watch(0.0)) is state
    climb(proof, state.worst(), 60, Watch(0.0))
    assert low <= proof.value <= state.worst()


@pytest.mark.parametrize(
    ("memories", "rows", "packs"),
    [
        ([11, 11], [(6, 1.0), (4, 1.0), (5, 1.0), (5, 1.0)], True),
        ([10, 10], [(6, 1.0), (4, 1.0), (5, 1.0), (4, 1.0)], False),
        ([8, 8], [(5, 1.0), (5, 1.0), (5, 1.0)], False),
        ([7, 7, 7], [(3, 1.0)] * 6, True),
    ],
)
def test_packing_by_memory_alone_is_decided(memories, rows, packs):
    instance = load_instance(byte_problem(memories, rows))
    proof = Proof(OptionSets(instance), 0.0)
    found = pack_exactly(proof, Effort(), Watch())
    if packs:
        assert found.valid
        assert proof.value == 0.0
    else:
        assert found is None
        assert proof.value == math.inf


@pytest.mark.parametrize(
    ("value", "aimed", "first"), [(1.01, math.inf, 1.01), (1.8, math.inf, 1.4), (1.8, 0.2, 1.2)]
)
def test_a_value_far_above_the_bound_is_asked_about_after_targets_nearer_to_it(value, aimed, first):
    """To see that a poor value is possible takes long, and tells nothing."""

    class Asked(OptionSets):
        """A program that proves nothing and notes what it is asked."""

        def __init__(self, instance):
            super().__init__(instance)
            self.targets = []

        def decide(self, target, *_, **__):
            self.targets.append(target)
            return Verdict(target, 0.5, np.zeros(1), np.ones(1), exact=False)

    instance = load_instance(byte_problem([100], [(50, 10.0)]))
    program = Asked(instance)
    climb(Proof(program, 1.0), value, 60, Watch(), aimed)
    assert program.targets[0] == pytest.approx(first, rel=1e-6)
