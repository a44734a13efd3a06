"""Other company for a hot model."""

import pytest

from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.instance.door import load_instance
from kvplace.solver.large_neighbourhood.bin_completion import hot_gpu, refill
from tiny import GIB, byte_problem


def gib_problem(memories, rows):
    """A requests problem of whole GiB, in whose unit its loads are."""
    return byte_problem([m * GIB for m in memories], [(size * GIB, rate) for size, rate in rows])


def test_other_company_leaves_the_hot_model_where_it_is():
    problem = byte_problem([100, 100], [(40, 50.0), (30, 1.0), (20, 5.0), (25, 2.0), (5, 1.0)])
    instance = load_instance(problem)
    state = Assignment.single(instance, [0, 0, 1, 1, 0])
    hot = hot_gpu(state)
    if hot < 0:
        pytest.skip("no model of the hottest GPU needs more than half of it")
    for turn in range(5):
        trial = Assignment.single(instance, state.gpu_of)
        refill(trial, hot, turn)
        assert trial.gpu_of[0] == 0
        assert sorted(j for held in trial.members for j in held) == list(range(5))


def test_refilling_changes_the_company_and_loses_nobody():
    problem = gib_problem([20, 20, 20], [(4, 9.0), (5, 1.0), (3, 0.2), (6, 0.1), (2, 0.1)])
    arrays = load_instance(problem)
    start = [0, 0, 1, 1, 2]
    assert hot_gpu(Assignment.single(arrays, start)) == 0
    seen = set()
    for turn in range(8):
        state = Assignment.single(arrays, start)
        before = state.pressure[0]
        refill(state, 0, turn)
        assert sorted(j for held in state.members for j in held) == list(range(5))
        assert state.gpu_of[0] == 0
        assert state.pressure[0] < before
        seen.add(tuple(sorted(state.members[0])))
    assert len(seen) > 2
    assert (0,) in seen


def test_only_a_hot_model_with_company_is_refilled():
    arrays = load_instance(gib_problem([20, 20], [(4, 9.0), (5, 1.0), (3, 0.2)]))
    assert hot_gpu(Assignment.single(arrays, [0, 1, 1])) == -1
    assert hot_gpu(Assignment.single(arrays, [0, 0, 0])) == 0
