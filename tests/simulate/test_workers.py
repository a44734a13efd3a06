"""Simulations on other processes and on a Ray cluster: the same results, bit for bit."""

import os
import re
from dataclasses import replace
from importlib import import_module

import pytest

from kvplace.bench.adrs_like import adrs_like
from kvplace.core.result import Result
from kvplace.errors import InputError
from kvplace.simulate.compare import compare
from kvplace.simulate.run import simulate
from kvplace.simulate.served import served
from kvplace.simulate.traffic import Drawn
from kvplace.solver.clock import Watch
from kvplace.solver.solve import solve
from kvplace.workers import Workers

FLEET = adrs_like(21, gpus=2, models=5)


@pytest.fixture(scope="module")
def plan():
    return solve(FLEET, objective="pressure", solver="reference")


def everything(plan: Result, workers):
    """Return all that simulate, served and compare give."""
    other = replace(plan, placement=solve(FLEET, objective="tokens").placement)
    options = {"seconds": 20.0, "workers": workers}
    traffic = Drawn(FLEET.models, 20.0, 2.0, 0.5)
    played = simulate(
        FLEET, plan.placement, loads=(0.5, 2), seeds=(0, 7), traffic=traffic, **options
    )
    found = served(FLEET, plan.placement, seeds=(1, 2), **options)
    plans = compare({"one": plan, "other": other}, seeds=(3, 4), **options)
    return played, found, plans


def test_processes_give_what_threads_give(plan):
    assert everything(plan, Workers(2)) == everything(plan, None)


@pytest.mark.heavy
def test_a_ray_cluster_gives_what_threads_give(plan):
    """KVPLACE_RAY=ADDRESS names a cluster that runs: ray start --head; ray start --address=..."""
    pytest.importorskip("ray")
    address = os.environ.get("KVPLACE_RAY", "")
    if not address:
        pytest.skip("KVPLACE_RAY names no cluster")
    assert everything(plan, Workers(ray=address)) == everything(plan, None)


def test_what_is_stopped_is_told_as_not_complete(plan):
    watch = Watch()
    watch.interrupt()
    found = simulate(FLEET, plan.placement, seconds=5.0, workers=Workers(), watch=watch)
    assert not found.complete
    assert not found.outcomes


def test_a_simulation_tells_how_far_it_is_and_ends_when_asked(plan, monkeypatch):
    monkeypatch.setattr(import_module("kvplace.simulate.running"), "_LOOK_SECONDS", 0.0)
    told = []

    def hear(progress):
        told.append(progress.phase)
        if len(told) > 5:
            watch.interrupt()

    watch = Watch(None, hear)
    found = simulate(FLEET, plan.placement, loads=(4,), seconds=20_000.0, watch=watch)
    assert not found.complete
    assert not found.outcomes
    assert re.fullmatch(r"simulating load 4, seed 0: \d+% of the requests", told[-1])


def test_a_simulation_that_is_not_compiled_ends_when_asked(plan, monkeypatch):
    monkeypatch.setattr(import_module("kvplace.simulate.run"), "ready", lambda _: False)
    found = simulate(FLEET, plan.placement, seconds=5.0)
    assert not found.complete
    assert not found.outcomes


def test_more_requests_than_memory_holds_are_refused(plan):
    with pytest.raises(InputError, match="requests would be drawn, and at most 100,000,000 are"):
        simulate(FLEET, plan.placement, seconds=1e12)
    with pytest.raises(InputError, match="simulate a shorter time, or a lower load"):
        simulate(FLEET, plan.placement, loads=(1e300,), seconds=1e12)
