"""A placement as running copies with their step times: where forecast and simulation start."""

from collections.abc import Mapping
from dataclasses import dataclass

from kvplace.core.evaluation.evaluate import Evaluation, evaluate
from kvplace.core.placement import Placement, copies_by_model
from kvplace.core.problem import Problem
from kvplace.errors import Fault, InputError
from kvplace.forecast.times import StepTimes, Timed, cache_reads


@dataclass(frozen=True, slots=True)
class Copy:
    """One engine.

    Parameters
    ----------
    model
        Position of its model in the problem.
    number, index
        Of the copy within its model, from 0; and as the placement numbers it.
    gpus
        Positions of its GPUs in the fleet.
    part
        Part of the model's demand.
    costs
        Fields of its `StepTime`.
    token_bytes, sequence_bytes
        KV of a token in the layers that keep all tokens, and of a running request besides, on
        each of its GPUs.
    window_bytes, window_tokens
        KV of a token in the layers with a sliding window, and how many tokens they keep.
    """

    model: int
    number: int
    index: int
    gpus: tuple[int, ...]
    part: float
    costs: tuple[float, ...]
    token_bytes: float
    sequence_bytes: int
    window_bytes: float = 0.0
    window_tokens: float = 0.0


@dataclass(frozen=True, slots=True)
class Copies:
    """All engines of a placement.

    Parameters
    ----------
    copies
        By model and number.
    of_model
        Positions of the copies of each model.
    pools
        KV bytes of each GPU.
    evaluation
        The placement's, by core.
    notes
        Where step times come from, when they are not computed from known figures.
    """

    copies: tuple[Copy, ...]
    of_model: tuple[tuple[int, ...], ...]
    pools: tuple[int, ...]
    evaluation: Evaluation
    notes: tuple[str, ...]


def copies_of(
    problem: Problem, placement: Placement, times: StepTimes, evaluation: Evaluation | None = None
) -> Copies:
    """Make engines of a placement.

    Parameters
    ----------
    problem, placement, times
        What runs where, and how fast.
    evaluation
        The placement's, where core has made it already.

    Raises
    ------
    InputError
        The placement is not valid, or a model lacks its KV bytes per token.
    """
    evaluation = evaluation or evaluate(problem, placement)
    if evaluation.violations:
        raise InputError([Fault(v.message, "placement") for v in evaluation.violations])
    faults = [
        Fault("its step times need it", f"{model.name}.kv_bytes_per_token")
        for model in problem.models
        if model.kv_bytes_per_token is None
    ]
    if faults:
        raise InputError(faults)
    position = {gpu.id: at for at, gpu in enumerate(problem.fleet.gpus)}
    copies: list[Copy] = []
    sources: dict[str, int] = {}
    of_model: list[tuple[int, ...]] = []
    by_model = copies_by_model(placement)
    free = [gpu.usable_bytes for gpu in problem.fleet.gpus]
    kind_of = [(gpu.type, gpu.memory_bytes) for gpu in problem.fleet.gpus]
    for index, model in enumerate(problem.models):
        replicas = sorted(by_model[model.name], key=lambda one: one.index)
        parts = problem.demand_parts(index, [one.gpus for one in replicas])
        of_model.append(tuple(range(len(copies), len(copies) + len(replicas))))
        for number, (replica, part) in enumerate(zip(replicas, parts, strict=True)):
            degree = len(replica.gpus)
            places = tuple(position[gpu] for gpu in replica.gpus)
            held = model.resident_bytes(degree)
            for at in places:
                free[at] -= held
            # A step ends at its slowest GPU, so the slowest type decides.
            kinds = dict.fromkeys(kind_of[at] for at in places)
            found = [times.of(model, *kind, degree) for kind in sorted(kinds)]
            slowest = max(found, key=_summed) if len(found) > 1 else found[0]
            if slowest.doubtful:
                sources[slowest.source] = sources.get(slowest.source, 0) + 1
            kept = cache_reads(model, degree)
            copies.append(
                Copy(
                    index,
                    number,
                    replica.index,
                    places,
                    part,
                    slowest.row,
                    kept.bytes_per_token,
                    round(kept.bytes_per_sequence),
                    kept.window_bytes_per_token,
                    kept.window_tokens,
                )
            )
    pools = tuple(max(0, left) for left in free)
    return Copies(tuple(copies), tuple(of_model), pools, evaluation, _notes(sources, len(copies)))


def _summed(one: Timed) -> float:
    """Return a measure of how slow steps are."""
    return sum(one.row[:5])


def _notes(sources: Mapping[str, int], copies: int) -> tuple[str, ...]:
    """Return one sentence per kind of step times that rests on more than known figures."""
    return tuple(
        f"step times of {count} of {copies} engines: {source}"
        for source, count in sorted(sources.items())
    )
