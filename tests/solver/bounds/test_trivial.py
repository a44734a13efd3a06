"""The two simple bounds: by hand, below the optimum, and the same for many models."""

import math
import random
from array import array

import pytest
from hypothesis import given, settings

from kvplace.solver.bounds import trivial
from kvplace.solver.bounds.trivial import fluid_bound, simple_bound, single_model_bound
from kvplace.solver.instance.door import load_instance
from kvplace.solver.instance.instance import Instance
from oracle import solve_exactly
from tiny import byte_problem, byte_problems


def instance_of(memory, size, keep, load):
    """An instance of undivided models in the order given."""
    return Instance.undivided(size, keep, load, memory, range(len(size)), range(len(memory)))


def test_the_fluid_bound_by_hand():
    assert fluid_bound(instance_of([10, 10], [4, 6], [0, 0], [3.0, 2.0])) == 0.5
    assert fluid_bound(instance_of([10], [10], [0], [1.0])) == math.inf
    assert fluid_bound(instance_of([10], [6], [4], [1.0])) == 0.25
    assert fluid_bound(instance_of([10], [6], [5], [1.0])) == math.inf


def test_the_single_model_bound_by_hand():
    found = single_model_bound(instance_of([10, 8], [4, 6], [0, 0], [3.0, 3.0]))
    assert found == (0.75, 1)
    assert single_model_bound(instance_of([10], [10], [0], [1.0])) == (math.inf, 0)
    assert single_model_bound(instance_of([10], [6], [4], [1.0])) == (0.25, 0)
    assert single_model_bound(instance_of([10], [6], [5], [1.0])) == (math.inf, 0)


def test_the_better_one_is_named():
    assert simple_bound(instance_of([10, 10], [4, 6], [0, 0], [3.0, 3.0])).method == "single-model"
    assert simple_bound(instance_of([10], [2, 2], [0, 0], [3.0, 3.0])).method == "fluid"
    idle = simple_bound(instance_of([10], [2], [0], [0.0]))
    assert (idle.value, idle.method) == (0.0, "trivial")


@settings(max_examples=150, deadline=None)
@given(byte_problems())
def test_no_bound_is_above_the_optimum(problem):
    truth, bound = solve_exactly(problem, leximax=False), simple_bound(load_instance(problem))
    if truth.feasible:
        assert bound.value <= float(truth.optimum) * (1 + 1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_the_hottest_of_many_is_the_hottest_of_few(seed, monkeypatch):
    draw = random.Random(seed)
    rows = [
        (draw.randint(0, 9), draw.choice([0.0, draw.uniform(0, 9)]), draw.randint(0, 4))
        for _ in range(30)
    ]
    instance = load_instance(byte_problem([30, 20], rows))
    few = single_model_bound(instance)
    monkeypatch.setattr(trivial, "MANY", 5)
    assert single_model_bound(instance) == few


def test_the_switch_to_arrays_changes_nothing(monkeypatch):
    instance = load_instance(byte_problem([30, 20], [(j % 5, float(j % 7)) for j in range(30)]))
    few = simple_bound(instance)
    monkeypatch.setattr(trivial, "MANY", 5)
    assert simple_bound(instance) == few
    assert isinstance(instance.load, array)
    assert few.value == pytest.approx(max(fluid_bound(instance), single_model_bound(instance)[0]))
