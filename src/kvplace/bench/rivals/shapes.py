"""What every integer program of a placement needs: sizes at a target, and which pairs may be."""

import math
from collections import Counter, defaultdict
from fractions import Fraction

from kvplace.solver.instance.instance import Instance


def sizes_at(arrays: Instance, target: float, scale: Fraction) -> list[int]:
    """Return ``(s_j + l_j / K) * scale`` rounded down, exactly; under one pressure."""
    return takes_at(arrays, target, scale, 0)[0]


def takes_at(arrays: Instance, target: float, scale: Fraction, g: int) -> list[list[int]]:
    """Return what models take of a GPU at a target by each pressure, rounded down, exactly.

    Its memory is the limit of each: of a load on time, K of which the GPU has, the part of K.
    """
    if target == math.inf:
        return [[int(size * scale) for size in arrays.size]]
    exact, pressures = Fraction(target), arrays.pressures
    found = []
    for at in range(pressures):
        loads = arrays.loads[arrays.type_at(g) * pressures + at :: arrays.types * pressures]
        if at < arrays.kv:
            pairs = zip(arrays.size, loads, strict=True)
            found.append([int((size + Fraction(load) / exact) * scale) for size, load in pairs])
        else:
            whole = arrays.memory[g] * scale / exact
            found.append([int(Fraction(load) * whole) for load in loads])
    return found


def simple_bound_of(arrays: Instance) -> float:
    """Return the fluid or single-model bound, whichever is higher, of the highest pressure."""
    free, kv = sum(arrays.memory) - sum(arrays.size), arrays.kv
    if free <= 0 or free < sum(arrays.keep):
        return math.inf
    columns = arrays.columns
    in_memory = columns.loads[:, 0, :kv].sum(axis=0) / free
    in_time = columns.loads[:, :, kv:].min(axis=1).sum(axis=0) / arrays.g
    return float(max(*in_memory, *in_time, columns.alone.max(initial=0.0)))


def allowed(arrays: Instance) -> list[list[int]]:
    """Return the GPUs that each model may go to, without most of the symmetric placements.

    GPUs of equal memory and type are numbered by the first model on them, so model j is at most on
    the j-th GPU of each kind. Every placement is one of these after renaming equal GPUs.
    """
    position, number = [], Counter[tuple[int, int]]()
    for kind in _kinds(arrays):
        position.append(number[kind])
        number[kind] += 1
    return [
        [
            g
            for g in range(arrays.g)
            if position[g] <= j and arrays.size[j] + max(1, arrays.keep[j]) <= arrays.memory[g]
        ]
        for j in range(arrays.n)
    ]


def relabelled(arrays: Instance, gpu_of: list[int]) -> list[int]:
    """Rename equal GPUs of a placement so that it keeps to `allowed`."""
    kinds, left = _kinds(arrays), defaultdict[tuple[int, int], list[int]](list)
    for g in reversed(range(arrays.g)):
        left[kinds[g]].append(g)
    renamed: dict[int, int] = {}
    for g in gpu_of:
        if g not in renamed:
            renamed[g] = left[kinds[g]].pop()
    return [renamed[g] for g in gpu_of]


def _kinds(arrays: Instance) -> list[tuple[int, int]]:
    return [(memory, arrays.type_at(g)) for g, memory in enumerate(arrays.memory)]
