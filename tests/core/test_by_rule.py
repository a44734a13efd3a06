"""Certificates by rule: accepted where they hold, and only there."""

import math
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvplace.core.certificates.by_rule import RuleCertificate
from kvplace.core.certificates.certificate import check_certificate, spelled_out
from kvplace.core.evaluation.evaluate import evaluate
from kvplace.core.hardware import GPU, Fleet, Node
from kvplace.core.models.model import Replicas, Split
from kvplace.core.placement import Placement, Replica
from kvplace.core.problem import Problem
from kvplace.core.rules.pin import Pin
from kvplace.core.rules.places import Places
from oracle import solve_exactly
from oracle_splits import solve_by_force
from seeds import seeds
from splits import random_split_problem
from tiny import GIB, byte_model, byte_problem, byte_problems


def test_fluid_by_hand():
    # 6 requests/s over (20 - 8) bytes: 0.5 per byte, in GiB.
    problem = byte_problem([10, 10], [(4, 2.0), (4, 4.0)])
    assert not check_certificate(problem, RuleCertificate(0.4999 * GIB, "fluid"))
    assert "below" in check_certificate(problem, RuleCertificate(0.5001 * GIB, "fluid"))
    assert check_certificate(problem, RuleCertificate(0.0, "fluid"))
    assert check_certificate(problem, RuleCertificate(math.nan, "fluid"))
    assert "8 bytes of 20" not in check_certificate(problem, RuleCertificate(0.4 * GIB, "fluid"))
    assert "bytes of 20" in check_certificate(problem, RuleCertificate(math.inf, "fluid"))


def test_single_model_by_hand():
    problem = byte_problem([10, 8], [(4, 3.0), (4, 1.0)])
    assert not check_certificate(problem, RuleCertificate(0.5 * GIB, "single-model", "m0"))
    assert check_certificate(problem, RuleCertificate(0.51 * GIB, "single-model", "m0"))
    assert check_certificate(problem, RuleCertificate(0.5 * GIB, "single-model", "m1"))
    assert "no model" in check_certificate(problem, RuleCertificate(0.1, "single-model", "x"))
    assert "no rule" in check_certificate(problem, RuleCertificate(0.1, "guess"))


def test_fluid_counts_split_models_in_the_option_with_least_room():
    # Two copies of m0 take 8 bytes, one takes 4: 12 requests/s over (40 - 16) bytes.
    problem = byte_problem([20, 20], [(4, 2.0), (4, 2.0), (4, 4.0), (4, 4.0)])
    models = (replace(problem.models[0], replicas=Replicas(1, 2)), *problem.models[1:])
    split = Problem(models, problem.fleet, problem.objective)
    assert not check_certificate(split, RuleCertificate(0.4999 * GIB, "fluid"))
    assert "bytes of 40" in check_certificate(split, RuleCertificate(0.5001 * GIB, "fluid"))
    assert "16 bytes of 40" in check_certificate(split, RuleCertificate(math.inf, "fluid"))
    assert "split" in check_certificate(split, RuleCertificate(0.1, "single-model", "m0"))
    assert "scope" in check_certificate(problem, RuleCertificate(0.1, "fluid", scope=("n0/0",)))
    tiny = RuleCertificate(5e-324, "fluid")
    assert "near to 0" in check_certificate(split, tiny)


def test_fluid_in_a_scope_leaves_out_what_can_leave_it():
    problem = byte_problem([10, 10], [(4, 2.0), (4, 4.0)])
    scope = (problem.fleet.gpus[0].id,)
    pin = Pin(tuple(problem.names), places=Places(gpus=scope))
    pinned = Problem(problem.models, problem.fleet, problem.objective, rules=(pin,))
    assert not check_certificate(pinned, RuleCertificate(2.9 * GIB, "fluid", scope=scope))
    assert check_certificate(pinned, RuleCertificate(3.1 * GIB, "fluid", scope=scope))
    assert "fleet" in check_certificate(pinned, RuleCertificate(2.9, "fluid", scope=("x",)))
    first = Pin(tuple(problem.names[:1]), places=Places(gpus=scope))
    looser = Problem(problem.models, problem.fleet, problem.objective, rules=(first,))
    assert check_certificate(looser, RuleCertificate(2.9 * GIB, "fluid", scope=scope))


def test_the_smaller_of_uneven_copies_may_leave_a_scope():
    # Of 9 bytes of KV at the target a copy in 11 bytes carries less than one, in 1000 bytes the
    # rest: 51 models leave each GPU below the target, though an even part fits no small one.
    big, small = GPU("big", "t", 1000), [GPU(f"s{j}", "t", 11) for j in range(51)]
    models = tuple(
        replace(byte_model(f"m{j}", 10, 9.0), replicas=Replicas(2, 2, Split.CAPACITY))
        for j in range(51)
    )
    problem = Problem(models, Fleet((Node("n", (big, *small)),)), "requests")
    first = tuple(Replica(f"m{j}", 0, ("big",)) for j in range(51))
    second = tuple(Replica(f"m{j}", 1, (f"s{j}",)) for j in range(51))
    value = evaluate(problem, Placement((*first, *second))).value
    assert value < GIB
    claim = RuleCertificate(1.0 * GIB, "fluid", scope=("big",))
    assert "bytes of 1000" in check_certificate(problem, claim)


@pytest.mark.parametrize("seed", seeds(2, 3))
def test_no_damaged_rule_of_split_models_proves_more_than_brute_force_finds(seed):
    draw = random.Random(seed)
    for _ in range(60):
        problem = random_split_problem(draw, models=4)
        truth = solve_by_force(problem)
        if not truth.feasible or not truth.value:
            continue
        gpus = [gpu.id for gpu in problem.fleet.gpus]
        for _ in range(20):
            scope = tuple(draw.sample(gpus, draw.randrange(len(gpus) + 1)))
            threshold = truth.value * draw.choice([0.5, 0.99, 1 + 1e-9, 1.01, 1.5, 4])
            rule = RuleCertificate(threshold, "fluid", scope=scope)
            if not check_certificate(problem, rule):
                assert threshold <= truth.value
                assert not check_certificate(problem, spelled_out(problem, rule))


@settings(max_examples=150, deadline=None)
@given(
    byte_problems(),
    st.sampled_from(["fluid", "single-model"]),
    st.one_of(st.floats(0.01, 2.0), st.just(math.inf)),
)
def test_what_a_rule_proves_is_true_and_its_prices_prove_it(problem, rule, factor):
    truth = solve_exactly(problem, leximax=False)
    optimum = float(truth.optimum) if truth.feasible else 1.0
    name = problem.models[0].name if rule == "single-model" else ""
    certificate = RuleCertificate(optimum * factor if optimum else factor, rule, name)
    if check_certificate(problem, certificate):
        return
    if truth.feasible:
        assert certificate.threshold <= optimum * (1 + 1e-12)
    lower = replace(certificate, threshold=certificate.threshold * (1 - 1e-9))
    assert not check_certificate(problem, spelled_out(problem, lower))


@pytest.mark.parametrize("rule", ["fluid", "single-model"])
def test_a_bound_of_memory_alone(rule):
    problem = byte_problem([10, 10], [(11, 1.0), (10, 1.0)])
    assert not check_certificate(problem, RuleCertificate(math.inf, rule, "m0"))
