"""The share of a GPU's time: hand-derived values, limits, and what must always hold."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvplace.core.models.demand import SLO, Demand
from kvplace.forecast.step_time import StepTime, decode_seconds, prefill_seconds
from kvplace.forecast.time_share import idle_times, time_share

TIMES = StepTime(0.001, 0.005, 0.0, 0.0, 20e-6, 50e-9, attention_seconds=1e-11)


def test_the_share_is_prefills_and_the_steps_that_are_due():
    demand, slo = Demand(2.0, 1000, 100), SLO(ttft_seconds=1.0, tpot_seconds=0.02)
    share = time_share(TIMES, demand, slo)
    assert share is not None
    # N = 2 x 100 x 0.02 = 4 decode at a time, somebody for 1 - e^-4 of the time.
    busy = 1 - math.exp(-4)
    assert share.batch == pytest.approx(4 / busy)
    assert share.prefill == pytest.approx(2 * prefill_seconds(TIMES, 1000))
    step = decode_seconds(TIMES, 4 / busy, 1050)
    assert share.decode == pytest.approx(busy * step / 0.02)
    assert share.total == share.prefill + share.decode


def test_a_single_request_at_a_time_costs_one_step_per_token():
    # At a rate near 0 nobody is ever beside another: r O steps of one sequence.
    share = time_share(TIMES, Demand(1e-6, 1000, 100), SLO(tpot_seconds=0.05))
    assert share is not None
    assert share.batch == pytest.approx(1, rel=1e-5)
    assert share.decode == pytest.approx(1e-4 * decode_seconds(TIMES, 1, 1050), rel=1e-4)


def test_copies_share_the_demand():
    demand, slo = Demand(8.0, 1000, 100), SLO(tpot_seconds=0.02)
    half = time_share(TIMES, demand, slo, 0.5)
    assert half == time_share(TIMES, Demand(4.0, 1000, 100), slo)


def test_what_is_not_known_gives_no_share():
    assert time_share(TIMES, Demand(1.0), SLO(tpot_seconds=0.02)) is None
    assert time_share(TIMES, Demand(1.0, 10, 10), SLO(latency_seconds=3)) is None
    assert idle_times(TIMES, Demand(1.0)) is None
    nobody = time_share(TIMES, Demand(0.0), SLO())
    assert nobody is not None
    assert nobody.total == 0


def test_an_embedding_model_has_prefills_only():
    share = time_share(TIMES, Demand(10.0, 500, 0), SLO(latency_seconds=0.1))
    assert share is not None
    assert share.decode == 0
    assert share.total == pytest.approx(10 * prefill_seconds(TIMES, 500))


def test_an_objective_below_the_idle_step_is_named():
    idle = idle_times(TIMES, Demand(1.0, 1000, 100))
    assert idle is not None
    assert idle.misses(SLO(ttft_seconds=1.0, tpot_seconds=0.1)) == ()
    assert idle.misses(SLO(ttft_seconds=1.0, tpot_seconds=0.001)) == ("tpot",)
    assert idle.misses(SLO(ttft_seconds=0.001, tpot_seconds=0.001)) == ("ttft", "tpot")


@given(
    st.floats(1e-6, 100), st.floats(1, 10_000), st.floats(1, 2_000), st.floats(0.001, 1),
    st.floats(1.01, 4),
)  # fmt: skip
def test_more_demand_never_takes_less_and_copies_never_take_more_each(rate, prompt, out, tpot, f):
    slo = SLO(tpot_seconds=tpot)
    one = time_share(TIMES, Demand(rate, prompt, out), slo)
    more = time_share(TIMES, Demand(rate * f, prompt, out), slo)
    assert one is not None
    assert more is not None
    assert more.total >= one.total * (1 - 1e-9)
    # Reading weights is shared by a batch: f times the rate costs at most f times the time.
    assert more.total <= f * one.total * (1 + 1e-9)


def test_tokens_of_the_prefix_cache_take_no_prefill_time():
    slo = SLO(ttft_seconds=1.0, tpot_seconds=0.02)
    whole = time_share(TIMES, Demand(2.0, 1000, 100), slo)
    cached = time_share(TIMES, Demand(2.0, 1000, 100, 800), slo)
    assert whole is not None
    assert cached is not None
    assert cached.prefill == pytest.approx(2 * prefill_seconds(TIMES, 1000, 800))
    assert cached.prefill < whole.prefill
    assert cached.decode == whole.decode
