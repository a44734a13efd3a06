"""The stages that prove an assignment of undivided models good, or find a better one on the way."""

import math
from collections.abc import Callable

from kvplace.core.certificates.certificate import Bound
from kvplace.core.result import OPTIMAL_GAP
from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.strategies.assigned import decided, effort_of, refute
from kvplace.solver.strategies.undivided.search import UndividedState
from kvplace.solver.strategies.undivided.supports import small

__all__ = ["decide", "enumerate_all", "pack"]


def pack(search: UndividedState) -> None:
    """No rule packs the weights: find a way, or prove that there is none.

    Many orders end only with a way, so few models are decided exactly before. Of more the
    configuration program says before whether it soon proves that there is none, and of many
    afterwards.
    """
    few = search.instance.n <= search.knobs.tiny_models
    ways: tuple[Callable[[UndividedState], Assignment | None], ...]
    if few:
        ways = (_pack_exactly, _pack_by_hand)
    elif small(search):
        ways = (_pack_once, _refute, _pack_by_hand, _pack_exactly)
    else:
        ways = (_pack_by_hand, _refute)
    for way in ways:
        state = way(search) if search.low < math.inf else None
        if state is not None:
            search.offer(state)
            break
    else:
        if few and search.low < math.inf:
            enumerate_all(search)
    if search.board is not None:
        search.lower()


def _pack_once(search: UndividedState) -> Assignment | None:
    """Return an assignment made by placing the largest models first, or None."""
    return _pack_by_hand(search, orders=1)


def _pack_by_hand(search: UndividedState, orders: int | None = None) -> Assignment | None:
    """Return an assignment made by placing models in many orders; None where that finds none."""
    from kvplace.solver.construct.excess import STARTS, packed  # noqa: PLC0415 - numpy: only here

    board = Assignment(search.instance)
    return packed(board, search.seed, search.watch, orders or STARTS)


def _refute(search: UndividedState) -> Assignment | None:
    """Let the configuration program prove that there is no way, where a few rounds tell: None."""
    refute(search, search.knobs.program_rounds)
    return None


def _pack_exactly(search: UndividedState) -> Assignment | None:
    """Return an assignment found by the exact cover; None where none is found, or proved to be."""
    from kvplace.solver.exact.close_gap import Effort, pack_exactly  # noqa: PLC0415 - numpy and HiGHS: only here

    effort = Effort(nodes=search.knobs.packing_nodes)
    state = pack_exactly(search.deciding, effort, search.watch)
    search.adopt()
    return state


def decide(search: UndividedState) -> None:
    """Raise the bound, then decide targets between it and the value."""
    # With several models per GPU, a search over many GPUs gives up until late rounds; before
    # those refill groups, which lowers the value sooner.
    knobs = search.knobs
    few = search.instance.g <= knobs.searched_gpus << search.round
    closing = few or search.density <= knobs.best_fit_density
    decided(search, effort_of(search, 2 * search.long), closing=closing)


def enumerate_all(search: UndividedState) -> None:
    """Try all placements of a tiny fleet, where they are few enough."""
    from kvplace.solver.exact.enumerate import Enumeration  # noqa: PLC0415 - numpy: only here

    enumeration = Enumeration(search.instance, nodes=search.knobs.enumerated)
    enumeration.run((0.0,), (search.value * (1 - OPTIMAL_GAP / 2),), search.watch)
    if enumeration.best is not None:
        gpu_of = [copies[0][0] for copies in enumeration.best]
        search.offer(Assignment.single(search.instance, gpu_of))
    if enumeration.complete:
        search.bound = Bound(search.value * (1 - OPTIMAL_GAP / 2), "search")
        search.watch.tell("search", search.value, search.low)
