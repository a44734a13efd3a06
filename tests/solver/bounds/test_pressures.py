"""The bound under several pressures: checked by core, and never above the optimum."""

import random

import pytest

from kvplace.core.certificates.certificate import check_certificate
from kvplace.core.models.objective import Objective
from kvplace.solver.bounds.pressures import PressureBound
from oracle_splits import solve_by_force
from splits import random_split_problem


@pytest.mark.parametrize("seed", range(4))
def test_it_never_exceeds_the_optimum_and_its_certificate_checks(seed):
    draw, positive, infinite = random.Random(seed), 0, 0
    for _ in range(50):
        problem = random_split_problem(draw, models=4, objectives=(Objective.PRESSURE,))
        found = PressureBound(problem)
        bound = found.certified(problem)
        truth = solve_by_force(problem)
        assert bound.value <= found.value
        if bound.value == float("inf"):
            infinite += 1
            assert not truth.feasible
        elif truth.feasible:
            assert bound.value <= truth.value * (1 + 1e-12)
        if bound.value > 0:
            positive += 1
            assert check_certificate(problem, bound.certificate) == ""
            assert bound.value >= found.value * (1 - 1e-7)
        else:
            assert found.value == 0 or not problem.plain
    assert positive > 25
    assert infinite > 3


def test_one_model_that_fits_nowhere_is_proved_beside_one_that_fits():
    draw = random.Random("9/906")  # 11 and 34 bytes on GPUs of at most 18
    problem = random_split_problem(draw, models=4, objectives=(Objective.PRESSURE,))
    bound = PressureBound(problem).certified(problem)
    assert bound.value == float("inf")
    assert check_certificate(problem, bound.certificate) == ""
