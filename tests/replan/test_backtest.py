"""Ways of re-planning over time: derived by hand, and the same on any number of processes."""

import os

import pytest

from kvplace.core.hardware import GPU, Fleet, Node
from kvplace.core.models.demand import SLO, Demand
from kvplace.core.models.model import Model
from kvplace.core.models.objective import Objective
from kvplace.core.placement import Placement
from kvplace.core.problem import Problem
from kvplace.errors import InputError, MissingExtraError
from kvplace.replan.history.backtest import Strategy, Way, backtest
from kvplace.replan.history.demands import Demands, with_rates
from kvplace.replan.history.trigger import Policy
from kvplace.simulate.run import simulate
from kvplace.workers import Workers

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
    found = track(Strategy(Way.NEVER))
    assert found.values == pytest.approx((0.2, 1.0, 1.0, 1.0))
    assert found.moves == (0, 0, 0, 0)
    assert found.seconds_over(0.9) == 1800.0
    assert found.mean == pytest.approx(0.8)
    assert found.peak == pytest.approx(1.0)


def test_a_budget_of_one_follows_a_window_later():
    found = track(Strategy(Way.BUDGET, moves=1))
    assert found.values == pytest.approx((0.2, 1.0, 0.6, 0.6))
    assert found.moves == (0, 0, 1, 0)
    assert found.loaded_bytes == (0, 0, 5 * GIB, 0)


def test_a_budget_of_none_is_never():
    assert track(Strategy(Way.BUDGET, moves=0)).values == track(Strategy(Way.NEVER)).values


def test_a_threshold_that_is_not_met_moves_nothing():
    assert sum(track(Strategy(Way.THRESHOLD, policy=Policy(above=1.1))).moves) == 0
    assert sum(track(Strategy(Way.THRESHOLD, policy=Policy(above=0.9))).moves) == 1


def test_scratch_is_at_least_as_good_and_peak_holds_from_the_start():
    assert track(Strategy(Way.SCRATCH)).values[2:] == pytest.approx((0.6, 0.6))
    assert track(Strategy(Way.PEAK)).values[1:] == pytest.approx((0.6, 0.6, 0.6))


def test_the_outcome_is_the_same_on_two_processes():
    plans = [Strategy(way, moves=1) for way in Way]
    one = backtest(PROBLEM, DEMANDS, plans, start=START)
    two = backtest(PROBLEM, DEMANDS, plans, start=START, workers=Workers(2))
    assert one == two


def test_one_window_is_too_few():
    with pytest.raises(InputError, match="needs two windows; this has 1 window"):
        backtest(PROBLEM, Demands({"a": (1.0,)}, 1.0), [Strategy(Way.NEVER)], start=START)


def timed(name, rate):
    """A model that a simulation can run: an 8B model on an 80 GiB GPU, in round figures."""
    return Model(
        name, 16 * GIB, Demand(rate, prompt_tokens=800, output_tokens=200),
        SLO(ttft_seconds=1.0, tpot_seconds=0.05), kv_bytes_per_token=131072,
    )  # fmt: skip


SIMULATED = Problem(
    (timed("a", 1.0), timed("b", 1.0)),
    Fleet((Node("n", tuple(GPU(f"g{i}", "H100-SXM-80GB", 80 * GIB) for i in range(2))),)),
    Objective.REQUESTS,
)
TOGETHER = Placement.single({"a": "g0", "b": "g0"})
RISING = Demands({"a": (1, 1, 12, 12), "b": (1, 1, 12, 12)}, 600.0)


def test_what_is_served_is_simulated_and_the_same_for_all_who_run_the_same():
    plans = [Strategy(Way.NEVER), Strategy(Way.BUDGET, moves=1)]
    never, budget = backtest(SIMULATED, RISING, plans, start=TOGETHER, simulated_seconds=30.0)
    assert never.moves == (0, 0, 0)
    assert sum(budget.moves) == 1
    moved = budget.moves.index(1)
    assert never.kept[:moved] == budget.kept[:moved]
    assert never.requests == budget.requests
    alone = simulate(
        with_rates(SIMULATED, RISING.at(1)), TOGETHER, seeds=(1,), seconds=30.0
    ).outcomes[0]
    assert never.requests[0] == alone.requests
    assert never.kept[0] == sum(m.kept for m in alone.models)
    assert 0.0 <= never.served <= budget.served <= 1.0


def test_what_is_served_is_the_same_on_two_processes():
    plans = [Strategy(Way.NEVER), Strategy(Way.BUDGET, moves=1)]
    found = [
        backtest(SIMULATED, RISING, plans, start=TOGETHER, simulated_seconds=5.0, workers=workers)
        for workers in (Workers(), Workers(2))
    ]
    assert found[0] == found[1]


@pytest.mark.heavy
def test_the_outcome_is_the_same_on_a_ray_cluster():
    """KVPLACE_RAY=ADDRESS names a cluster that runs: ray start --head; ray start --address=..."""
    pytest.importorskip("ray")
    address = os.environ.get("KVPLACE_RAY")
    if not address:
        pytest.skip("KVPLACE_RAY names no cluster")
    plans = [Strategy(way, moves=1) for way in Way]
    found = [
        backtest(SIMULATED, RISING, plans, start=TOGETHER, simulated_seconds=5.0, workers=workers)
        for workers in (Workers(), Workers(ray=address))
    ]
    assert found[0] == found[1]


def test_a_cluster_without_ray_installed_or_that_does_not_answer_is_said():
    with pytest.raises((InputError, MissingExtraError), match=r"(?i)\bray"):
        Workers(ray="127.0.0.1:1").map(abs, [1])
