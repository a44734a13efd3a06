"""The stages for undivided models: those that better an assignment, and those that prove one."""

import math
from collections.abc import Callable
from functools import partial

from kvplace.core.certificates.certificate import Bound
from kvplace.core.result import OPTIMAL_GAP, relative_gap
from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.construct.best_fit_decreasing import bisect_target
from kvplace.solver.improve.descent import level, settle
from kvplace.solver.improve.moves_and_swaps import MoveAndSwap
from kvplace.solver.strategies.assigned import (
    COMPLETED,
    completed,
    decided,
    effort_of,
    far,
    kicked,
    refute,
)  # fmt: skip
from kvplace.solver.strategies.undivided.search import UndividedState


def start(search: UndividedState) -> None:
    """Take the better of best fit at a bisected target and the placement given, refined."""
    instance, knobs = search.instance, search.knobs
    if search.low == math.inf:
        return
    small = instance.n <= knobs.plain_models
    for gpu_of in (search.given, bisect_target(instance, search.low, knobs.start_tolerance)):
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


def balance(search: UndividedState) -> None:
    """Leximax: balance what the maximum leaves open."""
    state, knobs = search.best, search.knobs
    search.watch.tell("balance", state.worst())
    most = knobs.balance_per_gpu * search.instance.g + knobs.balance_steps
    if search.instance.n <= knobs.plain_models:
        search.balance(most, knobs.balance_gain)
    elif not search.watch.stop:  # else arrays are loaded for nothing
        from kvplace.solver.improve.neighbourhoods.shard_exchange import ShardExchange  # noqa: PLC0415 - numpy: only here

        search.steps += level(state, search.watch, most, [ShardExchange()], knobs.balance_gain)


def pack(search: UndividedState) -> None:
    """No rule packs the weights: find a way, or prove that there is none.

    Most ways end only where there is one, so that the configuration program says soon whether it
    proves that there is none. Too many models are not decided exactly.
    """
    from kvplace.solver.exact.bin_completion import Completion  # noqa: PLC0415 - often unneeded

    complete = partial(completed, completion=Completion(search.instance, search.seed, search.watch))
    ways: list[Callable[[UndividedState], object]] = [
        partial(complete, effort=0.0), partial(_pack_by_hand, orders=1)
    ]  # fmt: skip
    if search.instance.n > search.knobs.plain_models:
        ways.reverse()
    ways.append(partial(refute, rounds=search.knobs.program_rounds))
    ways += [partial(complete, effort=COMPLETED), _pack_by_hand]
    if small(search):
        ways.append(_pack_exactly)
    if search.instance.n <= search.knobs.tiny_models:
        ways.append(enumerate_all)
    ways.append(partial(complete, effort=math.inf))
    for way in ways:
        if search.low < math.inf and not search.placed:
            way(search)
    if search.board is not None:
        search.lower()


def _pack_by_hand(search: UndividedState, orders: int | None = None) -> None:
    """Place models in many orders, or so many, the largest first."""
    from kvplace.solver.construct.excess import STARTS, packed  # noqa: PLC0415 - numpy: only here

    found = packed(Assignment(search.instance), search.seed, search.watch, orders or STARTS)
    if found is not None:
        search.offer(found)


def _pack_exactly(search: UndividedState) -> None:
    """Place models by an exact cover, or prove that there is none."""
    from kvplace.solver.exact.close_gap import Effort, pack_exactly  # noqa: PLC0415 - numpy and HiGHS: only here

    effort = Effort(nodes=search.knobs.packing_nodes)
    found = pack_exactly(search.deciding, effort, search.watch)
    search.adopt()
    if found is not None:
        search.offer(found)


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


def small(search: UndividedState) -> bool:
    """Whether models are few enough for the configuration program."""
    return search.instance.n <= search.knobs.program_models


def tiny(search: UndividedState) -> bool:
    """Whether models are so few that proofs come before any search."""
    return search.placed and search.instance.n <= search.knobs.tiny_models


def optimal(search: UndividedState) -> bool:
    """Whether the worst GPU of a tiny fleet is proved optimal, so that the others count."""
    return tiny(search) and relative_gap(search.value, search.low) <= OPTIMAL_GAP


def quick(search: UndividedState) -> bool:
    """Whether the program answers at once: few models, and few of them per GPU."""
    knobs = search.knobs
    few = search.instance.n <= min(knobs.quick_models, knobs.quick_density * search.instance.g)
    return search.placed and few


def covered(search: UndividedState) -> bool:
    """Whether groups of GPUs have few enough sets of models to be refilled by kernels in time.

    Near the bound that pays on many GPUs alone, with several models each.
    """
    knobs = search.knobs
    many = search.instance.g > knobs.covered_gpus and search.density > knobs.best_fit_density
    sparse = search.placed and small(search) and search.density <= knobs.covered_density
    return sparse and (far(search) or (search.long and many))


def rounds(search: UndividedState) -> int:
    """Return how many rounds there are at most."""
    knobs = search.knobs
    if search.watch.left == math.inf and search.limit is None:
        return knobs.default_rounds
    return knobs.timed_rounds if search.instance.n > knobs.tiny_models else knobs.tiny_rounds
