"""The stages that prove an assignment of undivided models good, or find a better one on the way."""

import math

from kvplace.core.certificates.certificate import Bound
from kvplace.core.result import OPTIMAL_GAP
from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.strategies.assigned import decided, effort_of
from kvplace.solver.strategies.undivided.search import UndividedState
from kvplace.solver.strategies.undivided.supports import small

__all__ = ["ask_classes", "decide", "enumerate_all", "pack"]


def pack(search: UndividedState) -> None:
    """No rule packs the weights: find a way, or prove that there is none.

    Few models are decided exactly before many orders are tried, which ends only with a way.
    """
    few = search.instance.n <= search.knobs.tiny_models
    ways = (_pack_exactly, _pack_by_hand) if few else (_pack_by_hand, _pack_exactly)
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


def _pack_by_hand(search: UndividedState) -> Assignment | None:
    """Return an assignment made by placing models in many orders; None where that finds none."""
    from kvplace.solver.construct.excess import packed  # noqa: PLC0415 - numpy: only here

    return packed(Assignment(search.instance), search.seed, search.watch)


def _pack_exactly(search: UndividedState) -> Assignment | None:
    """Return an assignment found by the exact cover; None where none is found, or proved to be."""
    from kvplace.solver.exact.close_gap import Effort, pack_exactly  # noqa: PLC0415 - numpy and HiGHS: only here
    from kvplace.solver.exact.option_cover import OptionCover  # noqa: PLC0415 - same

    if not small(search):
        return None
    effort = Effort(nodes=search.knobs.packing_nodes)
    state = pack_exactly(OptionCover(search.program), search.deciding, effort, search.watch)
    search.adopt()
    return state


def ask_classes(search: UndividedState) -> None:
    """Ask the program over size classes, which does not grow with the models, for a bound."""
    import numpy as np  # noqa: PLC0415 - large fleets only

    from kvplace.solver.assignment.packed import pack_rows  # noqa: PLC0415 - same
    from kvplace.solver.bounds.size_classes import certified_classes, packing_bound  # noqa: PLC0415 - HiGHS: only here

    columns = search.instance.columns
    packing = pack_rows(columns, np.array(search.best.gpu_of, dtype=np.int64))
    prices = packing_bound(columns, packing, search.low, search.watch)
    bound = None if prices is None else certified_classes(search.problem, prices)
    if bound is not None and bound.value > search.low:
        search.bound = bound
        search.watch.tell("bound", search.value, search.low)


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
