"""What a check of a plan finds: what is wrong, what was verified, what is only claimed."""

import math
from dataclasses import dataclass

from kvplace.core.certificates.standing import Standing

TOLERANCE = 1e-12
"""Relative difference of two floats that still counts as the same number."""


@dataclass(frozen=True, slots=True)
class Disagreement:
    """One thing that a plan states and that is not so.

    Parameters
    ----------
    path
        Where in the plan, such as ``gpus[3].kvpr``.
    message
        What the plan states and what is found.
    """

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


class Findings:
    """Collects what is found while a check goes through a plan.

    Attributes
    ----------
    found
        What is wrong.
    verified, claimed
        In sentences, what holds and what was not verified.
    open
        What no placement is better than, as far as that was not verified.
    """

    def __init__(self) -> None:
        self.found: list[Disagreement] = []
        self.verified: list[str] = []
        self.claimed: list[str] = []
        self.open: list[Standing] = []

    def differ(self, path: str, message: str) -> None:
        """Note that something is wrong."""
        self.found.append(Disagreement(path, message))

    def compare(self, path: str, stated: object, found: object) -> None:
        """Note where a stated value is not the one found."""
        if not same(stated, found):
            self.differ(path, f"the plan states {shown(stated)}; it is {shown(found)}")


def same(stated: object, found: object) -> bool:
    """Whether two values are the same: floats up to rounding."""
    if stated == found or not (isinstance(stated, float) and isinstance(found, int | float)):
        return stated == found
    return math.isclose(stated, found, rel_tol=TOLERANCE)


def shown(value: object) -> str:
    """Return a value for a message."""
    return repr(value)
