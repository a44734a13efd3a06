"""Steps for soft rules: what exchanges can keep is kept, whatever that does to pressures."""

import math

import made
from boards import assert_kept_up, drawn_boards
from kvplace.core.rules.apart import Apart
from kvplace.core.rules.limit import Limit
from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.clock import Watch
from kvplace.solver.improve.keep_rules import keep_rules
from kvplace.solver.instance.door import load_instance


def test_models_are_kept_apart_and_few_by_moves_and_swaps():
    models = [made.model(name, 10, 1.0) for name in "abcdef"]
    rules = [Apart(("a", "b", "c"), 1, "gpu"), Limit(("*",), 2, "gpu", 2)]
    instance = load_instance(made.problem(models, made.fleet(61, 61, 61), *rules))
    board = Assignment(instance, [((0,),)] * 6)  # all six on one GPU
    assert board.flaws == (0, 2, 4)
    assert keep_rules(board, Watch()) > 0
    assert board.flaws == (0, 0, 0)
    assert sorted(map(len, board.members)) == [2, 2, 2]
    assert_kept_up(board)


def test_no_step_breaks_more_or_fills_a_gpu_beyond_its_memory():
    made_better = 0
    for _draw, _problem, board in drawn_boards(5, 25, gpus=2, valid=True):
        before = board.flaws
        steps = keep_rules(board, Watch())
        assert board.flaws < before if steps else board.flaws == before
        assert board.worst() < math.inf
        assert_kept_up(board)
        made_better += steps > 0
    assert made_better
