"""Enumerate: every way to place a small cluster, cut where nothing better can follow.

Depth-first over the models. All shards of a model are alike, so a way to place one is a split,
a number of copies and a set of GPUs; which of them make up one copy matters only where copies
carry parts by capacity. Adding a model raises pressures and breaches, never lowers them, so a
partial assignment that is not below the best whole one is cut, and a way that memory or a rule
rules out stays out: the model with the fewest ways left comes next, and one with none ends the
branch (forward checking; Haralick and Elliott, Artificial Intelligence 14, 1980). GPUs that hold
nothing and that nothing tells apart are tried once.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import combinations, product

from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.clock import Watch
from kvplace.solver.instance.instance import Copies, Instance, Option
from kvplace.solver.instance.pressure import fits, pressure

SURE = 1e-12
"""Relative distance that no rounding of a sum of loads reaches."""

_Way = tuple[Option, Copies]
_Worth = tuple[tuple[float, ...], tuple[float, ...]]
"""What is broken, tier by tier, and the pressures from the worst GPU on, as far as they count."""

WAYS = 4_000
"""Ways of one model at most; above, the search does not start."""


class Enumeration:
    """An exhaustive search.

    Parameters
    ----------
    instance
        The problem.
    nodes
        Partial assignments looked at, most.

    Attributes
    ----------
    best
        The best assignment; None where none was found better than the one given.
    complete
        Whether nothing was left out.
    """

    def __init__(self, instance: Instance, nodes: int = 60_000) -> None:
        self._instance = instance
        self._nodes = nodes
        self.best: list[Copies] | None = None
        counted = [_count(instance, j) for j in range(instance.n)]
        self.complete = max(counted) <= WAYS and math.prod(counted) > 0
        self._ways: list[list[_Way]] = []
        if self.complete:
            board = Assignment(instance)
            self._ways = [_ways(instance, board, j) for j in range(instance.n)]

    def run(self, flaws: tuple[float, ...], profile: Sequence[float], watch: Watch) -> None:
        """Look for an assignment that is better than one known.

        Parameters
        ----------
        flaws
            What is wrong with the one known.
        profile
            Its pressures from the worst GPU on, of all the ranks that are to be compared.
        watch
            Ends the search early.
        """
        if not self.complete:
            return
        self._limit = (flaws[1:], tuple(profile))  # all models are placed here
        self._ranks = len(profile)
        self._watch = watch
        # Without rules and domains nothing but its memory tells one GPU from another.
        self._kind = self._instance.kind_of or self._instance.memory
        one = self._instance.pressures == 1 and self._instance.types == 1
        self._plain = one and self._instance.simple
        self._board = Assignment(self._instance)
        self._descend(dict(enumerate(self._ways)))

    def _descend(self, open_: dict[int, list[_Way]]) -> None:
        """Place the models that are not yet, each with the ways that the others left it."""
        board = self._board
        if not open_:
            self.best = list(board.where)
            self._limit = self._now()
            return
        vector, (value, *_) = self._limit
        # Above this a GPU is no better than the best known, unless fewer soft rules are broken.
        most = value * (1 + SURE) if board.costs.vector == vector else math.inf
        open_ = {j: [way for way in ways if self._may(j, most, *way)] for j, ways in open_.items()}
        # Those with the fewest ways first; among equals the first, which carries most.
        j = min(open_, key=lambda j: len(open_[j]))
        ways = open_.pop(j)
        scored: list[tuple[_Worth, int, Option, Copies]] = []
        seen: set[Copies] = set()
        for option, copies in ways:
            mark = self._mark(copies)
            if mark in seen:
                continue
            seen.add(mark)
            self._nodes -= 1
            if self._nodes < 0 or self._watch.stop:
                self.complete = False
                return
            now = self._with(j, option, copies)
            if now < self._limit:
                scored.append((now, len(scored), option, copies))
        for now, _, option, copies in sorted(scored, key=lambda entry: entry[:2]):
            if now >= self._limit:
                break
            undo, _ = board.apply([(j, option, copies)])
            self._descend(open_)
            board.apply(undo)
            if not self.complete:
                return

    def _now(self) -> _Worth:
        """Return what the assignment so far is compared by."""
        board = self._board
        if self._ranks == 1:
            return board.costs.vector, (board.worst(),)
        return board.costs.vector, tuple(sorted(board.pressure, reverse=True)[: self._ranks])

    def _with(self, j: int, option: Option, copies: Copies) -> _Worth:
        """Return what the assignment is compared by with one more model."""
        board = self._board
        if not self._plain:
            undo, _ = board.apply([(j, option, copies)])
            now = self._now()
            board.apply(undo)
            return now
        ((g,),) = copies
        load = math.fsum([option.load, *(self._instance.load[i] for i in board.members[g])])
        free, kept = board.free[g] - option.size, board.kept[g] + option.keep
        profile = [*board.pressure]
        profile[g] = pressure(free, kept, (load,), self._instance.kv)
        profile.sort(reverse=True)
        return board.costs.vector, tuple(profile[: self._ranks])

    def _may(self, j: int, most: float, option: Option, copies: Copies) -> bool:
        """Whether memory, the rules and a largest pressure allow a way beside what is placed."""
        instance, board = self._instance, self._board
        if self._plain:
            ((g,),) = copies
            free = board.free[g] - option.size
            may = fits(free, board.kept[g] + option.keep)
            return bool(may and board.load[g] + option.load <= most * free)
        if option.copies > 1 and instance.is_uneven(j):
            most = math.inf
        for copy in copies:
            for g in copy:
                free = board.free[g] - option.size
                if not fits(free, board.kept[g] + option.keep):
                    return False
                loads = option.loads[instance.type_at(g)]
                for at, load in enumerate(board.arrays.load[:, g].tolist()):
                    if load + loads[at] > most * (free if at < instance.kv else 1.0):
                        return False
        if board.costs.free(j):
            return True
        broken, vector = board.costs.after(j, (), copies)
        return broken <= 0 and vector <= self._limit[0]

    def _mark(self, copies: Copies) -> Copies:
        """Return what all ways have in common that differ by empty GPUs of one kind."""
        held, kind = self._board.members, self._kind
        marks = (sorted(g if held[g] else ~kind[g] for g in copy) for copy in copies)
        return tuple(sorted(map(tuple, marks)))


def balanced_ranks(board: Assignment, nodes: int, watch: Watch) -> int:
    """Find the best balance of as many GPUs, from the worst on, as an effort allows.

    Parameters
    ----------
    board
        An assignment whose worst GPU is proved optimal; changed to a better one where one is found.
    nodes
        Partial assignments looked at, most. Where they do not do, half as many are looked at once
        more, to compare the two worst GPUs alone.
    watch
        Ends it early.

    Returns
    -------
    int
        How many GPUs, from the worst on, no assignment balances better; 1 where the search was
        given up.
    """
    ranks = board.instance.g
    while ranks > 1:
        enumeration = Enumeration(board.instance, nodes=nodes)
        enumeration.run(board.flaws, sorted(board.pressure, reverse=True)[:ranks], watch)
        if enumeration.best is not None:
            board.reset(enumeration.best)
        if enumeration.complete:
            return ranks
        if watch.stop:
            break
        ranks, nodes = min(2, ranks - 1), nodes // 2
    return 1


def _count(instance: Instance, j: int) -> int:
    """Return at most how many ways a model has, without looking at domains."""
    places = len(_gpus(instance, j))
    return sum(math.comb(places, o.shards) for o in instance.options[j])


def _gpus(instance: Instance, j: int) -> Sequence[int]:
    """Return where a model may run."""
    if not instance.masks:
        return range(instance.g)
    return [g for g, may in enumerate(instance.masks[instance.mask_of[j]]) if may]


def _ways(instance: Instance, board: Assignment, j: int) -> list[_Way]:
    """Return the ways to place a model on an empty cluster that break nothing by themselves."""
    gpus = _gpus(instance, j)
    found: list[_Way] = []
    for option in instance.options[j]:
        largest = option.size + max(1, option.keep)
        fitting = [g for g in gpus if instance.memory[g] >= largest]
        for chosen in combinations(fitting, option.shards):
            every = _as_copies(instance, chosen, option.degree, every=instance.is_uneven(j))
            found += [(option, c) for c in every if board.costs.after(j, (), c)[0] <= 0]
    return found


def _as_copies(
    instance: Instance, chosen: tuple[int, ...], degree: int, *, every: bool
) -> Iterator[Copies]:
    """Yield GPUs as copies within link domains: in one way, or in every way."""
    by_domain: dict[int, list[int]] = {}
    domain_of = instance.domain_of or range(instance.g)
    for g in chosen:
        by_domain.setdefault(domain_of[g], []).append(g)
    if any(len(held) % degree for held in by_domain.values()):
        return
    for parts in product(*(_parts(held, degree, every=every) for held in by_domain.values())):
        yield tuple(copy for part in parts for copy in part)


def _parts(held: list[int], degree: int, *, every: bool) -> Iterator[Copies]:
    """Yield some GPUs cut into copies: in order, or in every way."""
    if not held:
        yield ()
        return
    first, *rest = held
    mates = combinations(rest, degree - 1) if every else iter([tuple(rest[: degree - 1])])
    for mate in mates:
        left = [g for g in rest if g not in mate]
        for others in _parts(left, degree, every=every):
            yield ((first, *mate), *others)
