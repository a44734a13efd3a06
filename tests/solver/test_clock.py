"""The watch of a run: when it stops, what it tells, and runs inside runs."""

import math
import time

import pytest

from kvplace.core.result import Stop
from kvplace.solver.clock import MOST_STEPS, Progress, Watch, Within


def ago(watch, seconds):
    """Let some seconds have passed."""
    watch._start -= seconds
    return watch


def test_without_a_limit_only_an_interrupt_stops_it():
    watch = ago(Watch(), 1e6)
    assert watch.stop is None
    assert watch.left == math.inf
    watch.interrupt()
    assert (watch.stop, watch.left) == (Stop.INTERRUPTED, 0.0)


def test_a_limit_counts_from_the_start():
    watch = Watch(10.0)
    assert watch.stop is None
    assert 9 < watch.left <= 10
    ago(watch, 10)
    assert (watch.stop, watch.left) == (Stop.TIME_LIMIT, 0.0)
    assert Watch(0.0).stop is Stop.TIME_LIMIT


def test_time_kept_ends_the_search_earlier():
    watch = ago(Watch(10.0), 7)
    assert watch.keep(4.0) == 0.0
    assert watch.stop is Stop.TIME_LIMIT
    assert watch.keep(1.0) == 4.0
    assert watch.stop is None
    assert watch.left <= 2.0


def test_a_part_of_the_time_left_is_kept_and_given_back(monkeypatch):
    monkeypatch.setattr("time.perf_counter", lambda: 100.0)
    watch = Watch(10)
    watch.keep(2.0)
    with watch.part(0.75):
        assert watch.left == 6.0
        with watch.whole():
            assert watch.left == 10.0
    assert watch.left == 8.0
    with Watch().part(0.25):
        assert Watch().left == math.inf


def test_time_set_aside_is_taken_off_the_limit():
    watch = Watch(10.0)
    watch.set_aside(4.0)
    assert watch.limit == 6.0
    ago(watch, 2.0).restart()
    assert watch.limit == pytest.approx(4.0, abs=0.5)
    assert watch.seconds < 1.0
    watch.set_aside(100.0)
    assert watch.limit == 0.0


def test_listeners_hear_values_fall_and_bounds_rise():
    heard = []
    watch = Watch(listener=heard.append)
    watch.tell("start", 4.0, 1.0)
    watch.tell("bound", bound=0.5)
    watch.tell("search", 2.0)
    assert [(p.phase, p.value, p.bound) for p in heard] == [
        ("start", 4.0, 1.0), ("bound", 4.0, 1.0), ("search", 2.0, 1.0),
    ]  # fmt: skip
    assert heard[-1].gap == 1.0
    assert Progress("start", math.inf, 0.0, 0.0).gap == math.inf


def test_steps_are_kept_where_a_figure_changed():
    watch = Watch()
    for value in (5.0, 5.0, 4.0):
        watch.tell("search", value)
    assert [step.value for step in watch.steps] == [5.0, 4.0]


def test_of_many_steps_every_other_is_forgotten_but_never_the_last():
    watch = Watch()
    for at in range(3 * MOST_STEPS):
        watch.tell("search", 1e6 - at)
        assert len(watch.steps) <= MOST_STEPS
        assert watch.steps[-1].value == 1e6 - at
    values = [step.value for step in watch.steps]
    assert values == sorted(values, reverse=True)


def test_a_run_inside_ends_with_the_outer_one():
    outer = Watch(10.0)
    inner = Within(outer, 100.0)
    assert inner.stop is None
    assert inner.left <= 10.0
    ago(outer, 10)
    assert inner.stop is Stop.TIME_LIMIT
    assert inner.left == 0.0
    assert Within(Watch(), 0.0).stop is Stop.TIME_LIMIT
    other = Watch()
    within = Within(other)
    other.interrupt()
    assert within.stop is Stop.INTERRUPTED


@pytest.mark.parametrize(
    ("value", "bound", "stops"),
    [(3.0, 0.0, False), (2.0, 0.0, True), (3.0, 5.0, False), (3.0, 5.1, True)],
)
def test_a_run_inside_ends_once_its_question_is_answered(value, bound, stops):
    inner = Within(Watch(), enough=2.0, hopeless=5.0)
    inner.tell("search", value, bound)
    assert (inner.stop is not None) == stops


def test_time_passes():
    watch = Watch()
    before = watch.seconds
    time.sleep(0.001)
    assert watch.seconds > before
