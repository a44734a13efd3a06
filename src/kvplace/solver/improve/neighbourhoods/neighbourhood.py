"""Neighbourhood: one kind of step that relieves a GPU, and how its steps are tried."""

from abc import ABC, abstractmethod

from kvplace.solver.assignment.assignment import Assignment, Change

TRIED = 48
"""Steps tried in the order of what they promise."""


class Neighbourhood(ABC):
    """One kind of step.

    Attributes
    ----------
    adds
        Whether its steps change how many shards there are, so that they must gain more.
    """

    adds = False

    def applies(self, board: Assignment) -> bool:
        """Whether the problem has such steps at all: of most kinds where there is another GPU."""
        return board.instance.g > 1

    @abstractmethod
    def relieve(self, board: Assignment, g: int, goal: float) -> set[int] | None:
        """Make the first step found that leaves all GPUs it touches below a pressure.

        Parameters
        ----------
        board
            Changed in place.
        g
            The GPU to relieve.
        goal
            Pressure not to reach.

        Returns
        -------
        set of int or None
            The GPUs touched; None where nothing helps, and the board is as it was.
        """


def try_changes(board: Assignment, changes: list[Change], goal: float) -> set[int] | None:
    """Make changes if all GPUs touched end below a pressure and no flaw grows.

    Returns
    -------
    set of int or None
        The GPUs touched; None where the board is left as it was.
    """
    flaws = board.flaws
    before = board.arrays.free.copy() if board.arrays.sparing else board.arrays.free
    undo, touched = board.apply(changes)
    if (
        board.flaws <= flaws
        and all(board.arrays.pressure[g] < goal for g in touched)
        and board.spared(before, touched)
    ):
        return touched
    board.apply(undo)
    return None


def uneven(board: Assignment, j: int) -> bool:
    """Whether a model's loads change with where its copies are."""
    return board.instance.is_uneven(j) and len(board.where[j]) > 1


def stays(board: Assignment, j: int, source: int, target: int) -> bool:
    """Whether a shard may go from one GPU to another without leaving its link domain."""
    domain_of = board.instance.columns.domain_of
    return board.chosen(j).degree == 1 or bool(domain_of[source] == domain_of[target])
