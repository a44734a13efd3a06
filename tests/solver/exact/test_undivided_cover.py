"""Exact covers and the closing of a gap, against brute force."""

import random

from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.clock import Watch
from kvplace.solver.column_generation.option_sets import OptionSets
from kvplace.solver.construct.best_fit_decreasing import bisect_target
from kvplace.solver.exact.close_gap import Effort, Proof, climb, close_gap, pack_exactly
from kvplace.solver.exact.option_cover import decide_cover
from kvplace.solver.instance.door import load_instance
from oracle import solve_exactly
from tiny import byte_problem, random_problem


def test_a_target_is_decided_as_brute_force_does():
    draw, found = random.Random(4), 0
    for _ in range(80):
        problem = random_problem(draw)
        truth = solve_exactly(problem, leximax=False)
        if not truth.feasible or not truth.optimum:
            continue
        program = OptionSets(load_instance(problem))
        for factor in (0.97, 1.03):
            target = float(truth.optimum) * factor
            verdict = program.decide(target, Watch())
            if verdict.impossible or not verdict.exact:
                continue
            board, impossible = decide_cover(program, verdict, 1000, 10_000, Watch())
            if board is not None or impossible:
                assert impossible == (factor < 1)
            if board is not None:
                found += 1
                assert board.worst() <= target * (1 + 1e-9)
    assert found > 20


def test_giving_up_is_said():
    instance = load_instance(byte_problem([60] * 4, [(3 + j, 1.0 + j) for j in range(16)]))
    program = OptionSets(instance)
    verdict = program.fluid(1e12)
    assert decide_cover(program, verdict, 3, 10_000, Watch()) == (None, False)


def test_a_gap_is_closed_from_both_sides():
    draw, closed = random.Random(9), 0
    for _ in range(60):
        problem = random_problem(draw)
        truth = solve_exactly(problem, leximax=False)
        instance = load_instance(problem)
        found = bisect_target(instance)
        if not truth.feasible or not truth.optimum or found is None:
            continue
        optimum, state = float(truth.optimum), Assignment.single(instance, found)
        proof = Proof(OptionSets(instance), optimum / 10)
        climb(proof, state.worst(), 60, Watch())
        assert proof.value <= optimum * (1 + 1e-9)
        best = close_gap(proof, state, 0.0, Effort(), Watch())
        assert best.worst() <= state.worst()
        assert proof.value <= optimum * (1 + 1e-9) <= best.worst() * (1 + 2e-9)
        closed += best.worst() <= proof.value * (1 + 1e-8)
    assert closed > 15


def test_weights_are_packed_where_no_rule_packs_them():
    # 7 + 3, 5 + 5 and 4 + 4 + 2 bytes fill three GPUs of 11 but for the byte that must stay free.
    rows = [(7, 0.1), (3, 0.1), (5, 0.1), (5, 0.1), (4, 0.1), (4, 0.1), (2, 0.1)]
    instance = load_instance(byte_problem([11, 11, 11], rows))
    state = pack_exactly(Proof(OptionSets(instance), 0.0), Effort(), Watch())
    assert sorted(state.free) == [1, 1, 1]
    short = load_instance(byte_problem([11, 11, 11], [*rows, (1, 0.0)]))
    proof = Proof(OptionSets(short), 0.0)
    assert pack_exactly(proof, Effort(), Watch()) is None
    assert proof.value == float("inf")
