"""The search that both strategies for assignments share: what it keeps, and what it adopts."""

import math
import random

from boards import drawn_boards
from kvplace.core.certificates.certificate import Bound
from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.strategies.cluster.strategy import ClusterSearch
from kvplace.solver.strategies.stages import Settings
from kvplace.solver.strategies.undivided.strategy import UndividedSearch
from tiny import byte_problem


def test_only_what_is_valid_and_better_is_kept():
    for _, problem, board in drawn_boards(7, 20, gpus=2):
        search = ClusterSearch(problem, Settings())
        assert not search.placed
        assert search.value == math.inf
        search.offer(board)
        assert search.placed == board.valid
        if not board.valid:
            continue
        assert search.best is board
        assert search.value == board.worst()
        search.offer(Assignment(search.instance))  # nothing is placed
        search.offer(board.copy())  # no better
        assert search.best is board


def test_the_program_has_what_is_placed_among_its_columns():
    draw = random.Random(1)
    sizes = [(draw.randint(3, 20), float(draw.randint(1, 9))) for _ in range(8)]
    search = UndividedSearch(byte_problem([60, 60, 60], sizes), Settings())
    search.offer(Assignment.single(search.instance, [j % 3 for j in range(8)]))
    verdict = search.program.decide(search.value * (1 + 1e-6), search.watch)
    assert verdict.share <= 1 + 1e-9
    assert not verdict.impossible


def test_a_bound_is_taken_and_never_lowered():
    problem = byte_problem([60, 60], [(3, 5.0), (4, 6.0), (5, 1.0)])
    for kind in (UndividedSearch, ClusterSearch):
        search = kind(problem, Settings())
        low = search.low
        search.take(Bound(low * 1.5, "search"))
        assert search.low == low * 1.5
        search.adopt()  # nothing new
        assert search.low == low * 1.5
        assert search.deciding.value == search.low
