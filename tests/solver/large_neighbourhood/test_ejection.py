"""Guided ejection: what is pushed out, what has no room, and that the start stays as it is."""

import math

import pytest

from boards import assert_kept_up, drawn_boards, undivided
from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.clock import Watch
from kvplace.solver.instance.options import Chooser
from kvplace.solver.large_neighbourhood.ejection import Packer


def packer_of(board, seed=1, watch=None):
    return Packer(Chooser(board.instance), seed, watch or Watch())


@pytest.mark.parametrize("seed", range(2))
def test_what_is_packed_is_whole_and_at_or_below_the_target(seed):
    packed = 0
    for draw, _, board in drawn_boards(seed, 60, valid=True):
        if not board.worst():
            continue
        where = list(board.where)
        target = board.worst() * draw.choice([0.6, 0.9, 1.0, 1.5])
        found, tries = packer_of(board, seed).pack(board, target, 50)
        assert board.where == where
        assert 0 <= tries <= 50
        if found is not None:
            packed += 1
            assert not found.missing
            assert found.worst() <= target
            assert found.costs.broken <= 0
            assert_kept_up(found)
    assert packed > 20


def test_nothing_is_done_where_the_target_is_met():
    for _, _, board in drawn_boards(3, 20, valid=True):
        found, tries = packer_of(board).pack(board, math.inf, 50)
        assert tries == 0
        assert found.where == board.where


def test_one_seed_packs_one_way():
    for _, _, board in drawn_boards(4, 20, valid=True):
        if not board.worst():
            continue
        found = [packer_of(board, 7).pack(board, board.worst() * 0.9, 30) for _ in range(2)]
        plans = [None if one is None else one.where for one, _ in found]
        assert plans[0] == plans[1]
        assert found[0][1] == found[1][1]


def test_no_time_and_no_rounds_pack_nothing():
    board = Assignment.single(undivided(1, gpus=3, models=6), [0, 0, 0, 1, 1, 1])
    target = board.worst() * 0.9
    assert packer_of(board, watch=Watch(0.0)).pack(board, target, 50) == (None, 0)
    assert packer_of(board).pack(board, target, 0) == (None, 0)


@pytest.mark.parametrize("seed", range(3))
def test_the_least_trouble_is_pushed_out(seed):
    instance = undivided(seed, gpus=2, models=6, memory=(60, 60), size=(8, 9))
    board = Assignment.single(instance, [0, 0, 0, 0, 1, 1])
    packer = packer_of(board)
    target = board.worst()
    full = packer._cheapest(board, 0, [float(instance.memory[0])], target)
    assert full is None or sorted(full[1]) == sorted(board.members[0])
    assert packer._cheapest(board, 0, [-1e9], target) == (0.0, ())
    room = board.room(0, target)[0]
    packer._trouble[:] = [5.0, 4.0, 3.0, 2.0, 1.0, 1.0]
    trouble, out = packer._cheapest(board, 0, [room + 1.0], target)
    enough = [
        j for j in board.members[0]
        if instance.takes(instance.size[j], (instance.load[j],), target, 0)[0] > 1.0
    ]  # fmt: skip
    assert trouble == min(packer._trouble[j] for j in enough)
    assert out == (min(enough, key=lambda j: (packer._trouble[j], j)),)
