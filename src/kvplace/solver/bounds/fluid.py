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

from kvplace.core.certificates.by_rule import RuleCertificate
from kvplace.core.certificates.certificate import Bound
from kvplace.core.problem import Problem
from kvplace.solver.array_types import Bools, Floats
from kvplace.solver.bisection import bisect
from kvplace.solver.bounds.certify import checked, lowered
from kvplace.solver.instance.instance import Instance
from kvplace.solver.instance.options import Chooser

MASKS = 64
"""Sets of GPUs looked at, most."""


@dataclass(frozen=True, slots=True)
class _Scope:
    """A set of GPUs, with its memory and, by `Instance.mask_of`, the largest GPU outside it."""

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
        self._scopes = _scopes(chooser.instance)
        columns = chooser.instance.columns
        self._mask_of = columns.mask_of[columns.model]
        self.value = self._best()

    def _best(self) -> float:
        """Return the largest target that is impossible."""
        among = self._scopes
        if self._impossible(math.inf, among):
            return math.inf

        def impossible(target: float) -> bool:
            nonlocal among
            shown = self._impossible(target, among)
            if shown:  # what does not prove this target proves none above
                among = [scope for scope in shown if scope is not None]
            return bool(shown)

        high = 1e-12
        while high < 1e300 and self._impossible(high, among):
            high *= 16
        return bisect(impossible, 0.0, high, width=1e-13)[0]

    def _impossible(self, target: float, among: list[_Scope]) -> list[_Scope | None]:
        """Return the scopes that prove a target impossible; None for a model that fits nowhere."""
        columns = self._chooser.instance.columns
        first = columns.starts[:-1]
        if (np.diff(columns.starts) == 0).any():
            return [None]
        finite = target < math.inf
        each = columns.size + columns.loads[:, 0, 0] / target if finite else columns.size
        fit = (each < columns.widest) & (columns.least <= columns.widest)
        # Of uneven copies a certificate can count on the weights alone.
        each = columns.size + columns.sure / target if finite else columns.size
        whole = np.minimum.reduceat(np.where(fit, each * columns.shards, math.inf), first)
        found: list[_Scope | None] = [] if np.isfinite(whole).all() else [None]
        for scope in among:
            held = whole
            if scope.outside.any():
                leaves = fit & (each < scope.outside[self._mask_of])
                held = np.where(np.logical_or.reduceat(leaves, first), 0.0, whole)
            if held.sum() > scope.memory * (1 + 1e-12):
                found.append(scope)
        return found

    def certified(self, problem: Problem) -> Bound:
        """Return the bound with a certificate that checks, at most a part in 1e8 lower."""
        if self.value <= 0:
            return Bound(0.0, "trivial")
        scope = next(iter(self._impossible(self.value, self._scopes)), None)
        gpu_index, gpus = self._chooser.instance.gpu_index, problem.fleet.gpus
        at = gpu_index if scope is None else [gpu_index[g] for g in np.flatnonzero(scope.gpus)]
        inside = () if len(at) == len(gpus) else tuple(sorted(gpus[g].id for g in at))
        method = "fluid" if scope is not None else "single-model"

        def by_rule(target: float) -> Bound | None:
            return checked(problem, method, RuleCertificate(target, "fluid", scope=inside))

        return lowered(self.value, by_rule)


def _scopes(instance: Instance) -> list[_Scope]:
    """Return the sets of GPUs that may be short: those of each mask and of large memory."""
    columns = instance.columns
    masks = columns.masks[:MASKS]
    everything = np.ones(instance.g, dtype=bool)
    found: dict[bytes, Bools] = {everything.tobytes(): everything}
    sizes = np.unique(columns.memory)[:16]
    for mask in [everything, *masks]:
        for least in sizes:
            gpus = mask & (columns.memory >= least)
            if gpus.any():
                found.setdefault(gpus.tobytes(), gpus)
    scopes = []
    for gpus in list(found.values())[: 2 * MASKS]:
        outside = np.full(len(columns.masks), math.inf)  # where a mask beyond those looked at is
        outside[: len(masks)] = [columns.memory[mask & ~gpus].max(initial=0) for mask in masks]
        scopes.append(_Scope(gpus, float(columns.memory[gpus].sum()), outside))
    return scopes
