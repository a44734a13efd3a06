"""The best placement for every budget by looking at all placements, as core evaluates them."""

from itertools import combinations

from transitions import may_fit

from kvplace.core.evaluation.evaluate import evaluate
from kvplace.core.placement import Placement, Replica


def every_placement(problem, most):
    """Return all placements whose copies and degrees are allowed and that memory may hold.

    None where there are too many before memory is looked at.
    """
    ways = []
    total = 1
    for model in problem.models:
        sets = [
            c
            for degree in model.tensor_parallel
            for node in problem.fleet.nodes
            for c in combinations([g.id for g in node.gpus], degree)
            if len({g.link for g in node.gpus if g.id in c}) == 1
        ]
        mine = []
        for count in range(model.replicas.min, model.replicas.max + 1):
            for chosen in combinations(sets, count):
                gpus = [g for c in chosen for g in c]
                if len(gpus) == len(set(gpus)):
                    mine.append(tuple(Replica(model.name, n, c) for n, c in enumerate(chosen)))
        ways.append(mine)
        total *= len(mine)
        if total > most:
            return None
    found = [()]
    for mine in ways:
        both = ((*some, *more) for some in found for more in mine)
        found = [replicas for replicas in both if may_fit(problem, replicas)]
    return [Placement(replicas) for replicas in found]


def rounded(profile):
    """A key by which profiles that differ in the last digits only are the same."""
    soft, pressures = profile
    return soft, tuple(float(f"{one:.9g}") for one in pressures)


def best_by_budget(problem, current, most=3000):
    """Return the least value by the number of changes; None where there is too much to look at."""
    placements = every_placement(problem, most)
    if placements is None:
        return None
    known = {m.name for m in problem.models}
    gpus = {g.id for g in problem.fleet.gpus}
    alive = [r for r in current if r.model in known and gpus.issuperset(r.gpus)]
    alive = Placement(tuple(Replica(r.model, r.index, tuple(sorted(r.gpus))) for r in alive))
    best = {}
    for placement in placements:
        evaluation = evaluate(problem, placement)
        if not evaluation.valid:
            continue
        sorted_ = Placement(
            tuple(Replica(r.model, r.index, tuple(sorted(r.gpus))) for r in placement)
        )
        cost = len(alive.difference(sorted_))
        tiers = sorted({r.soft for r in problem.rules if r.soft is not None})
        amounts = (
            sum(v.amount for v in evaluation.preferences if v.tier == tier) for tier in tiers
        )
        profile = (tuple(amounts), evaluation.profile())
        if cost not in best or rounded(profile) < rounded(best[cost]):
            best[cost] = profile
    return best
