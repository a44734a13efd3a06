"""Ejection on small clusters with rules."""

import math
import random

import pytest

from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.bounds.fluid import FluidBound
from kvplace.solver.clock import Watch
from kvplace.solver.construct.target_search import construct
from kvplace.solver.instance.door import load_instance, unload_copies
from kvplace.solver.instance.options import Chooser
from kvplace.solver.large_neighbourhood.ejection import Packer
from oracle_splits import solve_by_force, worth
from splits import random_split_problem


def boards(seed, count=25):
    """Yield small problems, each with its truth, its chooser and a start."""
    draw = random.Random(seed)
    for _ in range(count):
        problem = random_split_problem(draw, models=4)
        truth = solve_by_force(problem)
        chooser = Chooser(load_instance(problem))
        bound = FluidBound(chooser)
        if not truth.feasible or bound.value == math.inf:
            continue
        yield (
            problem,
            truth,
            chooser,
            min(construct(chooser, bound.value, Watch()), key=Assignment.worth),
        )


@pytest.mark.parametrize("seed", range(3))
def test_ejection_packs_at_a_target_or_says_no(seed):
    packed = 0
    for problem, truth, chooser, board in boards(seed):
        if not board.valid or not truth.value:
            continue
        where = list(board.where)
        packer = Packer(chooser, seed, Watch())
        below, tries = packer.pack(board, truth.value * 0.98, 60)
        # Breaches of soft rules may buy a lower pressure than the best placement has.
        assert below is None or any(truth.breaches) or any(below.flaws) or not below.valid
        assert tries <= 60
        found, _ = packer.pack(board, truth.value * 1.05, 60)
        if found is not None:
            packed += 1
            assert found.worst() <= truth.value * 1.05
            placement = unload_copies(problem, chooser.instance, found.where)
            assert worth(problem, placement) is not None
        assert board.where == where
    assert packed > 3
