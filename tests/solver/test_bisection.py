"""Bisection: the ends it returns, what it asks and when it stops."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvplace.solver.bisection import best_below, bisect, reach_above
from kvplace.solver.clock import Watch


@given(st.floats(0.01, 100), st.floats(0.1, 0.99))
def test_it_closes_in_on_where_the_answer_changes(edge, part):
    low, high = bisect(lambda target: target < edge, edge * part, edge * 3, width=1e-6)
    assert low <= edge <= high
    assert high - low <= 1e-6 * high


def test_it_asks_no_more_than_allowed():
    asked = []
    bisect(lambda target: bool(asked.append(target)), 1.0, 2.0, most=3)
    assert asked == [1.5, 1.25, 1.125]


def test_no_upper_end_asks_nothing():
    assert bisect(lambda _: True, 1.0, math.inf) == (1.0, math.inf)


@given(st.floats(0.1, 10), st.floats(1.001, 50))
def test_the_first_target_reached_is_found_by_doubling(bound, factor):
    edge = bound * factor
    asked = []

    def reach(target):
        asked.append(target)
        return "found" if target >= edge else None

    found, failed, target = reach_above(reach, bound, 0.01, 1e6)
    assert found == "found"
    assert failed < edge <= target
    parts = [(at / bound - 1) for at in asked]
    assert parts == pytest.approx([0.01 * 2**k for k in range(len(parts))])
    assert failed == (asked[-2] if len(asked) > 1 else bound)


def test_nothing_is_reached_above_no_bound_out_of_time_or_range():
    assert reach_above(lambda _: "found", 0.0, 0.01, 1e6) == (None, 0.0, math.inf)
    assert reach_above(lambda _: "found", 1.0, 0.01, 1e6, Watch(0)) == (None, 1.0, math.inf)
    asked: list[float] = []
    reach_above(asked.append, 1.0, 0.5, 5.0, growth=4.0)
    assert asked == [1.5, 3.0]
    found, failed, target = reach_above(lambda _: None, 1.0, 0.5, 5.0)
    assert (found, failed, target) == (None, 5.0, math.inf)


@given(st.floats(1.0, 9.0))
def test_the_least_value_reached_comes_near_the_edge(edge):
    best = best_below(lambda t: t if t >= edge else None, float, 10.0, 0.5, width=1e-6)
    assert edge <= best <= edge * (1 + 1e-5)


def test_a_value_below_its_target_ends_the_search_sooner():
    asked = []

    def find(target):
        asked.append(target)
        return 1.0

    assert best_below(find, float, 2.0, 1.0 - 1e-12) == 1.0
    assert len(asked) == 1
    asked.clear()
    assert best_below(find, float, 2.0, 0.0, most=3) == 1.0
    assert len(asked) == 3
    assert best_below(find, float, 2.0, 0.0, watch=Watch(0)) == 2.0
    assert len(asked) == 3


def test_what_is_worse_than_what_is_known_is_not_taken():
    assert best_below(lambda _: "worse", {"known": 2.0, "worse": 3.0}.get, "known", 0.0) == "known"
