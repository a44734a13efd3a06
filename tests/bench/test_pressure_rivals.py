"""CP-SAT under several pressures: what it says of targets is so, and it agrees with the optimum."""

import random
from dataclasses import replace
from fractions import Fraction

import pytest

from kvplace.bench.families import Case
from kvplace.bench.rivals.shapes import allowed, relabelled, simple_bound_of, takes_at
from kvplace.bench.solvers import absent, call
from kvplace.core.models.model import Replicas
from kvplace.core.models.objective import Objective
from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.instance.door import load_instance
from oracle_splits import solve_by_force
from splits import random_split_problem


def undivided(draw):
    problem = random_split_problem(draw, models=5, objectives=(Objective.PRESSURE,))
    bare = tuple(
        replace(m, tensor_parallel=(1,), replicas=Replicas(), gpu_types=(), resources={})
        for m in problem.models
    )
    return replace(problem, models=bare, rules=())


def test_limits_on_what_models_take_say_what_the_pressure_is():
    draw, seen = random.Random(1), 0
    for _ in range(60):
        problem = undivided(draw)
        instance = load_instance(problem)
        truth = solve_by_force(problem)
        if truth.feasible:
            assert simple_bound_of(instance) <= truth.value * (1 + 1e-9)
        gpu_of = [draw.choice(gpus) for gpus in allowed(instance) if gpus]
        if len(gpu_of) < instance.n:
            continue
        pressure = Assignment.single(instance, gpu_of).worst()
        again = relabelled(instance, gpu_of)
        assert Assignment.single(instance, again).worst() == pytest.approx(pressure)
        if not 0 < pressure < float("inf"):
            continue
        seen += 1
        scale = Fraction(2**30, instance.memory[0])
        for part, within in ((1 - 1e-6, False), (1 + 1e-6, True)):
            below = all(
                sum(sizes[j] for j, h in enumerate(gpu_of) if h == g) <= instance.memory[g] * scale
                for g in range(instance.g)
                for sizes in takes_at(instance, pressure * part, scale, g)
            )
            assert below == within
    assert seen > 20


@pytest.mark.skipif(bool(absent("cp-sat")), reason="OR-Tools is not installed")
def test_cp_sat_finds_the_optimum_of_two_pressures():
    draw, seen = random.Random(2), 0
    while seen < 4:
        problem = undivided(draw)
        truth = solve_by_force(problem)
        if not truth.feasible or not truth.value:
            continue
        seen += 1
        found = call("cp-sat", Case("tiny", problem), time_limit=20.0)
        assert found.value == pytest.approx(truth.value)
        assert found.bound <= truth.value * (1 + 1e-6)


def test_other_rivals_say_that_they_know_one_pressure():
    problem = undivided(random.Random(3))
    assert "one pressure" in call("highs", Case("tiny", problem), time_limit=1.0).evidence
