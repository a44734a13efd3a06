"""The program with options under several pressures: never above the optimum, checked by core."""

import math
import random
from itertools import chain, combinations

import numpy as np
import pytest

from kvplace.core.certificates.certificate import check_certificate
from kvplace.core.models.objective import Objective
from kvplace.solver.bounds.certify import checked
from kvplace.solver.bounds.option_prices import priced_options
from kvplace.solver.clock import Watch
from kvplace.solver.column_generation.knapsack import Knapsack
from kvplace.solver.column_generation.option_sets import OptionSets
from kvplace.solver.instance.door import load_instance
from oracle_splits import solve_by_force
from seeds import seeds
from splits import random_split_problem


@pytest.mark.parametrize("objectives", [(Objective.PRESSURE,), (Objective.REQUESTS,)])
@pytest.mark.parametrize("seed", seeds(2, 3))
def test_no_target_above_the_optimum_is_impossible_and_certificates_check(seed, objectives):
    draw, met, found = random.Random(seed), 0, 0
    for _ in range(40):
        problem = random_split_problem(draw, models=4, objectives=objectives)
        truth = solve_by_force(problem)
        if not truth.feasible or not truth.value:
            continue
        program = OptionSets(load_instance(problem))
        assert not program.decide(truth.value * (1 + 1e-9), Watch()).impossible
        verdict = program.decide(truth.value * (1 - 1e-6), Watch())
        met += 1
        if not verdict.impossible:
            continue
        prices = priced_options(problem, program, verdict)
        bound = checked(problem, "configuration", prices, Watch())
        assert bound is not None
        found += 1
        assert bound.value <= truth.value
        assert check_certificate(problem, bound.certificate) == ""
    assert found >= met // 2


@pytest.mark.parametrize("objectives", [(Objective.PRESSURE,), (Objective.REQUESTS,)])
def test_fleets_without_room_are_impossible_at_any_target(objectives):
    draw, proved = random.Random(5), 0
    for _ in range(40):
        problem = random_split_problem(draw, models=5, objectives=objectives)
        instance = load_instance(problem)
        if not np.diff(instance.starts).all():
            continue  # a model may be nowhere, which is known before
        program = OptionSets(instance)
        verdict = program.decide(math.inf, Watch())
        if not verdict.impossible:
            continue
        assert not solve_by_force(problem).feasible
        bound = checked(problem, "configuration", priced_options(problem, program, verdict))
        assert bound is not None
        assert bound.value == math.inf
        proved += 1
    assert proved


def test_a_knapsack_keeps_every_limit_and_one_of_each_group():
    draw = np.random.RandomState(3)
    for _ in range(60):
        n, limits = draw.randint(1, 8), draw.randint(1, 4)
        sizes = draw.randint(1, 12, (limits, n)).astype(float)
        prices = draw.randint(0, 9, n).astype(float)
        room = draw.randint(5, 25, limits).astype(float)
        groups = np.sort(draw.randint(0, n, n))
        table, floor = Knapsack(sizes, prices, room, groups), float(draw.randint(1, 20))
        sets = chain.from_iterable(combinations(range(n), k) for k in range(1, n + 1))
        fitting = {
            held
            for held in sets
            if (sizes[:, list(held)].sum(axis=1) <= room).all()
            and len(set(groups[list(held)])) == len(held)
        }
        listed = {tuple(row) for group in table.above(floor, 1000) for row in group.tolist()}
        assert listed == {held for held in fitting if prices[list(held)].sum() >= floor}
        assert table.upper >= max((prices[list(held)].sum() for held in fitting), default=0.0)
