"""Repair by ejection: as few models as that takes, and none where it cannot be."""

import random

import pytest

from boards import assert_kept_up, undivided
from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.clock import Watch
from kvplace.solver.construct.target_search import construct
from kvplace.solver.instance.door import load_instance
from kvplace.solver.instance.options import Chooser
from kvplace.solver.large_neighbourhood.ejection import repaired
from splits import random_split_problem
from tiny import byte_problem


def mended(instance, gpu_of):
    """Return the GPU of each model after a repair; None where none is found."""
    found = repaired(Assignment.single(instance, gpu_of), 50, 0, Watch())
    return None if found is None else found.gpu_of


def loaded(memories, rows):
    """Return an instance whose models stand in the order of the rows."""
    instance = load_instance(byte_problem(memories, rows))
    assert list(instance.model_index) == list(range(len(rows)))
    return instance


def test_the_smallest_model_that_is_enough_leaves():
    instance = loaded([10, 10], [(5, 9.0), (3, 8.0), (2, 7.0), (1, 6.0)])
    assert mended(instance, [0, 0, 0, 1]) == [0, 0, 1, 1]


def test_what_fits_is_left_alone():
    instance = loaded([10, 10], [(5, 9.0), (3, 8.0)])
    assert mended(instance, [0, 0]) == [0, 0]


def test_where_one_is_not_enough_the_largest_goes_first():
    # 9 + 8 + 6 in 10: no one is enough, so 9 leaves; then the 6 is enough.
    instance = loaded([10, 30], [(9, 9.0), (8, 8.0), (6, 7.0)])
    memory = list(instance.memory)
    small = memory.index(10)
    found = mended(instance, [small] * 3)
    assert found == [1 - small, small, 1 - small]


def test_least_kv_counts():
    instance = loaded([10, 10], [(4, 9.0, 3), (3, 8.0, 3)])
    found = mended(instance, [0, 0])
    assert sorted(found) == [0, 1]


def test_no_room_anywhere_is_said():
    instance = loaded([8, 8], [(5, 9.0), (5, 8.0), (5, 7.0)])
    assert mended(instance, [0, 0, 1]) is None


@pytest.mark.parametrize("seed", range(10))
def test_any_start_is_repaired_or_said_to_be_beyond_it(seed):
    draw = random.Random(seed)
    instance = undivided(seed, gpus=4, models=16, memory=(60, 70), keep=2)
    for _ in range(20):
        start = [draw.randrange(2) for _ in range(16)]
        found = mended(instance, start)
        board = Assignment.single(instance, start)
        if found is None:
            continue
        assert Assignment.single(instance, found).valid
        if board.valid:
            assert found == start


@pytest.mark.parametrize("seed", range(3))
def test_rules_are_kept_again_and_what_keeps_them_stays(seed):
    draw = random.Random(seed)
    mended_, valid = 0, 0
    for _ in range(40):
        instance = load_instance(random_split_problem(draw, models=4))
        if not instance.g or not all(instance.options):
            continue
        good = next((b for b in construct(Chooser(instance), 0.0, Watch()) if b.valid), None)
        if good is None:
            continue
        valid += 1
        board = good.copy()
        j = draw.randrange(instance.n)
        board.apply([(j, None, ())])
        free = [g for g in range(instance.g) if instance.columns.allowed[j][g]]
        single = next((o for o in instance.options[j] if o.shards == 1), None)
        if single is not None:
            board.apply([(j, single, ((draw.choice(free),),))])
        where = list(board.where)
        found = repaired(board, 60, seed, Watch())
        assert board.where == where
        if found is not None:
            mended_ += 1
            assert found.valid
            assert_kept_up(found)
    assert mended_ >= 0.9 * valid > 10
