"""Models placed anew: a copy elsewhere, one copy more, another split."""

from collections.abc import Iterator
from itertools import chain
from operator import le

from kvplace.solver.assignment.assignment import Assignment, Change
from kvplace.solver.construct.candidates import place_model
from kvplace.solver.instance.instance import Copies, Option

__all__ = ["AnotherCopy", "AnotherSplit", "Reseat"]


class Reseat:
    """A copy moves to other seats as a whole."""

    adds = False

    def applies(self, board: Assignment) -> bool:
        """Whether a copy may be more than a shard that an exchange moves."""
        return max(board.instance.degree, default=1) > 1 or bool(board.instance.uneven)

    def relieve(self, board: Assignment, g: int, goal: float) -> set[int] | None:
        """Move a copy off the GPU, that of the model which presses most first."""
        for j in board.hottest_first(g):
            option = board.option[j]
            assert option is not None
            if option.degree == 1 and not board.instance.is_uneven(j):
                continue  # an exchange has looked at it
            others = tuple(copy for copy in board.where[j] if g not in copy)
            found = _replaced(board, g, j, option, others, goal)
            if found is not None:
                return found
        return None


class AnotherCopy:
    """A model gets one more copy, so that each carries less."""

    adds = True

    def applies(self, board: Assignment) -> bool:
        """Whether a model may have several copies."""
        return max(board.instance.copies, default=1) > 1

    def relieve(self, board: Assignment, g: int, goal: float) -> set[int] | None:
        """Start a copy of a model on the GPU, the one that presses most first."""
        for j in board.hottest_first(g):
            now = board.option[j]
            assert now is not None
            wanted = now.degree, now.copies + 1
            for other in board.instance.options[j]:
                if (other.degree, other.copies) == wanted:
                    found = _replaced(board, g, j, other, board.where[j], goal)
                    if found is not None:
                        return found
        return None


class AnotherSplit:
    """A model is placed with another degree and number of copies, all anew."""

    adds = True

    def applies(self, board: Assignment) -> bool:
        """Whether a model may be split."""
        return max(board.instance.degree, default=1) > 1

    def relieve(self, board: Assignment, g: int, goal: float) -> set[int] | None:
        """Split a model on the GPU in another way, the one that presses most first."""
        for j in board.hottest_first(g):
            for other in _splits(board.instance.options[j], board.option[j]):
                found = _replaced(board, g, j, other, (), goal)
                if found is not None:
                    return found
        return None


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


def _splits(options: list[Option], now: Option | None) -> Iterator[Option]:
    """Yield other options near the present one, those with the fewest shards first."""
    assert now is not None
    near = [
        o for o in options
        if o.degree != now.degree and o.shards <= 2 * now.shards + 1
        and all(map(le, chain(*o.loads), chain(*now.loads)))
    ]  # fmt: skip
    yield from sorted(near, key=lambda o: (o.shards, o.degree))[:4]
