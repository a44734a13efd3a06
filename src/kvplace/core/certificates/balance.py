"""Bounds on the GPUs after the worst: how well the rest can be balanced at most.

The claim of a `RankBound` is: *in every placement whose worst GPU is no worse than some pressure p,
the GPU at a rank, counted from the worst, is at K or above*. Suppose it were not. Then fewer GPUs
than that rank are at K or above, and these hot ones are at most at p. Whatever pressure is looked
at, a shard takes of a cold GPU what it takes at K, and of a hot one the less that it takes at p;
say c and h, with all that cold and hot GPUs have being C and H. The hot ones are at most those with
most room. For any worth w >= 0 of room on hot GPUs, by weak duality of the linear program,

    sum over models of the least, over options of t shards, of t min(c, w h)   <=   C + w H,

where c is infinite for an option no shard of which fits a GPU below K. Where that fails, there is
no such placement.

All arithmetic is on integers, on the scale of `kvplace.core.certificates.sizes`.
"""

from collections.abc import Iterator
from typing import NamedTuple

from kvplace.core.certificates.offers import SCALE_BITS
from kvplace.core.certificates.sizes import every_possible
from kvplace.core.certificates.weighted import weighted_limit, weighted_sizes
from kvplace.core.models.objective import Objective
from kvplace.core.problem import Problem

MOST_RANKS = 100
"""Ranks that a plan may state."""
NO_WORSE = 1e-9
"""Relative amount by which a worst GPU may be worse and still count as no worse."""
WORTH_BITS = 20
"""Precision of the worth of room."""

_Sizes = dict[int, tuple[int, int]]
"""Size of a shard and number of shards, by position of the option."""


class RankBound(NamedTuple):
    """A bound on the pressure of the GPU at a rank, where the worst GPU is no worse than it is.

    Parameters
    ----------
    rank
        1 for the worst GPU, 2 for the next.
    bound
        K, finite and above 0.
    worth
        w, what room on hot GPUs is worth of room on cold ones.
    resource, window
        Which pressure is added up: ``kv`` or ``time``, and in which window of demand.
    """

    rank: int
    bound: float
    worth: float
    resource: str = "kv"
    window: int = 0


def check_rank_bound(problem: Problem, claim: RankBound, worst: float) -> str:
    """Check a bound on a rank, knowing nothing of who made it.

    Parameters
    ----------
    problem, claim
        What is claimed, and of what.
    worst
        Pressure of the worst GPU.

    Returns
    -------
    str
        Empty where the claim is proved; otherwise a sentence that says what fails.
    """
    failure = _malformed(problem, claim, worst)
    if failure:
        return failure
    worth = round(claim.worth * 2**WORTH_BITS)
    hot_at = worst * (1 + NO_WORSE)
    needed = 0
    cold = _sizes(problem, claim, claim.bound)
    for of_cold, of_hot in zip(cold, _sizes(problem, claim, hot_at), strict=True):
        costs = []
        for at, (size, shards) in of_hot.items():
            cost = worth * size
            if at in of_cold:
                cost = min(cost, of_cold[at][0] << WORTH_BITS)
            costs.append(shards * cost)
        if not costs:
            return ""  # the model is nowhere within the pressure of the worst GPU
        needed += min(costs)
    memories = sorted((gpu.usable_bytes for gpu in problem.fleet.gpus), reverse=True)
    first = claim.rank - 1
    room_hot = sum(_room(claim, problem, memory, hot_at) for memory in memories[:first])
    room_cold = sum(_room(claim, problem, memory, claim.bound) for memory in memories[first:])
    if needed > (room_cold << WORTH_BITS) + worth * room_hot:
        return ""
    return f"the GPU at rank {claim.rank} may be below {claim.bound!r}"


def _malformed(problem: Problem, claim: RankBound, worst: float) -> str:
    """Say why a claim speaks of nothing; empty where it does not."""
    windows = len(problem.windows) if problem.goal is Objective.PRESSURE else 1
    if not 1 <= claim.rank <= len(problem.fleet.gpus):
        return f"there is no GPU at rank {claim.rank}"
    if not 0 < claim.bound <= worst < float("inf"):
        return f"a bound of {claim.bound!r} is not above 0 and at most the worst GPU's {worst!r}"
    if not 0 <= claim.worth < 2**60:
        return f"a worth of {claim.worth!r} is not between 0 and 2^60"
    if claim.resource not in ("kv", "time") or not 0 <= claim.window < windows:
        return f"there is no pressure on {claim.resource!r} in window {claim.window!r}"
    if claim.resource == "time" and problem.goal is not Objective.PRESSURE:
        return "the problem has no pressure on 'time'"
    return ""


def _sizes(problem: Problem, claim: RankBound, threshold: float) -> Iterator[_Sizes]:
    """Yield what the options of each model take that are within a pressure somewhere."""
    table = problem.option_table
    if problem.goal is Objective.PRESSURE:
        weights = _weights(problem, claim)
        for options in weighted_sizes(problem, threshold, [weights]):
            yield {
                option.at: (min(sizes[0] for sizes in option.sizes.values()), option.shards)
                for option in options
            }
        return
    for first, possible in zip(table.starts, every_possible(problem, threshold), strict=False):
        yield {
            at: (size, table.degrees[first + at] * table.copies[first + at])
            for at, size, _ in possible
        }


def _weights(problem: Problem, claim: RankBound) -> list[int]:
    windows = len(problem.windows)
    weights = [0] * (2 * windows)
    weights[claim.window + (windows if claim.resource == "time" else 0)] = 1
    return weights


def _room(claim: RankBound, problem: Problem, memory: int, threshold: float) -> int:
    """Return what a GPU has for the pressure of a claim, at most."""
    if problem.goal is Objective.PRESSURE:
        return weighted_limit(threshold, memory, _weights(problem, claim))
    return memory << SCALE_BITS
