"""A plan as engines, pools and components: GPUs that share neither engine nor router are apart."""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields

import numpy as np
from numpy.typing import NDArray

from kvplace.core.evaluation.evaluate import Evaluation, evaluate
from kvplace.core.evaluation.static_split import kv_parts
from kvplace.core.placement import Placement, copies_by_model
from kvplace.core.problem import Problem
from kvplace.errors import Fault, InputError
from kvplace.forecast.step_time import StepTime
from kvplace.forecast.times import StepTimes
from kvplace.simulate.rules import Pool, Router, Rules
from kvplace.simulate.state import BLOCK_TOKENS, ENGINE, GPU

__all__ = ["Component", "Copy", "Engined", "engines_of", "records_of"]

Records = NDArray[np.void]

_ALL = np.iinfo(np.int64).max // 4


@dataclass(frozen=True, slots=True)
class Copy:
    """One engine.

    Parameters
    ----------
    model
        Position of its model in the problem.
    number
        Of the copy within its model, from 0.
    gpus
        Positions of its GPUs in the fleet.
    part
        Part of the model's demand.
    costs
        Fields of its `StepTime`.
    block_bytes, fixed_bytes
        Of a KV block and of a running request, on each of its GPUs.
    limit_bytes
        Its own pool on each GPU, or more than any where the pool is shared.
    """

    model: int
    number: int
    gpus: tuple[int, ...]
    part: float
    costs: tuple[float, ...]
    block_bytes: int
    fixed_bytes: int
    limit_bytes: int


@dataclass(frozen=True, slots=True)
class Component:
    """GPUs that depend on each other, with what runs there.

    Parameters
    ----------
    gpus
        Positions in the fleet.
    copies
        Positions in `Engined.copies`.
    """

    gpus: tuple[int, ...]
    copies: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Engined:
    """A placement as the simulation sees it.

    Parameters
    ----------
    copies
        All engines, by model and number.
    of_model
        Engines of each model.
    pools
        KV bytes of each GPU.
    components
        What is simulated apart.
    evaluation
        The placement's, by core.
    notes
        Where step times come from, when they are not computed from known figures.
    """

    copies: tuple[Copy, ...]
    of_model: tuple[tuple[int, ...], ...]
    pools: tuple[int, ...]
    components: tuple[Component, ...]
    evaluation: Evaluation
    notes: tuple[str, ...]


def engines_of(problem: Problem, placement: Placement, rules: Rules, times: StepTimes) -> Engined:
    """Make engines of a placement.

    Raises
    ------
    InputError
        The placement is not valid, or a model lacks its KV bytes per token.
    """
    evaluation = evaluate(problem, placement)
    if evaluation.violations:
        raise InputError([Fault(v.message, "placement") for v in evaluation.violations])
    faults = [
        Fault("a simulation needs it", f"{model.name}.kv_bytes_per_token")
        for model in problem.models
        if model.kv_bytes_per_token is None
    ]
    if faults:
        raise InputError(faults)
    position = {gpu.id: at for at, gpu in enumerate(problem.fleet.gpus)}
    limits = kv_parts(evaluation.gpus) if rules.pool is Pool.STATIC else {}
    copies: list[Copy] = []
    sources: dict[str, None] = {}
    of_model: list[tuple[int, ...]] = [()] * len(problem.models)
    by_model = copies_by_model(placement)
    for index, model in enumerate(problem.models):
        replicas = sorted(by_model[model.name], key=lambda one: one.index)
        parts = problem.demand_parts(index, [one.gpus for one in replicas])
        of_model[index] = tuple(range(len(copies), len(copies) + len(replicas)))
        for number, (replica, part) in enumerate(zip(replicas, parts, strict=True)):
            degree = len(replica.gpus)
            gpus = [problem.fleet.gpus[position[gpu]] for gpu in replica.gpus]
            found = [times.of(model, gpu.type, gpu.memory_bytes, degree) for gpu in gpus]
            # A step ends at its slowest GPU, so the slowest type decides.
            slowest = max(found, key=lambda one: sum(astuple(one.times)[:5]))
            if not slowest.source.startswith(("measured", "computed")) or ";" in slowest.source:
                sources.setdefault(slowest.source)
            share = model.kv_part(degree)
            block = max(1, round((model.kv_bytes_per_token or 0) * share * BLOCK_TOKENS))
            copies.append(
                Copy(
                    index,
                    number,
                    tuple(position[gpu] for gpu in replica.gpus),
                    part,
                    astuple(slowest.times),
                    block,
                    round(model.kv_bytes_per_sequence * share),
                    limits.get((model.name, replica.index), _ALL),
                )
            )
    pools = tuple(max(0, gpu.free_bytes) for gpu in evaluation.gpus)
    coupled = rules.router is Router.LEAST_LOADED
    components = _components(copies, of_model, len(pools), coupled=coupled)
    return Engined(tuple(copies), tuple(of_model), pools, components, evaluation, tuple(sources))


def _components(
    copies: Sequence[Copy], of_model: Sequence[Sequence[int]], gpus: int, *, coupled: bool
) -> tuple[Component, ...]:
    """Return what hangs together: by an engine's GPUs, and by a router that looks at loads."""
    root = list(range(gpus))

    def find(at: int) -> int:
        while root[at] != at:
            root[at] = root[root[at]]
            at = root[at]
        return at

    def join(first: int, second: int) -> None:
        a, b = find(first), find(second)
        root[max(a, b)] = min(a, b)

    for copy in copies:
        for gpu in copy.gpus[1:]:
            join(copy.gpus[0], gpu)
    if coupled:
        for engines in of_model:
            for engine in engines[1:]:
                join(copies[engines[0]].gpus[0], copies[engine].gpus[0])
    members: dict[int, tuple[list[int], list[int]]] = {}
    for gpu in range(gpus):
        members.setdefault(find(gpu), ([], []))[0].append(gpu)
    for at, copy in enumerate(copies):
        members[find(copy.gpus[0])][1].append(at)
    return tuple(Component(tuple(g), tuple(c)) for g, c in members.values() if c)


def records_of(
    engined: Engined, component: Component, rules: Rules, prefixes: Mapping[int, tuple[int, int]]
) -> tuple[Records, Records, list[int]]:
    """Return a component as records, its GPUs and engines numbered from 0.

    Parameters
    ----------
    engined, component, rules
        What to simulate.
    prefixes
        First and end of the numbers of the shared prompt beginnings of each model.

    Returns
    -------
    tuple
        Engines and GPUs as in `kvplace.simulate.state`, and the lists that they refer to.
    """
    copies = [engined.copies[at] for at in component.copies]
    local = {gpu: at for at, gpu in enumerate(component.gpus)}
    engines, gpus = np.zeros(len(copies), ENGINE), np.zeros(len(component.gpus), GPU)
    names = [field.name for field in fields(StepTime)]
    lists: list[int] = []
    on_gpu: list[list[int]] = [[] for _ in component.gpus]
    for at, copy in enumerate(copies):
        for gpu in copy.gpus:
            on_gpu[local[gpu]].append(at)
        one = engines[at]
        one["first_gpu"] = len(lists)
        lists.extend(local[gpu] for gpu in copy.gpus)
        one["end_gpu"] = len(lists)
        one["replica"], one["limit"] = copy.number, copy.limit_bytes
        one["block_bytes"], one["fixed_bytes"] = copy.block_bytes, copy.fixed_bytes
        one["first_prefix"], one["end_prefix"] = prefixes.get(copy.model, (0, 0))
        for name, value in zip(names, copy.costs, strict=True):
            one[name] = value
    engines["sequences"], engines["budget"] = rules.max_sequences, rules.batched_tokens
    engines["host_seconds"] = rules.host_seconds
    engines["host_seconds_per_sequence"] = rules.host_seconds_per_sequence
    for at, held in enumerate(on_gpu):
        gpus[at]["limit"] = engined.pools[component.gpus[at]]
        gpus[at]["first_engine"] = len(lists)
        lists.extend(held)
        gpus[at]["end_engine"] = len(lists)
    return engines, gpus, lists
