"""The stages that improve the best assignment of a cluster, and those that prove it good."""

import math
from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

from kvplace.core.certificates.certificate import Bound
from kvplace.solver.clock import Within
from kvplace.solver.exact.enumerate import Enumeration
from kvplace.solver.improve.descent import level, settle
from kvplace.solver.improve.neighbourhoods.kinds import nearby, wide
from kvplace.solver.strategies.assigned import decided, effort_of, kicked, ready
from kvplace.solver.strategies.cluster.search import ClusterState
from kvplace.solver.strategies.cluster.supports import (
    choosable,
    dividable,
    keeps,
    quick,
    refillable,
    searchable,
    small,
)

if TYPE_CHECKING:
    from kvplace.solver.array_types import Floats
    from kvplace.solver.column_generation.set_pricing import Tree
    from kvplace.solver.large_neighbourhood.refill import Refiller

BOUND_BEFORE, COVER_SOON, COVER_BEFORE = 0.1, 0.1, 0.17
"""Parts of the time left that size classes may take before link domains are filled, once more, that
covers by known sets may take before those, and before cases, again where that lowers the value."""
FILLED_BEFORE = 0.15
"""Part of the time left in which link domains are filled before that program is asked."""
FIRST_TARGET = 0.25
"""Part of the gap below the value at which the first target of the program of link domains is under
several pressures: half of it is seldom reached then, which takes seconds to find out."""
MOST_FILLINGS = 1 << 30
"""Fillings that are only asked for where each breaks a rule as soon as it is made."""


def enumerate_all(search: ClusterState) -> None:
    """Look at every way to place a tiny cluster, in a part of the time left."""
    board, enumeration = search.best, Enumeration(search.instance)
    worst = (0.0, *[math.inf] * len(board.costs.vector))
    with search.watch.part(search.knobs.enumerated_part):
        enumeration.run(board.flaws if board.valid else worst, (search.value,), search.watch)
    if enumeration.best is not None:
        board.reset(enumeration.best)
    if enumeration.complete:
        search.searched()


def ask_classes(search: ClusterState) -> None:
    """Ask the configuration program for a bound: that of the tail, if any, or on size classes."""
    tail, part = search.tail, search.knobs.tightened_part
    search.ask_tail(part)
    if search.classes is not None and keeps(search):
        search.raise_again(BOUND_BEFORE if refillable(search) else part)
    elif tail is None:
        search.raise_bound(search.board)


def ask_sets(search: ClusterState) -> None:
    """Ask the configuration program with options for a bound, above which link domains are filled.

    They are filled a little before, as the first value tells nothing of where the bound is.
    """
    from kvplace.solver.large_neighbourhood.refill import Refiller  # noqa: PLC0415 - numba: only here

    knobs, watch = search.knobs, search.watch
    if ready(search, "FILLING"):
        refiller = Refiller(search.chooser, search.seed, watch)
        with watch.part(FILLED_BEFORE):
            _lower_by_filling(search, refiller, knobs.fillings // 4)
    _climb(search)


def _climb(search: ClusterState) -> None:
    """Raise the bound in a part of the time left, so that there is time to check what proves it."""
    from kvplace.solver.exact.close_gap import climb  # noqa: PLC0415 - HiGHS: only here

    within = Within(search.watch, search.watch.left * search.knobs.asked_part)
    climb(search.deciding, search.value, search.knobs.limited_rounds, within)
    search.adopt()


def decide(search: ClusterState) -> None:
    """Raise the bound by the configuration program, then decide targets below the value.

    Where many undivided models share many GPUs, no search over their sets ends before a time limit,
    and kicks have the rest of the time.
    """
    left = small(search) or not dividable(search)  # else cases were searched for covers before
    if search.instance.simple and search.watch.limit < math.inf:
        _climb(search)
        if not searchable(search):
            return
    decided(search, effort_of(search), closing=left and not any(search.best.flaws))


def cover_soon(search: ClusterState) -> None:
    """Lower the value by known sets in a small part of the time, before link domains are filled."""
    _cover(search, COVER_SOON)


def cover(search: ClusterState) -> None:
    """Lower the value by an integer program over the sets that the configuration program knows."""
    before = dividable(search)
    while not search.watch.stop:
        lower = _cover(search, COVER_BEFORE if before else search.knobs.covered_part)
        if not (before and lower):
            break
    if dividable(search) or not quick(search):  # before exact decisions, which go on
        search.adopt()


def _cover(search: ClusterState, part: float) -> bool:
    """Lower the value by known sets in a part of the time left, and return whether it is lower."""
    from kvplace.solver.exact.close_gap import lower_by_known_sets  # noqa: PLC0415 - HiGHS: only here

    best, effort = search.best, effort_of(search)
    gap = max(search.gap, search.knobs.covered_gap)
    with search.watch.part(part):
        found = lower_by_known_sets(search.deciding, best, gap, effort, search.watch)
    lower = found.worth() < best.worth()
    if lower:
        search.board = found
    return lower


def divide(search: ClusterState) -> None:
    """Narrow the gap from both sides by targets decided by cases over options and link domains."""
    from kvplace.solver.bounds.option_prices import bound_by_cases  # noqa: PLC0415 - HiGHS: only here
    from kvplace.solver.exact.close_gap import Effort  # noqa: PLC0415 - HiGHS: only here
    from kvplace.solver.exact.domain_tree import DomainTree, narrow_by_cases  # noqa: PLC0415 - HiGHS: only here

    knobs, round_, watch = search.knobs, min(search.round, 6), search.watch
    effort = Effort(
        nodes=knobs.nodes, rounds=knobs.program_rounds << 6, targets=knobs.cases << 2 * round_
    )

    def prove(target: float, tree: "Tree") -> Bound | None:
        return bound_by_cases(search.problem, search.program, target, tree, watch)

    part = knobs.divided_part if small(search) else knobs.divided_compiled_part
    tree = DomainTree(search.problem, search.program)
    found, bound = narrow_by_cases(tree, search.best, search.low, effort, watch, prove, part)
    search.offer(found)
    if bound is not None:
        search.take(bound)
    watch.tell("search", search.value, search.low)


def tighten(search: ClusterState) -> None:
    """Raise the bound by the configuration program with options where KV must be left.

    Where it cannot, size classes are asked, which are quicker, and know a good value now; but not
    where they knew only what KV a GPU must have, for which few levels are looked at once.
    """
    part, keeps = search.knobs.tightened_part, search.instance.columns.keeps
    if keeps and search.asked < search.round:
        ask, take, _ = _question(search, part)
        ask()
        take()
        part /= 2
    classes = search.classes
    if not search.round and (classes is None or not (classes.once or search.low > classes.value)):
        search.raise_again(part)


def tighten_beside(
    search: ClusterState,
) -> tuple[Callable[[], None], Callable[[], None], Callable[[], None]]:
    """Return what raises the bound while the program is asked, what takes it, what ends it.

    Within a time limit it goes on as long as the program, which decides when that ends. No target
    is far above what is proved: the value comes down meanwhile.
    """
    knobs, limited = search.knobs, search.watch.limit < math.inf
    rounds = knobs.limited_rounds if limited else 0
    return _question(search, knobs.programmed_part, rounds, knobs.aimed)


def _question(
    search: ClusterState, part: float, rounds: int = 0, aimed: float = math.inf
) -> tuple[Callable[[], None], Callable[[], None], Callable[[], None]]:
    """Return what asks the configuration program for a bound, what takes that, what ends it.

    Asking takes a part of the time left, and changes neither the best assignment nor the bound. No
    target is further above what is proved than a part `aimed` of it.
    """
    from kvplace.solver.exact.close_gap import climb  # noqa: PLC0415 - HiGHS: only here

    search.asked, value = search.round, search.value
    rounds = max(rounds, search.knobs.program_rounds << min(search.round, 6))
    watch = Within(search.watch, search.watch.left * part)
    ask = partial(climb, search.deciding, value, rounds, watch, aimed)
    return ask, search.adopt, watch.interrupt


def iterate(search: ClusterState) -> None:
    """Exchange movable shards with kicks, by compiled kernels."""
    kicked(search, search.knobs.kicks, search.knobs.kicked_part)


def refill(search: ClusterState) -> None:
    """Fill link domains anew at lower targets, again with more fillings as long as that helps."""
    from kvplace.solver.large_neighbourhood.refill import Refiller  # noqa: PLC0415 - numba: only here

    if not ready(search, "FILLING"):
        return  # it would break the limit; a later round finds them compiled
    knobs, board = search.knobs, search.best
    chosen = partial(_chosen, search)
    refiller = Refiller(search.chooser, search.seed + search.round, search.watch, chosen)
    rounds, gap = knobs.fillings << search.round, math.inf
    if search.instance.pressures == 1:
        rounds = max(rounds, search.fillings)
    while search.left > 0 and not search.watch.stop and rounds < MOST_FILLINGS:
        now = board.worst() - search.low
        if not 0 < now <= knobs.filled_gain * gap:
            break
        gap = now
        with search.watch.part(knobs.filled_part):
            _lower_by_filling(search, refiller, rounds)
            rounds *= 1 if search.watch.stop else 2
    search.fillings = rounds


def fill_by_program(search: ClusterState) -> None:
    """Bring all GPUs to lower targets by a program of whole link domains, by bisection.

    Under several pressures the first target is nearer to the value. One that is not reached may be
    by a later pass, which takes more effort.
    """
    from kvplace.solver.large_neighbourhood.domain_program import DomainProgram  # noqa: PLC0415 - HiGHS: only here

    if not ready(search, "FILLING"):
        return
    board, knobs, watch = search.best, search.knobs, search.watch
    if search.filling_program is None:
        chosen = partial(_chosen, search)
        search.filling_program = DomainProgram(search.chooser, search.seed, watch, chosen)
    missed, round_ = 0.0, min(search.round, 6)
    part = 0.5 if search.instance.pressures == 1 else FIRST_TARGET
    with watch.part(knobs.programmed_part):
        while search.left > 0 and not (watch.stop or search.closed) and board.worst():
            value, low = board.worst(), search.low
            above = max(missed, low) if missed < value else low
            if value - above <= knobs.least_filled * (value - low):
                break
            target, part = value - part * (value - above), 0.5
            reached, made = search.filling_program.pack(
                board, target, knobs.learned << round_, knobs.dives << round_
            )
            search.steps += made
            if reached:
                watch.tell("fill", board.worst())
            else:
                missed = target


def _chosen(search: ClusterState, target: float) -> "Floats | None":
    """Return what the configuration program chooses at a target, where its sets are known by now.

    Which number of copies is best depends on what other models take: where small GPUs are idle,
    many copies there may cost less than one on GPUs that others need.
    """
    if not choosable(search):
        return None
    program, rounds = search.program, search.knobs.program_rounds
    impossible = program.decide(target, search.watch, rounds=rounds, settle=False).impossible
    return None if impossible else program.chosen


def _lower_by_filling(search: ClusterState, refiller: "Refiller", rounds: int) -> None:
    """Fill at several targets below the value, until none of them is reached.

    Under one pressure they are further below it after each that is, nearer after each that is not,
    and begin where they were: how far below the value fillings succeed, the bound does not say.
    Otherwise those far below what was reached are not tried again.
    """
    from kvplace.solver.kernels import Crew  # noqa: PLC0415 - numba: only here

    board, knobs, one = search.best, search.knobs, search.instance.pressures == 1
    part = search.aimed_part if one else knobs.most_part
    while part > knobs.least_filled and search.left > 0 and not search.watch.stop:
        if search.closed or not board.worst():  # at 0 only soft rules are left to keep
            break
        gap, most = board.worst() - search.low, int(min(rounds, search.left))
        aims = [(search.low + gap * (1 - at), anew) for at, anew in _parts(search, part)]
        with closing(Crew(spared=int(search.asking))) as crew:
            reached, tried = refiller.pack_lowest(board, aims, most, crew)
        search.steps += tried
        if reached is not None:
            part = min(knobs.most_part if one else part, 2 * part / 2**reached)
            search.watch.tell("fill", board.worst())
        elif one:
            part /= 4
        else:
            break
    search.aimed_part = max(part, 2 * knobs.least_filled)


def _parts(search: ClusterState, part: float) -> list[tuple[float, bool]]:
    """Return by what parts of the gap targets are below the value, and if all domains are filled.

    Parameters
    ----------
    search
        The search.
    part
        The largest, under several pressures.
    """
    knobs = search.knobs
    if search.instance.pressures == 1:
        return [(max(part, knobs.filled_anew), True), (part / 2, False)]
    halvings = int(math.log2(part / knobs.least_filled))
    parts = [part / 2**at for at in range(halvings + 1)]
    return [(part, part >= knobs.filled_anew) for part in parts]


def eject(search: ClusterState) -> None:
    """Pack at lower and lower targets, nearer to the value each time that fails twice.

    Fillings have most of the time under one pressure, where there are any, and kicks of undivided
    models under several.
    """
    rest = refillable(search) if search.instance.pressures == 1 else search.instance.simple
    with search.watch.part(search.knobs.ejected_part if rest else 1.0):
        _eject(search)


def _eject(search: ClusterState) -> None:
    board, knobs = search.best, search.knobs
    # Of many GPUs few are at the value: each step relieves some of them.
    rounds = (knobs.packed_large if search.large else search.packed) << search.round
    part, tried = knobs.ejected_large if search.large else 0.5, 0
    while part > 0.01 and search.left > 0 and not search.watch.stop and not search.closed:
        target = search.low + (board.worst() - search.low) * (1 - part)
        found, tries = search.packer.pack(board, target, int(min(rounds, search.left)))
        search.steps += tries
        if found is not None:
            if not search.large:
                most = min(knobs.steps, search.left)
                search.steps += settle(found, search.watch, most, wide(found))
            if found.worth() < board.worth():
                board.reset(found.where)
                search.watch.tell("pack", board.worst())
                tried = 0
                continue
        tried += 1  # a packing that breaks more soft rules is none either
        part /= 1 if tried % 2 else 2


def lower(search: ClusterState) -> None:
    """Relieve the hottest GPU until nothing helps."""
    search.steps += settle(search.best, search.watch, search.left, nearby(search.best))


def balance(search: ClusterState) -> None:
    """Balance what the maximum leaves open."""
    search.watch.tell("balance", search.value, search.low)
    search.steps += level(search.best, search.watch, search.balance_steps, nearby(search.best))
