"""Copies that bring little: the fewest that keep a model's GPUs at or below its target."""

from collections.abc import Sequence

from kvplace.core.evaluation.evaluate import Evaluation, evaluate
from kvplace.core.placement import Placement, Replica
from kvplace.core.problem import Problem

__all__ = ["fewer_copies", "targeted"]


def targeted(problem: Problem) -> bool:
    """Return whether a model of a problem states a target for its copies."""
    return not problem.plain and any(m.replicas.target is not None for m in problem.models)


def fewer_copies(problem: Problem, placement: Placement) -> Placement:
    """Return a placement without the copies that its models' targets make needless.

    Copies go one at a time, each time the one without which the worst of the model's GPUs is
    best, as long as every GPU that serves the model stays at or below its target. What is not
    above it before may rise; the rest of the fleet only loses load.

    Parameters
    ----------
    problem
        What was placed.
    placement
        A valid placement of it.
    """
    kept: dict[str, list[Replica]] = {}
    for replica in placement.replicas:
        kept.setdefault(replica.model, []).append(replica)
    for model in problem.models:
        target = model.replicas.target
        while target is not None and len(kept.get(model.name, ())) > model.replicas.min:
            fewer = _without_one(problem, kept, model.name, target)
            if fewer is None:
                break
            kept[model.name] = fewer
    return _placement(kept)


def _without_one(
    problem: Problem, kept: dict[str, list[Replica]], name: str, target: float
) -> list[Replica] | None:
    """Return a model's copies without the one that is missed least; None if none may go."""
    best: tuple[float, list[Replica]] | None = None
    tried: set[tuple[str, ...]] = set()
    for gone in kept[name]:
        if gone.gpus in tried:
            continue
        tried.add(gone.gpus)
        left = [replica for replica in kept[name] if replica is not gone]
        evaluation = evaluate(problem, _placement(kept | {name: left}))
        worst = _worst(evaluation, left)
        if not evaluation.violations and worst <= target and (best is None or worst < best[0]):
            best = worst, left
    return None if best is None else best[1]


def _worst(evaluation: Evaluation, replicas: Sequence[Replica]) -> float:
    """Return the highest pressure of the GPUs that hold some replicas."""
    held = {gpu for replica in replicas for gpu in replica.gpus}
    return max(
        pressure
        for gpu, pressure in zip(evaluation.gpus, evaluation.pressures, strict=True)
        if gpu.id in held
    )


def _placement(kept: dict[str, list[Replica]]) -> Placement:
    """Return the placement of some replicas, numbered from 0 for each model."""
    return Placement(
        tuple(
            Replica(name, number, replica.gpus)
            for name, replicas in kept.items()
            for number, replica in enumerate(replicas)
        )
    )
