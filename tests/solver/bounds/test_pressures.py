"""The bound under several pressures: checked by core, and never above the optimum."""

import random

import numpy as np
import pytest

from kvplace.core.certificates.certificate import check_certificate
from kvplace.core.models.objective import Objective
from kvplace.solver.bounds.pressures import PressureBound, best_weighting
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


@pytest.mark.parametrize("pressures", [2, 3])
def test_the_best_weighting_is_as_good_as_the_best_of_a_grid(pressures):
    draw = np.random.default_rng(pressures)
    grid = draw.dirichlet(np.ones(pressures), 20_000)
    for cuts in (draw.normal(size=(count, pressures)) for count in (1, 1, 2, 3, 5, 9)):
        weighting, excess = best_weighting(cuts)
        assert weighting.min() >= 0
        assert weighting.sum() == pytest.approx(1)
        assert (cuts @ weighting).min() == pytest.approx(excess, abs=1e-7)
        assert excess >= (grid @ cuts.T).min(axis=1).max() - 1e-7


def test_parallel_cuts_of_two_pressures_are_weighed_at_an_end():
    weighting, excess = best_weighting(np.array([[0.5, 0.25], [0.5, 0.25], [0.75, 0.5]]))
    assert (weighting.tolist(), excess) == ([1.0, 0.0], 0.5)
