"""Models that only the largest GPUs hold, packed by an integer program."""

import numpy as np
import pytest

from kvplace.core.hardware import GPU, Fleet, Node
from kvplace.core.models.demand import SLO, Demand
from kvplace.core.models.model import Model
from kvplace.core.models.objective import Objective
from kvplace.core.problem import Problem
from kvplace.solver.clock import Watch
from kvplace.solver.construct.confined import Confined, _held
from kvplace.solver.instance.door import load_instance
from kvplace.solver.instance.options import Chooser

COLD = 1e15
"""A target at which loads take no byte."""


def confined(large, *models):
    """Return the models of a degree, bytes and least KV of a shard that 40 bytes do not hold.

    There are so many nodes of four GPUs of 100 bytes, and one of four with 40.
    """
    nodes = [
        Node(f"n{k}", tuple(GPU(f"n{k}/{at}", "t", 100 if k < large else 40) for at in range(4)))
        for k in range(large + 1)
    ]
    made = tuple(
        Model(
            f"m{j}", degree * size, Demand(1.0), SLO(latency_seconds=1.0),
            tensor_parallel=(degree,), overhead_bytes=0, min_kv_bytes=kept * degree,
        )
        for j, (degree, size, kept) in enumerate(models)
    )  # fmt: skip
    problem = Problem(made, Fleet(tuple(nodes)), Objective.REQUESTS)
    return Confined(Chooser(load_instance(problem)), COLD, 1_000)


def loads(board):
    """Return the bytes of the shards on each GPU that has any, with what must be left."""
    return sorted(
        sum(board.option[j].size + board.option[j].keep for j in held)
        for held in board.members
        if held
    )


def test_few_pairs_that_fit_are_found():
    # The largest first, each on what it fills best, leaves no GPU for the last.
    sizes = (58, 56, 51, 50, 48, 47, 42, 41)
    found = confined(1, *((1, size, 0) for size in sizes), (1, 30, 0))
    board = found.packed(COLD, Watch(None))
    assert len(found.models) == len(sizes)
    assert board is not None
    assert loads(board) == [98, 98, 98, 99]


def test_what_must_be_left_counts_on_a_gpu():
    assert confined(1, *[(1, 41, 8)] * 8).packed(COLD, Watch(None)) is not None
    assert confined(1, *[(1, 41, 10)] * 8).packed(COLD, Watch(None)) is None


def test_a_copy_is_in_one_link_domain():
    found = confined(2, (2, 60, 0), (4, 48, 0), (2, 45, 0), (1, 42, 0), (1, 44, 0))
    board = found.packed(COLD, Watch(None))
    assert board is not None
    domain = board.instance.columns.domain_of
    copies = [copy for j in found.models for copy in board.where[j] if len(copy) > 1]
    assert all(len({domain[g] for g in copy}) == 1 for copy in copies)
    assert all(len(set(copy)) == len(copy) for copy in copies)


@pytest.mark.parametrize("narrow", [2, 4])
def test_split_models_share_gpus_where_there_are_few(narrow):
    # One link domain of four GPUs of 100 bytes; what is narrower is on GPUs of one other alone.
    models = [(4, 55, 0), *[(narrow, 43, 0)] * (4 // narrow)]
    board = confined(1, *models).packed(COLD, Watch(None))
    assert board is not None
    assert loads(board) == [98] * 4
    assert confined(1, *models, (2, 41, 0)).packed(COLD, Watch(None)) is None


def test_a_pool_without_such_models_has_none_to_pack():
    found = confined(1, (1, 30, 0), (1, 20, 0))
    assert not found.models
    assert found.packed(COLD, Watch(None)) is None


def test_what_is_held_too_often_is_left_out_beside_what_is_not_split():
    # Options 0 and 1 have four and two shards. Were option 0 left out of the last set, one shard of
    # option 1 would be on a GPU of it, and one would not.
    sets = [(0, (0, 2)), (0, (0,)), (0, (0, 1))]
    found = _held(sets, np.array([2, 1, 1]), np.array([1, 1, 2]), np.array([4, 2, 2]))
    assert found is not None
    assert sorted(found) == [(0, (0, 1)), (0, (0, 1)), (0, (0, 2)), (0, (0, 2))]
    assert _held(sets, np.array([0, 1, 1]), np.array([1, 1, 2]), np.array([4, 2, 2])) is None
