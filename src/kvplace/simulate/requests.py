"""Requests before they run: which engine each one goes to, and which no engine can hold."""

import numpy as np

from kvplace.core.problem import Problem
from kvplace.forecast.rules import Router, Rules
from kvplace.simulate.fleet import Engined, block_bytes, window_block
from kvplace.simulate.traffic import ModelTraffic, Traffic
from kvplace.solver.array_types import Bools, Ints

_STAY = 3.0
"""Stretches of simulated time after the last arrival, where no objective says when to give up."""

_HASH = 2654435761

_GOLDEN = 0.6180339887498949
"""Steps of the golden ratio hit each part as often as it is long, and evenly over time."""


def routed(engined: Engined, index: int, one: ModelTraffic, rules: Rules) -> Ints:
    """Return the engine of each request of a model; -1 where the load decides when it comes."""
    engines = np.array(engined.of_model[index], np.int64)
    count = len(one.arrival)
    if len(engines) == 1:
        return np.full(count, engines[0])
    if rules.router is Router.LEAST_LOADED:
        return np.full(count, -1)
    # Turn by turn, each copy as often as its part says: the cumulative parts of request i.
    ends = np.cumsum([engined.copies[engine].part for engine in engines])
    turn = (np.arange(count) + 0.5) * _GOLDEN % 1.0 if len(set(np.diff(ends).round(9))) > 1 else (
        (np.arange(count) % len(engines) + 0.5) / len(engines)
    )  # fmt: skip
    chosen = engines[np.minimum(np.searchsorted(ends, turn), len(engines) - 1)]
    if rules.router is Router.PREFIX_STICKY:
        prefix = one.prefix
        sticky = engines[(prefix * _HASH >> 8) % len(engines)]
        return np.where(prefix >= 0, sticky, chosen)
    return chosen


def too_long(engined: Engined, index: int, one: ModelTraffic, block: int) -> Bools:
    """Return which requests no engine of their model can hold, even alone."""
    tokens = one.prompt + one.output
    most = 0
    for engine in engined.of_model[index]:
        copy = engined.copies[engine]
        pool = min(engined.limits[engine], *(engined.pools[gpu] for gpu in copy.gpus))
        left, size = max(0, pool - copy.sequence_bytes), block_bytes(copy, block)
        in_window, blocks = window_block(copy, block)
        inside = min(blocks, left // (size + in_window))
        beyond = (left - inside * (size + in_window)) // size if inside == blocks else 0
        most_here = (inside + beyond) * block
        most = most_here if most == 0 else min(most, most_here)
    found: Bools = tokens > most
    return found


def prefix_ranges(traffic: Traffic) -> dict[int, tuple[int, int]]:
    """Give the shared prompt beginnings of all models one number after the other."""
    ranges = {}
    first = 0
    for index, one in enumerate(traffic.models):
        count = int(one.prefix.max(initial=-1)) + 1
        if count:
            ranges[index] = (first, first + count)
            first += count
    return ranges


def horizon(problem: Problem, traffic: Traffic) -> float:
    """Return when nothing that still happens can change who kept the objectives."""
    stay = 0.0
    for model, one in zip(problem.models, traffic.models, strict=True):
        if not len(one.arrival):
            continue
        slo, most = model.slo, int(one.output.max())
        if slo.ttft_seconds is not None and slo.tpot_seconds is not None:
            stay = max(stay, slo.ttft_seconds + most * slo.tpot_seconds)
        elif slo.latency_seconds is not None:
            stay = max(stay, slo.latency_seconds)
        else:
            stay = max(stay, _STAY * traffic.seconds)
    return traffic.seconds + stay
