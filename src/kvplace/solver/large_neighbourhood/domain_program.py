"""Pack a cluster at a target by a program of whole link domains, and dives into it.

Fillings of link domains, as annealing makes them, are the first columns of a program that covers
all models by fractions of them. Its prices say what other fillings are worth: those are looked for
by ruin and recreation, and become columns, too. A dive takes what the program uses in whole
numbers, or most of, and asks it about the rest again, domain by domain (diving heuristics: Sadykov
et al., INFORMS Journal on Computing 31, 2019). The next dive keeps some of the domains of the best.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

import numpy as np

from kvplace.solver.array_types import Floats, Ints
from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.chance import Bits, drawn, drawn_part, seeded
from kvplace.solver.clock import Watch
from kvplace.solver.instance.options import Chooser
from kvplace.solver.large_neighbourhood.annealed_fillings import Known
from kvplace.solver.large_neighbourhood.dear_fillings import Offer, dear_fillings, that_fit
from kvplace.solver.large_neighbourhood.filling_program import Filling, FillingProgram, Wanted
from kvplace.solver.large_neighbourhood.refill import Chosen, Refiller, worth_of
from kvplace.solver.large_neighbourhood.refill_kernel import Worth
from kvplace.solver.large_neighbourhood.seat_board import Board

Layouts = dict[Filling, tuple[int, ...]]
"""First GPU of each copy of fillings."""

WIDER = 1.3
"""Room of an option with another number of copies, to that of the one which takes least, up to
which it is taken, too. After a target that is missed any is taken, until another one is missed."""
STEPS, BEGUN, FOUND = 30, 12, 4
"""Fillings made from each one that dear ones are looked for from, how many these are for each kind
of domain, and how many are returned from each: many short searches find more than few long ones."""
SMOOTHED = 0.5
"""Part of the last prices in those at which fillings are looked for (Wentges, International
Transactions in Operational Research 4, 1997): prices of few columns jump."""
ROUNDS, ROUNDS_DIVING = 40, 2
"""Times that fillings are looked for before the first dive, and before each of its steps."""
VARIED = 0.8
"""Part by which the fractions of fillings are varied from the second dive on."""
FREED = 0.4
"""Part of the domains that a dive fills anew at least, and up to twice as many."""
HOPELESS = 0.05
"""Room in GPUs that the program leaves over from which no dive is made."""
MANY = 2_000
"""Fillings in the program above which half as many are kept, those of least reduced cost."""
WHOLE = 1e-4
"""Distance from a whole number that counts as none."""


class DomainProgram:
    """Packs one cluster at targets, and keeps the fillings that it knows.

    Parameters
    ----------
    chooser
        The options of the cluster's models.
    seed
        Of the choices.
    watch
        Ends it.
    chosen
        What the configuration program chooses at a target.
    """

    def __init__(
        self, chooser: Chooser, seed: int, watch: Watch, chosen: Chosen = lambda _: None
    ) -> None:
        self._refiller = Refiller(chooser, seed, watch, chosen)
        self._chooser, self._watch, self._chance = chooser, watch, seeded(seed)
        self._known: Layouts = {}
        self._domains: list[list[int]] = []
        self._wide = False

    def pack(self, board: Assignment, target: float, fillings: int, dives: int) -> tuple[bool, int]:
        """Bring an assignment to a target, if the program does; return whether, and the steps made.

        Parameters
        ----------
        board
            Changed only where it is at or below the target afterwards.
        target
            Max pressure.
        fillings
            Fillings of all domains made before the program is asked.
        dives
            Dives at most.
        """
        state = self._refiller.state_of(board, target)
        chosen = self._refiller.chosen(target)
        worth = worth_of(state, self._chooser, target, chosen)
        if worth is None:
            return False, 0
        wider = math.inf if self._wide else WIDER
        asked = _Target(state, worth, chosen, wider, self._chance, self._watch)
        if asked.domains == self._domains:
            asked.known = self._known
        asked.learn(state.row, state.gpu)
        found, steps = self._refiller.fill(board, target, fillings, asked.note, chosen)
        if found is None:
            found, made = asked.dive(dives)
            steps += made
        self._known, self._domains = asked.known, asked.domains
        self._wide ^= found is None
        return found is not None and self._refiller.carry_out(board, found, target), steps


class _Target:
    """Packs a cluster at one target.

    Parameters
    ----------
    state, worth
        The cluster at the target, and what copies are worth.
    chosen
        (rows,) what part of its model an option should be taken by; None where nothing says.
    wider
        As `WIDER`; ``inf`` for any option.
    chance, watch
        State of the random numbers, and what ends it.

    Attributes
    ----------
    known
        The fillings known, with the first GPU of each copy.
    domains
        The link domains, by kind.
    """

    def __init__(
        self, state: Board, worth: Worth, chosen: Floats | None, wider: float, chance: Bits,
        watch: Watch,
    ) -> None:  # fmt: skip
        self._state, self._worth = state, worth
        self._chance, self._watch = chance, watch
        self.known: Layouts = {}
        starts = state.first_row
        self._model: Ints = np.repeat(np.arange(len(state.row)), np.diff(starts))
        self._owner: Ints = np.repeat(np.arange(len(state.row)), np.diff(state.first_seat))
        whole = np.where(worth.opened, worth.rooms * state.copies, math.inf)
        least = np.minimum.reduceat(whole, starts[:-1])[self._model]
        taken = (state.copies == worth.copies[self._model]) | (whole <= wider * least)
        if chosen is not None:
            taken |= chosen > 0
        taken &= (worth.opened > 0) & state.free[self._model]
        self._most: Ints = np.where(taken, state.copies, 0)
        self._domain, self._rank = np.empty((2, len(state.in_domain)), np.int64)
        kinds: dict[tuple[bytes, ...], list[int]] = {}
        for d, (begin, end) in enumerate(pairwise(state.domains.tolist())):
            gpus = state.in_domain[begin:end]
            self._domain[gpus], self._rank[gpus] = d, np.arange(end - begin)
            of = state.type_of[gpus], state.cap[gpus], state.masks[:, gpus]
            kinds.setdefault(tuple(part.tobytes() for part in of), []).append(d)
        self.domains = list(kinds.values())
        self._kind = {d: kind for kind, of in enumerate(self.domains) for d in of}
        self._count: Ints = np.array(list(map(len, self.domains)))

    def note(self, board: Board, known: Known) -> None:
        """Learn the fillings of what annealing goes on from, and of the best."""
        n = len(board.row)
        for of in (known.last, known.best):
            self.learn(of[:n], of[3 * n :].reshape(board.gpu.shape))

    def learn(self, row: Ints, gpu: Ints) -> None:
        """Learn the fillings of a cluster: the option of each model, and the GPUs of each seat."""
        held: dict[int, list[tuple[int, int]]] = {}
        for seat in np.flatnonzero(gpu[:, 0] >= 0).tolist():
            g, j = gpu[seat, 0], self._owner[seat]
            held.setdefault(int(self._domain[g]), []).append((int(row[j]), int(self._rank[g])))
        for d, copies in held.items():
            self._add(self._kind[d], copies)

    def _add(self, kind: int, copies: Iterable[tuple[int, int]]) -> Filling:
        """Add a filling to those known."""
        rows, first = zip(*sorted(copies), strict=True)
        self.known.setdefault((kind, rows), first)
        return kind, rows

    def dive(self, dives: int) -> tuple[Board | None, int]:
        """Return the cluster with all copies in a place, None for none, and the dives made."""
        program = self._new(self._that_fit())
        made, best, least = 0, Counter[Filling](), math.inf
        if self._begin(program) <= HOPELESS:
            while made < dives and not self._watch.stop:
                program = self._pruned(program, best)
                chosen, left = self._dive(program, self._some(best), VARIED if made else 0.0)
                made += 1
                if self._seat(chosen):
                    self._forget(program)
                    return self._state, made
                if left <= least:
                    best, least = chosen, left
        self._forget(program)
        return None, made

    def _forget(self, program: FillingProgram) -> None:
        """Know the fillings of a program alone."""
        self.known = {of: self.known[of] for of in program.fillings}

    def _new(self, fillings: Iterable[Filling]) -> FillingProgram:
        """Return a program with some fillings."""
        worth = self._worth
        large = np.array([worth.large[of[0]] for of in self.domains])
        wanted = Wanted(self._model, self._most, worth.rooms, self._state.free)
        program = FillingProgram(wanted, self._count, large)
        program.add(fillings)
        return program

    def _pruned(self, program: FillingProgram, kept: Iterable[Filling]) -> FillingProgram:
        """Return a program with the best of its fillings and some others, where there are many."""
        if len(program.fillings) <= MANY or math.isinf(program.solve(self._watch.left)):
            return program
        return self._new([*program.best(MANY // 2), *kept])

    def _that_fit(self) -> list[Filling]:
        """Return the fillings known that fit."""
        fillings = list(self.known.items())
        copies = np.full(
            (len(fillings), 1 + max((len(at) for _, at in fillings), default=0), 2), -1
        )
        for (of, first), row in zip(fillings, copies, strict=True):
            row[: len(first)] = np.transpose([of[1], first])
        domains = np.array([self.domains[kind][0] for (kind, _), _ in fillings], dtype=np.int64)
        fit = that_fit(self._state, self._most, domains, copies)
        return [fillings[at][0] for at in np.flatnonzero(fit).tolist()]

    def _begin(self, program: FillingProgram) -> float:
        """Look for fillings at the prices of the whole program; return what it leaves over."""
        left = program.solve(self._watch.left)
        prices, worths = program.prices, program.worths
        for _ in range(ROUNDS):
            if self._watch.stop or not self._extend(program, self._most, self._count):
                break
            left = program.solve(self._watch.left)
            program.prices = prices = SMOOTHED * prices + (1 - SMOOTHED) * program.prices
            program.worths = worths = SMOOTHED * worths + (1 - SMOOTHED) * program.worths
        return left

    def _extend(self, program: FillingProgram, most: Ints, count: Ints) -> bool:
        """Look for fillings that are worth more than their domain; whether any is new."""
        begun: dict[int, list[Filling]] = {}
        for filling, _ in program.taken():
            begun.setdefault(filling[0], []).append(filling)
        found = [
            self._add(kind, of)
            for kind in np.flatnonzero(count).tolist()
            for of in self._dear(kind, program, most, begun.get(kind, []))
        ]
        return program.add(found) > 0

    def _dear(
        self, kind: int, program: FillingProgram, most: Ints, begun: Sequence[Filling]
    ) -> Iterator[list[tuple[int, int]]]:
        """Yield fillings of a kind of domain that are worth more than one, from some on."""
        state, d = self._state, self.domains[kind][0]
        type_ = state.type_of[state.in_domain[state.domains[d]]]
        room = np.ascontiguousarray(self._worth.room[:, type_])
        offer = Offer(self._model, program.prices, most, room)
        for _ in range(BEGUN):
            if self._watch.stop:
                break
            copies = np.zeros((0, 2), dtype=np.int64)
            if begun:
                of = begun[drawn(self._chance, len(begun))]
                copies = np.column_stack([of[1], self.known[of]])
            dear = float(program.worths[kind])
            for new in dear_fillings(state, d, offer, copies, STEPS, dear, FOUND, self._chance):
                yield list(map(tuple, new[new[:, 0] >= 0].tolist()))

    def _some(self, chosen: Counter[Filling]) -> Counter[Filling]:
        """Return fillings without those of some domains, by chance."""
        every = sorted(chosen.elements())
        freed = FREED * (1 + drawn_part(self._chance))
        for _ in range(math.ceil(len(every) * freed)):
            every.pop(drawn(self._chance, len(every)))
        return Counter(every)

    def _dive(
        self, program: FillingProgram, kept: Counter[Filling], varied: float
    ) -> tuple[Counter[Filling], float]:
        """Return fillings of all domains, some of which are kept, and the room of what is left."""
        most, count = self._most.copy(), self._count.copy()
        chosen, taking = Counter[Filling](), list(kept.items())
        while True:
            for filling, times in taking:
                program.fix(filling, times)
                chosen[filling] += times
                count[filling[0]] -= times
                self._cover(most, filling[1], times)
            left = program.solve(self._watch.left)
            if not count.any() or self._watch.stop:
                break
            for _ in range(ROUNDS_DIVING):
                if not self._extend(program, most, count):
                    break
                left = program.solve(self._watch.left)
                if program.complete:
                    break
            open_, taking = program.undecided(), []
            if open_:
                self._choose(program, most, open_, varied)
            elif not (taking := self._rounded(program.taken(), varied)):
                break
        program.release()
        return chosen, left

    def _choose(
        self, program: FillingProgram, most: Ints, open_: Sequence[tuple[float, int]], varied: float
    ) -> None:
        """Let models take one option that take one anyway, and half of the others.

        These take what most of them does, those of which more does first.
        """
        whole = [row for part, row in open_ if part > 1 - WHOLE]
        mixed = sorted(
            (-self._varied(part, varied), row) for part, row in open_ if part <= 1 - WHOLE
        )
        for row in [*whole, *(row for _, row in mixed[: math.ceil(len(mixed) / 2)])]:
            program.choose(row)
            other = (self._model == self._model[row]) & (np.arange(len(most)) != row)
            most[other & ((most > 1) | (most[row] > 1))] = 0

    def _rounded(
        self, taken: Sequence[tuple[Filling, float]], varied: float
    ) -> list[tuple[Filling, int]]:
        """Return fillings taken in whole numbers, and how often; else the one taken most."""
        whole = [(filling, int(times + WHOLE)) for filling, times in taken]
        whole = [(filling, times) for filling, times in whole if times]
        if whole or not taken:
            return whole
        parts = [self._varied(times, varied) for _, times in taken]
        return [(taken[int(np.argmax(parts))][0], 1)]

    def _varied(self, part: float, varied: float) -> float:
        """Return a part that is varied by chance."""
        return part * (1 + varied * (drawn_part(self._chance) - 0.5))

    def _cover(self, most: Ints, rows: Sequence[int], times: int) -> None:
        """Leave out copies that are placed, and other options of their models."""
        starts = self._state.first_row
        for row in rows:
            j, left = self._model[row], max(0, most[row] - times)
            most[starts[j] : starts[j + 1]] = 0
            most[row] = left

    def _seat(self, chosen: Counter[Filling]) -> bool:
        """Put fillings on the board; whether each model has all its copies."""
        state = self._state
        state.gpu[:] = -1
        state.row[:] = -1
        placed = np.zeros(len(state.row), dtype=np.int64)
        empty = [iter(domains) for domains in self.domains]
        for filling in chosen.elements():
            begin = state.domains[next(empty[filling[0]])]
            for row, first in zip(filling[1], self.known[filling], strict=True):
                j, degree = self._model[row], state.degree[row]
                if state.row[j] not in (-1, row) or placed[j] == state.copies[row]:
                    continue  # covered more often than it must be
                at = begin + first
                state.row[j] = row
                state.gpu[state.first_seat[j] + placed[j], :degree] = state.in_domain[
                    at : at + degree
                ]
                placed[j] += 1
        free = state.free
        return bool(
            (state.row[free] >= 0).all() and (placed == state.copies[state.row])[free].all()
        )
