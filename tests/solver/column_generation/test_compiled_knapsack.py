"""Exact pricing by kernels: the dearest sets, none that does not fit, and what is missing said."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvplace.solver.column_generation import compiled_knapsack
from kvplace.solver.column_generation.compiled_knapsack import CompiledKnapsack, best_mix
from kvplace.solver.column_generation.knapsack_kernel import COMPILED
from kvplace.solver.column_generation.pricing import Pool, Room
from kvplace.solver.kernels import interpreted

ROWS = st.lists(
    st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(0, 9), st.integers(0, 3)),
    min_size=1,
    max_size=7,
)


@pytest.fixture(autouse=True, scope="module")
def few_levels():
    """Tables of few levels, so that sizes are rounded, made by kernels that are not compiled."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kvplace.solver.column_generation.knapsack.GRID", 16)
        for kernel in COMPILED:
            patch.setattr(compiled_knapsack, kernel.__name__, interpreted(kernel))
        yield


def sets_of(rows, rooms):
    """Return what every set that fits is priced, one row of a group at most."""
    first, second, prices, groups = (
        np.array(column, dtype=float) for column in zip(*rows, strict=True)
    )
    found = {}
    by_group = [[-1, *np.flatnonzero(groups == group).tolist()] for group in sorted(set(groups))]
    for chosen in product(*by_group):
        held = [row for row in chosen if row >= 0]
        if held and first[held].sum() <= rooms[0] and second[held].sum() <= rooms[1]:
            found[tuple(sorted(held))] = float(prices[held].sum())
    return found


def made(rows, rooms, grouped=True):
    """Return the table of rows under two limits, before which both are mixed."""
    first, second, prices, groups = (
        np.array(column, dtype=float) for column in zip(*rows, strict=True)
    )
    mixed = first / rooms[0] / 2 + second / rooms[1] / 2
    sizes, capacity = np.vstack([mixed, first, second]), np.array([1.0, *rooms])
    return CompiledKnapsack(sizes, prices, capacity, groups.astype(np.int64) if grouped else None)


def listed(groups):
    return {tuple(row) for group in groups for row in group.tolist()}


@given(ROWS, st.integers(1, 20), st.integers(1, 20), st.integers(1, 20))
def test_it_lists_the_sets_from_a_price_on(rows, one, two, floor):
    found, least = made(rows, (one, two)).dearest(float(floor), 1000)
    every = sets_of(rows, (one, two))
    assert least <= floor
    assert listed(found) == {held for held, price in every.items() if price >= floor}


@given(ROWS, st.integers(1, 20), st.integers(1, 20), st.integers(1, 5))
def test_of_too_many_it_lists_the_dearest(rows, one, two, most):
    found, least = made(rows, (one, two)).dearest(1.0, most)
    every = {held: price for held, price in sets_of(rows, (one, two)).items() if price >= 1}
    held = listed(found)
    assert held <= set(every)
    assert len(held) == min(most, len(every))
    assert all(price <= least for other, price in every.items() if other not in held)


@given(ROWS, st.integers(1, 20), st.integers(1, 20), st.integers(1, 12))
def test_a_search_that_is_cut_says_what_nothing_is_above(rows, one, two, nodes):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled_knapsack, "NODES", nodes)
        found, least = made(rows, (one, two)).dearest(1.0, 1000)
    every = sets_of(rows, (one, two))
    held = listed(found)
    assert held <= set(every)
    assert all(price <= least for other, price in every.items() if other not in held and price >= 1)


@given(ROWS, st.integers(1, 20), st.integers(1, 20))
def test_sets_are_filled_up_with_each_row(rows, one, two):
    held = listed(made(rows, (one, two), grouped=False).with_each())
    every = sets_of([(*row[:3], at) for at, row in enumerate(rows)], (one, two))
    assert held <= set(every)
    for members in held:  # nothing else fits beside them
        assert not any(set(members) < set(other) for other in every)
    assert {row for members in held for row in members} == {row for other in every for row in other}


@given(ROWS, st.integers(2, 20), st.integers(2, 20))
def test_what_mixes_limits_takes_no_set_from_them(rows, one, two):
    first, second, prices, groups = (
        np.array(column, dtype=float) for column in zip(*rows, strict=True)
    )
    parts = np.vstack([first / one, second / two])
    weights = best_mix(parts, prices, groups.astype(np.int64))
    assert weights.min() >= 0
    assert weights.sum() == pytest.approx(1)
    for held in sets_of(rows, (one, two)):
        assert (weights @ parts)[list(held)].sum() <= 1 + 1e-12


def test_a_pool_finds_the_highest_price_by_kernels():
    draw = np.random.default_rng(3)
    for _ in range(5):
        sizes, prices = draw.integers(1, 30, (2, 12)), draw.random(12)
        groups = np.repeat(np.arange(6), 2)
        rows = list(zip(*sizes.tolist(), prices.tolist(), groups.tolist(), strict=True))
        highest = max(sets_of(rows, (60, 60)).values())
        room = Room(
            np.vstack([sizes.sum(axis=0) / 120, sizes]), np.array([1.0, 60.0, 60.0]), groups
        )
        for worth in (highest / 2, highest, highest * 2):
            worths, exact = Pool([room], compiled=True).refill(prices, np.array([worth]))
            assert worths[0] == pytest.approx(max(worth, highest))
            assert exact or worth < highest


def test_the_highest_price_is_looked_for_where_filling_up_finds_nothing_dearer():
    draw = np.random.default_rng(4)
    for _ in range(5):
        sizes, prices = draw.integers(1, 30, (2, 10)), draw.random(10)
        rows = list(zip(*sizes.tolist(), prices.tolist(), range(10), strict=True))
        highest = max(sets_of(rows, (60, 60)).values())
        room = Room(np.vstack([sizes.sum(axis=0) / 120, sizes]), np.array([1.0, 60.0, 60.0]))
        pool = Pool([room], compiled=True)
        assert pool.refill(prices, np.array([highest / 4])) == (np.array([np.inf]), False)
        assert pool.dearer(prices, np.array([highest / 4]))
        assert pool.refill(prices, np.array([highest])) == (pytest.approx([highest]), True)
        kinds = {kind for kind, _ in pool.filled_up(prices)}
        assert kinds == {0}
