"""Rounding: nothing is lost, nothing is placed twice, and no room is exceeded."""

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from kvplace.solver.clock import Watch
from kvplace.solver.column_generation.diving import round_off
from kvplace.solver.column_generation.level_program import LevelProgram
from kvplace.solver.column_generation.levels import LevelRooms, Need, need_of

GRID = 24


@st.composite
def _needs(draw):
    n = draw(st.integers(1, 30))
    level = np.array(draw(st.lists(st.integers(1, 20), min_size=n, max_size=n)))
    copied = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    levels = np.column_stack([level, np.maximum(1, level // 2 + 2)])
    fit = np.column_stack([np.ones(n, dtype=bool), copied])
    each, shards = levels.astype(float), np.tile([1.0, 2.0], (n, 1))
    rooms = Counter(draw(st.lists(st.integers(4, GRID), min_size=1, max_size=25)))
    return (
        need_of(GRID, np.where(fit, levels, 0), each, shards, fit)[0],
        LevelRooms(np.array(sorted(rooms)), np.array([float(rooms[r]) for r in sorted(rooms)])),
    )


def _asked(need: Need, option: np.ndarray) -> Counter[int]:
    asked = Counter({x: int(k) for x, k in enumerate(need.demand.tolist()) if k})
    for j, (now, then) in enumerate(zip(need.chosen.tolist(), option.tolist(), strict=True)):
        asked[int(need.class_[j, now])] -= int(need.shards[j, now])
        asked[int(need.class_[j, then])] += int(need.shards[j, then])
    return +asked


@settings(max_examples=60, deadline=None)
@given(_needs())
def test_every_shard_is_in_one_set_or_left(case):
    need, rooms = case
    found = round_off(LevelProgram(), need, rooms, Watch(None))
    held = Counter[int]()
    for (_, members), times in found.held.items():
        for level in members:
            held[level] += times
    assert held + found.left == _asked(need, found.option)


@settings(max_examples=60, deadline=None)
@given(_needs())
def test_no_room_is_exceeded(case):
    need, rooms = case
    found = round_off(LevelProgram(), need, rooms, Watch(None))
    used = Counter[int]()
    for (room, members), times in found.held.items():
        assert sum(members) <= room
        used[room] += times
    for room, count in zip(rooms.levels.tolist(), rooms.count.tolist(), strict=True):
        assert used[room] <= count


def test_pairs_that_fit_are_all_placed():
    demand = np.zeros(GRID + 1)
    demand[[10, 14]] = 50
    none = np.zeros((0, 1), dtype=np.int64)
    need = Need(demand, none, none, np.zeros(0, dtype=np.int64))
    rooms = LevelRooms(np.array([GRID]), np.array([50.0]))
    found = round_off(LevelProgram(), need, rooms, Watch(None))
    assert found.held == {(GRID, (10, 14)): 50}
    assert not found.left


@st.composite
def _split_needs(draw):
    """Draw whole and split shards; rooms of two types hold one split shard of theirs each."""
    n, width = draw(st.integers(1, 30)), GRID + 1
    level = np.array(draw(st.lists(st.integers(1, 14), min_size=n, max_size=n)))
    split = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    classes = np.column_stack([level, level + width, level + 2 * width])
    fit = np.column_stack([~split, split, split])
    each, shards = np.tile(level, (3, 1)).T.astype(float), np.tile([1.0, 2.0, 2.0], (n, 1))
    kinds = 3
    need = need_of(GRID, np.where(fit, classes, 0), each, shards, fit, kinds, single=True)[0]
    rooms = np.array([draw(st.integers(14, GRID)) + kind * width for kind in range(3)])
    count = np.array([float(draw(st.integers(1, 15))) for _ in range(3)])
    return need, LevelRooms(rooms, count)


def _round_off_and_count(need, rooms):
    """Round off, and count what is on every kind of GPU and what is left."""
    found = round_off(LevelProgram(), need, rooms, Watch(None))
    held, used = Counter[int](), Counter[int]()
    for (room, members), times in found.held.items():
        assert need.holds(room, members)
        used[room] += times
        for class_ in members:
            held[class_] += times
    assert held + found.left == _asked(need, found.option)
    for room, count in zip(rooms.levels.tolist(), rooms.count.tolist(), strict=True):
        assert used[room] <= count


@settings(max_examples=60, deadline=None)
@given(_split_needs())
def test_each_set_has_one_split_shard_of_its_room_at_most_and_nothing_is_lost(case):
    _round_off_and_count(*case)


@st.composite
def _nested_needs(draw):
    """Draw shards apart by the smallest of three types of GPU that holds them."""
    n, width, kinds = draw(st.integers(1, 30)), GRID + 1, 3
    level = np.array(draw(st.lists(st.integers(1, 14), min_size=n, max_size=n)))
    kind = np.array(draw(st.lists(st.integers(0, kinds - 1), min_size=n, max_size=n)))
    fit = np.column_stack([np.ones(n, dtype=bool), kind > 0])
    classes = np.column_stack([level + kind * width, level // 2 + 1])
    each, shards = (classes % width).astype(float), np.tile([1.0, 2.0], (n, 1))
    need = need_of(GRID, np.where(fit, classes, 0), each, shards, fit, kinds, nested=True)[0]
    rooms = np.array([draw(st.integers(14, GRID)) + kind * width for kind in range(kinds)])
    count = np.array([float(draw(st.integers(1, 15))) for _ in range(kinds)])
    return need, LevelRooms(rooms, count)


@settings(max_examples=60, deadline=None)
@given(_nested_needs())
def test_no_shard_is_on_a_smaller_gpu_than_holds_it_and_nothing_is_lost(case):
    _round_off_and_count(*case)
