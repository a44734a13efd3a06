"""Knapsack tables: every set above a price, and nothing that does not fit."""

from itertools import chain, combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvplace.solver.column_generation.knapsack import Knapsack, TooManyError

ITEMS = st.lists(st.tuples(st.integers(1, 20), st.integers(0, 9)), min_size=1, max_size=7)


def subsets(n):
    return chain.from_iterable(combinations(range(n), k) for k in range(1, n + 1))


@given(ITEMS, st.integers(1, 40), st.integers(1, 20))
def test_it_lists_exactly_the_sets_at_or_above_a_price(items, room, floor):
    sizes, prices = (np.array(column, dtype=float) for column in zip(*items, strict=True))
    found = Knapsack(sizes[None], prices, np.array([float(room)])).above(float(floor), 1000)
    listed = {tuple(row) for group in found for row in group.tolist()}
    assert listed == {
        held
        for held in subsets(len(items))
        if sizes[list(held)].sum() <= room and prices[list(held)].sum() >= floor
    }


@given(ITEMS, st.integers(1, 40))
def test_nothing_that_fits_is_priced_above_the_upper_bound(items, room):
    sizes, prices = (np.array(column, dtype=float) for column in zip(*items, strict=True))
    table = Knapsack(sizes[None], prices, np.array([float(room)]))
    fitting = [
        prices[list(held)].sum() for held in subsets(len(items)) if sizes[list(held)].sum() <= room
    ]
    assert table.upper >= max(fitting, default=0.0) - 1e-9


def test_too_many_sets_are_said_or_cut():
    sizes, prices = np.ones(16), np.ones(16)
    table = Knapsack(sizes[None], prices, np.array([16.0]))
    with pytest.raises(TooManyError):
        table.above(8.0, 10)
    some = table.above(8.0, 10, beam=True)
    assert all(prices[row].sum() >= 8 for group in some for row in group)


LIMITED = st.lists(
    st.tuples(st.integers(1, 20), st.integers(1, 20), st.integers(0, 9), st.integers(0, 3)),
    min_size=1,
    max_size=7,
)


@given(LIMITED, st.integers(1, 40), st.integers(1, 40), st.integers(1, 30), st.booleans())
def test_two_limits_rule_no_dear_set_out(items, first, second, floor, grouped):
    one, other, prices, groups = (np.array(column) for column in zip(*items, strict=True))
    sizes, room = np.array([one, other], dtype=float), np.array([first, second], dtype=float)
    table = Knapsack(sizes, prices.astype(float), room, groups if grouped else None)
    dear = {
        held: prices[list(held)].sum()
        for held in subsets(len(items))
        if (sizes[:, held].sum(axis=1) <= room).all()
        and (not grouped or len(set(groups[list(held)])) == len(held))
    }
    listed = {tuple(row) for group in table.above(float(floor), 1000) for row in group.tolist()}
    assert listed == {held for held, price in dear.items() if price >= floor}
    assert table.upper >= max(dear.values(), default=0)


def test_nothing_fits_where_a_limit_is_nothing():
    table = Knapsack(np.ones((2, 3)), np.ones(3), np.array([0.0, 5.0]))
    assert table.upper == 0
    assert table.above(1.0, 10) == []
