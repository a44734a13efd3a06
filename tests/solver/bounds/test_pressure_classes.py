"""Size classes under several pressures: checked by core, never above the optimum, and of use."""

import random

import pytest

from kvplace.core.certificates.certificate import check_certificate
from kvplace.core.models.objective import Objective
from kvplace.solver.bounds.pressure_classes import PressureClasses
from kvplace.solver.bounds.pressures import PressureBound
from kvplace.solver.clock import Watch
from kvplace.solver.instance.door import load_instance
from oracle_splits import solve_by_force
from seeds import seeds
from splits import random_split_problem


@pytest.mark.parametrize("seed", seeds(1, 2))
def test_it_never_exceeds_the_optimum_and_its_certificate_checks(seed):
    draw, found = random.Random(seed), 0
    for _ in range(30):
        problem = random_split_problem(draw, models=4, objectives=(Objective.PRESSURE,))
        truth = solve_by_force(problem)
        fluid = PressureBound(load_instance(problem))
        if not truth.feasible or not truth.value or not fluid.value:
            continue
        classes = PressureClasses(fluid)
        classes.rise(fluid.value, truth.value * 1.2, Watch())
        bound = classes.certified(problem)
        assert classes.value <= truth.value * (1 + 1e-9)
        if bound is None:
            continue
        found += 1
        assert fluid.value < bound.value <= truth.value * (1 + 1e-12)
        assert bound.method == "configuration"
        assert check_certificate(problem, bound.certificate) == ""
    assert found > 1
