"""Fleets of a million models: judged by arithmetic of their own, the same on any threads."""

import math

import numpy as np
import pytest

from kvplace.bench.scale import SIZES, scale_problem
from kvplace.core.certificates.certificate import check_certificate
from kvplace.solver.solve import solve
from kvplace.solver.strategies.large.strategy import LargeSearch
from kvplace.solver.strategies.stages import Settings

BIG = [("scale-10", "1m"), ("scale-mixed", "1m"), ("scale-3", "300k"), ("scale-hot", "1m")]
MOST_GAP = {"scale-10": 1e-3, "scale-mixed": 1e-3, "scale-3": 0.02, "scale-hot": 1e-9}


@pytest.mark.heavy
@pytest.mark.parametrize(("shape", "size"), BIG)
def test_nothing_is_lost_and_another_path_finds_the_same_value(shape, size):
    problem = scale_problem(shape, SIZES[size], 0)
    found = solve(problem)
    gpus = problem.fleet.gpus
    position = {gpu.id: at for at, gpu in enumerate(gpus)}
    gpu_of = np.full(len(problem.models), -1)
    for replica in found.placement:
        at = problem.index_of[replica.model]
        assert gpu_of[at] == -1, f"{replica.model} is placed twice"
        gpu_of[at] = position[replica.gpus[0]]
    assert (gpu_of >= 0).all()
    free = np.array([gpu.usable_bytes for gpu in gpus])
    np.subtract.at(free, gpu_of, np.array(problem.undivided_bytes))
    assert (free > 0).all()
    loads = np.bincount(gpu_of, weights=np.array(problem.loads), minlength=len(gpus))
    value = float((loads / (free / problem.goal.memory_unit_bytes)).max())
    assert math.isclose(value, found.value, rel_tol=1e-12)
    assert check_certificate(problem, found.proof.certificate) == ""
    assert found.bound <= value * (1 + 1e-12)
    assert found.gap <= MOST_GAP[shape]


@pytest.mark.heavy
@pytest.mark.parametrize(("shape", "size"), BIG)
def test_one_two_and_four_threads_make_the_same_plan(shape, size):
    problem, plans = scale_problem(shape, SIZES[size], 0), []
    for threads in (1, 2, 4):
        search = LargeSearch(problem, Settings(seed=1, iterations=100_000), threads)
        search.solve(None)
        plans.append(search.packing.gpu_of(len(problem.models)))
    assert np.array_equal(plans[0], plans[1])
    assert np.array_equal(plans[0], plans[2])
