"""Repair of memory: as few models as that takes, and none where it cannot be."""

import random

import pytest

from boards import undivided
from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.construct.repair import make_room
from kvplace.solver.instance.door import load_instance
from tiny import byte_problem


def loaded(memories, rows):
    """Return an instance whose models stand in the order of the rows."""
    instance = load_instance(byte_problem(memories, rows))
    assert list(instance.model_index) == list(range(len(rows)))
    return instance


def test_the_smallest_model_that_is_enough_leaves():
    instance = loaded([10, 10], [(5, 9.0), (3, 8.0), (2, 7.0), (1, 6.0)])
    assert make_room(instance, [0, 0, 0, 1]) == [0, 0, 1, 1]


def test_what_fits_is_left_alone():
    instance = loaded([10, 10], [(5, 9.0), (3, 8.0)])
    assert make_room(instance, [0, 0]) == [0, 0]


def test_where_one_is_not_enough_the_largest_goes_first():
    # 9 + 8 + 6 in 10: no one is enough, so 9 leaves; then the 6 is enough.
    instance = loaded([10, 30], [(9, 9.0), (8, 8.0), (6, 7.0)])
    memory = list(instance.memory)
    small = memory.index(10)
    found = make_room(instance, [small] * 3)
    assert found == [1 - small, small, 1 - small]


def test_least_kv_counts():
    instance = loaded([10, 10], [(4, 9.0, 3), (3, 8.0, 3)])
    found = make_room(instance, [0, 0])
    assert sorted(found) == [0, 1]


def test_no_room_anywhere_is_said():
    instance = loaded([8, 8], [(5, 9.0), (5, 8.0), (5, 7.0)])
    assert make_room(instance, [0, 0, 1]) is None


@pytest.mark.parametrize("seed", range(10))
def test_any_start_is_repaired_or_said_to_be_beyond_it(seed):
    draw = random.Random(seed)
    instance = undivided(seed, gpus=4, models=16, memory=(60, 70), keep=2)
    for _ in range(20):
        start = [draw.randrange(2) for _ in range(16)]
        found = make_room(instance, start)
        board = Assignment.single(instance, start)
        if found is None:
            continue
        repaired = Assignment.single(instance, found)
        assert repaired.valid
        if board.valid:
            assert found == start
        sound = {g for g, value in enumerate(board.pressure) if value < float("inf")}
        assert all(found[j] == g for j, g in enumerate(start) if g in sound)
