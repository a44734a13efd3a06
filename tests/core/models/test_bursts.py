"""Loads for a quantile: against simulated arrivals, by hand, and where they add up."""

import math
import random
from dataclasses import replace
from itertools import product
from statistics import NormalDist

import numpy as np
import pytest

from kvplace.checking.load import load_plan
from kvplace.core.evaluation.evaluate import evaluate
from kvplace.core.hardware import GPU, Fleet, Node
from kvplace.core.models.bursts import Margins, Spread, margin_sigma, spread_of
from kvplace.core.models.demand import SLO, Demand
from kvplace.core.models.model import Model
from kvplace.core.models.objective import Objective
from kvplace.core.placement import Placement, Replica
from kvplace.core.problem import Problem
from kvplace.errors import InputError
from kvplace.formats.fleet.write import write_fleet
from kvplace.formats.plan.io import write_plan
from kvplace.formats.read import parse_fleet
from kvplace.solver.solve import solve
from oracle_splits import ways
from splits import random_split_problem
from timings import PowerTiming

FILE = """\
schema: kvplace.fleet/v1
nodes: 1x1x80GiB
models:
  - name: m
    weights: 1GiB
    demand: {requests_per_second: 1, prompt_tokens: 10, output_tokens: 10}
    slo: {latency: 1s}
"""
Z95 = NormalDist().inv_cdf(0.95)


def model(rate=2.0, dispersion=1.0, name="m", **more):
    demand = Demand(rate, 400.0, 200.0, dispersion=dispersion, **more)
    return Model(name, 10, demand, SLO(0.5, 0.05), 1, overhead_bytes=0)


def in_use(asked, cv, seconds, seed):
    """Mean, variance and 95 % quantile of requests and tokens in the system over time."""
    rng = np.random.default_rng(seed)
    demand, count = asked.demand, int(asked.demand.requests_per_second * seconds)
    arrivals = np.cumsum(rng.gamma(1 / cv**2, cv**2, count)) / demand.requests_per_second
    spread = math.log1p(demand.output_cv**2)
    outputs = rng.lognormal(math.log(demand.output_tokens) - spread / 2, spread**0.5, count)
    spread = math.log1p(demand.prompt_cv**2)
    prompts = rng.lognormal(math.log(demand.prompt_tokens) - spread / 2, spread**0.5, count)
    stays = asked.slo.ttft_seconds + outputs * asked.slo.tpot_seconds
    numbers, tokens = [], []
    for at in rng.uniform(200, arrivals[-1] - 200, 4000):
        first = np.searchsorted(arrivals, at - 200)
        last = np.searchsorted(arrivals, at)
        there = arrivals[first:last] + stays[first:last] > at
        passed = (at - arrivals[first:last][there]) / stays[first:last][there]
        held = prompts[first:last][there] + passed * outputs[first:last][there]
        numbers.append(there.sum())
        tokens.append(held.sum())
    return np.array(numbers), np.array(tokens)


@pytest.mark.parametrize(
    ("rate", "cv"), [(2.0, 1.0), (2.0, 3.0), (6.0, 3.0), (6.0, 2.0), (0.2, 3.0)]
)
def test_the_spread_is_that_of_simulated_requests(rate, cv):
    asked = model(rate, cv**2)
    numbers, tokens = in_use(asked, cv, 40_000, 5)
    found = spread_of(asked, asked.demand)
    assert numbers.var() / numbers.mean() ** 2 == pytest.approx(found.time, rel=0.25)
    assert tokens.var() / tokens.mean() ** 2 == pytest.approx(found.memory, rel=0.25)
    if rate >= 1:  # of few requests at a time the normal distribution tells no quantile
        quantile = 1 + Z95 * math.sqrt(found.memory)
        assert np.quantile(tokens, 0.95) / tokens.mean() == pytest.approx(quantile, rel=0.12)


def test_steady_arrivals_by_hand():
    # 2 requests/s for 0.5 + 200 x 0.05 = 10.5 s: 21 at a time, Poisson.
    asked = model(2.0, 1.0, prompt_cv=0.0, output_cv=0.0)
    found = spread_of(asked, asked.demand)
    assert found.time == pytest.approx(1 / 21)
    # A uniform part of 200 tokens beside a prompt of 400: variance 200^2 / 12.
    assert found.memory == pytest.approx((1 + 200**2 / 12 / 500**2) / 21)
    # Half of the requests are half as many at a time, and as Poisson.
    assert spread_of(asked, asked.demand, 0.5).time == pytest.approx(2 / 21)


def test_a_copy_sees_less_of_a_burst_and_a_rare_model_next_to_none():
    asked = model(2.0, 9.0)
    whole, half = (spread_of(asked, asked.demand, part).time for part in (1.0, 0.5))
    scale = 2 * math.erfc(math.sqrt(math.log(1.64)) / 2)
    # 21 at a time: 1 / (1 - (1 + 9 / 21)^(-1 / 9)) - 21 = 4.74
    assert whole * 21 == pytest.approx(1 + scale * (1 / (1 - (30 / 21) ** (-1 / 9)) - 22))
    assert half * 10.5 < whole * 21
    rare = model(1e-4, 9.0)
    assert spread_of(rare, rare.demand).time * 1e-4 * 10.5 < 1.9
    even = model(50.0, 0.0)
    assert spread_of(even, even.demand).time * 525 == pytest.approx(1 - scale / 2, rel=0.01)


def test_what_is_not_known_has_no_margin():
    asked = model()
    assert spread_of(replace(asked, slo=SLO()), asked.demand) == Spread()
    assert spread_of(asked, Demand(1.0)) == Spread()
    assert spread_of(asked, replace(asked.demand, requests_per_second=0.0)) == Spread()


def test_a_rate_below_all_that_happens_is_planned_for_as_none():
    for rate in (1e-310, 1e-110):
        asked = replace(model(rate), name="m0")
        assert spread_of(asked, asked.demand) == Spread()
        found = replace(bursty(), models=(asked, *bursty().models[1:]))
        assert solve(found).placement is not None


def test_variation_that_no_power_can_be_taken_of_is_refused():
    for key in ("dispersion", "prompt_cv", "output_cv"):
        for value in (1e60, 1e308):
            with pytest.raises(InputError, match=f"m.demand.{key}: must be at most 1,000,000"):
                replace(model(), demand=replace(model().demand, **{key: value}))
            text = FILE.replace("output_tokens: 10", f"output_tokens: 10, {key}: {value}")
            with pytest.raises(InputError, match="is more than 1,000,000") as refused:
                parse_fleet(text)
            assert refused.value.faults[0].path == f"models[0].demand.{key}"
        replace(model(), demand=replace(model().demand, **{key: 1e6}))


def test_loads_on_a_full_gpu_add_up_to_the_quantile_of_their_sum():
    # 100 alike, 20 to a GPU: that GPU is full at the quantile where the room is what 20 need.
    mean, spread = 3.0, 0.4
    total, variance = 20 * mean, 20 * mean**2 * spread
    room = total + Z95 * math.sqrt(variance)
    sigma = margin_sigma(0.95, 100 * mean, 100 * mean**2 * spread, room)
    assert sigma == pytest.approx(math.sqrt(variance))
    margins = Margins(0.95, [sigma], [])
    assert 20 * margins.load(mean, Spread(spread), 0) == pytest.approx(room)
    # One that varies by more than a whole GPU gets its own quantile.
    assert margins.load(100.0, Spread(0.5), 0) == pytest.approx(100 * (1 + Z95 * math.sqrt(0.5)))


def fleet(gpus, room=10_000):
    return Fleet((Node("n", tuple(GPU(f"g{at}", "t", room) for at in range(gpus))),))


def bursty(gpus=3, quantile=0.95, **more):
    models = tuple(model(1.0 + at, 1.0 + 4 * at, f"m{at}") for at in range(4))
    timing = PowerTiming(dict.fromkeys(["m0", "m1", "m2", "m3"], 0.05), {"t": 1.0}, exponent=1.0)
    return Problem(
        tuple(replace(m, **more) for m in models), fleet(gpus), "pressure", timing=timing,
        quantile=quantile,
    )  # fmt: skip


def test_a_quantile_asks_for_more_than_the_mean_and_more_gpus_for_less():
    where = Placement.single({f"m{at}": f"g{at % 3}" for at in range(4)})
    values = [
        evaluate(bursty(gpus, q), where).value for gpus, q in
        ((3, None), (3, 0.9), (3, 0.99), (8, 0.99))
    ]  # fmt: skip
    assert values[0] < values[1] < values[2]
    assert values[3] <= values[2]
    other = evaluate(replace(bursty(), objective=Objective.OCCUPANCY), where)
    assert other == evaluate(replace(bursty(3, None), objective=Objective.OCCUPANCY), where)


def test_the_digest_knows_the_quantile_and_only_then_the_bursts():
    assert bursty().digest != bursty(quantile=0.9).digest != bursty(quantile=None).digest
    plain, steady = bursty(quantile=None), bursty(quantile=None)
    steady = replace(
        steady,
        models=tuple(replace(m, demand=replace(m.demand, dispersion=1.0)) for m in steady.models),
    )
    assert plain.digest == steady.digest
    assert replace(plain, quantile=0.95).digest != replace(steady, quantile=0.95).digest


@pytest.mark.parametrize("wrong", [0.5, 1.0, 0.0, math.nan])
def test_a_quantile_out_of_range_is_refused(wrong):
    with pytest.raises(InputError, match="quantile"):
        bursty(quantile=wrong)


def test_plans_for_a_quantile_against_all_placements():
    draw = random.Random(21)
    tried = met = 0
    while tried < 12:
        of = random_split_problem(draw, models=3, objectives=(Objective.PRESSURE,))
        of = replace(
            of,
            quantile=draw.choice([0.8, 0.95]),
            models=tuple(
                replace(m, demand=replace(m.demand, dispersion=draw.choice([0.5, 1.0, 9.0])))
                for m in of.models
            ),
        )
        of = replace(of, rules=())
        chosen = [ways(of, index) for index in range(len(of.models))]
        if not 0 < math.prod(map(len, chosen)) <= 2000:
            continue
        placements = (
            Placement(
                tuple(
                    Replica(name, number, group)
                    for name, copies in zip(of.names, picked, strict=True)
                    for number, group in enumerate(copies)
                )
            )
            for picked in product(*chosen)
        )
        best = min(evaluate(of, placement).value for placement in placements)
        found = solve(of)
        if math.isinf(best):
            assert found.placement is None
            continue
        tried += 1
        assert found.value >= best * (1 - 1e-9)
        assert found.bound <= best * (1 + 1e-9)
        met += found.value <= best * (1 + 1e-9)
    assert met >= 10


FLEET = """\
schema: kvplace.fleet/v1
objective: pressure
quantile: 95%
nodes: [{name: h, gpus: 2, gpu: {type: H100-SXM-80GB}}]
models:
  - name: a
    weights: 15.3GiB
    kv_bytes_per_token: 147456
    demand: {requests_per_second: 4, prompt_tokens: 500, output_tokens: 200, dispersion: 9,
             prompt_cv: 2}
    slo: {ttft: 1s, tpot: 50ms}
  - name: b
    weights: 15.3GiB
    kv_bytes_per_token: 147456
    demand:
      - {window: day, requests_per_second: 4, prompt_tokens: 500, output_tokens: 200, dispersion: 3}
      - {window: night, requests_per_second: 1, prompt_tokens: 500, output_tokens: 200}
    slo: {ttft: 1s, tpot: 50ms}
"""


def test_files_carry_the_quantile_and_the_bursts(tmp_path):
    problem = parse_fleet(FLEET)
    assert problem.quantile == 0.95
    assert problem.models[0].demand == Demand(4.0, 500.0, 200.0, 0.0, 9.0, 2.0, 0.8)
    assert problem.models[1].windows["day"].dispersion == 3.0
    assert problem.models[1].demand.dispersion == pytest.approx((4 * 3 + 1 * 1) / 5)
    assert parse_fleet(write_fleet(problem)) == problem
    found = solve(problem)
    plan = tmp_path / "plan.json"
    plan.write_text(write_plan(found))
    assert load_plan(plan).value == found.value
    bare = tmp_path / "fleet.yaml"
    bare.write_text(FLEET.replace("quantile: 95%\n", ""))
    assert load_plan(plan, bare).problem.digest == problem.digest


@pytest.mark.parametrize("wrong", ["95", "40%", "1", "often", "-95%"])
def test_wrong_quantiles_in_a_file(wrong):
    with pytest.raises(InputError, match="quantile"):
        parse_fleet(FLEET.replace("95%", wrong, 1))


def test_a_quantile_of_another_objective_is_refused():
    with pytest.raises(InputError, match="needs the objective pressure"):
        parse_fleet(FLEET.replace("objective: pressure", "objective: occupancy"))
