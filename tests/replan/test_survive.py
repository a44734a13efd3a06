"""Plans that survive the loss of any one GPU or node: each failure tried by itself."""

import math

import pytest

from kvplace.core.evaluation.evaluate import evaluate
from kvplace.core.hardware import GPU, Fleet, Node
from kvplace.core.model import SLO, Demand, Model
from kvplace.core.objective import Objective
from kvplace.core.placement import Placement
from kvplace.core.problem import Problem
from kvplace.core.rules.limit import Limit
from kvplace.errors import InputError
from kvplace.replan.failures import without_gpus
from kvplace.replan.outcome import Budget
from kvplace.replan.replan import replan
from kvplace.replan.survive import after_failures, failures_of, survive
from kvplace.solver.solve import solve


def problem(memory, sizes, gpus=4, per_node=2, rules=()):
    nodes = tuple(
        Node(
            f"n{first // per_node}",
            tuple(GPU(f"n{first // per_node}/{at}", "X", memory) for at in range(per_node)),
        )
        for first in range(0, gpus, per_node)
    )
    models = tuple(
        Model(f"m{at}", size, Demand(1.0), SLO(latency_seconds=1.0), overhead_bytes=0)
        for at, size in enumerate(sizes)
    )
    return Problem(models, Fleet(nodes), Objective.REQUESTS, rules)


def plan(part):
    return solve(part, iterations=100)


@pytest.mark.parametrize("what", ["1-gpu", "1-node"])
def test_every_failure_by_itself_is_survived(what):
    whole = problem(20, [7, 7, 6, 3, 2, 2])
    found = survive(whole, what, plan)
    assert found.holds
    for (name, gone), failure in zip(failures_of(whole.fleet, what), found.failures, strict=True):
        left = without_gpus(whole, gone).problem
        after = replan(left, found.result.placement, budget=Budget(), compare=False)
        assert after.after is not None, name
        assert failure.bound <= after.after.value
        assert failure.value < math.inf
    assert found.result.value >= found.free_value * (1 - 1e-9)


def test_a_failure_may_move_what_stays():
    # On two of three GPUs of 20 bytes: 9 + 9 and 9 + 4 + 4, with three shards a GPU at most.
    rules = (Limit(("*",), None, "gpu", 3),)
    whole = problem(20, [9, 9, 9, 4, 4], gpus=3, per_node=1, rules=rules)
    found = survive(whole, "1-gpu", plan)
    assert found.holds
    assert evaluate(whole, found.result.placement).valid


def test_what_cannot_be_survived_is_proved():
    found = survive(problem(20, [11, 11, 11]), "1-node", plan)
    assert not found.holds
    assert not found.impossible  # 33 bytes on 40, yet no two of 11 share a GPU: found, not proved
    found = survive(problem(20, [18, 18, 6]), "1-node", plan)
    assert found.impossible  # 42 bytes on 40


def test_a_fleet_of_one_node_cannot_lose_it():
    with pytest.raises(InputError, match="nothing is left"):
        survive(problem(20, [3], gpus=2, per_node=2), "1-node", plan)


def test_nothing_moves_but_what_must_after_a_failure():
    whole = problem(40, [7, 7, 6, 3])
    placement = plan(whole).placement
    for failure in after_failures(whole, placement, failures_of(whole.fleet, "1-gpu")):
        assert failure.moves <= 3


def test_what_is_left_may_have_to_be_packed_anew():
    # Six models on three nodes of one GPU: what is left holds all, packed in one way only, and
    # no model can go anywhere before others have moved.
    whole = problem(60, [24, 18, 18, 20, 20, 20], gpus=3, per_node=1)
    placement = Placement.single(
        {"m0": "n0/0", "m1": "n1/0", "m2": "n1/0", "m3": "n0/0", "m4": "n2/0", "m5": "n2/0"}
    )
    (lost,) = after_failures(whole, placement, [("n2", frozenset(["n2/0"]))])
    assert lost.value == math.inf  # 120 of 120: nothing is left for KV
    roomy = problem(61, [24, 18, 18, 20, 20, 20], gpus=3, per_node=1)
    (lost,) = after_failures(roomy, placement, [("n2", frozenset(["n2/0"]))])
    assert lost.value < math.inf
    assert lost.moves >= 3
