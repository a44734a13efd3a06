"""Decide a claim anew: a plan states a bound for which it leaves no evidence."""

from dataclasses import dataclass

from kvplace.core.problem import Problem
from kvplace.core.result import OPTIMAL_GAP, Result
from kvplace.solver.clock import Watch
from kvplace.solver.solve import solve

__all__ = ["Repeated", "repeat"]

SEED = 1
"""Another seed than that of `solve`, so that another search comes to the answer."""


@dataclass(frozen=True, slots=True)
class Repeated:
    """What a search from scratch says of a claimed bound.

    Parameters
    ----------
    result
        Of the search, which knew nothing of the plan.
    refuted, proved
        Whether a placement below the bound was found, and whether a checkable certificate
        proves the bound. Neither: it may be so.
    """

    result: Result
    refuted: bool
    proved: bool

    @property
    def sentence(self) -> str:
        """The outcome, for people."""
        value = f"{self.result.value:.4g}"
        if self.refuted:
            return f"a search from scratch found a placement of {value}, which is below the bound"
        if self.proved:
            method = self.result.proof.method
            return f"a search from scratch proved the bound by a {method} certificate"
        if self.result.placement is None:
            return "a search from scratch found no placement either"
        return f"a search from scratch found nothing below it, and came to {value}"


def repeat(problem: Problem, bound: float, watch: Watch | None = None) -> Repeated:
    """Search from scratch for a placement below a bound, and for a proof of it.

    Parameters
    ----------
    problem
        What is placed on what.
    bound
        What the plan claims that no placement is below; ``inf`` that none is valid.
    watch
        Clock and interrupt.
    """
    result = solve(problem, seed=SEED, watch=watch)
    refuted = result.placement is not None and result.value < bound * (1 - OPTIMAL_GAP)
    proved = result.proof.certificate is not None and result.bound >= bound * (1 - OPTIMAL_GAP)
    return Repeated(result, refuted, proved and not refuted)
