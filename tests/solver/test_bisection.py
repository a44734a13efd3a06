"""Bisection: the ends it returns, what it asks and when it stops."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvplace.solver.bisection import bisect
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


@pytest.mark.parametrize(("needed", "asked"), [(True, [1.1]), (False, [1.1, 1.05])])
def test_a_probe_that_is_needed_ends_it(needed, asked):
    seen = []
    bisect(lambda target: bool(seen.append(target)), 1.0, 2.0, probes=[(1.1, needed)], most=2)
    assert seen == pytest.approx(asked)


def test_probes_outside_the_interval_are_left_out():
    seen = []
    bisect(lambda t: bool(seen.append(t)), 1.0, 2.0, probes=[(0.5, True), (3.0, False)], most=1)
    assert seen == [1.5]


def test_the_clock_and_what_is_near_end_it():
    assert bisect(lambda _: True, 1.0, 2.0, watch=Watch(0)) == (1.0, 2.0)
    assert bisect(lambda _: True, 1.0, 2.0, near=lambda low, _: low > 1.4)[0] == 1.5


def test_no_upper_end_asks_nothing():
    assert bisect(lambda _: True, 1.0, math.inf) == (1.0, math.inf)
