"""Counters: restarts, gaps and late births, by hand and by property."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kvplace.demand.prometheus.counters import increments

NAN = float("nan")


def counted(values, peaks=None, births=None):
    found, restarts, gaps = increments(np.array(values, dtype=float), peaks or {}, births or {})
    return found.tolist(), restarts, gaps


def test_a_plain_counter_is_its_differences():
    assert counted([5, 7, 7, 10]) == ([2, 0, 3], 0, 0)


def test_a_restart_keeps_what_was_counted_up_to_the_peak():
    # 10 -> 14, restart, -> 3: four and three
    assert counted([10, 3, 5], peaks={1: 14}) == ([7, 2], 1, 0)


def test_a_restart_that_is_only_seen_as_a_drop_counts_from_zero():
    assert counted([10, 3]) == ([3], 1, 0)


def test_a_restart_that_overtakes_the_old_value_is_not_missed():
    assert counted([10, 12], peaks={1: 12}) == ([12], 1, 0)


def test_what_is_gained_in_a_gap_is_spread_evenly():
    assert counted([0, NAN, NAN, 9, 10]) == ([3, 3, 3, 1], 0, 2)


def test_a_counter_that_appears_is_counted_from_its_first_sample():
    assert counted([NAN, NAN, 1000, 1005], births={2: 990}) == ([0, 10, 5], 0, 0)
    assert counted([NAN, 1000, 1005]) == ([0, 5], 0, 0)


def test_a_counter_that_is_never_seen_counts_nothing():
    assert counted([NAN, NAN]) == ([0], 0, 0)


@given(
    st.lists(st.integers(0, 1000), min_size=1, max_size=60),
    st.sets(st.integers(1, 58), max_size=5),
    st.sets(st.integers(1, 58), max_size=5),
)
def test_nothing_is_lost_across_restarts_and_gaps(gains, restarts, gaps):
    """A counter that restarts between two points and is scraped until then loses nothing."""
    values, peaks, now = [0.0], {}, 0.0
    for point, gain in enumerate(gains, 1):
        if point in restarts:
            peaks[point] = now + gain / 2
            now = gain / 2
            if peaks[point] <= now:  # an equal peak is no drop: Prometheus would not see it
                peaks[point] = now
        else:
            now += gain
        values.append(now)
    hidden = {p for p in gaps if p < len(gains) and not {p, p + 1} & restarts}
    shown = np.array([NAN if p in hidden else value for p, value in enumerate(values)])
    found, _, _ = increments(shown, peaks, {})
    lost = sum(gains[p - 1] / 2 for p in restarts if p <= len(gains) and values[p] >= peaks[p])
    assert abs(found.sum() + lost - sum(gains)) < 1e-6 * max(1, sum(gains))
    assert (found >= 0).all()
