"""Leximax of a small fleet: the best balance of all GPUs, not of the worst alone."""

from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.clock import Watch
from kvplace.solver.exact.enumerate import Enumeration


def rank(board: Assignment, nodes: int, watch: Watch) -> int:
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
