"""Descend: local search on a board: moves, swaps, another seat, another copy, another split.

Every step lowers the largest pressure among the GPUs it touches below that of the GPU it
relieves, and so the sorted vector of pressures (leximax), and leaves no rule worse.
"""

import math
from collections.abc import Callable, Iterator
from itertools import chain
from operator import le

import numpy as np

from kvplace.solver.array_types import Floats, Ints
from kvplace.solver.assignment.assignment import Assignment, Change
from kvplace.solver.clock import Watch
from kvplace.solver.construct.candidates import place_model
from kvplace.solver.improve.pair_exchange_cluster import Wide
from kvplace.solver.instance.instance import Copies, Option
from kvplace.solver.instance.pressure import pressures

__all__ = ["COPY_GAIN", "drop_copies", "level", "relieve", "settle", "try_changes"]

TOLERANCE = 1e-9
COPY_GAIN = 0.01
"""Least relative gain, below the maximum, for which a copy is started or a split widened."""
PARTNERS = 192
"""GPUs, the coldest first, with which one is exchanged."""
WIDE = 500
"""GPUs with which wide exchanges are looked at first; twenty times as many after them."""
TRIED = 48
"""Exchanges tried in the order of what they promise."""


def try_changes(board: Assignment, changes: list[Change], goal: float) -> set[int] | None:
    """Make changes if all GPUs touched end below a pressure and no flaw grows.

    Returns
    -------
    set of int or None
        The GPUs touched; None where the board is left as it was.
    """
    flaws = board.flaws
    before = board.arrays.free.copy() if board.arrays.spare.any() else board.arrays.free
    undo, touched = board.apply(changes)
    if (
        board.flaws <= flaws
        and all(board.arrays.pressure[g] < goal for g in touched)
        and board.spared(before, touched)
    ):
        return touched
    board.apply(undo)
    return None


def settle(
    board: Assignment,
    watch: Watch,
    limit: float,
    wide: Wide | None = None,
    tolerance: float = TOLERANCE,
) -> int:
    """Relieve the hottest GPU until nothing helps; return the steps made."""
    steps = 0
    while steps < limit and not watch.stop:
        worst = board.worst()
        level_ = np.flatnonzero(board.arrays.pressure >= worst * (1 - tolerance))
        if worst <= 0 or not any(
            relieve(board, int(g), tolerance, tolerance, wide) for g in level_[:8]
        ):
            break
        steps += 1
    return steps


def level(board: Assignment, watch: Watch, limit: int, tolerance: float = 1e-4) -> int:
    """Relieve every GPU, the hottest first, until none can be: leximax; return the steps."""
    steps = 0
    stuck = np.zeros(board.instance.g, dtype=bool)
    while steps < limit and not watch.stop:
        open_ = np.where(stuck, -1.0, board.arrays.pressure)
        g = int(open_.argmax())
        if open_[g] <= 0 or open_[g] == math.inf:
            break
        touched = relieve(board, g, tolerance, max(tolerance, COPY_GAIN))
        if touched is None:
            stuck[g] = True
        else:
            stuck[list(touched)] = False
            steps += 1
    return steps


def relieve(
    board: Assignment, g: int, gain: float, copy_gain: float, wide: Wide | None = None
) -> set[int] | None:
    """Make the first step that relieves a GPU: exchange, other seats, a copy, another split.

    Parameters
    ----------
    board
        Changed in place.
    g
        The GPU to relieve.
    gain, copy_gain
        Relative gains to exceed: of exchanges, and of copies and splits.
    wide
        Looks at exchanges with all GPUs; None leaves it to the coldest.

    Returns
    -------
    set of int or None
        The GPUs touched; None where nothing helps.
    """
    hot = board.pressure[g]
    found = _wide(board, wide, g, hot * (1 - gain)) if wide is not None else None
    if found is None:
        found = _exchange(board, g, hot * (1 - gain))
    if found is None and wide is not None:
        found = _trade(board, wide, g, hot * (1 - gain))
    members = board.hottest_first(g)
    for step, least in ((_reseat, gain), (_another_copy, copy_gain), (_another_split, copy_gain)):
        for j in members if found is None else ():
            found = step(board, g, j, hot * (1 - least))
            if found is not None:
                break
    return found


def _wide(board: Assignment, wide: Wide, g: int, goal: float) -> set[int] | None:
    """Make the best exchange of up to two shards for up to two that ends below a pressure."""
    order = np.argsort(board.arrays.pressure, kind="stable")
    partners = order[: int(np.searchsorted(board.arrays.pressure[order], goal, side="left"))]
    partners = partners[partners != g]
    # The coldest first: what they give is most often enough.
    for some in (partners[:WIDE], partners[WIDE : 20 * WIDE]):
        for changes in wide.exchanges(g, some, goal, TRIED) if len(some) else ():
            found = try_changes(board, changes, goal)
            if found is not None:
                return found
    return None


def _trade(board: Assignment, wide: Wide, g: int, goal: float) -> set[int] | None:
    """Make the best trade of a copy of a split model with shards of another link domain."""
    for j in board.hottest_first(g):
        option = board.option[j]
        assert option is not None
        if option.degree == 1 or _uneven(board, j):
            continue
        copy = next(copy for copy in board.where[j] if g in copy)
        for changes in wide.trades(j, copy, goal, TRIED):
            found = try_changes(board, changes, goal)
            if found is not None:
                return found
    return None


def _exchange(board: Assignment, g: int, goal: float) -> set[int] | None:
    """Make the best move of a shard off a GPU, or swap of two, that ends below a pressure."""
    instance = board.instance
    mine = [j for j in board.members[g] if not _uneven(board, j)]
    partners = _partners(board, g, goal)
    if not mine or not len(partners):
        return None
    value, pairs = _values(board, g, mine, partners)
    few = np.flatnonzero(value < goal)
    few = few[np.argsort(value[few], kind="stable")][:TRIED]
    for at in few.tolist():
        a, h, b = pairs(at)
        if a in board.members[h] or (b >= 0 and b in board.members[g]):
            continue
        if b >= 0 and not (
            instance.columns.allowed[b][g] and _stays(board, b, h, g) and not _uneven(board, b)
        ):
            continue
        changes = [_moved(board, a, g, h)]
        if b >= 0:
            changes.append(_moved(board, b, h, g))
        found = try_changes(board, changes, goal)
        if found is not None:
            return found
    return None


def _values(
    board: Assignment, g: int, mine: list[int], partners: Ints
) -> tuple[Floats, Callable[[int], tuple[int, int, int]]]:
    """Return the larger pressure after each exchange, and what an exchange is by its number.

    An exchange gives a model of `mine` to a partner, and takes one of its models or none, -1.
    """
    instance = board.instance
    theirs: list[int] = []
    owner: list[int] = []
    for at, h in enumerate(partners.tolist()):
        held = board.members[h]
        theirs += [-1, *held]
        owner += [at] * (len(held) + 1)
    at_ = np.array(owner)
    hosts = partners[at_]
    size_a, keep_a, loads_a = _needs(board, mine)
    size_b, keep_b, loads_b = _needs(board, theirs)
    size, keep = size_a[:, None] - size_b, keep_a[:, None] - keep_b
    free_g, free_h = board.arrays.free[g] + size, board.arrays.free[hosts] - size
    kept_g, kept_h = board.arrays.kept[g] - keep, board.arrays.kept[hosts] + keep
    type_g, type_h = instance.type_at(g), instance.columns.type_of[hosts]
    columns = np.arange(len(theirs))
    here, there = [], []
    for at, load in enumerate(board.arrays.load):
        given, taken = loads_a[:, :, at], loads_b[:, :, at]
        here.append(load[g] - given[:, type_g, None] + taken[:, type_g])
        there.append(load[hosts] + given[:, type_h] - taken[columns, type_h])
    value = np.maximum(
        pressures(free_g, kept_g, here, instance.kv), pressures(free_h, kept_h, there, instance.kv)
    )
    bad = (free_g < board.arrays.spare[g]) & (size < 0)
    bad |= (free_h < board.arrays.spare[hosts]) & (size > 0)
    may = np.array([instance.columns.allowed[j][hosts] for j in mine])
    for row, j in enumerate(mine):
        option = board.option[j]
        assert option is not None
        if option.degree > 1:
            may[row] &= instance.columns.domain_of[hosts] == instance.columns.domain_of[g]
    value[bad | ~may] = math.inf
    width = len(theirs)

    def pair(number: int) -> tuple[int, int, int]:
        row, column = divmod(number, width)
        return mine[row], int(hosts[column]), theirs[column]

    return value.ravel(), pair


def _needs(board: Assignment, models: list[int]) -> tuple[Floats, Floats, Floats]:
    """Return bytes, least KV bytes and, by load type and pressure, loads of shards; 0 for -1."""
    none = np.zeros((board.instance.types, board.instance.pressures)).tolist()
    options = [board.option[j] if j >= 0 else None for j in models]
    return (
        np.array([float(o.size) if o else 0.0 for o in options]),
        np.array([float(o.keep) if o else 0.0 for o in options]),
        np.array([o.loads if o else none for o in options]),
    )


def _partners(board: Assignment, g: int, goal: float) -> Ints:
    """Return the GPUs to exchange with: the coldest, and those of the same link domain."""
    kvpr = board.arrays.pressure
    if len(kvpr) <= PARTNERS:
        partners = np.flatnonzero(kvpr < goal)
    else:
        near = board.instance.columns.domains[board.instance.columns.domain_of[g]]
        near = near[near < len(kvpr)]
        cold = np.argpartition(kvpr, PARTNERS)[:PARTNERS]
        partners = np.union1d(near, cold)
        partners = partners[kvpr[partners] < goal]
    found: Ints = partners[partners != g]
    return found


def _uneven(board: Assignment, j: int) -> bool:
    """Whether a model's loads change with where its copies are."""
    return board.instance.is_uneven(j) and len(board.where[j]) > 1


def _stays(board: Assignment, j: int, source: int, target: int) -> bool:
    """Whether a shard may go from one GPU to another without leaving its link domain."""
    option, domain_of = board.option[j], board.instance.columns.domain_of
    assert option is not None
    return option.degree == 1 or bool(domain_of[source] == domain_of[target])


def _moved(board: Assignment, j: int, source: int, target: int) -> Change:
    """Return the change that moves one shard."""
    copies = tuple(
        tuple(sorted(target if g == source else g for g in copy)) if source in copy else copy
        for copy in board.where[j]
    )
    return j, board.option[j], copies


def _others(copies: Copies, g: int) -> Copies:
    """Return the copies that have no shard on a GPU."""
    return tuple(copy for copy in copies if g not in copy)


def _replaced(
    board: Assignment, g: int, j: int, option: Option, keep: Copies, goal: float
) -> set[int] | None:
    """Place a model anew, some copies kept, if all GPUs touched end below a pressure."""
    flaws = board.flaws
    before: Change = (j, board.option[j], board.where[j])
    _, touched = board.apply([(j, option, keep)])
    if place_model(board, j, option, goal):
        touched |= {h for copy in board.where[j] for h in copy}
        if board.flaws <= flaws and all(board.arrays.pressure[h] < goal for h in touched | {g}):
            return touched
    board.apply([before])
    return None


def _reseat(board: Assignment, g: int, j: int, goal: float) -> set[int] | None:
    """Move the copy on a GPU to other seats as a whole."""
    option = board.option[j]
    assert option is not None
    if option.degree == 1 and not board.instance.is_uneven(j):
        return None  # an exchange has looked at it
    return _replaced(board, g, j, option, _others(board.where[j], g), goal)


def _another_copy(board: Assignment, g: int, j: int, goal: float) -> set[int] | None:
    """Start one more copy of a model, so that each carries less."""
    option = board.option[j]
    assert option is not None
    for other in board.instance.options[j]:
        if (other.degree, other.copies) == (option.degree, option.copies + 1):
            return _replaced(board, g, j, other, board.where[j], goal)
    return None


def _another_split(board: Assignment, g: int, j: int, goal: float) -> set[int] | None:
    """Place a model with another degree or number of copies, all anew."""
    option = board.option[j]
    for other in _splits(board.instance.options[j], option):
        found = _replaced(board, g, j, other, (), goal)
        if found is not None:
            return found
    return None


def _splits(options: list[Option], now: Option | None) -> Iterator[Option]:
    """Yield other options near the present one, those with the fewest shards first."""
    assert now is not None
    near = [
        o for o in options
        if o.degree != now.degree and o.shards <= 2 * now.shards + 1
        and all(map(le, chain(*o.loads), chain(*now.loads)))
    ]  # fmt: skip
    yield from sorted(near, key=lambda o: (o.shards, o.degree))[:4]


def drop_copies(board: Assignment, watch: Watch) -> int:
    """Stop copies that bring nothing; return how many.

    A copy goes where without it the GPUs concerned are no hotter, or a little and yet well
    below the maximum.
    """
    dropped = 0
    for j, options in enumerate(board.instance.options):
        least = min((o.copies for o in options), default=1)
        stuck = watch.stop is not None
        while not stuck and len(board.where[j]) > least:
            stuck = not _drop(board, j)
            dropped += not stuck
    return dropped


def _drop(board: Assignment, j: int) -> bool:
    """Stop the copy of a model without which the rest is best, if it brings nothing."""
    option, copies = board.option[j], board.where[j]
    assert option is not None
    wanted = (option.degree, option.copies - 1)
    fewer = next((o for o in board.instance.options[j] if (o.degree, o.copies) == wanted), None)
    if fewer is None:
        return False
    before = max(board.pressure[g] for copy in copies for g in copy)
    goal = max(before, min(before * (1 + COPY_GAIN), board.worst() * (1 - COPY_GAIN)))
    hottest = sorted(
        copies, key=lambda copy: (-max(float(board.arrays.pressure[g]) for g in copy), copy)
    )
    for copy in hottest:
        rest = tuple(other for other in copies if other != copy)
        if try_changes(board, [(j, fewer, rest)], math.nextafter(goal, math.inf)) is not None:
            return True
    return False
