"""Models placed anew: a copy elsewhere, one copy more, another split."""

from abc import abstractmethod
from collections.abc import Iterator
from itertools import chain
from operator import le

from kvplace.solver.assignment.assignment import Assignment, Change
from kvplace.solver.construct.candidates import place_model
from kvplace.solver.improve.neighbourhoods.neighbourhood import Neighbourhood
from kvplace.solver.instance.instance import Copies, Option

Ways = Iterator[tuple[Option, Copies | None]]


class _Anew(Neighbourhood):
    """A model on a GPU is placed anew, the one that presses most first."""

    adds = True

    def applies(self, board: Assignment) -> bool:
        """Whether a model may be split."""
        return max(board.instance.degree, default=1) > 1

    @abstractmethod
    def _ways(self, board: Assignment, j: int, now: Option) -> Ways:
        """Yield the options to try, and the copies that stay: None for those not on the GPU."""

    def relieve(self, board: Assignment, g: int, goal: float) -> set[int] | None:
        """Place a model anew if all GPUs touched end below a pressure."""
        for j in board.hottest_first(g):
            for option, keep in self._ways(board, j, board.chosen(j)):
                others = tuple(copy for copy in board.where[j] if g not in copy)
                kept = others if keep is None else keep
                found = _replaced(board, g, j, option, kept, goal)
                if found is not None:
                    return found
        return None


class Reseat(_Anew):
    """A copy moves to other seats as a whole."""

    adds = False

    def applies(self, board: Assignment) -> bool:
        """Whether a copy may be more than a shard that an exchange moves."""
        return super().applies(board) or bool(board.instance.uneven)

    def _ways(self, board: Assignment, j: int, now: Option) -> Ways:
        if now.degree > 1 or board.instance.is_uneven(j):  # else an exchange has looked at it
            yield now, None


class AnotherCopy(_Anew):
    """A model gets one more copy, so that each carries less."""

    def applies(self, board: Assignment) -> bool:
        """Whether a model may have several copies."""
        return max(board.instance.copies, default=1) > 1

    def _ways(self, board: Assignment, j: int, now: Option) -> Ways:
        for other in board.instance.options[j]:
            if (other.degree, other.copies) == (now.degree, now.copies + 1):
                yield other, board.where[j]


class AnotherSplit(_Anew):
    """A model is placed with another degree and number of copies, all anew."""

    def _ways(self, board: Assignment, j: int, now: Option) -> Ways:
        # Options near the present one, those with the fewest shards first.
        near = [
            o for o in board.instance.options[j]
            if o.degree != now.degree and o.shards <= 2 * now.shards + 1
            and all(map(le, chain(*o.loads), chain(*now.loads)))
        ]  # fmt: skip
        yield from ((o, ()) for o in sorted(near, key=lambda o: (o.shards, o.degree))[:4])


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
