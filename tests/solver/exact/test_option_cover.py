"""Covers with options: what is found is valid, what is impossible is so by brute force."""

import random
from collections import Counter
from dataclasses import replace

import pytest

from kvplace.core.models.objective import Objective
from kvplace.solver.clock import Watch
from kvplace.solver.column_generation.option_sets import OptionSets
from kvplace.solver.exact.option_cover import decide_cover
from kvplace.solver.instance.door import load_instance
from kvplace.solver.solve import solve
from oracle_splits import solve_by_force
from seeds import seeds
from splits import random_split_problem


@pytest.mark.parametrize("seed", seeds(1, 2))
def test_it_decides_targets_as_brute_force_does(seed):
    draw, seen = random.Random(seed), Counter()
    for _ in range(60):
        problem = random_split_problem(draw, models=4, objectives=(Objective.PRESSURE,))
        models = tuple(replace(model, resources={}) for model in problem.models)
        problem = replace(problem, models=models, rules=())
        truth = solve_by_force(problem)
        if not truth.feasible or not truth.value:
            continue
        program = OptionSets(load_instance(problem))
        for part in (0.9, 1 - 1e-6, 1 + 1e-6, 1.3):
            target = truth.value * part
            verdict = program.decide(target, Watch())
            if verdict.impossible:
                seen["priced out"] += 1
                assert part < 1
                continue
            board, impossible = decide_cover(program, verdict, 5_000, 5_000, Watch())
            seen["impossible"] += impossible
            if impossible:
                assert part < 1
            elif board is None:  # link domains may forbid it
                seen["open"] += 1
            else:
                seen["found"] += 1
                assert board.valid
                assert board.worst() >= truth.value * (1 - 1e-12)
                if not any(map(program.instance.is_uneven, range(program.instance.n))):
                    assert board.worst() <= target * (1 + 1e-9)
    assert seen["found"] > max(20, 1.5 * seen["open"])
    assert seen["impossible"] + seen["priced out"] > 20


def test_a_fleet_that_nobody_asks_for_divides_by_no_target():
    # The twelfth such problem has a value of 0, and its program was asked at that target.
    draw = random.Random(8)
    values = [
        solve(random_split_problem(draw, models=3, objectives=(Objective.PRESSURE,))).value
        for _ in range(14)
    ]
    assert 0.0 in values
