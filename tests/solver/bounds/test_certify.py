"""Certificates: rounding never claims too much, and a bound that does not check is not one."""

import math
import random
from dataclasses import replace

import pytest

from kvplace.core.certificates.certificate import (
    Bound,
    check_certificate,
    priced_by_size,
    spelled_out,
)
from kvplace.solver.bounds.certify import certified_rule, lowered
from kvplace.solver.bounds.fluid import FluidBound
from kvplace.solver.bounds.trivial import fluid_bound, simple_bound, single_model_bound
from kvplace.solver.instance import order
from kvplace.solver.instance.door import load_instance
from kvplace.solver.instance.options import Chooser
from oracle import solve_exactly
from oracle_splits import solve_by_force
from splits import random_split_problem
from tiny import GIB, byte_problem, random_problem


def test_a_bound_is_lowered_until_it_checks():
    asked = []

    def certificate(target):
        asked.append(target)
        return Bound(target, "fluid") if target < 1 - 1e-12 else None

    found = lowered(1.0, certificate)
    assert 1 - 1e-10 < found.value < 1 - 1e-12
    assert asked == sorted(asked, reverse=True)
    assert lowered(0.0, certificate).method == "trivial"
    assert lowered(1.0, lambda _: None).value == 0
    assert lowered(math.inf, lambda _: None).value == 0


@pytest.mark.parametrize("by_rule", [False, True])
def test_simple_bounds_are_certified(by_rule):
    draw, methods = random.Random(3), set()
    for _ in range(120):
        problem = random_problem(draw)
        instance = load_instance(problem)
        bound = simple_bound(instance)
        hottest = instance.model_index[single_model_bound(instance)[1]]
        found = certified_rule(problem, bound, hottest, by_rule=by_rule)
        if not bound.value:
            continue
        methods.add(found.method)
        assert check_certificate(problem, found.certificate) == ""
        assert found.value == bound.value or found.value >= bound.value * (1 - 1e-8)
        truth = solve_exactly(problem, leximax=False)
        assert not truth.feasible or found.value <= float(truth.optimum) * (1 + 1e-12)
    assert {"fluid", "single-model"} <= methods


def test_many_models_have_the_bound_of_few(monkeypatch):
    draw = random.Random(4)
    for problem in [random_problem(draw) for _ in range(60)]:
        instance = load_instance(problem)
        one = single_model_bound(instance)
        with monkeypatch.context() as patch:
            patch.setattr("kvplace.solver.bounds.trivial.MANY", 0)
            assert single_model_bound(instance) == one
    assert order.MANY > 100


def test_simple_bounds_by_hand():
    # 12 of 20 bytes are weights: 8 units of load on 8 bytes; m0 alone: 6 on 10 - 6.
    instance = load_instance(byte_problem([10, 10], [(6, 6.0), (4, 1.0), (2, 1.0)]))
    assert fluid_bound(instance) == pytest.approx(1.0 * GIB)
    assert single_model_bound(instance)[0] == pytest.approx(1.5 * GIB)
    assert simple_bound(instance).method == "single-model"


def test_prices_by_size_name_every_option():
    problem = random_split_problem(random.Random(1))
    certificate = priced_by_size(problem, 1.0, lambda index, _size, _least: index + 1, [(1, 2)])
    for index, row in enumerate(certificate.prices):
        assert isinstance(row, tuple)
        assert set(row) <= {0, index + 1}


@pytest.mark.parametrize("seed", range(3))
def test_the_fluid_bound_of_clusters_is_certified_and_below_the_optimum(seed):
    draw, positive = random.Random(seed), 0
    for _ in range(40):
        problem = random_split_problem(draw, models=4)
        fluid = FluidBound(Chooser(load_instance(problem)))
        found, truth = fluid.certified(problem), solve_by_force(problem)
        assert found.value <= fluid.value
        if not found.value:
            continue
        positive += 1
        assert found.value >= fluid.value * (1 - 1e-7)
        assert check_certificate(problem, found.certificate) == ""
        assert check_certificate(problem, spelled_out(problem, found.certificate)) == ""
        assert not truth.feasible or found.value <= truth.value * (1 + 1e-12)
        higher = replace(found.certificate, threshold=found.value * 1.01)
        if math.isfinite(found.value):
            assert check_certificate(problem, higher) or found.value * 1.01 <= truth.value
    assert positive > 20
