"""Clusters large enough for the configuration program, with pins, spread copies and splits."""

import math
from dataclasses import replace

import numpy as np
import pytest

import kvplace
from kvplace.bench.clusters import cluster
from kvplace.core.certificates.certificate import check_certificate
from kvplace.core.models.model import Model
from kvplace.core.problem import Problem
from kvplace.solver.bounds.fluid import FluidBound
from kvplace.solver.bounds.level_bound import LevelBound
from kvplace.solver.bounds.level_targets import LevelTargets
from kvplace.solver.clock import Watch
from kvplace.solver.construct import from_configurations
from kvplace.solver.construct.candidates import place_model
from kvplace.solver.construct.from_configurations import Configurer
from kvplace.solver.improve.movable_shards import improve_mobile
from kvplace.solver.instance.door import load_instance, unload_copies
from kvplace.solver.instance.options import Chooser

GRID, COARSE = 2048, 512


@pytest.fixture(scope="module")
def problem() -> Problem:
    return cluster(600, 400, pinned=12, seed=3)


def build(configurer, low, watch=None):
    """Return what is built at the lowest target that is met above a bound."""
    watch = watch or Watch(None)
    configurer.aim(low, watch)
    return configurer.build(watch)


@pytest.fixture(scope="module")
def chooser(problem) -> Chooser:
    return Chooser(load_instance(problem))


@pytest.fixture(scope="module")
def low(chooser) -> float:
    return FluidBound(chooser).value


@pytest.fixture(scope="module")
def configured(chooser, low):
    """What builds, and what it built; a test that changes that takes a copy."""
    configurer = Configurer(chooser, 0, GRID, COARSE)
    assert configurer.prices is None
    return configurer, build(configurer, low)


@pytest.fixture(scope="module")
def built(configured):
    return configured[1]


def test_the_bound_by_levels_is_certified_and_above_the_fluid_one(problem, chooser, low):
    bound = LevelBound(chooser)
    bound.rise(low, None, Watch(None))
    assert bound.value > low
    found = bound.certified(problem)
    assert found is not None
    assert found.value == bound.value


def test_prices_of_the_start_prove_a_bound_without_a_further_program(
    problem, chooser, low, configured
):
    configurer, board = configured
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kvplace.solver.bounds.level_bound.FAR", 1.0)
        patch.setattr(LevelTargets, "rise", None)
        bound = LevelBound(chooser)
        bound.rise(low, board, Watch(None), configurer.target, configurer.prices)
    found = bound.certified(problem)
    assert low < found.value == bound.value <= board.worst()
    assert check_certificate(problem, found.certificate) == ""
    bound.rise(bound.value, board, Watch(None), configurer.target, configurer.prices)
    assert found.value <= bound.value <= board.worst()


def test_what_is_built_is_whole_and_keeps_all_rules(problem, chooser, built):
    assert built is not None
    assert built.valid
    assert not any(built.flaws)
    placement = unload_copies(problem, chooser.instance, built.where)
    assert kvplace.evaluate(problem, placement).valid


def test_the_same_is_built_again(chooser, low, built):
    again = build(Configurer(chooser, 0, GRID, COARSE), low)
    assert again is not None
    assert again.where == built.where


class Counted(Watch):
    """A clock that stands still but where it is set."""

    left = 10.0


def test_half_of_the_time_is_left_for_filling_once_a_target_is_met(chooser, low, monkeypatch):
    watch, begin, turns = Counted(None), Configurer._begun, []

    def begun(self, target, watch):
        watch.left -= 2
        turns.append(target)
        return begin(self, target, watch)

    monkeypatch.setattr(Configurer, "_begun", begun)
    configurer = Configurer(chooser, 0, GRID, COARSE)
    configurer.aim(low, watch)
    assert configurer.target < math.inf
    few = len(turns)
    watch.left = 1000.0
    configurer.aim(low, watch)
    assert few < len(turns) - few


def test_no_split_model_is_placed_once_time_is_up(monkeypatch):
    # So many split shards that they go before the program.
    chooser = Chooser(load_instance(cluster(1_500, 400, pinned=0, seed=3)))
    low, placed = FluidBound(chooser).value, []
    watch = Watch(None)

    def counted(board, j, option, target, *, tight):
        placed.append(j)
        if len(placed) == 2:
            watch.interrupt()
        return place_model(board, j, option, target, tight=tight)

    monkeypatch.setattr(from_configurations, "place_model", counted)
    assert build(Configurer(chooser, 0, GRID, COARSE), low, watch) is None
    assert len(placed) == 2


def test_filling_ends_with_the_time_and_leaves_models_out(chooser, low):
    watch = Watch(None)
    configurer = Configurer(chooser, 0, GRID, COARSE)
    configurer.aim(low, watch)
    watch.interrupt()
    assert configurer._filled(*configurer._begin, watch, GRID).missing


@pytest.mark.parametrize("gib", [5, 10])
def test_all_is_placed_where_the_kv_that_must_be_left_takes_more_than_the_load(problem, gib):
    models = tuple(
        replace(model, min_kv_bytes=gib << 30 if j % 3 == 0 else 0)
        for j, model in enumerate(problem.models)
    )
    kept = replace(problem, models=models)
    chooser = Chooser(load_instance(kept))
    board = build(Configurer(chooser, 0, GRID, COARSE), FluidBound(chooser).value)
    assert board is not None
    assert board.valid
    assert not any(board.flaws)
    placement = unload_copies(kept, chooser.instance, board.where)
    assert kvplace.evaluate(kept, placement).valid


def test_exchanges_keep_pins_and_spread_and_copies_apart(problem, chooser, low, built):
    board = built.copy()
    before = board.worst()
    regions = chooser.instance.regions
    assert regions.count == 3  # zones
    assert regions.bound.all()
    assert 0 < regions.free.sum() < chooser.instance.n
    improve_mobile(board, low, 100.0, 0, Watch(None))
    assert board.worst() <= before
    assert not any(board.flaws)
    assert kvplace.evaluate(problem, unload_copies(problem, chooser.instance, board.where)).valid


def test_a_large_cluster_is_planned_close_to_its_bound():
    problem = cluster(900, 600, pinned=20, seed=1)
    result = kvplace.solve(problem, time_limit=60, gap=0.25)
    assert result.status == "feasible"
    assert result.gap < 0.3
    assert kvplace.evaluate(problem, result.placement).valid
    copies = {r.model: 0 for r in result.placement}
    for replica in result.placement:
        copies[replica.model] += 1
    models: dict[str, Model] = {m.name: m for m in problem.models}
    assert all(models[n].replicas.min <= k <= models[n].replicas.max for n, k in copies.items())
    assert np.isfinite(result.value)


def test_the_next_target_is_where_nothing_lacks_in_proportion():
    asked = []

    def ask(target):
        asked.append(target)
        return (None, None, target) if target >= 1.1 else (1.1 - target) / 10

    found = from_configurations._lowest_met(ask, 1.0, 1e-3, Watch(None))
    assert found is not None
    assert 1.1 <= found[2] < 1.1 * 1.002
    assert 1.1 <= asked[3] < 1.1 * 1.002
