"""How two placements are compared: soft rules by tier, then the pressures from the worst GPU on."""

from typing import NamedTuple

from kvplace.core.evaluation.evaluate import Evaluation
from kvplace.core.problem import Problem

ROUNDING = 1e-9
"""Relative distance of two pressures that counts as none."""


class Standing(NamedTuple):
    """What a placement is compared by.

    Parameters
    ----------
    breaches
        Amounts by which soft rules are broken, summed by tier, the weightiest tier first.
    profile
        Pressures from the worst GPU on: of all GPUs, or of as many as are compared.
    """

    breaches: tuple[float, ...]
    profile: tuple[float, ...]

    def betters(self, other: "Standing", sure: float = 0.0) -> bool:
        """Whether this placement is better than another in the ranks that the other states.

        Fewer soft rules broken count first. Then the first pressure decides that is lower by more
        than `ROUNDING`, unless one before it is higher by anything.

        Parameters
        ----------
        other
            What it is compared with.
        sure
            Relative amount by which this placement's pressures may be overestimated: then it may
            be better where this says so, and is not where it does not.
        """
        if self.breaches != other.breaches:
            return self.breaches < other.breaches
        for mine, its in zip(self.profile, other.profile, strict=False):
            least = mine * (1 - sure)
            if least < its * (1 - ROUNDING):
                return True
            if least > its:
                return False
        return False


def tiers_of(problem: Problem) -> tuple[int, ...]:
    """Return the tiers of a problem's soft rules, the weightiest first."""
    return tuple(sorted({rule.soft for rule in problem.rules if rule.soft is not None}))


def least_breaches(problem: Problem) -> tuple[float, ...]:
    """Return amounts below which no placement breaks the soft rules of each tier, by counting.

    Returns
    -------
    tuple of float
        The weightiest tier first.
    """
    least = dict.fromkeys(tiers_of(problem), 0.0)
    if not least:  # models of a large fleet are not made for nothing
        return ()
    shards = _fewest_shards(problem)
    for rule in problem.rules:
        if rule.soft is not None:
            least[rule.soft] += rule.least(problem, shards)
    return tuple(least.values())


def never_kept(problem: Problem) -> list[int]:
    """Return the positions of hard rules that no placement keeps, as counting tells."""
    hard = [at for at, rule in enumerate(problem.rules) if rule.soft is None]
    shards = _fewest_shards(problem) if hard else {}
    return [at for at in hard if problem.rules[at].least(problem, shards) > 0]


def _fewest_shards(problem: Problem) -> dict[str, int]:
    """Return the fewest shards that a placement has of each model."""
    return {m.name: m.replicas.min * min(m.tensor_parallel) for m in problem.models}


def standing_of(problem: Problem, evaluation: Evaluation, ranks: int | None = None) -> Standing:
    """Return what a placement is compared by in some ranks; in all of them without a number."""
    broken = dict.fromkeys(tiers_of(problem), 0.0)
    for violation in evaluation.preferences:
        assert violation.tier is not None
        broken[violation.tier] += violation.amount
    return Standing(tuple(broken.values()), evaluation.profile()[:ranks])
