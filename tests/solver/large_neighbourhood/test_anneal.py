"""Annealing reaches a target or leaves the assignment as it was."""

import math
import random

import numpy as np
import pytest

import made
from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.bounds.fluid import FluidBound
from kvplace.solver.clock import Watch
from kvplace.solver.construct.target_search import construct
from kvplace.solver.instance.door import load_instance, unload_copies
from kvplace.solver.instance.options import Chooser
from kvplace.solver.large_neighbourhood.anneal import Annealer
from kvplace.solver.large_neighbourhood.anneal_kernel import anneal, fill_up
from oracle_splits import solve_by_force, worth
from splits import random_split_problem


def starts(seed, count=25):
    """Yield small problems, each with its chooser and a valid start."""
    draw = random.Random(seed)
    for _ in range(count):
        problem = random_split_problem(draw, models=4)
        chooser = Chooser(load_instance(problem))
        low = FluidBound(chooser).value
        if low == math.inf:
            continue
        board = min(construct(chooser, low, Watch()), key=Assignment.worth)
        if board.valid and board.worst() > 0:
            yield problem, chooser, board


@pytest.mark.parametrize("seed", range(3))
def test_a_target_is_reached_or_nothing_changes(seed):
    reached = 0
    for problem, chooser, board in starts(seed):
        truth = solve_by_force(problem)
        before, flaws, target = list(board.where), board.flaws, truth.value * (1 + 1e-6)
        packed, tried = Annealer(chooser, seed, Watch()).pack(board, target, 3_000)
        assert tried <= 3_000
        assert board.flaws <= flaws
        if packed:
            reached += 1
            assert board.worst() <= target
            placement = unload_copies(problem, chooser.instance, board.where)
            assert worth(problem, placement) >= (truth.breaches, truth.value * (1 - 1e-9))
        else:
            assert board.where == before
    assert reached >= 3


def test_what_the_kernels_keep_is_what_a_new_sum_gives():
    for _, chooser, board in starts(7):
        state = Annealer(chooser, 7, Watch()).state_of(board, board.worst() * 0.7)
        fill_up(state)
        chance = np.array([11], dtype=np.uint64)
        for _ in range(5):
            anneal(state, 100, 0.1, 0.01, 1.1, 0.5, 50.0, chance)
            used, hot = state.used.copy(), set(state.hot[: state.number[0]].tolist())
            fill_up(state)
            assert np.allclose(used, state.used, atol=1e-9)
            assert hot == set(state.hot[: state.number[0]].tolist())


def test_the_same_seed_moves_the_same():
    for _, chooser, board in starts(3, 8):
        found = []
        for _ in range(2):
            copy = board.copy()
            Annealer(chooser, 5, Watch()).pack(copy, board.worst() * 0.9, 2_000)
            found.append(copy.where)
        assert found[0] == found[1]


def test_a_large_model_pushes_out_many_small_ones():
    """Two models of 8 shards need a large node each, one of which small models fill at first."""
    large = [made.model(name, 8 * 60, 8.0, tensor_parallel=(8,)) for name in ("a", "b")]
    small = [made.model(f"s{at:02}", 10, 1.0) for at in range(64)]
    problem = made.problem([*large, *small], made.fleet(100, 100, 50, 50, 50, 50, gpus=8))
    instance = load_instance(problem)
    first = tuple(range(8))
    where = [
        (first,) if instance.degree[row] == 8 else ((8 + row % 8,),)
        for row in range(len(instance.degree))
    ]
    board = Assignment(instance, where)
    assert board.worst() == math.inf
    packed, _ = Annealer(Chooser(instance), 0, Watch()).pack(board, 0.2, 20_000)
    assert packed
    assert board.worst() <= 0.2
