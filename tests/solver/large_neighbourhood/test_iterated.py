"""Kicks, and other company for a hot model."""

import math
import random

import pytest

from kvplace.bench.families import build
from kvplace.core.placement import Placement
from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.clock import Watch
from kvplace.solver.construct.best_fit_decreasing import bisect_target
from kvplace.solver.instance.door import load_instance
from kvplace.solver.large_neighbourhood.iterated import iterate
from oracle import exact_profile, solve_exactly
from tiny import random_problem


def drawn(seed, gpus=4, models=14):
    draw = random.Random(seed)
    rows = [(draw.randint(8, 20), draw.randint(1, 9), draw.randint(5, 9)) for _ in range(models)]
    return load_instance(build([80.0] * gpus, *zip(*rows, strict=True)))


def start(instance):
    return Assignment.single(instance, bisect_target(instance, tolerance=0.1))


@pytest.mark.parametrize("seed", range(4))
def test_it_never_worsens_and_is_repeatable(seed):
    instance = drawn(seed)
    first = start(instance)
    one, steps = iterate(first, 0.0, 30, seed, Watch())
    other, again = iterate(first, 0.0, 30, seed, Watch())
    assert one.worst() <= first.worst()
    assert (one.gpu_of, steps) == (other.gpu_of, again)
    assert first.gpu_of == start(instance).gpu_of


@pytest.mark.parametrize("limit", [0, 1, 5, 17])
def test_it_makes_no_more_steps_than_allowed(limit):
    instance = drawn(2)
    _, steps = iterate(start(instance), 0.0, 100, 0, Watch(), limit)
    assert steps <= limit


def test_it_stops_at_the_target_and_at_the_limit_of_time():
    instance = drawn(3)
    first = start(instance)
    assert iterate(first, math.inf, 100, 0, Watch())[0].worst() <= first.worst()
    assert iterate(first, 0.0, 10**6, 0, Watch(0.0))[1] == 0


def test_small_fleets_are_solved():
    draw, optimal, cases = random.Random(1), 0, 0
    for _ in range(40):
        problem = random_problem(draw)
        truth = solve_exactly(problem, leximax=False)
        instance = load_instance(problem)
        gpu_of = bisect_target(instance, tolerance=0.1)
        if gpu_of is None or not truth.optimum:
            continue
        found, _ = iterate(Assignment.single(instance, gpu_of), 0.0, 40, 0, Watch())
        cases += 1
        optimal += found.worst() <= float(truth.optimum) * (1 + 1e-9)
    assert optimal >= 0.9 * cases


def test_what_is_found_is_valid():
    draw = random.Random(8)
    rows = [(draw.randint(8, 20), draw.randint(1, 9), draw.randint(5, 9)) for _ in range(14)]
    problem = build([80.0] * 4, *zip(*rows, strict=True))
    instance = load_instance(problem)
    found, _ = iterate(start(instance), 0.0, 50, 1, Watch())
    ids = [problem.fleet.gpus[g].id for g in instance.gpu_index]
    names = [problem.names[i] for i in instance.model_index]
    placement = Placement.single({n: ids[g] for n, g in zip(names, found.gpu_of, strict=True)})
    assert exact_profile(problem, placement) is not None
