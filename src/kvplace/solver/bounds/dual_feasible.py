"""Bounds from dual feasible functions: prices ``f(w_j / M)`` from two families of functions.

A superadditive f on [0, 1] with f(1) = 1 prices every set that fits a share c of the largest
memory at f(c) or less; so ``sum f(w_j / M) > sum f(M_g / M)`` proves a target impossible, for
mixed memory as well. The families are the thresholds of Martello and Toth's L2 (Discrete
Applied Mathematics 28, 1990) and the roundings u(k) of Fekete and Schepers (Mathematical
Programming 91, 2001), of which the counting bound is a case. Costs O(n log n) per target, so
it serves where the configuration program is too large.
"""

from collections.abc import Callable

import numpy as np

from kvplace.solver.array_types import Floats
from kvplace.solver.bounds.certify import Priced
from kvplace.solver.instance.instance import Instance

__all__ = ["DualFeasible"]

ROUNDINGS = range(1, 25)
"""Members k of the family u(k)."""
EDGE = 1e-9
"""Relative distance that sizes and shares keep from a step of f, on the safe side."""

Function = Callable[[Floats], Floats]


class DualFeasible:
    """Prices ``f(w / M)`` by the functions of two families."""

    method = "dual-feasible"
    stage = "dual-feasible-bound"

    def supports(self, instance: Instance) -> bool:  # noqa: D102 - as of the protocol
        return instance.n > 1

    def prove(self, instance: Instance, target: float) -> Priced | None:  # noqa: D102 - same
        function = _impossible(instance, target)
        if function is None:
            return None
        sizes, memory = _shares(instance, target)
        worths = zip(instance.memory, function(memory).tolist(), strict=True)
        return Priced(target, function(sizes).tolist(), dict(worths))


def _shares(instance: Instance, target: float) -> tuple[Floats, Floats]:
    """Return sizes at a target and memory, as shares of the largest memory."""
    memory = np.array(instance.memory, dtype=np.float64)
    sizes = np.array(instance.size, dtype=np.float64) + np.array(instance.load) / target
    return np.minimum(sizes / memory[0] * (1 - EDGE), 1.0), memory / memory[0]


def _impossible(instance: Instance, target: float) -> Function | None:
    """Return a function that proves a target impossible, or None."""
    sizes, memory = _shares(instance, target)
    margin = 1 + 1e-9
    for k in ROUNDINGS:
        function = _rounding(k)
        if function(sizes).sum() > function(memory).sum() * margin:
            return function
    ordered = np.sort(sizes)
    steps = np.unique(np.concatenate([ordered[ordered <= 0.5], 1 - ordered[ordered > 0.5]]))
    sums = np.concatenate([[0.0], np.cumsum(ordered)])

    def total(values: Floats, prefix: Floats) -> Floats:
        """Sum f over sorted values for every threshold at once."""
        first = np.searchsorted(values, steps, side="left")
        last = np.searchsorted(values, 1 - steps, side="right")
        last = np.maximum(first, last)
        result: Floats = prefix[last] - prefix[first] + (len(values) - last)
        return result

    levels = np.sort(memory)
    left = total(ordered, sums)
    right = total(levels, np.concatenate([[0.0], np.cumsum(levels)]))
    excess = left - right * margin
    if len(excess) and excess.max() > 0:
        return _threshold(float(steps[excess.argmax()]))
    return None


def _rounding(k: int) -> Function:
    """Return u(k): x where (k + 1) x is whole, else floor((k + 1) x) / k."""

    def function(shares: Floats) -> Floats:
        scaled = shares * (k + 1)
        whole = np.abs(scaled - np.round(scaled)) < EDGE
        # A size just at a step is taken below it, a memory just at it above.
        lower = np.floor(scaled) / k
        result: Floats = np.minimum(np.where(whole, np.round(scaled) / (k + 1), lower), 1.0)
        return result

    return function


def _threshold(step: float) -> Function:
    """Return L2's function: 1 above ``1 - step``, 0 below ``step``, x between."""

    def function(shares: Floats) -> Floats:
        result: Floats = np.where(shares > 1 - step, 1.0, np.where(shares < step, 0.0, shares))
        return result

    return function
