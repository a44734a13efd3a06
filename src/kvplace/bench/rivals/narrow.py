"""From a solver that decides one target to one that minimises: the search that rivals share.

At a target K the question "is there a placement with max KVPR <= K" is plain bin packing with
sizes ``s_j + l_j / K``. A rival minimises the largest excess over a GPU's memory at K, in its own
way and within a slice of the time; here the targets are chosen, as in Dinkelbach's method for
ratios (Management Science 13, 1967): just below the incumbent, again and again. What time is left
once that stalls goes into refuting lower targets. Every rival starts from the placement of the
solver ``reference`` and from the simple bound, and the time for both counts.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from kvplace.bench.rivals.shapes import simple_bound_of
from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.bounds.trivial import simple_bound
from kvplace.solver.clock import Watch
from kvplace.solver.construct.best_fit_decreasing import bisect_target
from kvplace.solver.construct.target_search import construct
from kvplace.solver.improve.descent import level, settle
from kvplace.solver.improve.moves_and_swaps import MoveAndSwap
from kvplace.solver.improve.neighbourhoods.kinds import nearby
from kvplace.solver.instance.instance import Instance
from kvplace.solver.instance.options import Chooser

PROVED_GAP = 1e-6
"""Relative gap at which a rival counts as having proved its value: the tolerance of its kind."""
REFERENCE_STEPS = 50
SMALLEST_GAIN = 1e-9
SLICE = 2
"""A decision gets one part in so many of the time left."""
SMALLEST_SHARE = 1e-3
"""With targets nearer to the bound than that the search turns back to the value."""
LEAST_SECONDS = 0.05
"""With less than that left no further decision is begun."""

Tell = Callable[[float | None, float | None], None]
"""Called with a new best value, a new bound, or both."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What a rival says about one target.

    Parameters
    ----------
    gpu_of
        GPU per model of the best placement it found, whether or not it meets the target; None
        without one.
    impossible
        Whether it claims that no placement meets the target.
    """

    gpu_of: list[int] | None
    impossible: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What a rival found and claims.

    Parameters
    ----------
    gpu_of
        GPU per model; None where it found no placement.
    bound
        The largest K it claims no placement is below.
    """

    gpu_of: list[int] | None
    bound: float


class Decider(Protocol):
    """A solver that decides targets."""

    def __call__(self, target: float, start: list[int] | None, seconds: float) -> Decision:
        """Decide a target within some seconds, from a placement above it where there is one."""


def narrow(arrays: Instance, decide: Decider, watch: Watch, tell: Tell) -> Answer:
    """Close in on the optimum by deciding targets until the time is up or the gap is closed."""
    bound = simple_bound_of(arrays)
    tell(None, bound)
    if bound == math.inf:
        return Answer(None, bound)
    best, value = _reference(arrays, watch)
    if best is not None:
        tell(value, None)
    share = 1.0
    while watch.left > LEAST_SECONDS and value > bound * (1 + PROVED_GAP):
        target = _target(bound, value, share)
        decision = decide(target, best, watch.left if best is None else watch.left / SLICE)
        found = (
            math.inf
            if decision.gpu_of is None
            else Assignment.single(arrays, decision.gpu_of).worst()
        )
        if decision.impossible and target > bound:
            bound = min(target, value, found)
            tell(None, bound)
            share = (1 + share) / 2
        elif found < value:
            share = 1.0
        elif best is None:
            break
        else:
            share = share / 2 if share > SMALLEST_SHARE else 1.0
        if found < value:
            best, value = decision.gpu_of, found
            tell(value, None)
    return Answer(best, bound)


def _reference(arrays: Instance, watch: Watch) -> tuple[list[int] | None, float]:
    """Return the placement that ``reference`` would find, and its value."""
    if arrays.pressures > 1:
        return _reference_of_several(arrays, watch)
    found = bisect_target(arrays, simple_bound(arrays).value)
    if found is None:
        return None, math.inf
    state = Assignment.single(arrays, found)
    kinds = [MoveAndSwap(state)]
    if settle(state, watch, REFERENCE_STEPS, kinds, SMALLEST_GAIN) < REFERENCE_STEPS:
        level(state, watch, math.inf, kinds, SMALLEST_GAIN, again=True)
    return state.gpu_of, state.worst()


def _reference_of_several(arrays: Instance, watch: Watch) -> tuple[list[int] | None, float]:
    """Return the same under several pressures."""
    boards = list(construct(Chooser(arrays), simple_bound_of(arrays), watch))
    best = min(boards, key=Assignment.worth)
    if not best.valid:
        return None, math.inf
    settle(best, watch, REFERENCE_STEPS, nearby(best))
    return best.gpu_of, best.worst()


def _target(bound: float, value: float, share: float) -> float:
    """Return the next target: a share of the way from the bound to just below the value."""
    if value == math.inf:
        return math.inf
    nearest = value * (1 - PROVED_GAP / 2)
    return max(bound, nearest - (value - bound) * (1 - share))
