"""Schedules of random transitions, held against walks that know only memory and rules."""

from itertools import permutations

from transitions import split_transition, tight_transition
from walk import UnsafeError, Walk, back_and_forth, reachable, walk

from kvplace.core.evaluation.evaluate import evaluate
from kvplace.core.placement import Replica
from kvplace.replan.schedule.changes import changes, renumbered
from kvplace.replan.schedule.sequence import sequence
from kvplace.replan.schedule.steps import Pricing

_SAID = {True: "there is one", False: "there is none", None: "too many states"}


def transitions(random, count, gpus=(4, 6)):
    made = 0
    while made < count:
        at = random.randrange(2)
        found = (tight_transition, split_transition)[at](random, evaluate, gpus[at])
        if found is not None:
            made += 1
            yield found


def check_one(random, transition, walks=3):
    """Find a schedule and walk it, in orders it allows and back again; check what it rules out.

    Returns the schedule, and of one that was not found for a few replicas what looking at all
    states says: that there is none, or one, or that there are too many to look at.
    """
    problem, before, after, former = transition
    per_node = random.randint(1, 3)
    sleep = random.choice([0, 0, 1, 2])
    schedule = sequence(
        problem,
        before,
        after,
        former=former,
        pricing=Pricing(loads_per_node=per_node, sleep=sleep),
        may_pause=random.random() < 0.7,
    )
    models = former | {m.name: m for m in problem.models}
    goal = renumbered(before, after, problem.fleet)
    truth = None
    if (schedule.proved or not schedule.found) and len(before) <= 4:
        truth = _SAID[reachable(problem, models, before, goal)]
        assert not schedule.proved or truth != _SAID[True]
    if not schedule.found:
        return schedule, truth
    back_and_forth(problem, models, before, schedule, per_node)
    for _ in range(walks):
        end, back = walk(problem, models, before, schedule, random, per_node)
        assert end == sorted(before if back else goal)
    return schedule, truth


def safe_orders(transition, most=5):
    """How many orders of the changes are safe if each replica goes straight to its place.

    None where there are fewer than two changes, or too many to try all orders.
    """
    problem, before, after, former = transition
    models = former | {m.name: m for m in problem.models}
    todo = changes(before, renumbered(before, after, problem.fleet))
    if not 2 <= len(todo) <= most:
        return None
    return sum(_is_safe(problem, models, before, order) for order in permutations(todo))


def _is_safe(problem, models, before, order):
    fleet = Walk(problem, models, before)
    fleet.wanted = frozenset(r.model for r in fleet.serving)
    try:
        for change in order:
            if change.target:
                fleet.resident.append(Replica(change.model, change.index, change.target))
                fleet.look()
                fleet.serving.append(fleet.resident[-1])
            if change.source:
                old = Replica(change.model, change.index, change.source)
                fleet.serving.remove(old)
                fleet.look()
                fleet.resident.remove(old)
            fleet.look()
    except UnsafeError:
        return False
    return True
