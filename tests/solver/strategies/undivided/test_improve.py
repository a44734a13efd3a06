"""The stages that find and better an assignment of undivided models, each by itself."""

import math
import random
from dataclasses import replace

import pytest

from kvplace.core.certificates.certificate import Bound
from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.clock import Watch
from kvplace.solver.construct.best_fit_decreasing import bisect_target
from kvplace.solver.instance.door import unload_copies
from kvplace.solver.large_neighbourhood import warm
from kvplace.solver.strategies.assigned import refill_groups
from kvplace.solver.strategies.params import Params, UndividedParams
from kvplace.solver.strategies.stages import Settings
from kvplace.solver.strategies.undivided import stages
from kvplace.solver.strategies.undivided.stages import (
    balance,
    iterate,
    kick,
    start,
    start_as_reference,
)
from kvplace.solver.strategies.undivided.strategy import UndividedSearch
from oracle import exact_profile, solve_exactly
from tiny import byte_problem, random_problem


def fleet(seed, gpus=5, models=20, memory=(70, 90)):
    """Bytes and loads that leave something to better on a few GPUs."""
    draw = random.Random(seed)
    rows = [(draw.randint(4, 14), draw.choice([0.0, draw.uniform(0, 20)])) for _ in range(models)]
    return byte_problem([draw.choice(memory) for _ in range(gpus)], rows)


def search_of(problem, *, watch=None, iterations=None, seed=0, **knobs):
    params = replace(Params(), undivided=replace(UndividedParams(), **knobs))
    watch = watch or Watch()
    return UndividedSearch(
        problem, Settings(seed=seed, watch=watch, iterations=iterations, params=params)
    )


def placed(problem, tolerance=0.3, **given):
    """A search whose best is what a rough bisection finds."""
    search = search_of(problem, **given)
    search.board = Assignment.single(
        search.instance, bisect_target(search.instance, tolerance=tolerance)
    )
    return search


def interrupted():
    watch = Watch()
    watch.interrupt()
    return watch


@pytest.mark.parametrize("begin", [start, start_as_reference])
def test_a_start_is_valid_and_no_better_than_the_optimum(begin):
    draw, found, missed = random.Random(4), 0, 0
    for _ in range(60):
        problem = random_problem(draw)
        truth = solve_exactly(problem, leximax=False)
        search = search_of(problem)
        begin(search)
        if search.board is None:
            missed += truth.feasible
            continue
        found += 1
        assert truth.feasible
        assert search.board.valid
        assert search.value >= float(truth.optimum) * (1 - 1e-9)
    assert found > 20
    assert missed < 5


@pytest.mark.parametrize("begin", [start, start_as_reference])
def test_nothing_is_begun_where_nothing_is_possible(begin):
    search = search_of(byte_problem([9, 9], [(12, 1.0), (1, 1.0)]))
    assert search.low == math.inf
    begin(search)
    assert search.board is None
    assert search.steps == 0


@pytest.mark.parametrize("begin", [start, start_as_reference])
def test_a_placement_given_is_taken_where_it_is_better(begin):
    problem = fleet(2)
    best = search_of(problem)
    best.solve(None)
    for given, taken in [(best.placement, True), (None, False)]:
        search = search_of(problem, iterations=0)
        if given is not None:
            search.take_start(given)
        begin(search)
        assert (search.value <= best.value * (1 + 1e-12)) == taken
        assert search.steps == 0


def test_a_start_that_fits_nowhere_is_not_kept():
    problem = byte_problem([30, 30], [(20, 5.0), (20, 1.0)])
    search = search_of(problem)
    search.take_start(unload_copies(problem, search.instance, [((0,),)] * 2))
    start(search)
    assert search.board.valid


def test_starts_are_refined_by_few_steps_each_and_not_at_all_where_models_are_many():
    for few, most in [(20, 2 * 3 + 3), (19, 0)]:
        search = search_of(fleet(3), start_steps=3, plain_models=few, tiny_models=5)
        search.take_start(rough(search))
        start(search)
        assert search.steps <= most
        assert (search.steps > 0) == (most > 0)


def rough(search):
    """A placement that steps can better."""
    gpu_of = bisect_target(search.instance, tolerance=1.0)
    return unload_copies(search.problem, search.instance, [((g,),) for g in gpu_of])


@pytest.mark.parametrize("seed", range(2))
def test_kicks_never_worsen_and_the_same_seed_kicks_the_same(seed):
    found = []
    for _ in range(2):
        search = placed(fleet(seed), seed=seed)
        before = search.value
        iterate(search)
        assert search.board.valid
        assert search.value <= before
        assert search.steps > 0
        found.append((search.board.gpu_of, search.steps))
    assert found[0] == found[1]


def test_rounds_double_the_kicks_where_nothing_else_uses_the_time():
    steps = []
    for number in range(3):
        search = placed(fleet(7), tolerance=1e-9, kicks=16, kicks_per_model=5)
        search.round, search.seed = number, -number  # the same random numbers
        iterate(search)
        steps.append(search.steps)
    assert steps[0] < steps[1] < steps[2]


@pytest.mark.parametrize("limit", [0, 1, 4, 11])
def test_kicks_count_as_steps(limit):
    search = placed(fleet(1), iterations=limit)
    iterate(search)
    assert search.steps <= limit
    assert search.left == limit - search.steps


def test_an_interrupt_ends_every_stage_with_what_there_is():
    for stage in (iterate, balance):
        search = placed(fleet(5), watch=interrupted())
        gpu_of = search.board.gpu_of
        stage(search)
        assert search.board.gpu_of == gpu_of
        assert search.steps == 0


def test_kicks_end_at_the_gap_asked_for():
    search = placed(fleet(6))
    search.gap = 100.0
    iterate(search)
    assert search.steps <= search.instance.n
    loose = search.steps
    search = placed(fleet(6))
    iterate(search)
    assert search.steps > loose


def test_kernels_go_on_where_there_is_time_and_not_before_they_are_compiled(monkeypatch):
    problem, values = fleet(8), []
    for ready in (False, True):
        monkeypatch.setattr(warm, "kernels_ready", lambda _, ready=ready: ready)
        search = placed(problem, watch=Watch(1000.0), compiled_kicks=200)
        search.bound = Bound(search.low / 2, "fluid")  # else it may be proved optimal before
        kick(search)
        assert search.board.valid
        values.append((search.value, search.steps))
    assert values[1][0] <= values[0][0]
    assert values[1][1] > values[0][1]


def test_groups_are_refilled_or_left_as_they_are(monkeypatch):
    problem = fleet(9, gpus=6, models=18, memory=(60, 60))
    for ready in (False, True):
        monkeypatch.setattr(warm, "kernels_ready", lambda _, ready=ready: ready)
        search = placed(problem, watch=Watch(1000.0), squeezes=20)
        before, gpu_of = search.value, search.board.gpu_of
        refill_groups(search)
        assert search.board.valid
        assert search.value <= before
        assert (search.steps > 0) == ready
        if not ready:
            assert search.board.gpu_of == gpu_of
    limited = placed(problem, watch=Watch(1000.0), squeezes=20, iterations=2)
    refill_groups(limited)
    assert limited.steps <= 2


@pytest.mark.parametrize("plain", [300, 0], ids=["plain", "subsets"])
@pytest.mark.parametrize("seed", range(2))
def test_balancing_never_worsens_the_profile(seed, plain):
    problem = fleet(seed)
    search = placed(problem, plain_models=plain)
    value, before = search.value, sorted(search.board.pressure, reverse=True)
    exact = exact_profile(problem, search.placement)
    balance(search)
    assert search.value <= value
    assert sorted(search.board.pressure, reverse=True) < before
    assert exact_profile(problem, search.placement) < exact
    most = search.knobs.balance_per_gpu * search.instance.g + search.knobs.balance_steps
    assert 0 < search.steps <= most


@pytest.mark.parametrize("plain", [300, 0], ids=["plain", "subsets"])
def test_steps_of_the_balance_are_limited_by_their_own_knobs(plain):
    knobs = {"balance_steps": 2, "balance_per_gpu": 0, "plain_models": plain}
    search = placed(fleet(4), **knobs)
    balance(search)
    assert search.steps <= 2


def test_nothing_is_loaded_to_balance_once_time_is_up(monkeypatch):
    monkeypatch.setattr(stages, "level", lambda *_: pytest.fail("time is up"))
    problem = byte_problem([400] * 80, [(30 + j % 7, 1.0 + j % 5) for j in range(350)])
    search = UndividedSearch(problem, Settings(watch=Watch(0.0)))
    search.solve(None)
    assert search.placed
