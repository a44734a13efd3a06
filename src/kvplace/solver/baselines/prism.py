"""Prism's greedy rule, with the memory check it lacks: what people have today."""

import math

from kvplace.solver.instance.lists import Arrays

__all__ = ["prism_greedy"]


def prism_greedy(arrays: Arrays) -> list[int] | None:
    """Give each model, by falling load, to the GPU whose KVPR *before* it is least.

    The rule of Prism (arXiv 2505.04021) and of the ADRS benchmark's first program; only GPUs
    with the memory for the model are looked at.

    Returns
    -------
    list of int or None
        GPU per model; None where a model finds no GPU with room left.
    """
    free = list(arrays.memory)
    kept = [0] * arrays.g
    load = [0.0] * arrays.g
    gpu_of = [-1] * arrays.n
    # Equal loads in the order of the input, as the published programs have it.
    for j in sorted(range(arrays.n), key=lambda j: (-arrays.load[j], arrays.model_index[j])):
        best, arg = math.inf, -1
        for g in range(arrays.g):
            if free[g] - arrays.size[j] >= max(1, kept[g] + arrays.keep[j]):
                pressure = load[g] / free[g]
                if pressure < best:
                    best, arg = pressure, g
        if arg < 0:
            return None
        free[arg] -= arrays.size[j]
        kept[arg] += arrays.keep[j]
        load[arg] += arrays.load[j]
        gpu_of[j] = arg
    return gpu_of
