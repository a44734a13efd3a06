"""A plan as engines, pools and components: GPUs that share neither engine nor router are apart."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kvplace.core.evaluation.static_split import kv_parts
from kvplace.core.placement import Placement
from kvplace.core.problem import Problem
from kvplace.forecast.copies import Copy, copies_of
from kvplace.forecast.rules import Pool, Router, Rules
from kvplace.forecast.step_time import StepTime
from kvplace.forecast.times import StepTimes
from kvplace.simulate.state import ENGINE, GPU

Records = NDArray[np.void]

_ALL = np.iinfo(np.int64).max // 4


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
    limits
        Bytes of the own pool of each engine on each GPU, more than any where pools are shared.
    components
        What is simulated apart.
    notes
        Where step times come from, when they are not computed from known figures.
    """

    copies: tuple[Copy, ...]
    of_model: tuple[tuple[int, ...], ...]
    pools: tuple[int, ...]
    limits: tuple[int, ...]
    components: tuple[Component, ...]
    notes: tuple[str, ...]


def engines_of(problem: Problem, placement: Placement, rules: Rules, times: StepTimes) -> Engined:
    """Make engines of a placement.

    Raises
    ------
    InputError
        The placement is not valid, or a model lacks its KV bytes per token.
    """
    found = copies_of(problem, placement, times)
    parts = kv_parts(found.evaluation.gpus) if rules.pool is Pool.STATIC else {}
    limits = tuple(
        parts.get((problem.models[copy.model].name, copy.index), _ALL) for copy in found.copies
    )
    coupled = rules.router is Router.LEAST_LOADED
    components = _components(found.copies, found.of_model, len(found.pools), coupled=coupled)
    return Engined(found.copies, found.of_model, found.pools, limits, components, found.notes)


def block_bytes(copy: Copy, tokens: int) -> int:
    """Return what a KV block of so many tokens takes on each GPU of a copy.

    In the layers that keep all tokens; those with a sliding window take `window_block` besides.
    """
    return max(1, round(copy.token_bytes * tokens))


def window_block(copy: Copy, tokens: int) -> tuple[int, int]:
    """Return bytes and number of the blocks that a request takes at most in sliding windows.

    Both ends of a window may be in the middle of a block, so it is in one more.
    """
    blocks = math.ceil(copy.window_tokens / tokens) + 1 if copy.window_bytes else 0
    return round(copy.window_bytes * tokens), blocks


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
    names = list(StepTime._fields)
    lists: list[int] = []
    on_gpu: list[list[int]] = [[] for _ in component.gpus]
    for at, copy in enumerate(copies):
        for gpu in copy.gpus:
            on_gpu[local[gpu]].append(at)
        one = engines[at]
        one["first_gpu"] = len(lists)
        lists.extend(local[gpu] for gpu in copy.gpus)
        one["end_gpu"] = len(lists)
        one["replica"], one["limit"] = copy.number, engined.limits[component.copies[at]]
        one["block_bytes"], one["fixed_bytes"] = (
            block_bytes(copy, rules.block_tokens),
            copy.sequence_bytes,
        )
        one["window_block_bytes"], one["window_blocks"] = window_block(copy, rules.block_tokens)
        one["first_prefix"], one["end_prefix"] = prefixes.get(copy.model, (0, 0))
        for name, value in zip(names, copy.costs, strict=True):
            one[name] = value
    engines["block_tokens"] = rules.block_tokens
    engines["sequences"], engines["budget"] = rules.max_sequences, rules.batched_tokens
    engines["host_seconds"] = rules.host_seconds
    engines["host_seconds_per_sequence"] = rules.host_seconds_per_sequence
    for at, held in enumerate(on_gpu):
        gpus[at]["limit"] = engined.pools[component.gpus[at]]
        gpus[at]["first_engine"] = len(lists)
        lists.extend(held)
        gpus[at]["end_engine"] = len(lists)
    return engines, gpus, lists
