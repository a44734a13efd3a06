"""The forecast: where a formula is exact, and against the simulation where none is."""

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kvplace.bench.adrs_like import adrs_like
from kvplace.core.evaluation.evaluate import evaluate
from kvplace.core.models.demand import SLO, Demand
from kvplace.core.models.model import Model
from kvplace.errors import InputError
from kvplace.forecast.chances import in_time, overflow, smoothing
from kvplace.forecast.forecast import forecast
from kvplace.forecast.rules import Rules
from kvplace.forecast.times import StepTimes
from kvplace.simulate.run import simulate
from kvplace.solver.clock import Watch
from kvplace.solver.solve import solve
from simulate.small import model, place, problem, seconds

NO_HOST = Rules(host_seconds=0.0, host_seconds_per_sequence=0.0)


def settled(models, placement, times, gpus=1, rules=NO_HOST, **options):
    measured = StepTimes({(name, ""): one for name, one in times.items()})
    fleet = problem(models, gpus, memory=10**9)
    return forecast(fleet, placement, rules=rules, times=measured, **options)


def test_an_engine_with_one_step_for_any_batch_is_a_queue_without_waiting():
    # A step of 0.1 s whatever the batch: M/G/inf. Ten tokens stay 0.9 s after the first one, which
    # takes a step; 1 request/s makes one request in the system on average.
    found = settled([model("a")], place(("a", 0)), {"a": seconds(fixed=0.1)})
    assert found.models[0].tpot_seconds == pytest.approx(0.1)
    assert found.models[0].requests == pytest.approx(1.0, rel=0.01)
    assert found.gpus[0].busy == pytest.approx(1 - math.exp(-1), rel=0.01)


def test_a_step_in_proportion_to_the_batch_is_a_queue_with_processor_sharing():
    # Each token costs 0.03 s of the engine: load 0.3, so M/G/1-PS has 0.3 / 0.7 requests.
    found = settled([model("a")], place(("a", 0)), {"a": seconds(link=0.03)})
    # The prompt's ten tokens are computed too, which lengthens steps.
    alone = settled([model("a")], place(("a", 0)), {"a": seconds(sequence=0.03)})
    assert alone.models[0].requests == pytest.approx(0.27 / (1 - 0.27), rel=0.05)
    assert found.models[0].requests > alone.models[0].requests


def test_two_engines_slow_each_other_by_the_harmonic_mean():
    names = ("a", "b")
    times = dict.fromkeys(names, seconds(fixed=0.01))
    found = settled([model(n) for n in names], place(("a", 0), ("b", 0)), times)
    busy = 1 - math.exp(-found.models[0].requests)
    independent = 1 / (1 - busy / 2)
    # More than with independent engines, less than with one that always runs beside the other.
    assert independent < found.models[0].slow_down < 2
    alone = settled([model(n) for n in names], place(("a", 0), ("b", 1)), times, gpus=2)
    assert alone.models[0].slow_down == 1.0


def test_without_sharing_others_change_nothing():
    times = {"a": seconds(fixed=0.01), "b": seconds(fixed=0.01)}
    both = settled(
        [model("a"), model("b")], place(("a", 0), ("b", 0)), times,
        rules=Rules("none", host_seconds=0.0, host_seconds_per_sequence=0.0),
    )  # fmt: skip
    alone = settled([model("a")], place(("a", 0)), times)
    assert both.models[0] == alone.models[0]


def test_requests_of_short_stays_see_the_others_as_they_are_and_not_their_mean():
    # A neighbour that is at work a third of the time, in long spells, beside requests of one token.
    short = Model(
        "a", 1, Demand(0.01, 1.0, 2.0), SLO(1.0, 1.0), kv_bytes_per_token=1, overhead_bytes=0
    )
    spells = Model(
        "b", 1, Demand(0.4e-3, 1.0, 1e5), SLO(1.0, 1.0), kv_bytes_per_token=1, overhead_bytes=0
    )
    times = {"a": seconds(fixed=0.01), "b": seconds(fixed=0.01)}
    found = settled([short, spells], place(("a", 0), ("b", 0)), times, rules=Rules(
        host_seconds=0.0, host_seconds_per_sequence=0.0, slice_loss=0.0))  # fmt: skip
    busy = found.gpus[0].busy
    assert found.models[0].tpot_seconds == pytest.approx(0.01 * (1 + busy), rel=0.03)


def test_requests_that_no_pool_can_hold_are_lost_at_any_load():
    # Prompts of 10 tokens and outputs of 10, lognormal, on a pool of 20 tokens.
    fleet = problem([model("a")], 1, memory=1_021)
    times = StepTimes({("a", ""): seconds(fixed=1e-3)})
    options = {"rules": Rules(host_seconds=0.0, block_tokens=1), "times": times}
    found = forecast(fleet, place(("a", 0)), load=1e-3, **options)
    played = simulate(fleet, place(("a", 0)), loads=(1e-3,), seconds=1e6, **options)
    real = played.outcomes[0].models[0]
    assert real.too_long > 0.2 * real.requests
    assert found.attainment == pytest.approx(real.attainment, abs=0.05)


def test_an_evaluation_that_is_known_is_not_made_again():
    fleet = adrs_like(7)
    placement = solve(fleet, solver="reference").placement
    known = evaluate(fleet, placement)
    assert forecast(fleet, placement, evaluation=known) == forecast(fleet, placement)


def test_what_cannot_be_kept_is_forecast_as_lost():
    slow = settled([model("a")], place(("a", 0)), {"a": seconds(fixed=2.0)})
    assert slow.attainment == pytest.approx(0.0, abs=1e-6)
    idle = Model("a", 1, Demand(0.0), SLO(1.0, 1.0), kv_bytes_per_token=1, overhead_bytes=0)
    assert settled([idle], place(("a", 0)), {"a": seconds(fixed=2.0)}).attainment == 1.0


def test_missing_facts_are_named_all_at_once():
    blind = Model("a", 1, Demand(1.0), SLO(latency_seconds=1.0), overhead_bytes=0)
    with pytest.raises(InputError, match="kv_bytes_per_token"):
        settled([blind], place(("a", 0)), {})
    slo = SLO(latency_seconds=1.0)
    known = Model("a", 1, Demand(1.0), slo, kv_bytes_per_token=1, overhead_bytes=0)
    with pytest.raises(InputError, match=r"prompt_tokens(.|\n)*output_tokens"):
        settled([known], place(("a", 0)), {})


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.floats(0.001, 0.3), min_size=1, max_size=5),
    st.sampled_from(["slice", "mps", "none"]),
    st.floats(0.05, 20),
    st.floats(0, 4),
)
def test_shares_stay_shares_and_more_load_is_never_better(steps, sharing, load, burst):
    names = [f"m{i}" for i in range(len(steps))]
    rules = Rules(sharing, host_seconds=0.001)
    times = {n: seconds(fixed=s, sequence=s / 20) for n, s in zip(names, steps, strict=True)}
    where = place(*((name, 0) for name in names))
    models = [model(name) for name in names]
    one, more = (
        settled(models, where, times, rules=rules, load=at, burst=burst) for at in (load, 2 * load)
    )
    for found in (one, more):
        assert 0 <= found.attainment <= 1
        assert all(math.isfinite(m.tpot_seconds) and m.slow_down >= 1 for m in found.models)
        assert all(0 <= g.busy <= 1 + 1e-9 and 0 <= g.pool_overflow <= 1 for g in found.gpus)
    assert more.attainment <= one.attainment + 0.02


def test_the_chance_of_an_objective():
    assert in_time(1.0, 0.5, 0.0) == 1.0
    assert in_time(1.0, 1.5, 0.0) == 0.0
    # The median of a lognormal of mean 1 and variance e - 1 is exp(-1/2).
    assert in_time(math.exp(-0.5), 1.0, math.sqrt(math.e - 1)) == pytest.approx(0.5)
    assert smoothing(1.0, 1.0) == pytest.approx(2 / math.e)
    assert smoothing(0.0, 1.0) == 1.0
    assert overflow(1.0, 0.0, 2.0) == 0.0
    assert overflow(2.0, 1.0, 2.0) == pytest.approx(0.5)


@pytest.mark.parametrize("sharing", ["slice", "mps"])
def test_the_forecast_tells_gpus_that_fail_from_those_that_serve(sharing):
    truth, score, apart = [], [], []
    rules = Rules(sharing)
    for seed in (901, 902, 903):
        fleet = adrs_like(seed)
        placement = solve(fleet, solver="reference").placement
        for load in (0.5, 1.5, 3.0):
            played = simulate(fleet, placement, loads=(load,), seconds=400, rules=rules)
            found = forecast(fleet, placement, load=load, rules=rules)
            for real, guess in zip(played.outcomes[0].gpus, found.gpus, strict=True):
                truth.append(real.attainment < 0.95)
                score.append(1 - guess.attainment)
            apart += [
                abs(real.attainment - guess.attainment)
                for real, guess in zip(played.outcomes[0].models, found.models, strict=True)
                if real.requests >= 30
            ]
    bad = [s for s, t in zip(score, truth, strict=True) if t]
    good = [s for s, t in zip(score, truth, strict=True) if not t]
    auc = np.mean([(b > g) + 0.5 * (b == g) for b in bad for g in good])
    print(f"{sharing}: AUC {auc:.3f} of {len(bad)} and {len(good)}; "  # noqa: T201 - the figures
          f"within 10 points {np.mean(np.array(apart) < 0.1):.2f} of {len(apart)}")  # fmt: skip
    assert min(len(bad), len(good)) >= 5
    assert auc >= 0.95
    assert np.mean(np.array(apart) < 0.1) >= 0.8


@pytest.mark.parametrize("load", [1e-3, 1.0, 30.0])
@pytest.mark.parametrize("burst", [0.0, 3.0])
def test_kernels_that_are_interpreted_say_what_compiled_ones_do(monkeypatch, load, burst):
    times = {"a": seconds(fixed=0.1), "b": seconds(fixed=0.02), "c": seconds(fixed=0.3)}
    given = ([model(name) for name in times], place(("a", 0), ("b", 0), ("c", 0)), times)
    found = []
    for known in (True, False):
        monkeypatch.setitem(forecast.__globals__, "is_compiled", lambda _, known=known: known)
        found.append(settled(*given, load=load, burst=burst))
    compiled, plain = found
    assert plain.gpus[0].busy == pytest.approx(compiled.gpus[0].busy, rel=1e-9)
    for one, other in zip(plain.models, compiled.models, strict=True):
        assert one.attainment == pytest.approx(other.attainment, rel=1e-9)
        assert one.ttft_seconds == pytest.approx(other.ttft_seconds, rel=1e-9)


@pytest.mark.parametrize("factor", [-1, 1e308, math.inf, math.nan])
@pytest.mark.parametrize("name", ["load", "burst"])
def test_factors_that_mean_nothing_are_refused(name, factor):
    given = ([model("a")], place(("a", 0)), {"a": seconds(fixed=0.1)})
    with pytest.raises(InputError, match=f"{name}: must be a factor"):
        settled(*given, **{name: factor})


def test_who_waits_for_kernels_is_told(monkeypatch):
    told = []
    watch = Watch(None, lambda progress: told.append(progress.phase))
    given = ([model("a")], place(("a", 0)), {"a": seconds(fixed=0.1)})
    for known in (False, True):
        monkeypatch.setitem(forecast.__globals__, "is_compiled", lambda _, known=known: known)
        for few in (1, 0):
            monkeypatch.setitem(forecast.__globals__, "FEW", few)
            settled(*given, watch=watch)
    assert told == ["compiling the forecast, once after an installation"]
