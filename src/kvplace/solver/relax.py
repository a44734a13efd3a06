"""Bounds for clusters: the fluid relaxation over choices of split and copies.

At a target K every option of a model takes the room ``shards x (s + l / K)``; a model takes at
least that of its least option of which a shard fits some GPU it may run on. Where all models
together take more than all GPUs have, K is impossible. The same holds of any set of GPUs and the
models that cannot leave it: by their rules and types, or because no other GPU is large enough.
A model of which no shard fits anywhere is the single-model bound, a special case.
"""

import math
from dataclasses import dataclass

import numpy as np

from kvplace.core.certificate import (
    SCALE_BITS,
    Bound,
    Certificate,
    check_certificate,
    every_possible,
)
from kvplace.core.problem import Problem
from kvplace.solver.choose import Chooser
from kvplace.solver.cluster import Bools, Cluster
from kvplace.solver.sets import Floats

__all__ = ["FluidBound"]

HALVINGS = 60
MASKS = 64
"""Sets of GPUs looked at, most."""


@dataclass(frozen=True, slots=True)
class _Scope:
    """A set of GPUs, with its memory and, per model, the largest GPU outside that it may use."""

    gpus: Bools
    memory: float
    outside: Floats


class FluidBound:
    """The best fluid bound over all scopes.

    Parameters
    ----------
    chooser
        The options of the cluster's models.

    Attributes
    ----------
    value
        The bound, not yet certified; ``inf`` where even the weights are proved not to fit.
    """

    def __init__(self, chooser: Chooser) -> None:
        self._chooser = chooser
        self._scopes = _scopes(chooser.cluster)
        self.value = self._best()

    def _best(self) -> float:
        """Return the largest target that is impossible."""
        chooser, scopes = self._chooser, self._scopes
        if _impossible(chooser, scopes, math.inf) is not None:
            return math.inf
        low, high = 0.0, _somewhere_possible(chooser, scopes)
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            if not low < middle < high or high - low <= 1e-13 * high:
                break
            if _impossible(chooser, scopes, middle) is not None:
                low = middle
            else:
                high = middle
        return low

    def certified(self) -> Bound:
        """Return the bound with a certificate that checks, at most a part in 1e8 lower."""
        if self.value <= 0:
            return Bound(0.0, "trivial")
        problem = self._chooser.cluster.problem
        at = _impossible(self._chooser, self._scopes, self.value)
        scope = None if at is None or at < 0 else self._scopes[at]
        ids = self._chooser.cluster.gpu_ids
        inside = ids if scope is None else [ids[g] for g in np.flatnonzero(scope.gpus)]
        slack = 0.0
        while slack < 1e-8:
            lowered = self.value if math.isinf(self.value) else self.value * (1 - slack)
            certificate = _prices(problem, lowered, inside)
            if not check_certificate(problem, certificate):
                return Bound(lowered, "fluid" if scope is not None else "single-model", certificate)
            if math.isinf(self.value):
                break
            slack = slack * 8 if slack else 2.0**-50
        return Bound(0.0, "trivial")


def _scopes(cluster: Cluster) -> list[_Scope]:
    """Return the sets of GPUs that may be short: those of each mask and of large memory."""
    masks = list({id(mask): mask for mask in cluster.allowed}.values())[:MASKS]
    everything = np.ones(cluster.g, dtype=bool)
    found: dict[bytes, Bools] = {everything.tobytes(): everything}
    sizes = np.unique(cluster.memory)[:16]
    for mask in [everything, *masks]:
        for least in sizes:
            gpus = mask & (cluster.memory >= least)
            if gpus.any():
                found.setdefault(gpus.tobytes(), gpus)
    scopes = []
    for gpus in list(found.values())[: 2 * MASKS]:
        largest = {id(mask): float(cluster.memory[mask & ~gpus].max(initial=0)) for mask in masks}
        # Masks beyond those looked at are taken to reach outside.
        outside = np.array([largest.get(id(mask), math.inf) for mask in cluster.allowed])
        scopes.append(_Scope(gpus, float(cluster.memory[gpus].sum()), outside))
    return scopes


def _impossible(chooser: Chooser, scopes: list[_Scope], target: float) -> int | None:
    """Return the scope that proves a target impossible, -1 for a model that fits nowhere."""
    _, _, fit = chooser.room(target)
    each, whole = chooser.sure_room(target, fit)
    if (~fit.any(axis=1)).any():
        return -1
    for at, scope in enumerate(scopes):
        leaves = (fit & (each < scope.outside[:, None])).any(axis=1)
        least = np.where(leaves, 0.0, whole.min(axis=1))
        if least.sum() > scope.memory * (1 + 1e-12):
            return at
    return None


def _somewhere_possible(chooser: Chooser, scopes: list[_Scope]) -> float:
    """Return a target that is not impossible."""
    target = 1e-12
    while _impossible(chooser, scopes, target) is not None and target < 1e300:
        target *= 16
    return target


def _prices(problem: Problem, threshold: float, inside: list[str]) -> Certificate:
    """Price each option that cannot leave a scope at its size, and each GPU in it at its memory."""
    scope = frozenset(inside)
    outside: dict[int, int] = {}
    prices = []
    for index, possible in enumerate(every_possible(problem, threshold)):
        allowed = problem.allowed(index)
        if id(allowed) not in outside:
            rest = (problem.usable_bytes(gpu) for gpu in allowed - scope)
            outside[id(allowed)] = max(rest, default=0)
        most = outside[id(allowed)]
        row = [0] * problem.option_table.count(index)
        for at, size, kept in possible:
            if not (size < most << SCALE_BITS and kept <= most):
                row[at] = max(size, kept << SCALE_BITS) if threshold == math.inf else size
        prices.append(tuple(row))
    memories = sorted({problem.usable_bytes(gpu) for gpu in inside})
    strict = threshold < math.inf  # what a GPU holds at a target is below its memory
    worths = tuple((memory, (memory << SCALE_BITS) - strict) for memory in memories)
    everything = len(scope) == len(problem.fleet.gpus)
    return Certificate(threshold, tuple(prices), worths, () if everything else tuple(sorted(scope)))
