from random import Random

import pytest
from schedules import check_one, transitions
from transitions import model
from walk import walk

from kvplace.core.hardware import GPU, Fleet, Node
from kvplace.core.models.objective import Objective
from kvplace.core.placement import Placement, Replica
from kvplace.core.problem import Problem
from kvplace.core.rules.apart import Apart
from kvplace.core.rules.spread import Spread
from kvplace.replan.schedule.sequence import sequence


@pytest.mark.parametrize("seed", range(4))
def test_schedules_are_safe_in_every_order_they_allow_and_on_the_way_back(seed):
    random = Random(seed)
    for transition in transitions(random, 60):
        check_one(random, transition)


def test_copies_that_are_spread_are_paired_within_their_node_or_switched_at_once():
    # Two copies on two nodes of two GPUs both change GPUs; spread allows one copy more on a node.
    random = Random(0)
    gpus = [Node(f"n{i}", tuple(GPU(f"n{i}/{k}", "X", 20) for k in range(2))) for i in range(2)]
    m = model("m", 5, random, copies=(2, 2))
    rules = (Spread(("m",), None, "node", 1), Apart(("m",), None, "node"))
    problem = Problem((m,), Fleet(tuple(gpus)), Objective.REQUESTS, rules)
    before = Placement((Replica("m", 0, ("n1/0",)), Replica("m", 1, ("n0/0",))))
    after = Placement((Replica("m", 0, ("n0/1",)), Replica("m", 1, ("n1/1",))))
    schedule = sequence(problem, before, after, may_pause=False)
    assert schedule.found
    assert not schedule.pauses
    end, _ = walk(problem, {"m": m}, before, schedule, Random(7))
    assert sorted(r.gpus for r in end) == [("n0/1",), ("n1/1",)]
