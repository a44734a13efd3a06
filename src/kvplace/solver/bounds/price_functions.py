"""Bounds that are a price function: at a target, a price per model and a worth per GPU.

A price function proves a target impossible where all models together are priced above all GPUs
together, though no set of models that fits a GPU is priced above it. Every bound of this room is
one; what differs is how the prices are found. They are asked for by one bisection, and their
certificates are made by one builder (`kvplace.solver.bounds.certify`).
"""

from collections.abc import Sequence
from typing import Protocol

from kvplace.core.certificates.certificate import Bound
from kvplace.core.problem import Problem
from kvplace.core.result import OPTIMAL_GAP
from kvplace.solver.bisection import bisect
from kvplace.solver.bounds.certify import Priced, bound_of
from kvplace.solver.clock import Watch
from kvplace.solver.instance.instance import Instance

__all__ = ["PriceFunction", "price_functions", "raise_bound"]

WIDTH = OPTIMAL_GAP / 4
"""Relative width at which the bisection ends, so that an optimum found later is proved as well."""


class PriceFunction(Protocol):
    """Prices of one instance."""

    @property
    def method(self) -> str:
        """Name of the bound, as `Bound.method` has it."""
        ...

    @property
    def stage(self) -> str:
        """Name of the stage of a strategy that asks it."""
        ...

    def supports(self, instance: Instance) -> bool:
        """Whether it can say more of an instance than the fluid bound does."""
        ...

    def prove(self, instance: Instance, target: float) -> Priced | None:
        """Return prices that prove a target impossible, if this function has some."""
        ...


def price_functions() -> Sequence[PriceFunction]:
    """Return every price function for undivided models, the cheapest first."""
    from kvplace.solver.bounds.dual_feasible import DualFeasible  # noqa: PLC0415 - numpy: only here
    from kvplace.solver.bounds.lifted import Lifted  # noqa: PLC0415 - same
    from kvplace.solver.bounds.stepped import Stepped  # noqa: PLC0415 - same

    return (Lifted(), Stepped(), DualFeasible())


def raise_bound(
    function: PriceFunction,
    problem: Problem,
    instance: Instance,
    low: float,
    high: float,
    watch: Watch,
) -> Bound | None:
    """Return the best bound above another that a price function gives, checked, or None.

    The bisection begins just above the bound known, where a function that cannot help shows it;
    then just below the value, which is often the optimum.

    Parameters
    ----------
    function
        Gives the prices.
    problem, instance
        What the bound is on, for the checker and for the function.
    low, high
        A proved bound, and the value of a placement.
    watch
        Ends the bisection early.
    """
    if not function.supports(instance):
        return None
    best: Priced | None = None

    def impossible(target: float) -> bool:
        nonlocal best
        found = function.prove(instance, target)
        best = found or best
        return found is not None

    probes = ((low * (1 + WIDTH), True), (high * (1 - OPTIMAL_GAP / 2), False))
    bisect(impossible, low, high, width=WIDTH, probes=probes, watch=watch)
    return None if best is None else bound_of(problem, instance, function.method, best)
