"""The search on the forecast: valid, never worse, and best where all placements can be tried."""

import itertools
from dataclasses import replace

import pytest

from kvplace.bench.adrs_like import adrs_like
from kvplace.core.evaluation.evaluate import evaluate
from kvplace.core.placement import Placement
from kvplace.errors import InputError
from kvplace.forecast.forecast import forecast
from kvplace.forecast.rules import Rules
from kvplace.forecast.search import _Search, refine_forecast
from kvplace.forecast.served_load import served_load
from kvplace.forecast.times import StepTimes
from kvplace.solver.solve import solve


def test_the_search_serves_more_and_stays_valid():
    fleet = adrs_like(11, gpus=3, models=9)
    start = solve(fleet, solver="reference").placement
    found = refine_forecast(fleet, start, kicks=3)
    assert evaluate(fleet, found.placement).valid
    assert found.complete
    assert found.load_after >= found.load_before
    assert found.load_after == pytest.approx(served_load(fleet, found.placement), rel=0.01)
    assert refine_forecast(fleet, start, kicks=3).placement == found.placement


def test_what_a_gpu_loses_is_what_the_forecast_says():
    fleet = adrs_like(12, gpus=3, models=9)
    placement = solve(fleet, solver="reference").placement
    search = _Search(fleet, placement, 2.0, 1.0, Rules(), StepTimes())
    whole = forecast(fleet, placement, load=2.0)
    lost = sum(r * (1 - m.attainment) for r, m in zip(whole.rates, whole.models, strict=True))
    assert sum(search.lost) == pytest.approx(lost, rel=1e-3)
    # A change is worth what a new forecast says.
    gain, at, swapped, other = max(search.changes(0, [1, 2]))
    search.apply(at, swapped, 0, other)
    after = forecast(fleet, search.placement(), load=2.0)
    now = sum(r * (1 - m.attainment) for r, m in zip(after.rates, after.models, strict=True))
    assert lost - now == pytest.approx(gain, abs=1e-3 * lost + 1e-9)


def test_on_a_tiny_fleet_nothing_serves_more():
    fleet = adrs_like(13, gpus=2, models=6, fill=0.6)
    start = solve(fleet, solver="reference").placement
    found = refine_forecast(fleet, start, kicks=5)
    names, gpus = fleet.names, [gpu.id for gpu in fleet.fleet.gpus]
    best = 0.0
    for where in itertools.product(gpus, repeat=len(names)):
        placement = Placement.single(dict(zip(names, where, strict=True)))
        if evaluate(fleet, placement).valid:
            best = max(best, served_load(fleet, placement))
    assert found.load_after >= 0.95 * best


def test_a_placement_that_is_not_valid_is_refused():
    fleet = adrs_like(14, gpus=2, models=4)
    everything = Placement.single(dict.fromkeys(fleet.names, fleet.fleet.gpus[0].id))
    with pytest.raises(InputError):
        refine_forecast(fleet, everything)


def bursty(fleet, dispersion):
    """Return a fleet whose demands state their dispersion."""
    told = (replace(m.demand, dispersion=dispersion) for m in fleet.models)
    models = tuple(replace(m, demand=one) for m, one in zip(fleet.models, told, strict=True))
    return replace(fleet, models=models)


def test_a_fleet_that_states_its_bursts_is_refined_for_them():
    fleet = adrs_like(15, gpus=3, models=9)
    told = bursty(fleet, 9.0)
    start = solve(fleet, solver="reference").placement
    # What is stated counts as what is asked for does, of one copy each.
    stated, asked = forecast(told, start), forecast(fleet, start, burst=3.0)
    assert stated.models == asked.models
    assert stated.attainment < forecast(fleet, start).attainment
    blind, knowing = (refine_forecast(one, start, kicks=3) for one in (fleet, told))
    kept = served_load(told, knowing.placement)
    assert kept >= served_load(told, blind.placement) * 0.99
    assert kept > served_load(told, start) or kept == pytest.approx(served_load(told, start))


def test_lengths_that_vary_more_lose_more():
    fleet = adrs_like(15, gpus=3, models=9)
    start = solve(fleet, solver="reference").placement
    longer = [replace(m, demand=replace(m.demand, prompt_cv=2.0)) for m in fleet.models]
    wide = replace(fleet, models=tuple(longer))
    assert forecast(wide, start).attainment < forecast(fleet, start).attainment
