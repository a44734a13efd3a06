"""The restricted master: shares and duals by hand, and columns that are known once."""

import numpy as np
import pytest

from kvplace.solver.clock import Watch
from kvplace.solver.column_generation.master import (
    Entry,
    Master,
    add_columns,
    generate,
    quiet_highs,
)


def column(key, *rows):
    return key, Entry(rows, (1.0,) * len(rows))


def test_the_share_of_a_fleet_by_hand():
    # Three items, one per GPU of two: they need one and a half of them.
    master = Master(np.ones(3), np.array([2.0]))
    assert master.add([column(j, j, 3) for j in range(3)]) == 3
    duals = master.solve()
    assert duals.share == pytest.approx(1.5)
    assert duals.prices.sum() == pytest.approx(1.5 * duals.worths[0] * 2)
    # A GPU that holds two of them makes it one.
    assert master.add([column("pair", 0, 1, 3)]) == 1
    assert master.solve().share == pytest.approx(1.0)
    assert master.solution()["pair"] == pytest.approx(1.0)


def test_duals_price_no_column_above_its_gpu():
    draw = np.random.RandomState(1)
    master = Master(np.ones(6), np.array([2.0, 1.0]))
    columns = {}
    for j in range(6):
        columns[j] = (0, (j,))
    for number in range(20):
        members = tuple(sorted(draw.choice(6, size=draw.randint(1, 4), replace=False).tolist()))
        columns[f"c{number}"] = (int(draw.randint(2)), members)
    master.add((key, Entry((*m, 6 + t), (1.0,) * (len(m) + 1))) for key, (t, m) in columns.items())
    duals = master.solve()
    for type_, members in columns.values():
        assert duals.prices[list(members)].sum() <= duals.worths[type_] + 1e-7
    assert duals.prices.sum() == pytest.approx(duals.share, rel=1e-6)


def test_a_column_is_known_once():
    master = Master(np.ones(1), np.array([1.0]))
    assert master.add([column("a", 0, 1)]) == 1
    assert master.add([column("a", 0, 1), column("b", 0, 1)]) == 1
    assert master.add([]) == 0


def test_an_item_without_a_column_has_no_solution():
    master = Master(np.ones(2), np.array([1.0]))
    master.add([column(0, 0, 2)])
    assert master.solve() is None
    assert master.solve(0.0) is None


def test_falling_prices_let_a_place_serve_the_item_before():
    # One place of the second kind is enough for an item of the first.
    master = Master(np.array([1.0, 0.0]), np.array([1.0]), falling=[(0, 1)])
    master.add([column("second", 1, 2)])
    assert master.solve().share == pytest.approx(1.0)
    alone = Master(np.array([1.0, 0.0]), np.array([1.0]))
    alone.add([column("second", 1, 2)])
    assert alone.solve() is None


def test_a_row_limits_what_is_used():
    master = Master(np.ones(1), np.array([4.0]))
    row = master.add_row(0.5)
    master.add([("cheap", Entry((0, row), (1.0, 1.0))), column("dear", 0, 1)])
    assert master.solve().share == pytest.approx(0.5 / 4)


def test_a_program_of_ones_own_takes_columns_within_bounds():
    highs = quiet_highs()
    highs.addRow(0.0, 2.5, 0, np.array([], dtype=np.int32), np.array([]))
    add_columns(highs, [Entry((0,), (1.0,)), Entry((0,), (1.0,))], upper=1.0)
    assert highs.getNumCol() == 2
    assert highs.getLp().col_upper_ == [1.0, 1.0]


class Counted:
    """Adds a column for each item in turn, and is settled at a share."""

    def __init__(self, items, enough=0.0):
        self.left, self.enough, self.asked = list(items), enough, []

    def settled(self, share):
        self.asked.append(share)
        return share <= self.enough

    def extend(self, master, duals):  # noqa: ARG002 - prices nothing
        return bool(self.left) and master.add([self.left.pop(0)]) > 0


def started():
    master = Master(np.ones(2), np.array([2.0]))
    master.add([column(0, 0, 2), column(1, 1, 2)])
    return master


def test_columns_are_added_until_none_is_missing():
    pricing = Counted([column("both", 0, 1, 2)])
    assert generate(started(), pricing, 10, Watch()) == pytest.approx(0.5)
    assert pricing.left == []


@pytest.mark.parametrize(("rounds", "share"), [(0, float("inf")), (1, 1.0), (2, 0.5)])
def test_rounds_are_counted(rounds, share):
    pricing = Counted([column("both", 0, 1, 2)])
    assert generate(started(), pricing, rounds, Watch()) == pytest.approx(share)


def test_what_is_settled_or_out_of_time_is_not_asked_further():
    pricing = Counted([column("both", 0, 1, 2)], enough=1.0)
    assert generate(started(), pricing, 10, Watch()) == pytest.approx(1.0)
    assert len(pricing.left) == 1
    assert generate(started(), Counted([]), 10, Watch(0.0)) == float("inf")
