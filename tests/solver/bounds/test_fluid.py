"""The fluid bound of clusters: by hand, over scopes, and never above what brute force finds."""

import math
from dataclasses import replace

import pytest

from boards import drawn_boards
from kvplace.core.certificates.certificate import check_certificate
from kvplace.core.hardware import GPU, Fleet, Node
from kvplace.core.models.model import Replicas
from kvplace.core.models.objective import Objective
from kvplace.core.problem import Problem
from kvplace.core.result import Status
from kvplace.core.rules.pin import Pin
from kvplace.core.rules.places import Places
from kvplace.solver.bounds.fluid import FluidBound
from kvplace.solver.instance.door import load_instance
from kvplace.solver.instance.options import Chooser
from kvplace.solver.solve import solve
from tiny import byte_model, fleet


def bound_of(problem):
    instance = load_instance(problem)
    return FluidBound(Chooser(instance)), instance


def test_all_gpus_together_by_hand():
    models = tuple(replace(byte_model(f"m{j}", 4, 3.0), replicas=Replicas(1, 1)) for j in range(2))
    models = (*models, replace(byte_model("m2", 2, 1.0), tensor_parallel=(1, 2)))
    problem = Problem(models, fleet([10, 10], nodes=1), Objective.REQUESTS)
    bound, instance = bound_of(problem)
    loads = sum(instance.options[j][0].load for j in range(3))
    assert bound.value == pytest.approx(loads / (20 - 10), rel=1e-9)
    found = bound.certified(problem)
    assert found.method == "fluid"
    assert check_certificate(problem, found.certificate) == ""


def test_models_that_cannot_leave_a_node_fill_it():
    nodes = tuple(Node(f"n{k}", (GPU(f"n{k}/0", "t", 10),), {}) for k in range(3))
    models = tuple(byte_model(f"m{j}", 3, 2.0) for j in range(2))
    pin = Pin(("m0", "m1"), places=Places(nodes=("n0",)))
    free = Problem(models, Fleet(nodes), Objective.REQUESTS)
    pinned = replace(free, rules=(pin,))
    bound, instance = bound_of(pinned)
    assert bound.value == pytest.approx(2 * instance.options[0][0].load / 4, rel=1e-9)
    found = bound.certified(pinned)
    assert found.certificate.scope == ("n0/0",)
    assert check_certificate(pinned, found.certificate) == ""


def test_what_fits_nowhere_is_proved_infeasible():
    model = replace(byte_model("m", 30, 1.0), tensor_parallel=(2,))
    problem = Problem((model,), fleet([10, 10]), Objective.REQUESTS)
    bound, _ = bound_of(problem)
    assert bound.value == math.inf
    found = bound.certified(problem)
    assert found.value == math.inf
    assert check_certificate(problem, found.certificate) == ""


def test_large_gpus_that_stand_alone_hold_no_copy_that_needs_two():
    model = replace(byte_model("m", 30, 1.0), tensor_parallel=(2,))
    nodes = tuple(Node(f"n{k}", (GPU(f"n{k}/0", "t", 99),), {}) for k in range(40))
    pair = Node("pair", (GPU("pair/0", "t", 10), GPU("pair/1", "t", 99)), {})
    problem = Problem((model,), Fleet((pair, *nodes)), Objective.REQUESTS)
    result = solve(problem)
    assert result.status is Status.INFEASIBLE
    assert check_certificate(problem, result.proof.certificate) == ""


@pytest.mark.parametrize("seed", range(2))
def test_no_assignment_is_below_it(seed):
    tight = 0
    objectives = Objective.REQUESTS, Objective.TOKENS
    for _, problem, board in drawn_boards(seed, 60, objectives=objectives, valid=True):
        bound = FluidBound(Chooser(board.instance))
        assert bound.value <= board.worst() * (1 + 1e-9)
        found = bound.certified(problem)
        assert found.value <= bound.value
        # On a few bytes the integers of a certificate are too coarse for a bound now and then.
        if found.value > 0:
            assert found.value >= bound.value * (1 - 1e-7)
            assert check_certificate(problem, found.certificate) == ""
            tight += 1
    assert tight > 20
