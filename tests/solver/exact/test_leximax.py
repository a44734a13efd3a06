"""Leximax of small fleets: ranks claimed are ranks held."""

import random
from fractions import Fraction

from kvplace.core.result import Status
from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.clock import Watch
from kvplace.solver.exact.enumerate import balanced_ranks
from kvplace.solver.instance.door import load_instance, load_placement
from kvplace.solver.solve import solve
from oracle import exact_profile, solve_exactly
from tiny import byte_problem, random_problem

ROUNDING = Fraction(2, 10**9)


def test_small_fleets_are_the_best_to_the_last_rank():
    draw, optimal = random.Random(17), 0
    for number in range(120):
        problem = random_problem(draw, 4, 8)
        result = solve(problem, seed=number)
        if result.placement is None:
            continue
        truth = solve_exactly(problem)
        assert result.status is Status.OPTIMAL
        assert result.ranks == len(problem.fleet.gpus)
        optimal += 1
        found = exact_profile(problem, result.placement)
        for have, best in zip(found, truth.profile, strict=True):
            assert have <= best * (1 + ROUNDING)
            if have < best * (1 - ROUNDING):
                break
    assert optimal > 40


def test_a_search_that_is_given_up_proves_fewer_ranks():
    problem = byte_problem([400] * 6, [(17 + 3 * j, 1.0 + j * j / 5) for j in range(18)])
    result = solve(problem, without=["leximax"])
    instance = load_instance(problem)
    state = Assignment.single(instance, load_placement(problem, instance, result.placement))
    assert balanced_ranks(state, 20, Watch()) < 6
    assert balanced_ranks(state, 10**6, Watch(0.0)) == 1


def test_ranks_are_one_where_the_maximum_alone_is_proved_and_none_before():
    problem = byte_problem([90] * 3, [(20, 6.0), (30, 5.0), (10, 1.0), (15, 2.0)])
    assert solve(problem, without=["leximax"]).ranks == 1
    assert solve(problem, solver="prism-greedy").ranks in (0, 1)
    assert solve(problem).ranks == 3
