"""Link domains filled at a target hold it, and what they do not hold is said."""

import math
import random

import pytest

import made
from kvplace.core.evaluation.evaluate import evaluate
from kvplace.core.models.objective import Objective
from kvplace.solver.bounds.fluid import FluidBound
from kvplace.solver.clock import Watch
from kvplace.solver.construct.fill_domains import DomainFiller
from kvplace.solver.instance.door import load_instance, unload_copies
from kvplace.solver.instance.options import Chooser
from kvplace.solver.solve import solve
from splits import random_split_problem


def chooser_of(problem):
    return Chooser(load_instance(problem))


@pytest.mark.parametrize("objective", [Objective.REQUESTS, Objective.PRESSURE])
def test_what_is_built_is_valid_and_at_the_target_unless_something_is_missed(objective):
    draw, reached = random.Random(5), 0
    for _ in range(24):
        problem = random_split_problem(draw, models=5, objectives=(objective,))
        found = solve(problem)
        if found.placement is None or not found.value:
            continue
        chooser = chooser_of(problem)
        filler = DomainFiller(chooser, 0, Watch())
        target = found.value * 1.3
        for _ in range(3):
            board = filler.build(target)
            if board is None:
                continue
            placement = unload_copies(problem, chooser.instance, board.where)
            evaluation = evaluate(problem, placement)
            hard = [each for each in evaluation.violations if each.tier is None]
            assert not board.missing
            if board.valid:
                assert not hard
            if not filler.missed and board.valid:
                reached += board.worst() <= target
    assert reached >= 8


def perfect(nodes=4, seed=0):
    """Return models cut from nodes full alike: of degree 8, two of 4, and eight of 1 each."""
    draw = random.Random(seed)
    models = []
    for node in range(nodes):
        wide, half = draw.randint(10, 25), draw.randint(10, 20)
        cuts = [
            (f"w{node}", 8 * wide, 8),
            *((f"h{node}{side}", 4 * half, 4) for side in range(2)),
            *((f"s{node}{g}", 60 - wide - half, 1) for g in range(8)),
        ]
        models += [
            made.model(name, gib, gib / 100, tensor_parallel=(degree,))
            for name, gib, degree in cuts
        ]
    return made.problem(models, made.fleet(*[80] * nodes, gpus=8))


def test_nodes_that_can_be_filled_alike_are():
    problem = perfect()
    chooser = chooser_of(problem)
    filler = DomainFiller(chooser, 0, Watch())
    low = FluidBound(chooser).value
    board = filler.reach(low * 1.15, 20)
    assert board is not None
    values = [board.worst()]
    values += [better.worst() for better in filler.lower(low, low, board.worst(), 2)]
    assert values == sorted(values, reverse=True)
    assert values[-1] <= low * 1.15


def test_nothing_is_built_where_there_is_no_room_or_no_time():
    problem = perfect(2)
    chooser = chooser_of(problem)
    low = FluidBound(chooser).value
    assert DomainFiller(chooser, 0, Watch()).reach(low * 0.9, 2) is None
    assert DomainFiller(chooser, 0, Watch(0.0)).build(low * 2) is None


def test_passes_depend_on_the_seed_alone():
    problem = perfect(3)
    chooser = chooser_of(problem)
    low = FluidBound(chooser).value
    built = [
        [board and board.where for board in (filler.build(low * 1.2) for _ in range(4))]
        for filler in (DomainFiller(chooser, 3, Watch()) for _ in range(2))
    ]
    assert built[0] == built[1]


def test_a_cluster_of_split_models_is_planned_better_with_it():
    problem = perfect(6, seed=2)
    with_it = solve(problem, iterations=200)
    without = solve(problem, iterations=200, without=["domain-patterns"])
    assert with_it.value <= without.value
    assert with_it.value < math.inf
