"""The bound under several pressures: checked by core, and never above the optimum."""

import math
import random
from dataclasses import replace

import numpy as np
import pytest

from boards import drawn_boards, windowed
from kvplace.core.certificates.by_rule import RuleCertificate
from kvplace.core.certificates.certificate import check_certificate
from kvplace.core.models.model import Replicas
from kvplace.core.models.objective import Objective
from kvplace.solver.bounds import pressures
from kvplace.solver.bounds.best_weighting import best_weighting
from kvplace.solver.bounds.pressures import PressureBound, by_window, whole_weights
from kvplace.solver.instance.door import load_instance
from oracle_splits import solve_by_force
from seeds import seeds
from splits import random_split_problem


@pytest.mark.parametrize("seed", seeds(2, 4))
def test_it_never_exceeds_the_optimum_and_its_certificate_checks(seed):
    draw, positive, infinite = random.Random(seed), 0, 0
    for _ in range(50):
        problem = random_split_problem(draw, models=4, objectives=(Objective.PRESSURE,))
        found = PressureBound(load_instance(problem))
        bound = found.certified(problem)
        truth = solve_by_force(problem)
        assert bound.value <= found.value
        if bound.value == float("inf"):
            infinite += 1
            assert not truth.feasible
        elif truth.feasible:
            assert bound.value <= truth.value * (1 + 1e-12)
        if bound.value > 0:
            positive += 1
            assert check_certificate(problem, bound.certificate) == ""
            assert bound.value >= found.value * (1 - 1e-7)
        else:
            assert found.value == 0 or not problem.plain
    assert positive > 25
    assert infinite > 3


def test_one_model_that_fits_nowhere_is_proved_beside_one_that_fits():
    draw = random.Random("9/906")  # 11 and 34 bytes on GPUs of at most 18
    problem = random_split_problem(draw, models=4, objectives=(Objective.PRESSURE,))
    bound = PressureBound(load_instance(problem)).certified(problem)
    assert bound.value == float("inf")
    assert check_certificate(problem, bound.certificate) == ""


@pytest.mark.parametrize("pressures", [2, 3])
def test_the_best_weighting_is_as_good_as_the_best_of_a_grid(pressures):
    draw = np.random.default_rng(pressures)
    grid = draw.dirichlet(np.ones(pressures), 20_000)
    for cuts in (draw.normal(size=(count, pressures)) for count in (1, 1, 2, 3, 5, 9)):
        weighting, excess = best_weighting(cuts)
        assert weighting.min() >= 0
        assert weighting.sum() == pytest.approx(1)
        assert (cuts @ weighting).min() == pytest.approx(excess, abs=1e-7)
        assert excess >= (grid @ cuts.T).min(axis=1).max() - 1e-7


def test_parallel_cuts_of_two_pressures_are_weighed_at_an_end():
    weighting, excess = best_weighting(np.array([[0.5, 0.25], [0.5, 0.25], [0.75, 0.5]]))
    assert (weighting.tolist(), excess) == ([1.0, 0.0], 0.5)


def bounds(seed, count):
    """Yield random assignments, each with the bound of its problem."""
    for draw, problem, board in drawn_boards(
        seed, count, objectives=(Objective.PRESSURE,), valid=True
    ):
        yield draw, problem, board, PressureBound(board.instance)


def drawn_weighting(draw, bound):
    """A random weighting, now and then of one pressure alone."""
    parts = np.array([draw.choice([0.0, draw.random()]) for _ in bound.weighting.flat])
    parts[draw.randrange(len(parts))] += 0.5
    return (parts / parts.sum()).reshape(bound.weighting.shape)


@pytest.mark.parametrize("seed", range(2))
def test_what_a_placement_puts_on_a_gpu_is_within_every_weighted_limit(seed):
    """So no weighting calls a target impossible that some placement is below."""
    looked = 0
    for draw, _, board, bound in bounds(seed, 25):
        target = board.worst() * (1 + 1e-9)
        if not target:
            continue
        columns = board.instance.columns
        for _ in range(4):
            weighting, limits = drawn_weighting(draw, bound), bound._limits(target)
            each = bound._costs(target, weighting / limits).min(axis=1)
            capacity = weighting.sum(axis=1) / np.bincount(columns.kind_of)
            for g, held in enumerate(board.members):
                sizes = [each[board.option[j].row] for j in held]
                finite = [size for size in sizes if size < math.inf]
                assert sum(finite) <= capacity[columns.kind_of[g]] * (1 + 1e-9)
                uneven = any(board.instance.is_uneven(j) for j in held)
                assert uneven or len(finite) == len(sizes)
                looked += len(sizes)
    assert looked > 100


def test_the_bound_is_the_edge_of_what_is_impossible():
    edges = 0
    for _, _, _, bound in bounds(3, 25):
        if not 0 < bound.value < math.inf:
            continue
        edges += 1
        value = bound.value
        assert bound._impossible(value)
        assert not bound._impossible(value * (1 + 1e-9))
        assert bound._impossible(value * 0.5)
    assert edges > 10


def test_whole_weights_are_what_each_pressure_weighs_per_byte_and_share():
    for draw, problem, board, bound in bounds(6, 15):
        weighting, target = drawn_weighting(draw, bound), draw.uniform(0.1, 2.0)
        columns, windows, found = board.instance.columns, len(problem.windows), []
        memory, count = bound._memory, np.bincount(columns.kind_of)
        parts = weighting / count[:, None]
        whole = whole_weights(problem, board.instance, memory, target, parts)
        for weights, (_, most), gpus in zip(whole, columns.kinds, count, strict=True):
            assert all(isinstance(weight, int) and weight >= 0 for weight in weights)
            found.append(np.multiply(weights, [most] * windows + [target] * windows) * gpus)
        found = np.array(found)
        stated = [by_window(problem, board.instance, row) for row in weighting.tolist()]
        assert found / found.sum() == pytest.approx(np.array(stated), abs=1e-6)


def test_kinds_of_different_speed_are_weighed_each_for_itself():
    """Each of 100 models takes 0.01 of the time of a fast GPU, or 0.03 of a slow one; 5 of each.

    With x of them on fast ones 0.01 x / 5 = 0.03 (100 - x) / 5 at x = 75, which is 0.15. At one
    weighting for both kinds all that a model takes at least is 0.01, which comes to 0.1.
    """
    instance = windowed(
        1, 100, [900] * 10, lambda _, rows: np.zeros(rows),
        lambda _, rows: np.broadcast_to([[[0.1], [0.3]]], rows), windows=1, types=2,
    )  # fmt: skip
    assert PressureBound(instance).value == pytest.approx(0.15, rel=1e-5)


def test_where_there_is_no_time_for_prices_a_rule_is_the_bound(monkeypatch):
    monkeypatch.setattr(pressures, "BY_RULE", 3)
    draw, ruled, lower = random.Random(8), 0, 0
    while ruled < 12:
        drawn = random_split_problem(draw, objectives=(Objective.PRESSURE,))
        whole = [
            replace(m, tensor_parallel=(1,), replicas=Replicas(), gpu_types=(), resources={})
            for m in drawn.models
        ]
        problem = replace(drawn, models=tuple(whole), rules=())
        found, best = (PressureBound(load_instance(problem), priced=p) for p in (False, True))
        if not found.ruled or not 0 < found.value < math.inf:
            continue
        ruled += 1
        assert found.value <= best.value * (1 + 1e-6)
        lower += found.value < best.value * (1 - 1e-6)
        bound = found.certified(problem)
        assert isinstance(bound.certificate, RuleCertificate)
        assert check_certificate(problem, bound.certificate) == ""
        assert bound.value >= found.value * (1 - 1e-7)
    assert lower
