from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from schedules import check_one, transitions
from transitions import model
from walk import walk

from kvplace.core.evaluation.evaluate import evaluate
from kvplace.core.hardware import GPU, Fleet, Node
from kvplace.core.models.objective import Objective
from kvplace.core.placement import Placement, Replica
from kvplace.core.problem import Problem
from kvplace.core.rules.apart import Apart
from kvplace.core.rules.spread import Spread
from kvplace.replan.outcome import Replan
from kvplace.replan.progress import place_of
from kvplace.replan.proposal import Engines, propose, verify
from kvplace.replan.schedule.changes import changes, renumbered
from kvplace.replan.schedule.sequence import sequence
from kvplace.replan.schedule.steps import RUNTIMES, Pricing
from kvplace.solver.clock import Watch
from seeds import seeds


@pytest.mark.parametrize("seed", seeds(2, 4))
def test_schedules_are_safe_in_every_order_they_allow_and_on_the_way_back(seed):
    random = Random(seed)
    for transition in transitions(random, 60, gpus=(3, 4)):
        check_one(random, transition)


def test_what_leaves_sleeps_until_all_else_is_done_where_its_rest_fits():
    random = Random(0)
    fleet = Fleet((Node("n", (GPU("n/0", "X", 20), GPU("n/1", "X", 20))),))
    a, b = model("a", 6, random, overhead=2), model("b", 6, random, overhead=2)
    problem = Problem((a, b), fleet, Objective.REQUESTS)
    before = Placement.single({"a": "n/0", "b": "n/0"})
    after = Placement.single({"a": "n/0", "b": "n/1"})
    schedule = sequence(problem, before, after, pricing=Pricing(sleep=1))
    kinds = [step.kind.value for step in schedule.steps]
    assert kinds == ["load", "switch", "drain", "sleep", "unload"]
    assert schedule.steps[-1].after == (4,)
    assert schedule.loaded_bytes == 6
    # Where what it keeps does not fit in the end, it stops at once.
    big = Problem((model("a", 18, random), b), fleet, Objective.REQUESTS)
    before = Placement.single({"b": "n/0"})
    after = Placement.single({"a": "n/0", "b": "n/1"})
    schedule = sequence(big, before, after, pricing=Pricing(sleep=1))
    assert "sleep" not in [step.kind.value for step in schedule.steps]


def test_what_stays_sleeps_for_a_while_and_wakes_where_nothing_else_makes_room():
    # a and b change places and wait for one another; there is no third GPU. To stop one of them
    # costs a load, to let what stays sleep a wake.
    random = Random(0)
    fleet = Fleet((Node("n", (GPU("n/0", "X", 21), GPU("n/1", "X", 21))),))
    sizes = {"stays": 7, "a": 5, "b": 9, "c": 9}
    models = tuple(
        model(name, size, random, overhead=int(name == "stays")) for name, size in sizes.items()
    )
    problem = Problem(models, fleet, Objective.REQUESTS)
    before = Placement.single({"stays": "n/0", "a": "n/0", "b": "n/1", "c": "n/1"})
    after = Placement.single({"stays": "n/0", "b": "n/0", "a": "n/1", "c": "n/1"})
    schedule = sequence(problem, before, after, pricing=Pricing(sleep=1))
    (pause,) = schedule.pauses
    assert pause.model == "stays"
    kinds = [s.kind.value for s in schedule.steps if s.replicas[0].model == "stays"]
    assert kinds == ["drain", "sleep", "wake", "switch"]
    none = sequence(problem, before, after, may_pause=False)
    assert (none.found, none.proved) == (False, True)
    none = sequence(problem, before, after, may_pause=False, watch=Watch(0))
    assert (none.found, none.proved) == (False, False)  # not every order was tried
    stopped = sequence(problem, before, after)
    assert {p.model for p in stopped.pauses} != {"stays"}


def test_a_copy_beside_which_another_serves_may_stop_first_without_downtime():
    # a and b change places, each GPU has 3 bytes to spare, and a serves elsewhere as well.
    random = Random(0)
    fleet = Fleet((Node("n", tuple(GPU(f"n/{at}", "X", 21) for at in range(3))),))
    models = [model("a", 9, random, (2, 2)), *(model(name, 9, random) for name in "bcde")]
    problem = Problem(tuple(models), fleet, Objective.REQUESTS)
    rest = {"c": "n/0", "d": "n/1", "e": "n/2"}
    before = Placement.single(rest | {"b": "n/1"})
    after = Placement.single(rest | {"b": "n/0"})
    stays = Replica("a", 1, ("n/2",))
    before = Placement((*before, Replica("a", 0, ("n/0",)), stays))
    after = Placement((*after, Replica("a", 0, ("n/1",)), stays))
    schedule = sequence(problem, before, after, may_pause=False)
    assert schedule.found
    (pause,) = schedule.pauses
    assert (pause.model, pause.others) == ("a", 1)
    assert schedule.downtime_seconds == 0
    by_name = {m.name: m for m in models}
    end, _ = walk(problem, by_name, before, schedule, Random(3))
    assert end == sorted(after)


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


def proposed(problem, before, after, schedule, former=()):
    """Return a time and the proposal of a schedule at it."""
    worth, todo = evaluate(problem, after), tuple(changes(before, after))
    moved = Replan(
        problem, before, worth, after, worth, todo, ("",) * len(todo), 0.0, 0.0, (), None, schedule
    )
    now = datetime(2026, 11, 26, tzinfo=UTC)
    return now, propose(moved, now, timedelta(hours=1), Engines(former=tuple(former)))


@pytest.mark.parametrize("seed", seeds(1, 3))
def test_a_proposal_is_followed_in_every_order_it_allows(seed):
    # A GPU on the way of a replica seemed to be left before it came, and a fleet that was as it
    # was had drifted; so it was with copies that stop and start again where they were.
    random, parked = Random(seed), 0
    for problem, before, after, former in transitions(random, 40, gpus=(3, 4)):
        pricing = Pricing(sleep=random.choice([0, 1]))
        schedule = sequence(problem, before, after, former=former, pricing=pricing)
        places = {r for step in schedule.steps for r in step.replicas} | set(before)
        if not schedule.found or len(places) > len({place_of(r) for r in places}):
            continue  # copies of one model on one GPU look alike
        goal = Placement(tuple(renumbered(before, after, problem.fleet)))
        now, proposal = proposed(problem, before, goal, schedule, former.values())
        here = {r for r in before if all(map(problem.fleet.gpu, r.gpus))}
        asleep, done, left = set(), set(), list(schedule.steps)
        parked += bool(schedule.parked)
        assert verify(proposal, Placement(tuple(here)), now).verdict == "ready" or not left
        while left:
            step = random.choice([of for of in left if done.issuperset(of.after)])
            left.remove(step)
            done.add(step.number)
            of, kind = set(step.replicas), step.kind.value
            here = here | of if kind == "load" else here - of if kind == "unload" else here
            asleep = asleep | of if kind == "sleep" else asleep - of
            seen = verify(proposal, Placement(tuple(here)), now, asleep)
            assert not seen.differences
        assert verify(proposal, Placement(tuple(here)), now, asleep).verdict == "done" or not done
    assert parked


def test_a_sleep_is_seen_and_a_wake_counts_where_all_else_is_done():
    random = Random(0)
    fleet = Fleet((Node("n", (GPU("n/0", "X", 21), GPU("n/1", "X", 21))),))
    sizes = {"stays": 7, "a": 5, "b": 9, "c": 9}
    models = tuple(model(n, size, random, overhead=int(n == "stays")) for n, size in sizes.items())
    problem = Problem(models, fleet, Objective.REQUESTS)
    before = Placement.single({"stays": "n/0", "a": "n/0", "b": "n/1", "c": "n/1"})
    after = Placement.single({"stays": "n/0", "b": "n/0", "a": "n/1", "c": "n/1"})
    schedule = sequence(problem, before, after, pricing=Pricing(sleep=1))
    now, proposal = proposed(problem, before, after, schedule)
    numbers = {(s.kind.value, s.replicas[0].model): s.number for s in schedule.steps}
    asleep = [r for r in before if r.model == "stays"]
    assert verify(proposal, before, now).verdict == "ready"
    seen = verify(proposal, before, now, asleep)
    assert seen.verdict == "under_way"
    assert numbers["sleep", "stays"] in seen.done
    assert verify(proposal, after, now).verdict == "done"
    both = Placement((*after, Replica("a", 1, ("n/0",)), Replica("b", 1, ("n/1",))))
    still = [r for r in both if r.index == 1]
    waking = verify(proposal, both, now, [*asleep, *still])
    assert waking.verdict == "under_way"
    assert numbers["wake", "stays"] not in waking.done


def test_ray_serve_starts_all_deployments_again_where_one_changes():
    random = Random(0)
    fleet = Fleet((Node("n", (GPU("n/0", "X", 20), GPU("n/1", "X", 20))),))
    models = tuple(model(name, 5, random) for name in "abc")
    problem = Problem(models, fleet, Objective.REQUESTS)
    before = Placement.single({"a": "n/0", "b": "n/0", "c": "n/1"})
    after = Placement.single({"a": "n/0", "b": "n/1", "c": "n/1"})
    unit, in_place = RUNTIMES["ray-serve"]
    schedule = sequence(problem, before, after, pricing=Pricing(unit=unit, in_place=in_place))
    assert schedule.restarts.down == ("a", "b", "c")
    assert [r.model for r in schedule.restarts.replicas] == ["a", "c"]
    assert schedule.loaded_bytes == 15
