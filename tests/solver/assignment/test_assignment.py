"""What an assignment says of itself is what core says of its placement, whatever changed it."""

import math
import random

import pytest

from kvplace.core.evaluation.evaluate import evaluate
from kvplace.core.models.objective import Objective
from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.instance.door import load_copies, load_instance, unload_copies
from splits import random_split_problem, random_where

OBJECTIVES = Objective.REQUESTS, Objective.TOKENS, Objective.PRESSURE
NOT_RULES = {"memory", "min_kv", "gpu_type"}


@pytest.mark.parametrize("seed", range(3))
def test_a_board_is_worth_what_core_says_after_any_changes(seed):
    draw, compared = random.Random(seed), 0
    while compared < 60:
        problem = random_split_problem(draw, objectives=OBJECTIVES)
        instance = load_instance(problem)
        where = random_where(draw, problem, instance)
        if where is None:
            continue
        board = Assignment(instance)
        for _ in range(3):
            where = random_where(draw, problem, instance)
            before = list(board.pressure), board.flaws
            undo, _ = board.apply(
                (j, instance.option_of(j, copies), copies) for j, copies in enumerate(where)
            )
            board.apply(undo)
            assert (board.pressure, board.flaws) == before
            board.reset(where)
        placement = unload_copies(problem, instance, board.where)
        found = evaluate(problem, placement)
        by_id = {gpu.id: gpu for gpu in found.gpus}
        for at, g in enumerate(instance.gpu_index):
            gpu = by_id[problem.fleet.gpus[g].id]
            assert board.free[at] == gpu.free_bytes
            if board.arrays.pressure[at] < math.inf:
                assert board.arrays.pressure[at] == pytest.approx(gpu.pressure, rel=1e-12)
        broken = [v for v in found.violations if v.kind not in NOT_RULES]
        assert (board.costs.broken > 0) == bool(broken)
        copies = load_copies(problem, instance, placement)
        assert [sorted(c) for c in copies] == [sorted(c) for c in board.where]
        compared += 1
