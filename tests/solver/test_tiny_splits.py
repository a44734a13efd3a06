"""Brute force for split, copied and ruled models, itself judged by trying all there is."""

import math
import random
from itertools import product

import pytest

from kvplace.core.placement import Placement, Replica
from oracle_splits import solve_by_force, ways, worth
from splits import random_split_problem


@pytest.mark.parametrize("seed", range(3))
def test_brute_force_misses_nothing(seed):
    draw, judged = random.Random(seed), 0
    while judged < 60:
        problem = random_split_problem(draw, models=3)
        options = [ways(problem, index) for index in range(len(problem.models))]
        if math.prod(map(len, options)) > 1000:
            continue
        judged += 1
        best = None
        for chosen in product(*options):
            replicas = [
                Replica(model.name, number, gpus)
                for model, copies in zip(problem.models, chosen, strict=True)
                for number, gpus in enumerate(copies)
            ]
            found = worth(problem, Placement(tuple(replicas)))
            if found is not None and (best is None or found < best):
                best = found
        answer = solve_by_force(problem)
        assert answer.feasible == (best is not None)
        if best is not None:
            assert (answer.breaches, answer.value) == best
