"""What searches ask of an assignment: its hottest GPUs, exchanges, copies of itself."""

import math

import pytest

from boards import assert_kept_up, drawn_boards, spread, undivided
from kvplace.solver.assignment.assignment import Assignment


@pytest.mark.parametrize("arrays", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_the_hottest_are_those_within_the_tolerance(seed, arrays):
    board = spread(undivided(seed, gpus=5, models=10), seed)
    if arrays:
        assert board.arrays.pressure.tolist() == board.pressure
    worst = max(board.pressure)
    for tolerance in (0.0, 1e-9, 0.3, 0.8):
        found = board.hottest(tolerance, 99)
        expected = [g for g, p in enumerate(board.pressure) if p >= worst * (1 - tolerance)]
        assert found == (expected if worst > 0 else [])
        assert board.hottest(tolerance, 1) == found[:1]


def test_nothing_presses_nothing_is_hottest():
    instance = undivided(1, gpus=3, models=3)
    board = Assignment(instance)
    assert board.hottest(0.5, 9) == []
    assert board.arrays.pressure.tolist() == [0.0] * 3
    assert board.hottest(0.5, 9) == []
    assert not board.valid
    assert board.missing == sum(instance.least_bytes)


@pytest.mark.parametrize("seed", range(2))
def test_a_copy_changes_by_itself(seed):
    for draw, _, board in drawn_boards(seed, 40):
        if draw.random() < 0.5:
            assert len(board.arrays.free) == board.instance.g
        twin = board.copy()
        assert twin.worth() == board.worth()
        before = list(board.where), board.worth()
        j = draw.randrange(board.instance.n)
        twin.apply([(j, None, ())])
        assert (list(board.where), board.worth()) == before
        assert_kept_up(twin)
        twin.move_to(board)
        assert twin.where == board.where
        assert twin.worth() == board.worth()
        assert_kept_up(twin)


@pytest.mark.parametrize("seed", range(3))
def test_moving_to_another_touches_only_what_differs(seed):
    instance = undivided(seed, gpus=5, models=12)
    one, two = spread(instance, seed), spread(instance, seed + 100)
    one.changed.clear()
    differ = {
        g
        for j in range(12)
        for g in (one.gpu_of[j], two.gpu_of[j])
        if one.gpu_of[j] != two.gpu_of[j]
    }
    one.move_to(two)
    assert one.changed == differ
    assert_kept_up(one)


@pytest.mark.parametrize("seed", range(3))
def test_rooms_and_what_binds_are_of_the_scarcest(seed):
    for _, _, board in drawn_boards(seed, 40):
        instance = board.instance
        for g, held in enumerate(board.members):
            if not held or board.pressure[g] in (0.0, math.inf):
                continue
            room = board.room(g, board.pressure[g])
            assert len(room) == instance.pressures
            assert min(room) == pytest.approx(0.0, abs=1e-6 * instance.memory[g])
            assert room[board.binding(g)] == min(room)
            at = board.binding(g)
            order = [board.shard_loads(j, g)[at] for j in board.hottest_first(g)]
            assert order == sorted(order, reverse=True)


def test_a_shard_taken_off_leaves_its_model_missing():
    for _, _, board in drawn_boards(8, 40, valid=True):
        j = 0
        option, copies = board.option[j], board.where[j]
        board.apply([(j, option, copies[:-1])])
        assert board.missing == board.instance.least_bytes[j]
        assert not board.valid
        assert board.flaws[0] == board.missing
        board.apply([(j, option, copies)])
        assert board.valid
        assert_kept_up(board)
