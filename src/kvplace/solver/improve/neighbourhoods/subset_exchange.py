"""Exchanges of subsets of undivided models under one pressure, all partners looked at at once."""

from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.improve.pair_exchange import Exchanger

__all__ = ["SubsetExchange"]


class SubsetExchange:
    """The best exchange with any colder GPU.

    Parameters
    ----------
    exchanger
        Of the assignment that is descended.
    """

    adds = False

    def __init__(self, exchanger: Exchanger) -> None:
        self._exchanger = exchanger

    def applies(self, board: Assignment) -> bool:
        """Whether there is one pressure, and no rule and no split."""
        return board.instance.pressures == 1 and board.instance.n == len(board.instance.size)

    def relieve(self, board: Assignment, g: int, goal: float) -> set[int] | None:
        """Make the best exchange that leaves both GPUs below a pressure."""
        assert board is self._exchanger.state
        partner = self._exchanger.relieve(g, self._exchanger.colder(goal), goal)
        return None if partner is None else {g, partner}
