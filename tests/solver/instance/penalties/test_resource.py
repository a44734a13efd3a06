"""A further capacity holds, however small what is taken of it is."""

from dataclasses import replace

import pytest

import made
from kvplace.core.hardware import Fleet, Node
from kvplace.core.problem import Problem
from kvplace.solver.solve import solve


@pytest.mark.parametrize(
    ("amount", "least"),
    [(2.7e-118, 0.0), (1e-20, 0.0), (0.5, 0.0), (0.5, 5e-324), (3e-20, 1e-20)],
)
def test_nothing_fits_where_there_is_less_of_a_resource(amount, least):
    # What is little beside the largest capacity counted as enough: the plan failed its evaluation.
    capacities = zip(made.fleet(80, 80).gpus, (100.0, least), strict=True)
    gpus = [replace(gpu, resources={"slots": most}) for gpu, most in capacities]
    nodes = tuple(Node(f"n{at}", (gpu,)) for at, gpu in enumerate(gpus))
    models = tuple(made.model(name, 10, resources={"slots": amount}) for name in "ab")
    found = solve(Problem(models, Fleet(nodes)))
    assert found.placement is not None
    assert {gpu for held in found.placement.replicas for gpu in held.gpus} == {gpus[0].id}
