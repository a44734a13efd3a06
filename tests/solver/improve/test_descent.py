"""The two drivers of the descent, over steps made up for it and over those that there are."""

import math

import pytest

from boards import assert_kept_up, drawn_boards, spread, undivided
from kvplace.solver.clock import Watch
from kvplace.solver.improve.descent import COPY_GAIN, level, settle
from kvplace.solver.improve.moves_and_swaps import MoveAndSwap
from kvplace.solver.improve.neighbourhoods.kinds import nearby, wide
from kvplace.solver.improve.neighbourhoods.shard_exchange import ShardExchange


class Scripted:
    """Relieves what it is told to, and notes what it was asked."""

    adds = False

    def __init__(self, *helped):
        self.helped, self.asked, self.goals = list(helped), [], []

    def applies(self, board):  # noqa: ARG002 - always
        return True

    def relieve(self, board, g, goal):  # noqa: ARG002 - changes nothing
        self.asked.append(g)
        self.goals.append(goal)
        if g in self.helped:
            self.helped.remove(g)
            return {g}
        return None


def board_of(seed=1, gpus=4):
    return spread(undivided(seed, gpus=gpus, models=12), seed)


def test_the_hottest_is_relieved_until_nothing_helps():
    board = board_of()
    hot = board.pressure.index(board.worst())
    kind = Scripted(hot, hot)
    assert settle(board, Watch(), 10, [kind]) == 2
    assert kind.asked == [hot] * 3
    assert kind.goals[0] == board.worst() * (1 - 1e-9)
    assert settle(board, Watch(), 1, [Scripted(hot, hot)]) == 1
    assert settle(board, Watch(0.0), 10, [Scripted(hot)]) == 0


def test_equally_hot_gpus_are_tried_in_turn():
    instance = undivided(3, gpus=3, models=3, memory=(50, 50), size=(5, 5))
    board = spread(instance, 3)
    board.reset([((0,),), ((1,),), ((2,),)])
    board.pressure[:] = [2.0, 2.0, 1.0]
    kind = Scripted()
    settle(board, Watch(), 10, [kind])
    assert kind.asked == [0, 1]
    kind = Scripted(1)
    assert settle(board, Watch(), 10, [kind]) == 1
    assert kind.asked == [0, 1, 0, 1]


def test_nothing_presses_nothing_is_done():
    board = board_of()
    board.pressure[:] = [0.0] * 4
    kind = Scripted(0, 1, 2, 3)
    assert settle(board, Watch(), 10, [kind]) == 0
    assert level(board, Watch(), 10, [kind]) == 0
    assert kind.asked == []


def test_every_gpu_is_relieved_the_hottest_first():
    board = board_of()
    order = [
        g for g in sorted(range(4), key=lambda g: (-board.pressure[g], g)) if board.pressure[g]
    ]
    kind = Scripted()
    assert level(board, Watch(), 10, [kind]) == 0
    assert kind.asked == order
    kind = Scripted(order[1])
    assert level(board, Watch(), 10, [kind]) == 1
    assert kind.asked == [order[0], order[1], *order[1:]]
    kind = Scripted(order[1])
    assert level(board, Watch(), 10, [kind], again=True) == 1
    assert kind.asked == [order[0], order[1], *order]
    assert level(board, Watch(), 0, [Scripted(*order)]) == 0


def test_steps_that_add_shards_must_gain_more_in_the_balance():
    board = board_of()
    kind = Scripted()
    kind.adds = True
    level(board, Watch(), 10, [kind], 1e-6)
    assert kind.goals[0] == board.worst() * (1 - COPY_GAIN)
    level(board, Watch(), 10, [kind], 0.5)
    assert kind.goals[-1] <= board.worst() * 0.5


@pytest.mark.parametrize("seed", range(6))
def test_moves_and_swaps_in_python_and_by_arrays_come_to_the_same_end(seed):
    instance = undivided(seed, gpus=4, models=14)
    start = spread(instance, seed)
    plain, arrays = start.copy(), start.copy()
    level(plain, Watch(), math.inf, [MoveAndSwap(plain)], 1e-9, again=True)
    level(arrays, Watch(), math.inf, [ShardExchange()], 1e-9, again=True)
    for board in (plain, arrays):
        assert sorted(board.pressure, reverse=True) <= sorted(start.pressure, reverse=True)
        rest = MoveAndSwap(board), ShardExchange()
        for kind in rest:
            for g in range(4):
                assert kind.relieve(board, g, board.pressure[g] * (1 - 1e-9)) is None
    assert_kept_up(plain)


@pytest.mark.parametrize("kinds", [nearby, wide])
def test_descents_leave_an_assignment_that_is_kept_up_and_no_worse(kinds):
    moved = 0
    for _, _, board in drawn_boards(5, 40, gpus=2, valid=True):
        flaws, before = board.flaws, sorted(board.pressure, reverse=True)
        moved += settle(board, Watch(), 40, kinds(board))
        moved += level(board, Watch(), 40, kinds(board))
        assert_kept_up(board)
        assert board.flaws <= flaws
        assert board.flaws < flaws or sorted(board.pressure, reverse=True) <= before
    assert moved > 20


def test_each_problem_has_the_steps_that_it_can_use():
    seen = set()
    for _, _, board in drawn_boards(6, 60):
        near = [type(kind).__name__ for kind in nearby(board)]
        far = [type(kind).__name__ for kind in wide(board)]
        assert ("ShardExchange" in near) == (board.instance.g > 1)
        assert ("AnotherCopy" in near) == (max(board.instance.copies) > 1)
        assert ("AnotherSplit" in near) == (max(board.instance.degree) > 1)
        assert set(near) <= set(far)
        assert board.instance.g == 1 or far[0] == "SubsetExchange"
        seen |= set(far)
    assert len(seen) == 5
