"""What every integer program of a placement needs: sizes at a target, and which pairs may be."""

from fractions import Fraction

from kvplace.solver.instance.instance import Instance

__all__ = ["allowed", "relabelled", "sizes_at"]


def sizes_at(arrays: Instance, target: float, scale: Fraction) -> list[int]:
    """Return ``(s_j + l_j / K) * scale`` rounded down, exactly."""
    if target == float("inf"):
        return [int(size * scale) for size in arrays.size]
    exact = Fraction(target)
    return [
        int((size + Fraction(load) / exact) * scale)
        for size, load in zip(arrays.size, arrays.load, strict=True)
    ]


def allowed(arrays: Instance) -> list[list[int]]:
    """Return the GPUs that each model may go to, without most of the symmetric placements.

    GPUs of equal memory are numbered by the first model on them, so model j is at most on the
    j-th GPU of each kind. Every placement is one of these after renaming equal GPUs.
    """
    position: list[int] = []
    for g, memory in enumerate(arrays.memory):
        alike = g > 0 and arrays.memory[g - 1] == memory
        position.append(position[-1] + 1 if alike else 0)
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
    first: dict[int, int] = {}
    for memory in set(arrays.memory):
        first[memory] = arrays.memory.index(memory)
    renamed: dict[int, int] = {}
    for g in gpu_of:
        if g not in renamed:
            memory = arrays.memory[g]
            renamed[g] = first[memory]
            first[memory] += 1
    return [renamed[g] for g in gpu_of]
