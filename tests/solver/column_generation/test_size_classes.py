"""Sets of levels: the knapsack against every set, and the program against hand-made fleets."""

from collections import Counter
from itertools import combinations_with_replacement

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvplace.solver.clock import Watch
from kvplace.solver.column_generation.class_knapsack import Tables, fill
from kvplace.solver.column_generation.levels import LevelRooms, Need, classes_of, kinds_of
from kvplace.solver.column_generation.size_classes import LevelProgram, Program


def _dearest(prices: list[int], room: int) -> int:
    levels = [level for level in range(1, room + 1) if prices[level]]
    sets = (
        chosen
        for many in range(room + 1)
        for chosen in combinations_with_replacement(levels, many)
        if sum(chosen) <= room
    )
    return max(sum(prices[level] for level in chosen) for chosen in sets)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=8))
def test_the_table_holds_the_dearest_set_of_every_room(steps):
    prices = np.cumsum([0, *steps])
    table = fill(prices, len(steps))
    for room in range(len(steps) + 1):
        best = table.best(room)
        assert sum(best) <= room
        assert sum(int(prices[level]) for level in best) == table.worth[room]
        assert table.worth[room] == _dearest(prices.tolist(), room)


@given(st.lists(st.integers(0, 30), min_size=4, max_size=8))
def test_columns_fit_their_room_and_hold_the_dearest(steps):
    table = fill(np.cumsum([0, *steps]), len(steps))
    columns = table.columns(len(steps), 3)
    assert all(sum(members) <= len(steps) for members in columns)
    if table.worth[-1]:
        assert max(sum(int(table.prices[x]) for x in c) for c in columns) == table.worth[-1]


def _program(demand: dict[int, int], size: int = 10, gpus: float = 2.0) -> Program:
    levels = np.zeros(size + 1)
    for level, many in demand.items():
        levels[level] = many
    none = np.zeros((0, 1), dtype=np.int64)
    need = Need(levels, none, none, np.zeros(0, dtype=np.int64))
    return Program(need, LevelRooms(np.array([size]), np.array([gpus])))


def test_pairs_that_fit_together_need_half_the_gpus():
    program = _program({6: 2, 4: 2})
    assert program.solve()[1] == pytest.approx(2.0)  # four GPUs of two, one shard on each
    program.add([(10, (4, 6))])
    prices, share = program.solve()
    assert share == pytest.approx(1.0)
    assert prices[6] + prices[4] == pytest.approx(0.5)  # a GPU is worth half the fleet
    assert program.solution()[0] == [((10, (4, 6)), pytest.approx(2.0))]


def test_a_place_serves_a_lower_level_and_no_higher_one():
    program = _program({6: 1, 3: 1}, gpus=1.0)
    program.add([(10, (4, 6))])
    assert program.solve()[1] == pytest.approx(1.0)  # 3 goes where 4 does
    program = _program({6: 1, 5: 1}, gpus=1.0)
    program.add([(10, (4, 6))])
    assert program.solve()[1] == pytest.approx(2.0)  # 5 does not


def test_what_needs_a_large_gpu_is_on_one_though_it_takes_little():
    # Four shards of 4 in rooms of 5 and 10; of the second kind, only rooms of 10 hold them.
    none, rooms = np.zeros((0, 1), dtype=np.int64), LevelRooms(np.array([5, 10]), np.ones(2))
    share = {}
    for kind in (0, 1):
        demand = np.zeros(22)
        demand[4 + 11 * kind] = 3
        need = Need(demand, none, none, np.zeros(0, dtype=np.int64), (0, 10))
        share[kind] = LevelProgram().decide(need, rooms, Watch(None), part=1.0).share
    assert share[0] == pytest.approx(1.0)  # one in the small room, two in the large
    assert share[1] == pytest.approx(1.5)


def test_classes_are_told_apart_where_the_level_does_not_say_which_rooms_hold_them():
    rooms = np.array([5, 10, 20])
    level, least = np.array([4, 4, 4, 8, 8, 8]), np.array([3, 5, 6, 6, 10, 11])
    assert classes_of(level, least, rooms, 20).tolist() == [4, 4, 21 + 4, 8, 8, 42 + 8]


@given(
    st.lists(st.tuples(st.integers(1, 8), st.integers(0, 9)), min_size=1, max_size=6),
    st.lists(st.integers(2, 8), min_size=1, max_size=3, unique=True),
)
def test_tables_hold_the_dearest_set_of_what_each_room_holds(offers, rooms):
    rooms = np.array(sorted(rooms))
    kinds, prices = kinds_of(rooms), np.zeros(9 * len(rooms), dtype=np.int64)
    for at, (level, price) in enumerate(offers):
        kind = at % len(rooms)
        prices[kind * 9 + level] = max(price, prices[kind * 9 + level])
    tables = Tables(prices, kinds, rooms)
    for room, worth in zip(rooms.tolist(), tables.worth(rooms).tolist(), strict=True):
        held = [
            (class_ % 9, int(price)) for class_, price in enumerate(prices)
            if price and class_ % 9 <= room and kinds[class_ // 9] <= room
        ]  # fmt: skip
        best = [0] * (room + 1)
        for at in range(1, room + 1):
            best[at] = max([best[at - 1], *(best[at - x] + p for x, p in held if x <= at)])
        assert worth == best[room]
        for members in tables.columns(room, 4):
            assert sum(class_ % 9 for class_ in members) <= room
            assert all(kinds[class_ // 9] <= room for class_ in members)
        dearest = max(
            (sum(int(tables.prices[c]) for c in m) for m in tables.columns(room, 4)), default=0
        )
        assert dearest == worth


def test_a_choice_is_made_once():
    classes = np.array([[9, 3], [9, 6]])
    need = Need(
        np.array([0, 0, 0, 0, 0, 0, 0, 0, 0, 2.0]), classes, np.ones_like(classes), np.zeros(2, int)
    )
    program = Program(need, LevelRooms(np.array([9]), np.array([1.0])))
    program.add([(9, (3, 6)), (9, (3, 3, 3))])
    assert program.solve()[1] == pytest.approx(2.0)
    assert program.switch((0, 1), 1, Counter({9: 1, 6: -1}))
    assert program.switch((0, 2), 1, Counter({9: 1, 3: -1}))
    assert not program.switch((0, 2), 1, Counter({9: 1, 3: -1}))
    # One of the two models may change, to one shard of 3, which fills a third of a GPU.
    assert program.solve()[1] == pytest.approx(4 / 3)
    assert program.solution()[1] == [((0, 2), pytest.approx(1.0))]
