"""Excess: what GPUs hold above a target, all of them together, brought down by exchanges.

Where a start is filled by sizes on levels, many GPUs end a little above its target and as many a
little below: shards are handed out anew. Where KV must be left, a step exchanges one or two shards
of a GPU above it for none, one or two of another, so that the sum of what both GPUs hold too much
falls most: of room at the target, or of memory with the KV that must be left. Shards of which rules
speak stay in their region.
"""

import math
import random
import sys
from operator import itemgetter

import numpy as np

from kvplace.solver.array_types import Floats
from kvplace.solver.assignment.assignment import Assignment, Change
from kvplace.solver.clock import Watch
from kvplace.solver.construct.candidates import RULED, best_seat, seats_by
from kvplace.solver.construct.excess_state import Excess, Move
from kvplace.solver.construct.rematch import Rematch
from kvplace.solver.instance.instance import Copies, Option

__all__ = ["VALID", "crowd", "fall", "lower_excess", "packed"]

VALID = sys.float_info.max
"""A target at which memory alone counts."""

MOST = 100_000
"""Copies above which nothing is done: each step looks at all of them."""
WHOLE = 64.0
"""Bytes of excess that count as none."""
GAIN = 2.0**10
"""Bytes by which a step lowers the excess at least."""
TRIES = 24
"""Exchanges looked at for a bundle until one keeps the copies of each model apart."""
FIRST = 0.5
"""Part of the gap by which the first lower target is below the value, and every other at most."""
LINKS, LINKED = 4, 6
"""GPUs besides the first in a chain of exchanges at most, and chains that are followed at once."""
PINNED = 100.0
"""What a byte of excess that no exchange can lower, beside split shards alone, counts."""
STARTS, SHAKEN = 24, 0.7
"""Orders in which models are packed at most, and the least factor on a size that sorts them."""


def lower_excess(board: Assignment, target: float, watch: Watch) -> float:
    """Exchange shards as long as that lowers the excess at a target.

    Parameters
    ----------
    board
        Changed in place; of one pressure. GPUs may hold more than their memory.
    target
        In load per byte, above 0 and finite.
    watch
        Ends it early.

    Returns
    -------
    float
        Bytes that GPUs still hold too much, all of them together; ``inf`` where nothing is done.
    """
    left, changes = _exchanges(board, target, watch)
    board.apply(changes)
    return left


def _exchanges(board: Assignment, target: float, watch: Watch) -> tuple[float, list[Change]]:
    """Return what `lower_excess` does, and the changes that it makes."""
    if watch.stop:  # what goes before the first exchange takes seconds of many models
        return math.inf, []
    if not board.instance.columns.keeps:
        rematch = Rematch(board, target)
        return rematch.run(watch), rematch.changes()
    if sum(map(len, board.where)) > MOST:
        return math.inf, []
    state = _Search(board, target)
    if state.model:
        state.run(watch)
    return float(state.over[state.over > WHOLE].sum()), state.changes()


def fall(board: Assignment, low: float, least: float, watch: Watch) -> None:
    """Lower the value by exchanges at lower targets, nearer to it after each that is not reached.

    Parameters
    ----------
    board
        Valid, and changed in place where a target is reached; of one pressure.
    low
        A lower bound, above 0.
    least
        Part of the gap that is not worth a further target.
    watch
        Ends it early.
    """
    part = FIRST
    while part > least and not watch.stop:
        worst = board.worst()
        if worst <= low:
            break
        left, changes = _exchanges(board, low + (worst - low) * (1 - part), watch)
        undo = board.apply(changes)[0] if left <= 0 else []
        reached = board.worst() < worst
        if not reached:
            board.apply(undo)
        part = min(part * 1.5, FIRST) if reached else part / 2


def packed(board: Assignment, seed: int, watch: Watch) -> Assignment | None:
    """Place the models that an assignment lacks, as far as memory alone is asked.

    They go where they are least too much, the largest first, and exchanges mend what GPUs hold
    above their memory. Further orders are tried, with sizes changed at random.

    Parameters
    ----------
    board
        Not changed.
    seed
        Of the orders.
    watch
        Ends it early.

    Returns
    -------
    Assignment or None
        A valid one; None where none is found.
    """
    chance, options = random.Random(seed), board.instance.options  # noqa: S311 - a search, not a secret
    if board.instance.n > MOST:
        return None
    lacking = [j for j, copies in enumerate(board.where) if not copies]
    least = [min(option.size + option.keep for option in options[j]) for j in lacking]
    for start in range(STARTS):
        found = board.copy()
        sizes = [size * (chance.uniform(SHAKEN, 1) if start else 1) for size in least]
        order = sorted(range(len(lacking)), key=sizes.__getitem__, reverse=True)
        placed = all(not watch.stop and crowd(found, lacking[at], VALID) for at in order)
        if not placed:
            return None
        state = _Search(found, VALID)
        state.run(watch)
        found.apply(state.changes())
        if found.valid:
            return found
    return None


def crowd(board: Assignment, j: int, target: float) -> bool:
    """Place a model that has no place where its copies add least excess, whatever that is.

    Exchanges move undivided shards only, so split ones go where other split ones leave room.

    Returns
    -------
    bool
        Whether it was placed; not where rules forbid it, or GPUs are too few.
    """
    instance, arrays = board.instance, board.arrays
    if instance.pressures > 1 and target < VALID:
        return False
    room = arrays.free - arrays.load[0] / target, (arrays.free - arrays.kept).astype(np.float64)
    before = np.maximum(np.maximum(-room[0], -room[1]), 0.0)
    freed = _movable(board, target) if any(o.degree > 1 for o in instance.options[j]) else None
    best: tuple[float, Option, Copies] | None = None
    for option in instance.options[j]:
        size = option.size + option.load / target, float(option.size + option.keep)
        over = np.maximum(size[0] - room[0], size[1] - room[1])
        added = np.maximum(over, 0.0) - before
        if option.degree > 1 and freed is not None:
            added += PINNED * np.maximum(over - freed, 0.0)
        added[~instance.columns.allowed[j]] = math.inf
        # What fits anywhere leaves more room elsewhere the fewer copies there are.
        cost = 0.0
        while len(board.where[j]) < option.copies:
            seat = best_seat(board, j, seats_by(board, option, added, RULED), RULED, RULED)
            if seat is None:
                cost = math.inf
                break
            board.apply([(j, option, (*board.where[j], seat))])
            cost += float(added[list(seat)].sum())
            added[list(seat)] = math.inf
        if cost < math.inf and (best is None or cost < best[0]):
            best = cost, option, board.where[j]
        board.apply([(j, None, ())])
    if best is None:
        return False
    board.apply([(j, best[1], best[2])])
    return True


def _movable(board: Assignment, target: float) -> Floats:
    """Return (g,) bytes of the undivided shards of each GPU at a target."""
    found = np.zeros(board.instance.g)
    for copies, option in zip(board.where, board.option, strict=True):
        if option is not None and option.degree == 1:
            found[[g for (g,) in copies]] += option.size + max(option.load / target, option.keep)
    return found


class _Search(Excess):
    """Looks for steps that lower the excess, and makes them."""

    def run(self, watch: Watch) -> None:
        """Take GPUs with the most excess first, until none has a step that lowers it."""
        stuck = np.zeros(len(self.over), dtype=bool)
        while not watch.stop:
            open_ = np.where(stuck, 0.0, self.over)
            g = int(open_.argmax())
            if open_[g] <= WHOLE:
                break
            moves = self._step(g) or self._chain(g)
            if moves:
                self.carry(moves)
                stuck[[g, *(to for _, _, to in moves)]] = False
            else:
                stuck[g] = True

    def _step(self, g: int) -> list[Move]:
        """Return the exchange with another GPU that lowers the excess most, if any does."""
        bundles = self._bundles
        at = np.flatnonzero(bundles.alive & (bundles.gpu != g))
        there, back = bundles.gpu[at], (bundles.first[at], bundles.second[at])
        here, near = np.full(len(at), g), self._region[there] == self._region[g]
        allowed = near | ~bundles.tied[at]
        best, step = -GAIN, []
        for out in self._of[g]:
            if not bundles.alive[out] or bundles.shards[out, 0] < 0:
                continue
            first, second = float(bundles.first[out]), float(bundles.second[out])
            change = (
                self._over(here, back[0] - first, back[1] - second)
                + self._over(there, first - back[0], second - back[1])
                - self.over[g] - self.over[there]
            )  # fmt: skip
            change[~(near if bundles.tied[out] else allowed)] = 0.0
            most = min(TRIES, len(change))
            for number in np.argpartition(change, most - 1)[:most].tolist():
                moves = [(out, g, int(there[number])), (int(at[number]), int(there[number]), g)]
                if change[number] < best and self.apart(moves):
                    best, step = float(change[number]), moves
        return step

    def _chain(self, g: int) -> list[Move]:
        """Return a cyclic exchange of several GPUs that lowers the excess of one and of no other.

        What leaves a GPU takes the place of something smaller on the next, as far as that has
        room, and so on, until what is left over is small enough for the first.
        """
        best, found = GAIN, []
        for out in self._of[g]:
            if not self._bundles.alive[out] or self._bundles.shards[out, 0] < 0:
                continue
            gain, moves = self._chained(g, out)
            if gain > best:
                best, found = gain, moves
            if gain >= self.over[g]:
                break
        return found

    def _chained(self, g: int, out: int) -> tuple[float, list[Move]]:
        """Return by how much a chain that begins with a bundle lowers the excess, and its moves."""
        bundles, gpu = self._bundles, self._bundles.gpu
        first, second = bundles.first, bundles.second
        rooms = self._room[0] - self._sums[0], self._room[1] - self._sums[1]
        holds = first + rooms[0][gpu], second + rooms[1][gpu]  # what may take its place
        alive = bundles.alive & (self.over[gpu] <= 0)
        home = self._region[gpu] == self._region[g]
        goal = first[out] - self.over[g]
        best, found = 0.0, []
        paths: list[list[int]] = [[out]]
        for _ in range(LINKS):
            longer: list[tuple[float, list[int]]] = []
            for path in paths:
                last = path[-1]
                fits = alive & (holds[0] >= first[last]) & (holds[1] >= second[last])
                fits &= first < first[last] - GAIN
                if bundles.tied[last]:
                    fits &= self._region[gpu] == self._region[gpu[last]]
                fits[np.isin(gpu, gpu[path])] = False
                at = np.flatnonzero(fits)
                # The largest that the first GPU holds, and the smallest of what it does not.
                done = at[(first[at] <= goal) & (home[at] | ~bundles.tied[at])]
                few = done[np.argsort(-first[done], kind="stable")[:LINKED]].tolist()
                few += at[np.argsort(first[at], kind="stable")[:LINKED]].tolist()
                for number in few:
                    moves = self._cycle(g, [*path, number])
                    if self.apart(moves[:-1]):
                        longer.append((float(first[number]), [*path, number]))
                    gain = min(float(first[out] - first[number]), float(self.over[g]))
                    back = home[number] or not bundles.tied[number]
                    back &= second[number] <= second[out]
                    if gain > best and back and self.apart(moves):
                        best, found = gain, moves
                if best >= self.over[g]:
                    return best, found
            longer.sort(key=itemgetter(0))
            paths = [path for _, path in longer[:LINKED]]
        return best, found

    def _cycle(self, g: int, path: list[int]) -> list[Move]:
        """Return the moves of bundles each of which takes the place of the next."""
        gpus = [*self._bundles.gpu[path].tolist(), g]
        return list(zip(path, gpus, gpus[1:], strict=False))
