"""Target search: first assignments by best fit at a rising, then a bisected target KVPR."""

import math
from collections.abc import Callable, Iterator

import numpy as np

from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.bisection import reach_above
from kvplace.solver.clock import Watch
from kvplace.solver.construct.candidates import RULED, place_model
from kvplace.solver.construct.deal import dealt
from kvplace.solver.construct.excess import STARTS, packed
from kvplace.solver.instance.instance import Instance
from kvplace.solver.instance.options import Chooser

LARGE = 200_000
"""Models times GPUs above which few rules are tried."""
FIRST, LAST = 0.005, 1e6
"""Parts above the bound of the first and the last target."""
NEXT, FURTHER, FAILED = 2.0, 8.0, 5
"""Factors by which that part grows: at first; and where any assignment will do, or so many rules
found none at any target."""
HALVINGS, MORE = 5, 2
"""Targets tried between the last that failed and the first that did not, and how many more where
that part grows by `FURTHER`, which comes to the same."""
HUGE = 1_000_000_000
"""Models times GPUs above which an assignment costs so much that few targets are tried."""
LOOSE = 0.2
"""Part above the bound of the first target then."""
PLACED = 200
"""Models that are placed at infinity also when time is up, unless that takes too long."""
ORDERS = ("room", "degree", "apart")
"""What goes first: the shards that take most room; the models that are split most; or those that
cannot move freely later, each where most room is left, so that others can be exchanged around."""


def construct(
    chooser: Chooser, bound: float, watch: Watch, *, placed: bool = False
) -> Iterator[Assignment]:
    """Yield assignments, each the best that one rule finds, some with models left out.

    Where all of them leave models out, the one that leaves out least is completed by exchanges.

    Parameters
    ----------
    chooser
        The options of the cluster's models.
    bound
        A lower bound on the optimum: where the search for a target starts.
    watch
        Ends it early, after the first.
    placed
        Whether there is a whole assignment already; then none with models left out is made.
    """
    known, lacking, growth = math.inf, [], NEXT
    for rule in _rules(chooser):
        fill = _Fill(chooser, watch, *rule)
        # A rule that fails just below what others found is not looked at further.
        if known == 0 or (known < math.inf and fill.at(known * (1 - FIRST)) is None):
            continue
        board = _search(fill, bound, growth, watch, placed=placed)
        if board is None:
            if watch.stop:
                break
            continue
        if board.valid:
            known = min(known, board.worst())
        elif board.missing:
            lacking.append(board)
            growth = FURTHER if len(lacking) >= FAILED else NEXT
        yield board
        if len(lacking) == 1 and known == math.inf and _many(chooser.instance):
            whole = _completed(board, watch, orders=1)
            if whole is not None:
                yield whole
                return
        if watch.stop:
            break
    if known == math.inf and lacking:
        orders = STARTS if _many(chooser.instance) else 1
        whole = _completed(min(lacking, key=Assignment.worth), watch, orders)
        if whole is not None:
            yield whole


def _completed(board: Assignment, watch: Watch, orders: int) -> Assignment | None:
    """Return an assignment with what it lacks, as far as memory alone is asked, or None."""
    with watch.whole():  # a plan at all is worth the time kept for what comes after it
        return packed(board, 0, watch, orders)


def some_assignments(chooser: Chooser, bound: float, watch: Watch) -> Iterator[Assignment]:
    """Yield whole assignments soon, the first however far above a bound, then better ones."""
    instance, cap = chooser.instance, chooser.caps()[0]

    def at(target: float) -> Assignment | None:
        options = chooser.pick(target, cap)
        boards = (dealt(instance, options, target, watch, tight=tight) for tight in (False, True))
        return next((board for board in boards if board is not None and board.valid), None)

    board, failed, target = reach_above(at, bound, 1.0, LAST, watch, FURTHER)
    if board is not None:
        yield board
        yield lowered(at, board, failed, target, _halvings(instance), watch)


def _rules(chooser: Chooser) -> list[tuple[float, str]]:
    """Return cap and order of the rules worth trying; few where each costs much."""
    instance = chooser.instance
    caps = chooser.caps() if any(len(row) > 1 for row in instance.options) else [math.inf]
    if _many(instance):
        return [(caps[0], order) for order in ("apart", "room")]
    return [(cap, order) for order in ORDERS for cap in caps]


def _search(
    fill: "_Fill", bound: float, growth: float, watch: Watch, *, placed: bool
) -> Assignment | None:
    """Return the best assignment found at targets further and further above the bound."""
    first = LOOSE if _halvings(fill.instance) == 1 else FIRST
    many = _many(fill.instance)
    last = first * FURTHER if many else LAST
    best, failed, target = reach_above(fill.at, bound, first, last, watch, growth)
    if best is None and many and bound > 0 and not watch.stop:
        # Each costs much: where nothing fits far above the bound, nothing in between does.
        target = bound * LAST
        best = fill.at(target)
    if best is None and placed:
        return None
    if best is None:
        tried = 0 if watch.stop else RULED  # of soft rules nothing is asked where time is up
        with watch.whole():  # worth the time kept for later
            board = fill.at(math.inf, tried)
        assert board is not None
        return board
    most = _halvings(fill.instance) + (growth > NEXT) * MORE
    return lowered(fill.at, best, failed, target, most, watch)


def lowered(
    at: Callable[[float], Assignment | None],
    best: Assignment,
    failed: float,
    target: float,
    most: int,
    watch: Watch,
) -> Assignment:
    """Return the best assignment found at targets between one that failed and one that did not."""
    high = min(target, best.worst())
    for _ in range(most):
        if watch.stop or high <= failed * (1 + 1e-3):
            break
        target = math.sqrt(failed * high)
        board = at(target)
        if board is None:
            failed = target
        else:
            best, high = min(best, board, key=Assignment.worth), min(target, board.worst())
    return best


def _many(instance: Instance) -> bool:
    """Whether models and GPUs are so many that each assignment costs much."""
    return instance.n * instance.g > LARGE


def _halvings(instance: Instance) -> int:
    """Return how many targets are worth trying between two."""
    return 1 if instance.n * instance.g > HUGE else HALVINGS


class _Fill:
    """One rule for placing all models at a target.

    Parameters
    ----------
    chooser
        The options of the cluster's models.
    watch
        Ends an assignment that is not whole yet.
    cap
        Most that one shard is to take where there is a choice.
    order
        Of `ORDERS`: by which models are sorted that are equally free to go.
    """

    def __init__(self, chooser: Chooser, watch: Watch, cap: float, order: str) -> None:
        self.instance, self._chooser, self._watch = chooser.instance, chooser, watch
        self._cap, self._order = cap, order
        counted = np.array([int(mask.sum()) for mask in self.instance.columns.masks])
        self._places: list[int] = counted[self.instance.columns.mask_of].tolist()

    def at(self, target: float, tried: int = RULED) -> Assignment | None:
        """Return the assignment at a target, or None where a model finds no seat.

        At infinity such a model is left out. `tried` is that of `best_seat`.
        """
        board = Assignment(self.instance)
        options = self._chooser.pick(target, self._cap)
        finite = target < math.inf
        rows = np.array([option.row for option in options])
        needs = self.instance.columns.needs(rows, target).tolist()
        simple = [o.shards == 1 and board.costs.free(j) for j, o in enumerate(options)]
        apart = self._order == "apart"
        spread = apart and self.instance.pressures == 1
        degrees = [0 if self._order == "room" else -o.degree for o in options]
        order = sorted(
            range(self.instance.n),
            key=lambda j: (self._places[j], apart and simple[j], degrees[j], -needs[j], j),
        )
        watch = self._watch

        def late() -> bool:
            return watch.seconds > watch.limit + watch.late / 2

        for at, j in enumerate(order):
            # At infinity the first models are placed though time is up: a plan is wanted.
            wanted = not finite and at < PLACED
            if late() if wanted else watch.stop:
                return None if finite else board
            tried = 0 if watch.stop else tried
            tight = finite and (simple[j] or not spread)
            placed = place_model(board, j, options[j], target, tight=tight, tried=tried)
            if not placed and finite:
                return None
        return board
