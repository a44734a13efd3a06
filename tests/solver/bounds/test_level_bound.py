"""The program over size classes: bounds that check and are below what any placement reaches."""

import math
import random
from dataclasses import replace

import numpy as np
import pytest

from boards import drawn_boards, spread, undivided
from kvplace.bench.clusters import cluster
from kvplace.core.certificates.certificate import check_certificate
from kvplace.core.models.objective import Objective
from kvplace.solver.assignment.packed import pack_rows
from kvplace.solver.bounds.fluid import FluidBound
from kvplace.solver.bounds.level_bound import LevelBound, certified_classes, packing_bound
from kvplace.solver.bounds.level_targets import LevelTargets
from kvplace.solver.bounds.trivial import simple_bound
from kvplace.solver.clock import Watch
from kvplace.solver.construct.best_fit_decreasing import bisect_target
from kvplace.solver.construct.target_search import some_assignments
from kvplace.solver.instance.door import load_instance
from kvplace.solver.instance.options import Chooser
from oracle import solve_exactly
from tiny import byte_problem, random_problem

ENOUGH = 2
"""Certificates of one seed; most problems drawn leave nothing to raise."""


@pytest.mark.parametrize("seed", range(2))
def test_bounds_of_undivided_models_are_below_the_optimum(seed):
    draw, raised = random.Random(seed), 0
    for _ in range(25):
        problem = random_problem(draw)
        truth = solve_exactly(problem, leximax=False)
        instance = load_instance(problem)
        gpu_of = bisect_target(instance, tolerance=0.1)
        if gpu_of is None or not truth.optimum:
            continue
        low = simple_bound(instance).value
        packing = pack_rows(instance.columns, np.array(gpu_of))
        prices = packing_bound(instance.columns, packing, low, Watch())
        if prices is None:
            continue
        raised += 1
        assert low < prices.target <= float(truth.optimum) * (1 + 1e-9)
        found = certified_classes(problem, prices)
        assert found is not None
        assert found.value == prices.target
        assert check_certificate(problem, found.certificate) == ""
        if raised == ENOUGH:
            break
    assert raised > 0


def test_memory_that_no_set_fills_is_counted():
    # Three models of 6 of 11 bytes on three GPUs: each is alone, though two thirds would do.
    problem = byte_problem([11, 11, 11], [(6, 1.0)] * 3)
    instance = load_instance(problem)
    fluid = simple_bound(instance).value
    packing = pack_rows(instance.columns, np.arange(3))
    prices = packing_bound(instance.columns, packing, fluid, Watch())
    assert prices is None or prices.target <= packing.pressure().max()
    full = byte_problem([11] * 3, [(4, 2.0)] * 4)
    instance = load_instance(full)
    packing = pack_rows(instance.columns, np.array([0, 1, 2, 2]))
    prices = packing_bound(instance.columns, packing, simple_bound(instance).value, Watch())
    assert prices.target > simple_bound(instance).value * 1.1


@pytest.mark.parametrize("seed", [2, 4])
def test_memory_that_differs_by_less_than_a_level_is_one_room(seed):
    rng = np.random.default_rng(seed)
    parts = rng.uniform(3_000, 8_000, 36), rng.uniform(10_000, 14_000, 8), np.full(2, 30_000.0)
    size = np.concatenate(parts).reshape(-1, 1)
    load, one = rng.uniform(100, 2_000, size.shape), np.ones(size.shape)
    found = []
    for memory, count in (([22_000, 44_000], [14, 2]), ([22_000, 22_004, 44_000], [7, 7, 2])):
        low = load.sum() / (np.dot(memory, count) - size.sum())
        targets = LevelTargets(np.array(memory), np.array(count), size, load, one)
        assert targets.rise(low, math.inf, None, Watch()) > low
        found.append(targets.found[-1])
    apart = found[1]
    assert apart.worths[0] == apart.worths[1]
    assert apart.target == pytest.approx(found[0].target, rel=2e-3)


@pytest.mark.parametrize("seed", [1])
def test_bounds_with_kv_that_must_be_left_check_and_are_below_any_value(seed):
    draw, raised = random.Random(seed), 0
    problem = cluster(300, 200, pinned=0, seed=seed)
    models = tuple(
        replace(model, min_kv_bytes=draw.choice([0, 2 << 30, 30 << 30])) for model in problem.models
    )
    kept = replace(problem, models=models)
    found = []
    for case in (problem, kept):
        chooser = Chooser(load_instance(case))
        low = FluidBound(chooser).value
        bound = LevelBound(chooser)
        bound.rise(low, None, Watch())
        certified = bound.certified(case)
        if certified is not None:
            raised += 1
            assert certified.value == bound.value
            assert check_certificate(case, certified.certificate) == ""
        found.append(max(low, bound.value))
    assert raised
    assert found[1] >= found[0] * (1 - 2e-3)


def test_more_levels_raise_a_bound_below_a_known_value_and_check():
    problem = cluster(300, 200, pinned=0, seed=2)
    chooser = Chooser(load_instance(problem))
    low = FluidBound(chooser).value
    board = next(some_assignments(chooser, low, Watch()))
    found = []
    for most in (0.0, 4e-3):  # without the finer levels, and with them
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("kvplace.solver.bounds.level_bound.FINER", most)
            bound = LevelBound(chooser)
            bound.rise(low, board, Watch())
            certified = bound.certified(problem)
        assert certified.value == bound.value <= board.worst()
        found.append(certified.value)
    assert found[0] < found[1] < found[0] * 1.004
    assert check_certificate(problem, certified.certificate) == ""


def test_a_certificate_that_rounding_spoils_leaves_the_target_before_it(monkeypatch):
    problem = cluster(300, 200, pinned=6, seed=3)
    chooser = Chooser(load_instance(problem))
    bound = LevelBound(chooser)
    bound.rise(FluidBound(chooser).value, None, Watch(None))
    tried = []

    def spoiled(problem, prices, watch):
        tried.append(prices.target)
        return certified_classes(problem, prices, watch) if len(tried) > 1 else None

    monkeypatch.setattr("kvplace.solver.bounds.level_bound.certified_classes", spoiled)
    found = bound.certified(problem)
    assert tried[0] == bound.value > tried[1] == found.value
    assert check_certificate(problem, found.certificate) == ""


def test_no_time_asks_nothing():
    instance = undivided(1, gpus=4, models=9)
    board = spread(instance, 1)
    packing = pack_rows(instance.columns, np.array(board.gpu_of))
    assert packing_bound(instance.columns, packing, board.worst() / 2, Watch(0.0)) is None


@pytest.mark.parametrize("seed", [1, pytest.param(0, marks=pytest.mark.heavy)])
def test_bounds_of_clusters_hold(seed):
    certified = 0
    objectives = Objective.REQUESTS, Objective.TOKENS
    for _, problem, board in drawn_boards(seed, 30, objectives=objectives, valid=True):
        chooser = Chooser(board.instance)
        low = FluidBound(chooser).value
        if not 0 < low < board.worst():
            continue
        bound = LevelBound(chooser)
        bound.rise(low, board, Watch())
        assert bound.value <= board.worst() * (1 + 1e-9)
        found = bound.certified(problem)
        if bound.value and found is not None:
            certified += 1
            assert low < found.value < math.inf
            assert check_certificate(problem, found.certificate) == ""
        if certified == ENOUGH:
            break
    assert certified > 0


@pytest.mark.parametrize("seed", range(3))
def test_bounds_where_kv_must_be_left_on_gpus_of_several_sizes_are_below_the_optimum(
    seed, monkeypatch
):
    monkeypatch.setattr("kvplace.solver.bounds.level_bound.MANY", 0)
    draw = random.Random(seed)
    raised = 0
    for _ in range(20):
        memories = [draw.choice([40, 60, 100]) for _ in range(3)]
        problem = byte_problem(
            memories, [(draw.randint(5, 25), draw.uniform(1, 9)) for _ in range(5)]
        )
        models = tuple(replace(m, min_kv_bytes=draw.choice([0, 20])) for m in problem.models)
        problem = replace(problem, models=models)
        truth = solve_exactly(problem, leximax=False).optimum
        if truth is None:
            continue
        chooser = Chooser(load_instance(problem))
        bound = LevelBound(chooser)
        bound.rise(FluidBound(chooser).value, None, Watch())
        found = bound.certified(problem)
        if found is None:
            continue
        raised += 1
        assert found.value <= float(truth) * (1 + 1e-9)
        assert check_certificate(problem, found.certificate) == ""
    assert raised
