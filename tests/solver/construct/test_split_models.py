"""Split models placed where the room that they take is worth least to the others."""

from dataclasses import replace

import numpy as np
import pytest

from kvplace.core.hardware import GPU, Fleet, Node
from kvplace.core.models.objective import Objective
from kvplace.core.problem import Problem
from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.construct.split_models import SplitModels
from kvplace.solver.instance.door import load_instance
from tiny import byte_model

LARGEST = 60
WORTH = np.where(np.arange(LARGEST + 1) >= 50, 100, 0)
"""Only models of 50 are short of room."""


def split(j, size):
    """A model of two shards."""
    return replace(byte_model(f"m{j}", 2 * size, 0.0), tensor_parallel=(2,))


@pytest.fixture
def board() -> Assignment:
    """An empty board of two nodes with two GPUs of 40 bytes and one of 60."""
    nodes = [
        Node(f"n{n}", tuple(GPU(f"n{n}/{at}", "t", memory, 0) for at in range(2)))
        for n, memory in enumerate((40, 60, 40))
    ]
    models = tuple(split(j, size) for j, size in enumerate((30, 20)))
    return Assignment(load_instance(Problem(models, Fleet(tuple(nodes)), Objective.REQUESTS)))


def models_of(board) -> SplitModels:
    options = {j: row[0] for j, row in enumerate(board.instance.options)}
    return SplitModels(
        options,
        {j: option.size for j, option in options.items()},
        lambda board: np.array(board.free, dtype=np.int64),
        1.0,
    )


def large(board) -> int:
    """Shards on the largest GPUs."""
    return sum(len(board.members[g]) for g, m in enumerate(board.instance.memory) if m == LARGEST)


def test_each_goes_where_its_room_is_worth_least(board):
    assert models_of(board).place(board, WORTH)
    assert not board.missing
    assert large(board) == 0


def test_nothing_is_placed_where_one_finds_no_room(board):
    wide = replace(models_of(board), levels=dict.fromkeys(range(2), LARGEST + 1))
    assert not wide.place(board, WORTH)


def test_copies_move_to_where_the_others_miss_them_less(board):
    models = models_of(board)
    assert models.place(board, np.zeros(LARGEST + 1, dtype=np.int64))
    large_node = [g for g, memory in enumerate(board.instance.memory) if memory == LARGEST]
    board.apply([(0, models.options[0], (tuple(large_node),))])
    asked = []

    def share(now):
        asked.append(large(now))
        return 1.0 + large(now), WORTH

    assert models.improved(board, share) == 1.0
    assert asked[0] == 2
    assert large(board) == 0


def test_a_move_that_does_not_help_is_undone(board):
    models = models_of(board)
    assert models.place(board, WORTH)
    before = list(board.where)
    # The share rises whatever moves, and the prices say that all should.
    shares = iter(range(2, 99))
    found = models.improved(board, lambda _: (float(next(shares)), WORTH[::-1].copy()))
    assert found == 2.0
    assert board.where == before
