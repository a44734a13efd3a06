"""The fleet-scale path: the same kernels on tiny, hand-made and middling fleets."""

import math
import os
import random
import subprocess
import sys
from array import array
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvplace.bench.families import build
from kvplace.core.certificates.certificate import check_certificate
from kvplace.core.evaluation.evaluate import evaluate
from kvplace.core.problem import Problem
from kvplace.core.result import Status, Stop
from kvplace.solver import solve as door
from kvplace.solver.assignment.packed import pack_rows
from kvplace.solver.bounds.trivial import simple_bound
from kvplace.solver.clock import Watch
from kvplace.solver.construct.compiled_starts import bisect_first_fit, most_room_first
from kvplace.solver.improve.pair_kernel import relieve
from kvplace.solver.instance.columns import fluid_level
from kvplace.solver.instance.door import load_instance
from kvplace.solver.kernels import Crew
from kvplace.solver.solve import solve
from kvplace.solver.strategies.large.strategy import LargeSearch
from kvplace.solver.strategies.params import LargeParams, Params
from kvplace.solver.strategies.stages import Settings
from oracle import solve_exactly
from tiny import GIB, byte_problem, byte_problems

AT_SCALE = Params(large=LargeParams(models=0, sparse_models=0))


def drawn(models, gpus, seed=0, fill=0.8, memory=(80,), tail=False):
    """A fleet of random models."""
    chance = np.random.RandomState(seed)
    memories = [memory[g % len(memory)] for g in range(gpus)]
    sizes = chance.uniform(0.4, 1.6, models)
    sizes *= fill * sum(memories) / sizes.sum()
    rates = chance.pareto(1.1, models) + 0.1 if tail else chance.uniform(1, 10, models)
    return build(memories, sizes.tolist(), rates.tolist(), chance.uniform(5, 10, models).tolist())


@pytest.fixture
def at_scale(monkeypatch):
    """Every problem is solved by the fleet-scale path."""
    monkeypatch.setattr(door, "DEFAULTS", AT_SCALE)


def test_a_signal_is_heeded_while_the_start_is_compiled(monkeypatch, at_scale):
    watch = Watch()

    def compiling(_kernel, _call, ended):
        assert not ended()
        watch.interrupt()
        return not ended()

    monkeypatch.setattr("kvplace.solver.construct.compiled_starts.compiled_in_time", compiling)
    found = solve(drawn(40, 4, 1), watch=watch)
    assert (found.placement, found.stop) == (None, Stop.INTERRUPTED)


@settings(max_examples=30, deadline=None)
@given(byte_problems())
def test_bound_optimum_and_value_come_in_this_order(problem):
    instance = load_instance(problem)
    numbers, bound = instance.columns, simple_bound(instance)
    search = LargeSearch(problem, Settings(seed=1, params=AT_SCALE), threads=1)
    search.solve(None)
    gpu_of = None if search.placement is None else search.packing.gpu_of(numbers.n)
    truth = solve_exactly(problem, leximax=False)
    unit = problem.goal.memory_unit_bytes
    if truth.feasible:
        assert bound.value <= float(truth.optimum) * (1 + 1e-12)
    if gpu_of is None:
        return  # no start fits: nothing is claimed
    assert truth.feasible
    packing = pack_rows(numbers, gpu_of)
    assert packing.pressure().max() >= float(truth.optimum) * (1 - 1e-12), unit


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 40))
def test_an_exchange_keeps_every_sum_and_never_heats_the_pair(seed, per):
    chance = np.random.RandomState(seed)
    problem = drawn(per * 2, 2, seed, fill=0.7, memory=(80, 40))
    instance = load_instance(problem)
    keep = array("q", chance.randint(0, 2**28, instance.n).tolist())
    numbers = replace(instance, keep=keep).columns
    gpu_of = np.sort(chance.randint(0, 2, numbers.n))
    packing = pack_rows(numbers, gpu_of)
    before = packing.pressure()
    turn = int(seed % 7)
    made = relieve(packing, np.array([0]), np.array([1]), 1, 0.0, turn, 1e-9, 0, 1)
    after = pack_rows(numbers, packing.gpu_of(numbers.n))
    assert sorted(packing.gpu_of(numbers.n).tolist()) == sorted(after.gpu_of(numbers.n).tolist())
    assert (packing.gpu_of(numbers.n) >= 0).all()
    assert packing.free.tolist() == after.free.tolist()
    assert packing.kept.tolist() == after.kept.tolist()
    assert packing.loads == pytest.approx(after.loads, rel=1e-12)
    assert packing.models.tolist() == after.models.tolist()
    if made:
        assert packing.pressure().max() < before.max()
    else:
        assert packing.pressure().tolist() == before.tolist()


def test_one_exchange_finds_the_exact_balance():
    # 3 + 5 + 8 against 2 + 2 + 4 bytes of 32, loads as sizes: 12 and 12 is the balance.
    problem = byte_problem([32, 32], [(s, float(s)) for s in (3, 5, 8, 2, 2, 4)])
    numbers = load_instance(problem).columns
    sides = {3: 0, 5: 0, 8: 0, 2: 1, 4: 1}
    packing = pack_rows(numbers, np.array([sides[int(s)] for s in numbers.size]))
    assert relieve(packing, np.array([0]), np.array([1]), 1, 0.0, 0, 1e-9, 0, 1) == 1
    assert sorted(packing.free.tolist()) == [20, 20]
    assert sorted(packing.loads[:, 0].tolist()) == [12.0 * GIB, 12.0 * GIB]


@pytest.mark.parametrize("shape", [(2000, 200, 0.8), (900, 300, 0.7), (900, 9, 0.8)])
def test_one_two_and_four_threads_make_the_same_plan(shape):
    problem = drawn(*shape[:2], fill=shape[2], memory=(80, 141, 24))
    plans = []
    for threads in (1, 2, 4):
        search = LargeSearch(problem, Settings(seed=3), threads)
        search.solve(None)
        plans.append((search.packing.gpu_of(len(problem.models)).tolist(), search.steps))
    assert plans[0] == plans[1] == plans[2]
    assert plans[0][1] > 0


@pytest.mark.parametrize(
    ("shape", "most"),
    [((3000, 300, 0.81), 1e-4), ((3000, 1000, 0.73), 0.03), ((5000, 50, 0.9), 1e-4)],
)
def test_middling_fleets_come_near_to_the_bound(shape, most):
    result = solve(drawn(*shape[:2], fill=shape[2]))
    assert result.evaluation.valid
    assert len(result.placement) == shape[0]
    assert result.gap <= most
    assert not check_certificate(result.problem, result.proof.certificate)


def test_hot_models_are_proved_and_the_rest_is_balanced():
    sizes, gpus = [6.0] * 900, 100
    rates = [100_000.0, 50_000.0] + [1 + j % 7 for j in range(898)]
    result = solve(build([80] * gpus, sizes, rates, [5.0] * 900))
    assert result.status is Status.OPTIMAL
    assert result.proof.method == "single-model"
    hot, second, *rest = result.evaluation.profile()
    assert hot == pytest.approx(100_000 / 5 / 74)
    assert second == pytest.approx(50_000 / 5 / 74)
    assert max(rest) <= np.mean(rest) * 1.1


def test_order_of_the_input_and_seed(at_scale):
    problem = drawn(400, 40)
    models = list(problem.models)
    random.Random(5).shuffle(models)
    one, other = solve(problem), solve(Problem(tuple(models), problem.fleet, problem.objective))
    assert one.placement == other.placement
    assert (one.value, one.bound, one.stop) == (other.value, other.bound, other.stop)


def test_equal_models_are_told_apart_by_name(at_scale):
    problem = byte_problem([100] * 4, [(10, 1.0)] * 20)
    models = list(problem.models)
    random.Random(2).shuffle(models)
    one, other = solve(problem), solve(Problem(tuple(models), problem.fleet, problem.objective))
    assert one.placement == other.placement


def test_a_start_is_never_made_worse(at_scale):
    problem = drawn(300, 100, fill=0.75)
    one = solve(problem, iterations=1)
    two = solve(problem, start=one.placement, seed=9, iterations=0)
    assert two.value <= one.value
    assert (two.iterations, two.stop) == (0, Stop.ITERATION_LIMIT)


def test_kv_that_must_be_left_is_left(at_scale):
    problem = byte_problem([100] * 10, [(4 + j % 3, float(j % 5)) for j in range(100)])
    models = tuple(replace(model, min_kv_bytes=4) for model in problem.models)
    result = solve(Problem(models, problem.fleet, problem.objective))
    assert result.evaluation.valid
    assert evaluate(result.problem, result.placement).valid


def test_memory_so_tight_that_spreading_fails_is_packed():
    # Worst fit breaks the halves up: 60 + 39 must share.
    problem = byte_problem([100] * 50, [(60, 0.001)] * 50 + [(39, 1.0)] * 50)
    instance = load_instance(problem)
    numbers = instance.columns
    packed = bisect_first_fit(numbers, simple_bound(instance).value, Watch())
    assert packed is not None
    assert math.isfinite(packed.pressure().max())
    spreads = most_room_first(numbers, fluid_level(numbers))
    assert all((spread.free >= 1).all() for spread in spreads)


def test_a_model_too_large_is_infeasible(at_scale):
    result = solve(byte_problem([10, 10], [(11, 1.0), (2, 1.0)]))
    assert result.status is Status.INFEASIBLE
    assert not check_certificate(result.problem, result.proof.certificate)


def test_weights_beyond_the_fleet_are_infeasible(at_scale):
    result = solve(byte_problem([10, 10], [(7, 1.0), (7, 1.0), (7, 1.0)]))
    assert result.status is Status.INFEASIBLE


def test_no_load_at_all_is_optimal(at_scale):
    result = solve(byte_problem([100] * 4, [(5, 0.0)] * 30))
    assert result.status is Status.OPTIMAL
    assert result.value == 0


def test_a_crew_does_every_part_once():
    crew, seen = Crew(4), np.zeros(1000, dtype=int)

    def work(first, end):
        seen[first:end] += 1
        return end - first

    assert crew.share(work, 1000, 10) == 1000
    crew.close()
    assert (seen == 1).all()


@pytest.mark.parametrize(("gpus", "balanced"), [(2, 0), (16, 3)])
def test_small_easy_fleets_wait_for_no_heavy_import(gpus, balanced):
    script = (
        "import sys; from tiny import byte_problem; from kvplace.solver.solve import solve;"
        f"found = solve(byte_problem([40] * {gpus}, [(3, 90.0), *[(3, 20.0)] * 35]));"
        f"assert len(found.balance) == {balanced}, found.balance;"
        "print({'numba', 'numpy', 'highspy'} & set(sys.modules))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True,
        env={"PYTHONPATH": os.pathsep.join(["tests", *filter(None, sys.path)])},
    )  # fmt: skip
    assert answer.stdout.strip() == "set()"


def test_a_cache_that_cannot_be_written_breaks_nothing(tmp_path):
    script = (
        "from kvplace.bench.families import build; from kvplace.solver import solve as door;"
        "import kvplace.solver.kernels as c; import numba;"
        "real = numba.njit\n"
        "def njit(f, cache=False, **o):\n"
        "    if cache: raise RuntimeError('cannot cache')\n"
        "    return f\n"
        "numba.njit = njit\n"
        "from kvplace.solver.strategies.params import LargeParams, Params\n"
        "door.DEFAULTS = Params(large=LargeParams(models=0, sparse_models=0))\n"
        "r = door.solve(build([80] * 3, [9.0] * 12, [1.0] * 12, [5.0] * 12))\n"
        "print(r.evaluation.valid)\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "True"


def test_the_search_ends_early_enough_for_what_follows_it():
    watch = Watch(1000)
    watch.keep(400)
    assert 590 < watch.left <= 600
    assert watch.stop is None
    watch.keep(1000)
    assert (watch.left, watch.stop) == (0, Stop.TIME_LIMIT)
    watch.keep(0)
    watch.interrupt()
    watch.restart()
    assert (watch.left, watch.stop) == (0, Stop.INTERRUPTED)
    forever = Watch()
    forever.keep(10)
    assert (forever.left, forever.stop) == (math.inf, None)


def test_two_models_per_gpu_are_paired_and_the_memory_left_waste_is_proved(at_scale):
    # Most room first ends at 1.3 times the fluid bound, which is 2 % too low by itself.
    problem = drawn(600, 300, fill=0.73)
    found = solve(problem)
    assert found.proof.method == "configuration"
    assert found.gap < 0.02
    assert check_certificate(problem, found.proof.certificate) == ""
    higher = replace(found.proof.certificate, threshold=found.value * (1 + 1e-6))
    assert check_certificate(problem, higher)


def test_the_program_leaves_time_for_the_search(at_scale):
    found = solve(drawn(1200, 600, fill=0.73), time_limit=0.0)
    assert found.placement is not None
    assert found.proof.method == "fluid"
