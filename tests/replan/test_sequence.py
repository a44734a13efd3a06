from random import Random

import pytest
from transitions import model, split_transition, tight_transition
from walk import reachable, walk

from kvplace.core.evaluation.evaluate import evaluate
from kvplace.core.hardware import GPU, Fleet, Node
from kvplace.core.models.objective import Objective
from kvplace.core.placement import Placement, Replica
from kvplace.core.problem import Problem
from kvplace.core.rules.apart import Apart
from kvplace.core.rules.spread import Spread
from kvplace.replan.schedule.changes import renumbered
from kvplace.replan.schedule.sequence import sequence
from kvplace.replan.schedule.steps import Pricing


def check_one(random, transition):
    problem, before, after, former = transition
    per_node = random.randint(1, 3)
    schedule = sequence(
        problem,
        before,
        after,
        former=former,
        pricing=Pricing(loads_per_node=per_node),
        may_pause=random.random() < 0.7,
    )
    models = former | {m.name: m for m in problem.models}
    if schedule.proved and len(before) <= 4:
        goal = renumbered(before, after, problem.fleet)
        assert reachable(problem, models, before, goal) in {False, None}
    if not schedule.found:
        return schedule
    goal = renumbered(before, after, problem.fleet)
    for _ in range(3):
        end, back = walk(problem, models, before, schedule, random, per_node)
        assert end == sorted(before if back else goal)
    return schedule


def transitions(random, count):
    made = 0
    while made < count:
        kind = random.choice([tight_transition, split_transition])
        found = kind(random, evaluate)
        if found is not None:
            made += 1
            yield found


@pytest.mark.parametrize("seed", range(4))
def test_schedules_are_safe_in_every_order_they_allow_and_on_the_way_back(seed):
    random = Random(seed)
    for transition in transitions(random, 60):
        check_one(random, transition)


@pytest.mark.heavy
@pytest.mark.parametrize("seed", range(100, 120))
def test_twenty_thousand_schedules_are_safe(seed):
    random = Random(seed)
    found = {}
    for transition in transitions(random, 1000):
        schedule = check_one(random, transition)
        key = (schedule.found, bool(schedule.pauses), bool(schedule.parked), schedule.proved)
        found[key] = found.get(key, 0) + 1
    print(seed, found)  # noqa: T201 - read by whoever runs it


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
