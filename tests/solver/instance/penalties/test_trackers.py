"""Every tracker, after any moves, says what a fresh one says and what core counts."""

import random
from dataclasses import replace

import pytest

from kvplace.core.evaluation.constraints import rule_violations
from kvplace.core.hardware import GPU, Fleet, Node
from kvplace.core.models.objective import Objective
from kvplace.core.placement import Placement, Replica
from kvplace.core.problem import Problem
from kvplace.core.rules.apart import Apart
from kvplace.core.rules.forbid import Forbid
from kvplace.core.rules.limit import Limit
from kvplace.core.rules.places import Places
from kvplace.core.rules.spread import Spread
from kvplace.core.rules.together import Together
from kvplace.solver.instance.door import load_instance
from kvplace.solver.instance.penalties.apart import ApartTracker
from kvplace.solver.instance.penalties.excess import ExcessTracker, capacity_tracker
from kvplace.solver.instance.penalties.spread import SpreadTracker
from kvplace.solver.instance.penalties.together import TogetherTracker
from splits import random_split_problem, random_where
from tiny import byte_model

DOMAIN = [0, 0, 1, 1, 2, -1]
"""GPUs in three domains, and one in none."""


def copies(*gpus):
    """Undivided copies on some GPUs."""
    return tuple((g,) for g in gpus)


def told(tracker, *moves):
    """Tell a tracker of moves; return the amount after each."""
    amounts = []
    for move in moves:
        tracker.update(*move)
        amounts.append(tracker.amount)
    return amounts


def test_models_that_must_be_apart_count_from_the_second_in_a_domain():
    assert told(
        ApartTracker(DOMAIN),
        (0, (), copies(0)),
        (1, (), copies(1)),
        (2, (), copies(1, 2)),
        (1, copies(1), copies(4)),
        (0, copies(0), copies(5)),
        (2, copies(1, 2), copies(5)),
    ) == [0, 1, 2, 1, 0, 0]


def test_shards_above_the_most_of_a_domain_count_one_by_one():
    assert told(
        ExcessTracker(DOMAIN, 1),
        (0, (), copies(0)),
        (0, copies(0), copies(0, 1)),
        (1, (), ((0, 1),)),
        (1, ((0, 1),), ((2, 4),)),
        (0, copies(0, 1), copies(5)),
    ) == [0, 1, 3, 1, 0]


def test_models_together_count_their_domains_beyond_the_first():
    assert told(
        TogetherTracker(DOMAIN),
        (0, (), copies(0, 1)),
        (1, (), copies(2)),
        (2, (), copies(4)),
        (1, copies(2), copies(0)),
        (0, copies(0, 1), copies(4)),
    ) == [0, 1, 2, 1, 1]


def test_skew_counts_above_what_is_allowed_over_the_domains_of_each_model():
    tracker = SpreadTracker(DOMAIN, {0: {0, 1, 2}, 1: {0}, 2: set()}, 1)
    assert told(
        tracker,
        (0, (), copies(0)),
        (0, copies(0), copies(0, 1)),
        (0, copies(0, 1), copies(0, 2, 4)),
        (1, (), copies(0, 1)),
        (2, (), copies(5)),
        (0, copies(0, 2, 4), ()),
    ) == [0, 1, 0, 0, 0, 0]
    strict = SpreadTracker(DOMAIN, {0: {0, 1}}, 0)
    assert told(strict, (0, (), ((0, 1),)), (0, ((0, 1),), ((0, 1), (2, 3)))) == [1, 0]


def test_shards_where_they_may_not_be_count_one_by_one():
    tracker = ExcessTracker([-1, 0, 0], 0)
    moves = (0, (), copies(1)), (1, (), ((1, 2),)), (0, copies(1), copies(0))
    assert told(tracker, *moves) == [1, 3, 2]


def test_what_is_taken_above_a_capacity_counts_and_leaves_nothing_behind():
    tracker = capacity_tracker([0, 0, 1], [1.0, 0.5], [0.7, 0.2, 0.0])
    there, back = (0, (), copies(0)), (0, copies(0), ())
    assert told(tracker, there)[-1] == 0
    over = told(tracker, (1, (), copies(0, 1)))[-1]
    assert over == pytest.approx(0.1, rel=1e-6)
    assert over >= 0.1 * (1 - 1e-9)
    assert told(tracker, (2, (), copies(0)))[-1] == over
    assert told(tracker, back)[-1] == 0
    for _ in range(500):
        told(tracker, there, back)
    assert told(tracker, there)[-1] == over


def two_zones():
    """Four GPUs on two nodes, one in each zone."""
    return Fleet(
        tuple(
            Node(
                f"n{k}",
                tuple(GPU(f"n{k}/{i}", "t", 100, resources={"slots": 1.0}) for i in range(2)),
                {"zone": "ab"[k]},
            )
            for k in range(2)
        )
    )


@pytest.mark.parametrize(
    "rule",
    [
        Apart(over="zone"),
        Apart(("m0", "m1"), over="node"),
        Together(("m0", "m1", "m2"), over="zone"),
        Limit(over="zone", most=2),
        Limit(over="gpu", most=1),
        replace(Limit(over="zone", most=0), places=Places(labels=(("zone", "a"),))),
        Forbid(("m1",), places=Places(nodes=("n0",))),
        Spread(("m0",), over="zone"),
    ],
    ids=lambda rule: type(rule).__name__,
)
def test_each_rule_fails_where_core_says_so(rule):
    models = tuple(
        replace(byte_model(f"m{j}", 2, 1.0), resources={"slots": 0.4} if j else {})
        for j in range(4)
    )
    problem = Problem(models, two_zones(), Objective.REQUESTS, (rule,))
    instance = load_instance(problem)
    draw = random.Random(1)
    for _ in range(50):
        gpu_of = [draw.randrange(4) for _ in models]
        placement = Placement(
            tuple(
                Replica(problem.names[i], 0, (problem.fleet.gpus[instance.gpu_index[g]].id,))
                for i, g in zip(instance.model_index, gpu_of, strict=True)
            )
        )
        broken = any(rule_violations(problem, placement))
        trackers = [plan.make() for plan in instance.blueprints]
        for plan, tracker in zip(instance.blueprints, trackers, strict=True):
            for j in plan.concerned:
                tracker.update(j, (), copies(gpu_of[j]))
        assert any(tracker.amount > 0 for tracker in trackers) == broken


@pytest.mark.parametrize("seed", range(3))
def test_moves_in_any_order_leave_what_a_fresh_tracker_says(seed):
    draw, seen = random.Random(seed), 0
    while seen < 60:
        problem = random_split_problem(draw)
        instance = load_instance(problem)
        where = random_where(draw, problem, instance)
        if where is None or not instance.blueprints:
            continue
        seen += 1
        trackers = [plan.make() for plan in instance.blueprints]
        now = [()] * instance.n
        for _ in range(6):
            j = draw.randrange(instance.n)
            then = draw.choice([(), random_where(draw, problem, instance)[j]])
            for plan, tracker in zip(instance.blueprints, trackers, strict=True):
                if j in plan.concerned:
                    tracker.update(j, now[j], then)
            now[j] = then
        for plan, tracker in zip(instance.blueprints, trackers, strict=True):
            fresh = plan.make()
            for j in plan.concerned:
                fresh.update(j, (), now[j])
            assert tracker.amount == fresh.amount


@pytest.mark.parametrize("seed", range(2))
def test_between_gpus_of_one_label_nothing_changes(seed):
    draw, moved = random.Random(seed), 0
    for _ in range(80):
        problem = random_split_problem(draw)
        instance = load_instance(problem)
        where = random_where(draw, problem, instance)
        for plan in instance.blueprints if where else ():
            tracker = plan.make()
            for j in plan.concerned:
                tracker.update(j, (), where[j])
            for j in plan.concerned:
                used = {g for copy in where[j] for g in copy}
                for g, h in ((g, h) for g in used for h in range(instance.g)):
                    if h in used or plan.labels[g] != plan.labels[h]:
                        continue
                    then = tuple(tuple(h if x == g else x for x in copy) for copy in where[j])
                    before = tracker.amount
                    tracker.update(j, where[j], then)
                    assert tracker.amount == before
                    tracker.update(j, then, where[j])
                    moved += 1
    assert moved > 20
