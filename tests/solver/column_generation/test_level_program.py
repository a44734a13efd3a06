"""Sets of levels: the knapsack against every set, and the program against hand-made fleets."""

from collections import Counter
from itertools import combinations_with_replacement

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvplace.solver.column_generation.class_knapsack import Tables, fill
from kvplace.solver.column_generation.level_program import Program
from kvplace.solver.column_generation.levels import LevelRooms, Need


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


def _program(demand: dict[int, int], size: int = 10, gpus: float = 2.0) -> Program:
    levels = np.zeros(size + 1)
    for level, many in demand.items():
        levels[level] = many
    none = np.zeros((0, 1), dtype=np.int64)
    need = Need(levels, none, none, np.zeros(0, dtype=np.int64))
    return Program(need, LevelRooms(np.array([size]), np.array([gpus])))


def _share(program: Program) -> float:
    return program.master.solve().share


def test_pairs_that_fit_together_need_half_the_gpus():
    program = _program({6: 2, 4: 2})
    assert _share(program) == pytest.approx(2.0)  # four GPUs of two, one shard on each
    program.add([(10, (4, 6))])
    duals = program.master.solve()
    prices, share = program.by_class(duals), duals.share
    assert share == pytest.approx(1.0)
    assert prices[6] + prices[4] == pytest.approx(0.5)  # a GPU is worth half the fleet
    assert program.solution()[0] == [((10, (4, 6)), pytest.approx(2.0))]


def test_a_place_serves_a_lower_level_and_no_higher_one():
    program = _program({6: 1, 3: 1}, gpus=1.0)
    program.add([(10, (4, 6))])
    assert _share(program) == pytest.approx(1.0)  # 3 goes where 4 does
    program = _program({6: 1, 5: 1}, gpus=1.0)
    program.add([(10, (4, 6))])
    assert _share(program) == pytest.approx(2.0)  # 5 does not


@given(
    st.lists(st.tuples(st.integers(1, 8), st.integers(0, 9)), min_size=1, max_size=6),
    st.lists(st.integers(2, 8), min_size=1, max_size=3, unique=True),
)
def test_tables_hold_the_dearest_set_of_each_room(offers, rooms):
    rooms, prices = np.array(sorted(rooms)), np.zeros(9, dtype=np.int64)
    for level, price in offers:
        prices[level] = max(price, prices[level])
    tables = Tables(prices, 9, rooms, nested=False)
    for room, worth in zip(rooms.tolist(), tables.worth(rooms).tolist(), strict=True):
        assert worth == _dearest(prices.tolist(), room)
        found = tables.columns(room, 4)
        assert all(sum(members) <= room for members in found)
        assert max((sum(int(tables.prices[c]) for c in m) for m in found), default=0) == worth
        assert len(tables.columns(room, 1)) <= 1


def test_a_choice_is_made_once():
    classes = np.array([[9, 3], [9, 6]])
    need = Need(
        np.array([0, 0, 0, 0, 0, 0, 0, 0, 0, 2.0]), classes, np.ones_like(classes), np.zeros(2, int)
    )
    program = Program(need, LevelRooms(np.array([9]), np.array([1.0])))
    program.add([(9, (3, 6)), (9, (3, 3, 3))])
    assert _share(program) == pytest.approx(2.0)
    assert program.switch((0, 1), 1, Counter({9: 1, 6: -1}))
    assert program.switch((0, 2), 1, Counter({9: 1, 3: -1}))
    assert not program.switch((0, 2), 1, Counter({9: 1, 3: -1}))
    # One of the two models may change, to one shard of 3, which fills a third of a GPU.
    assert _share(program) == pytest.approx(4 / 3)
    assert program.solution()[1] == [((0, 2), pytest.approx(1.0))]
