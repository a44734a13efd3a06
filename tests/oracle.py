"""Brute force for tiny fleets, in exact integers; knows nothing of the solver.

A dynamic program over sets of models: the GPUs are filled one after the other, and for every
set of models placed so far only the best is kept. Leximax allows that: if one sorted vector is
not worse than another, it is still not worse once both get the same further entry.

KVPR is ``load u / free``. Loads are floats and so exact multiples of a power of two; two
different ratios with denominators below ``2**b`` differ by at least ``2**-2b``, so the integer
``(load << 2b + 1) // free`` orders the ratios exactly and tells all different ones apart.
"""

from dataclasses import dataclass
from fractions import Fraction

from kvplace.core.placement import Placement
from kvplace.core.problem import Problem


@dataclass(frozen=True, slots=True)
class Answer:
    """The truth about a tiny fleet; `optimum` and what follows are None where none is valid."""

    feasible: bool
    optimum: Fraction | None = None
    profile: tuple[Fraction, ...] | None = None
    placement: Placement | None = None


def solve_exactly(problem: Problem, leximax: bool = True) -> Answer:
    """Try every placement; without `leximax` only its first entry, the optimum, is the best."""
    fleet = problem.fleet.gpus
    memories = [gpu.memory_bytes - gpu.reserve_bytes for gpu in fleet]
    names = [model.name for model in problem.models]
    everything = (1 << len(names)) - 1
    tables = {memory: _ratios(problem, memory) for memory in set(memories)}
    ordered = [tables[memory] for memory in memories]

    best = {0: 0}  # set of models placed so far -> least possible maximum
    for at, table in enumerate(ordered):
        best = _extend_maximum(best, table, everything, last=at == len(ordered) - 1)
    if everything not in best:
        return Answer(feasible=False)
    highest = best[everything]

    reached: dict[int, tuple[tuple[int, ...], tuple[int, ...]]] = {0: ((), ())}
    for at, table in enumerate(ordered):
        allowed = {held: key for held, (key, _, _) in table.items() if key <= highest}
        last = at == len(ordered) - 1
        grown: dict[int, tuple[tuple[int, ...], tuple[int, ...]]] = {}
        for done, (keys, sets) in reached.items():
            rest = everything ^ done
            for held in [rest] if last else _subsets(rest):
                if held not in allowed:
                    continue
                profile = tuple(sorted((*keys, allowed[held]), reverse=True)) if leximax else keys
                present = grown.get(done | held)
                if present is None or profile < present[0]:
                    grown[done | held] = (profile, (*sets, held))
        reached = grown
    _, sets = reached[everything]
    exact = [
        Fraction(load, free)
        for table, held in zip(ordered, sets, strict=True)
        for _, load, free in [table[held]]
    ]
    scale = Fraction(problem.goal.memory_unit_bytes, 1 << _shift(problem))
    profile = tuple(sorted((ratio * scale for ratio in exact), reverse=True))
    gpu_of = {
        name: gpu.id
        for gpu, held in zip(fleet, sets, strict=True)
        for j, name in enumerate(names)
        if held >> j & 1
    }
    return Answer(True, profile[0], profile, Placement.single(gpu_of))


def exact_profile(problem: Problem, placement: Placement) -> tuple[Fraction, ...] | None:
    """Return the KVPRs of a placement from the worst to the best; None where it is not valid."""
    gpu_of = {replica.model: replica.gpus for replica in placement.replicas}
    if sorted(r.model for r in placement.replicas) != sorted(m.name for m in problem.models):
        return None
    profile = []
    for gpu in problem.fleet.gpus:
        free, load, least, held = gpu.memory_bytes - gpu.reserve_bytes, Fraction(0), 0, 0
        for j, model in enumerate(problem.models):
            if gpu_of[model.name] == (gpu.id,):
                free -= model.weights_bytes + model.overhead_bytes
                load += Fraction(problem.loads[j])
                least += model.min_kv_bytes
                held += 1
        if held and (free <= 0 or free < least):
            return None
        profile.append(load * problem.goal.memory_unit_bytes / free if held else Fraction(0))
    known = {(gpu.id,) for gpu in problem.fleet.gpus}
    if any(gpus not in known for gpus in gpu_of.values()):
        return None
    return tuple(sorted(profile, reverse=True))


def _shift(problem: Problem) -> int:
    """Return the power of two that makes every load whole."""
    return max(load.as_integer_ratio()[1].bit_length() - 1 for load in problem.loads)


def _ratios(problem: Problem, memory: int) -> dict[int, tuple[int, int, int]]:
    """Return, for every set of models that fits, its order key, its whole load and its free bytes.

    The empty set has ratio 0 whatever the memory.
    """
    shift = _shift(problem)
    bits = 2 * memory.bit_length() + 1
    for gpu in problem.fleet.gpus:
        bits = max(bits, 2 * gpu.memory_bytes.bit_length() + 1)
    rows = [
        (
            model.weights_bytes + model.overhead_bytes,
            model.min_kv_bytes,
            int(Fraction(load) * 2**shift),
        )
        for model, load in zip(problem.models, problem.loads, strict=True)
    ]
    sums = [(0, 0, 0)]
    table = {0: (0, 0, 1)}
    for held in range(1, 1 << len(rows)):
        low = (held & -held).bit_length() - 1
        size, least, load = sums[held & (held - 1)]
        row = rows[low]
        size, least, load = size + row[0], least + row[1], load + row[2]
        sums.append((size, least, load))
        free = memory - size
        if free > 0 and free >= least:
            table[held] = ((load << bits) // free, load, free)
    return table


def _extend_maximum(
    best: dict[int, int], table: dict[int, tuple[int, int, int]], everything: int, last: bool
) -> dict[int, int]:
    """Add one GPU: every set that fits it, on top of every set placed so far."""
    grown: dict[int, int] = {}
    for done, highest in best.items():
        rest = everything ^ done
        for held in [rest] if last else _subsets(rest):
            entry = table.get(held)
            if entry is not None:
                key = max(highest, entry[0])
                if key < grown.get(done | held, key + 1):
                    grown[done | held] = key
    return grown


def _subsets(whole: int):
    """Yield every subset of a set of bits, itself and the empty one included."""
    part = whole
    while part:
        yield part
        part = (part - 1) & whole
    yield 0
