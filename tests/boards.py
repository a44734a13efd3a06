"""Assignments of tiny problems, drawn from a seed, and what tests say of every one of them."""

import math
import random
from array import array

import numpy as np

from kvplace.core.models.objective import Objective
from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.instance.door import load_instance
from kvplace.solver.instance.instance import Instance
from splits import random_split_problem, random_where
from tiny import byte_problem

OBJECTIVES = Objective.REQUESTS, Objective.TOKENS, Objective.PRESSURE


def drawn_boards(seed, count, *, gpus=1, objectives=OBJECTIVES, valid=False):
    """Yield as many random assignments with tensor parallel, copies and rules.

    Parameters
    ----------
    seed, count
        Of the draw, and how many.
    gpus
        GPUs at least.
    objectives
        Objectives to draw from.
    valid
        Whether every one is to be valid, each shard where it may be.

    Yields
    ------
    tuple
        The random numbers, the problem and the assignment.
    """
    draw = random.Random(seed)
    while count:
        problem = random_split_problem(draw, objectives=objectives)
        instance = load_instance(problem)
        where = random_where(draw, problem, instance)
        if where is None or instance.g < gpus:
            continue
        board = Assignment(instance, where)
        if valid and not (board.valid and _allowed(board)):
            continue
        count -= 1
        yield draw, problem, board


def _allowed(board):
    """Whether every shard is where its model may be."""
    allowed = board.instance.columns.allowed
    return all(
        allowed[j][g] for j, copies in enumerate(board.where) for copy in copies for g in copy
    )


def undivided(seed, gpus=4, models=14, memory=(60, 90), size=(4, 14), keep=0):
    """Return an instance of undivided models under one pressure, drawn from a seed."""
    draw = random.Random(seed)
    rows = [
        (draw.randint(*size), draw.choice([0.0, 1.0, draw.uniform(0, 20)]), draw.randint(0, keep))
        for _ in range(models)
    ]
    return load_instance(byte_problem([draw.choice(memory) for _ in range(gpus)], rows))


def spread(instance, seed=0, tries=200):
    """Return a random valid assignment of undivided models; None where none was drawn."""
    draw = random.Random(seed)
    for _ in range(tries):
        board = Assignment.single(instance, [draw.randrange(instance.g) for _ in range(instance.n)])
        if board.valid:
            return board
    return None


def kernel_states(seed, count, *, part=0.8, filled=True):
    """Yield as many random assignments with what compiled fillings see of them at a target.

    Parameters
    ----------
    seed, count
        Of the draw, and how many.
    part
        Part of the assignment's max pressure that is the target.
    filled
        Whether what is on each GPU is summed up.

    Yields
    ------
    tuple
        The random numbers, the assignment, the target, and the state.
    """
    from kvplace.solver.clock import Watch  # noqa: PLC0415 - same
    from kvplace.solver.instance.options import Chooser  # noqa: PLC0415 - numba: only here
    from kvplace.solver.kernels import interpreted  # noqa: PLC0415 - same
    from kvplace.solver.large_neighbourhood.refill import Refiller  # noqa: PLC0415 - same
    from kvplace.solver.large_neighbourhood.seat_board import fill_up  # noqa: PLC0415 - same

    while count:
        for draw, _, board in drawn_boards(seed, count, valid=True):
            target = part * board.worst()
            if not 0 < target < math.inf:
                continue
            state = Refiller(Chooser(board.instance), seed, Watch()).state_of(board, target)
            if filled:
                interpreted(fill_up)(state)
            count -= 1
            yield draw, board, target, state
        seed += 1000


def windowed(seed, models, memory, draw_kv, draw_time, windows=2, types=1):
    """Return an instance with that many windows on memory and as many on time.

    The draws return loads of a shape; those on time are for one model per GPU.
    """
    chance = np.random.RandomState(seed)
    rows = models, types, windows
    kv = np.broadcast_to(draw_kv(chance, (models, 1, windows)), rows)
    time = draw_time(chance, rows) * len(memory) / models
    ones = array("i", [1] * models)
    return Instance(
        range(models + 1),
        ones,
        ones,
        array("q", chance.randint(1, sum(memory) // (2 * models) + 2, models).tolist()),
        array("q", chance.randint(0, 3, models).tolist()),
        array("d", np.concatenate([kv, time], axis=2).ravel().tolist()),
        array("q", memory),
        array("q", range(models)),
        array("q", range(len(memory))),
        kv_windows=tuple(range(windows)),
        time_windows=tuple(range(windows)),
        type_of=tuple(at % types for at in range(len(memory))) if types > 1 else (),
    )


def assert_kept_up(board):
    """Everything that an assignment keeps up is what a fresh one says."""
    fresh = Assignment(board.instance, board.where)
    for name in ("where", "option", "free", "kept", "load", "pressure", "flaws", "missing"):
        assert getattr(board, name) == getattr(fresh, name), name
    assert [sorted(held) for held in board.members] == [sorted(held) for held in fresh.members]
    for name in ("free", "kept", "load", "pressure"):
        assert (getattr(board.arrays, name) == getattr(fresh.arrays, name)).all(), name
