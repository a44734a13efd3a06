"""What becomes of a plan where each engine has a fixed part of the KV memory of its GPU.

A plan counts on one pool per GPU, in which one engine's burst uses what another leaves free. Most
runtimes divide the memory once. This says, from means and Poisson bursts alone, for which models
that makes a difference.
"""

import math
from collections import Counter
from collections.abc import Mapping

from kvplace.core.evaluation.evaluate import Evaluation, GPUEvaluation, Shard
from kvplace.core.problem import Problem

_DEVIATIONS = 2.0
"""Standard deviations above the mean that a part should hold: more in a fortieth of the time."""


def overflowing(
    problem: Problem,
    evaluation: Evaluation,
    parts: Mapping[tuple[str, int], int] | None = None,
) -> list[str]:
    """Return models that share GPUs and whose bursts a fixed part does not hold.

    The requests of an engine at a time are taken as Poisson, with the mean that the plan states
    (Little's law); a part is enough where it holds two standard deviations above it.

    Parameters
    ----------
    problem, evaluation
        The plan. Its objective is one that counts KV bytes in use; else nothing is known.
    parts
        KV bytes of each engine on each of its GPUs, by model and number of the copy; None to
        divide what a GPU has left in proportion to what is in use, none below its least.

    Returns
    -------
    list of str
        In the order of the fleet, each once.
    """
    if not problem.goal.is_share:
        return []
    occupied = evaluation.occupied
    degrees = Counter((shard.model, shard.replica) for gpu in occupied for shard in gpu.shards)
    found: dict[str, None] = {}
    for gpu in occupied:
        if len(gpu.shards) > 1:
            held = {s: _in_use(problem, s, degrees[s.model, s.replica]) for s in gpu.shards}
            found.update(dict.fromkeys(_overflowing_on(gpu, held, parts)))
    return list(found)


def _overflowing_on(
    gpu: GPUEvaluation,
    held: Mapping[Shard, tuple[float, float]],
    parts: Mapping[tuple[str, int], int] | None,
) -> list[str]:
    """Return the models of one GPU, of whose shards mean and variance are known."""
    total = math.fsum(mean for mean, _ in held.values())
    if not total:
        return []
    names = []
    for shard, (mean, variance) in held.items():
        share = max(gpu.free_bytes * mean / total, shard.min_kv_bytes)
        part = share if parts is None else parts.get((shard.model, shard.replica), share)
        if mean and mean + _DEVIATIONS * math.sqrt(variance) > part:
            names.append(shard.model)
    return names


def _in_use(problem: Problem, shard: Shard, degree: int) -> tuple[float, float]:
    """Return mean and variance of the KV bytes that a shard has in use, in its fullest window."""
    model = problem.models[problem.index_of[shard.model]]
    mean = max(shard.window_loads, default=shard.load)
    whole = max(map(model.mean_kv_bytes, model.windows.values() or (model.demand,)))
    return mean, mean * whole * model.kv_part(degree)
