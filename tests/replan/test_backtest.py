"""Ways of re-planning over time: derived by hand, and the same on any number of processes."""

import pytest

from kvplace.core.hardware import GPU, Fleet, Node
from kvplace.core.model import SLO, Demand, Model
from kvplace.core.objective import Objective
from kvplace.core.placement import Placement
from kvplace.core.problem import Problem
from kvplace.errors import InputError
from kvplace.replan.history.backtest import Demands, Plan, Way, backtest
from kvplace.replan.history.trigger import Policy

GIB = 2**30


def model(name, gib, rate):
    return Model(name, gib * GIB, Demand(rate), SLO(latency_seconds=1.0), overhead_bytes=0)


# Two GPUs of 20 GiB. a and b have 5 GiB each on g0, c has 5 GiB on g1. From the third window on
# a and b are both asked for 5/s: 10 / 10 = 1 on g0; with b on g1 6 / 10 = 0.6 there, 5 / 15 on g0.
PROBLEM = Problem(
    (model("a", 5, 1.0), model("b", 5, 1.0), model("c", 5, 1.0)),
    Fleet((Node("n", tuple(GPU(f"g{i}", "X", 20 * GIB) for i in range(2))),)),
    Objective.REQUESTS,
)
START = Placement.single({"a": "g0", "b": "g0", "c": "g1"})
DEMANDS = Demands({"a": (1, 1, 5, 5, 5), "b": (1, 1, 5, 5, 5), "c": (1, 1, 1, 1, 1)}, 600.0)


def track(plan, **more):
    (found,) = backtest(PROBLEM, DEMANDS, [plan], start=START, **more)
    return found


def test_never():
    found = track(Plan(Way.NEVER))
    assert found.values == pytest.approx((0.2, 1.0, 1.0, 1.0))
    assert found.moves == (0, 0, 0, 0)
    assert found.seconds_over(0.9) == 1800.0
    assert found.mean == pytest.approx(0.8)
    assert found.peak == pytest.approx(1.0)


def test_a_budget_of_one_follows_a_window_later():
    found = track(Plan(Way.BUDGET, moves=1))
    assert found.values == pytest.approx((0.2, 1.0, 0.6, 0.6))
    assert found.moves == (0, 0, 1, 0)
    assert found.loaded_bytes == (0, 0, 5 * GIB, 0)


def test_a_budget_of_none_is_never():
    assert track(Plan(Way.BUDGET, moves=0)).values == track(Plan(Way.NEVER)).values


def test_a_threshold_that_is_not_met_moves_nothing():
    assert sum(track(Plan(Way.THRESHOLD, policy=Policy(above=1.1))).moves) == 0
    assert sum(track(Plan(Way.THRESHOLD, policy=Policy(above=0.9))).moves) == 1


def test_scratch_is_at_least_as_good_and_peak_holds_from_the_start():
    assert track(Plan(Way.SCRATCH)).values[2:] == pytest.approx((0.6, 0.6))
    assert track(Plan(Way.PEAK)).values[1:] == pytest.approx((0.6, 0.6, 0.6))


def test_the_outcome_is_the_same_on_two_processes():
    plans = [Plan(way, moves=1) for way in Way]
    one = backtest(PROBLEM, DEMANDS, plans, start=START)
    two = backtest(PROBLEM, DEMANDS, plans, start=START, processes=2)
    assert one == two


def test_one_window_is_too_few():
    with pytest.raises(InputError, match="two are needed"):
        backtest(PROBLEM, Demands({"a": (1.0,)}, 1.0), [Plan(Way.NEVER)], start=START)
