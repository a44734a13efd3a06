"""Decide claims anew: a plan states that nothing is better, and leaves no evidence for that."""

from collections.abc import Sequence
from dataclasses import dataclass

from kvplace.core.certificates.standing import Standing, standing_of
from kvplace.core.problem import Problem
from kvplace.core.result import Result
from kvplace.solver.clock import Watch
from kvplace.solver.solve import solve

SEED = 1
"""Another seed than that of `solve`, so that another search comes to the answer."""


@dataclass(frozen=True, slots=True)
class Repeated:
    """What a search from scratch says of claims.

    Parameters
    ----------
    result
        Of the search, which knew nothing of the plan.
    refuted
        Whether it found a placement that is better than claimed.
    """

    result: Result
    refuted: bool

    @property
    def sentence(self) -> str:
        """The outcome, for people."""
        value = f"{self.result.value:.4g}"
        if self.refuted:
            return f"a search from scratch found a better placement, of {value}"
        if self.result.placement is None:
            return "a search from scratch found no placement either"
        return f"a search from scratch found nothing better, and came to {value}"


def repeat(problem: Problem, claims: Sequence[Standing], watch: Watch | None = None) -> Repeated:
    """Search from scratch for a placement better than claimed.

    Parameters
    ----------
    problem
        What is placed on what.
    claims
        What no placement is said to be better than.
    watch
        Clock and interrupt.
    """
    result = solve(problem, seed=SEED, watch=watch)
    found = result.evaluation
    refuted = found is not None and any(
        standing_of(problem, found, len(claim.profile)).betters(claim) for claim in claims
    )
    return Repeated(result, refuted)
