"""The stages that find and better an assignment of undivided models."""

import math
import random

from kvplace.core.result import OPTIMAL_GAP
from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.construct.best_fit_decreasing import bisect_target
from kvplace.solver.improve.descent import level, settle
from kvplace.solver.improve.moves_and_swaps import MoveAndSwap
from kvplace.solver.strategies.assigned import kicked, ready
from kvplace.solver.strategies.stages import LOADING
from kvplace.solver.strategies.undivided.search import UndividedState

__all__ = ["balance", "cover", "iterate", "kick", "start", "start_as_reference"]


def start(search: UndividedState) -> None:
    """Take the best of several constructions and the placement given, refined."""
    instance, knobs = search.instance, search.knobs
    if search.low == math.inf:
        return
    small = instance.n <= knobs.plain_models
    tolerances = [knobs.coarse_tolerance if small else knobs.rough_tolerance]
    if small and instance.n > knobs.tiny_models:
        tolerances.append(knobs.fine_tolerance)
    found = (bisect_target(instance, search.low, tolerance=width) for width in tolerances)
    for gpu_of in (search.given, *found):
        if gpu_of is None:
            continue
        state = Assignment.single(instance, gpu_of)
        if small:
            most = min(knobs.start_steps, search.left)
            search.steps += settle(state, search.watch, most, [MoveAndSwap(state)])
        search.offer(state)
    search.watch.tell("start", search.value, search.low)


def start_as_reference(search: UndividedState) -> None:
    """Take the better of best fit at a bisected target and the placement given."""
    found = bisect_target(search.instance, search.low) if search.low < math.inf else None
    for gpu_of in (found, search.given):
        if gpu_of is not None:
            search.offer(Assignment.single(search.instance, gpu_of))
    if search.board is not None:
        search.lower()


def iterate(search: UndividedState) -> None:
    """Local search with kicks from the best state."""
    from kvplace.solver.large_neighbourhood.iterated import iterate  # noqa: PLC0415 - numpy: only here

    knobs = search.knobs
    kicks = min(knobs.kicks, knobs.kicks_per_model * search.instance.n)
    if not search.long:
        kicks <<= search.round
    target = search.low * (1 + search.gap)
    state, steps = iterate(
        search.best, target, kicks, search.seed + search.round, search.watch, search.left
    )
    search.steps += steps
    search.offer(state)


def kick(search: UndividedState) -> None:
    """Go on with many more kicks, by compiled kernels."""
    kicked(search, search.knobs.compiled_kicks, part=1.0)


def cover(search: UndividedState) -> None:
    """Refill groups of GPUs exactly at lower targets, by compiled kernels."""
    search.watch.tell(LOADING)
    from kvplace.solver.large_neighbourhood.group_cover import squeeze  # noqa: PLC0415 - numba: only here

    if not ready(search, "TIGHT"):
        return  # it would break the limit; a later round finds them compiled

    # Where targets are possible, prices may be anything; at the bound they say what is short.
    ends = (search.value * (1 - OPTIMAL_GAP), search.low)
    verdicts = [search.program.decide(target, search.watch) for target in ends]
    chance = random.Random(search.seed + search.round)  # noqa: S311 - a search, not a secret
    tries = search.knobs.squeezes << min(search.round, 6)
    search.board, refilled = squeeze(
        search.best, search.low, verdicts, tries, chance, search.watch, search.left
    )
    search.steps += refilled


def balance(search: UndividedState) -> None:
    """Leximax: balance what the maximum leaves open."""
    state, knobs = search.best, search.knobs
    search.watch.tell("balance", state.worst())
    most = knobs.balance_per_gpu * search.instance.g + knobs.balance_steps
    if search.instance.n <= knobs.plain_models:
        search.balance(most, knobs.balance_gain)
        return
    if search.watch.stop:
        return  # before arrays are loaded for nothing
    from kvplace.solver.assignment.subsets import Subsets  # noqa: PLC0415 - same
    from kvplace.solver.improve.neighbourhoods.subset_exchange import SubsetExchange  # noqa: PLC0415 - numpy: only here

    kinds = [SubsetExchange(Subsets(state, width=1), search.instance.g)]
    search.steps += level(state, search.watch, most, kinds, knobs.balance_gain)
