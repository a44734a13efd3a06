"""The pressure that an exchange promises is the pressure that it leaves."""

import math
import random

import numpy as np
import pytest

from kvplace.core.models.objective import Objective
from kvplace.solver.assignment.assignment import Assignment, moved
from kvplace.solver.assignment.subsets import Subsets
from kvplace.solver.clock import Watch
from kvplace.solver.improve.descent import level, settle
from kvplace.solver.improve.neighbourhoods.kinds import nearby, wide
from kvplace.solver.improve.neighbourhoods.neighbourhood import stays, uneven
from kvplace.solver.improve.neighbourhoods.shard_exchange import exchange_values
from kvplace.solver.instance.door import load_instance
from splits import random_split_problem, random_where

OBJECTIVES = Objective.REQUESTS, Objective.TOKENS, Objective.PRESSURE


def boards(seed, count):
    draw = random.Random(seed)
    while count:
        problem = random_split_problem(draw, objectives=OBJECTIVES)
        instance = load_instance(problem)
        where = random_where(draw, problem, instance)
        if where is not None and instance.g > 1:
            count -= 1
            yield Assignment(instance, where)


@pytest.mark.parametrize("seed", range(2))
def test_a_move_and_a_swap_leave_what_they_promise(seed):
    tried = 0
    for board in boards(seed, 40):
        g = int(board.arrays.pressure.argmax())
        mine = [j for j in board.members[g] if not uneven(board, j)]
        partners = np.array([h for h in range(board.instance.g) if h != g])
        if not mine:
            continue
        value, pairs = exchange_values(board, g, mine, partners)
        for number in range(len(value)):
            a, h, b = pairs(number)
            if value[number] == math.inf or a in board.members[h]:
                continue
            changes = [moved(board, a, g, h)]
            if b >= 0:
                if b in board.members[g] or not stays(board, b, h, g) or uneven(board, b):
                    continue
                changes.append(moved(board, b, h, g))
            undo, _ = board.apply(changes)
            left = max(board.arrays.pressure[g], board.arrays.pressure[h])
            assert left == pytest.approx(value[number], rel=1e-9, abs=1e-12)
            board.apply(undo)
            tried += 1
    assert tried > 50


@pytest.mark.parametrize("seed", range(2))
def test_wide_exchanges_leave_less_than_asked(seed):
    tried = 0
    for board in boards(seed + 7, 60):
        subsets = Subsets(board, models=[None, 2, 6][tried % 3])
        g = int(board.arrays.pressure.argmax())
        goal = float(board.arrays.pressure[g])
        partners = np.flatnonzero(board.arrays.pressure < goal)
        for out, h, back in subsets.exchanges(g, partners, goal, 20) if len(partners) else ():
            undo, touched = board.apply(
                [moved(board, j, g, h) for j in out] + [moved(board, j, h, g) for j in back]
            )
            assert max(board.arrays.pressure[h] for h in touched) <= goal * (1 + 1e-9)
            board.apply(undo)
            tried += 1
    assert tried > 30


def test_a_descent_never_raises_the_sorted_pressures():
    for board in boards(3, 40):
        before, flaws = sorted(board.arrays.pressure, reverse=True), board.flaws
        settle(board, Watch(None), 50, wide(board))
        level(board, Watch(None), 50, nearby(board))
        assert board.flaws <= flaws
        if board.flaws == flaws:
            assert sorted(board.arrays.pressure, reverse=True) <= before
        fresh = Assignment(board.instance, board.where)
        assert fresh.pressure == board.pressure
        assert fresh.flaws == board.flaws
