"""Fleets that lose a GPU or a node: what fits is restored, and what is not does not fit."""

from dataclasses import replace

from every import best_by_budget
from schedules import transitions

from kvplace.core.evaluation.evaluate import evaluate
from kvplace.core.placement import Placement
from kvplace.errors import InputError
from kvplace.replan.failures import only, restored, without_gpus
from kvplace.replan.outcome import Budget
from kvplace.replan.replan import replan

ANY = Budget(downtime_seconds=float("inf"))


def losses(random):
    """Yield problems without some of their GPUs, each with what ran before."""
    while True:
        whole, before, _, former = next(transitions(random, 1, gpus=(4, 4)))
        if former:
            continue
        fleet = whole.fleet
        gone = {random.choice(fleet.gpus).id}
        if random.random() < 0.3:
            gone = {gpu.id for gpu in random.choice(fleet.nodes).gpus}
        try:
            left = without_gpus(whole, frozenset(gone))
        except InputError:
            continue
        yield left.problem, before


def check_loss(problem, before, most=1_000):
    """Restore what was lost and hold that against all placements; say what came of it.

    None where there are too many placements to look at.
    """
    truth = best_by_budget(problem, before, most)
    if truth is None:
        return None
    if truth:
        found = replan(problem, before, budget=ANY, compare=False)
        if found.placement is None:
            assert found.set_aside, "something fits and is not found"
            return "all fits, no order found"
        assert evaluate(problem, found.placement).valid
        least = min(truth)
        few = replan(problem, before, budget=replace(ANY, moves=least), compare=False)
        assert few.placement is not None or few.set_aside
        assert few.placement is None or len(few.changes) == least
        return "all restored"
    found, lost = restored(problem, before, budget=ANY)
    assert lost
    if found.placement is None:
        return "not even what stays fits"
    assert evaluate(found.problem, found.placement).valid
    alive = Placement(
        tuple(r for r in before if all(problem.fleet.gpu(g) is not None for g in r.gpus))
    )
    kept = {m.name: m for m in found.problem.models}
    for name, why in lost.items():
        model = problem.models[problem.index_of[name]]
        if name not in kept:
            model = replace(model, replicas=replace(model.replicas, min=1))
        more = only(problem, [*(kept | {name: model}).values()])
        if "no order" not in why:
            assert best_by_budget(more, alive, most * 100) == {}, (name, why)
    return "as many as fit restored"
