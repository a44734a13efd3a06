"""Steps for soft rules: what exchanges can keep is kept, whatever that does to pressures."""

import math
from dataclasses import replace

import made
from boards import assert_kept_up, drawn_boards
from kvplace.core.models.model import Replicas
from kvplace.core.placement import Placement, Replica
from kvplace.core.rules.apart import Apart
from kvplace.core.rules.limit import Limit
from kvplace.core.rules.spread import Spread
from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.clock import Watch
from kvplace.solver.improve.keep_rules import change_places, keep_rules
from kvplace.solver.instance.door import load_copies, load_instance


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


def test_a_copy_over_two_gpus_changes_places_with_what_two_others_hold():
    # Neither copy of `a` has room beside the models of the other node: only all that two GPUs hold
    # can change places, and the pair that `b` is over moves as a whole.
    pair = replace(made.model("a", 60, 2.0), tensor_parallel=(2,), replicas=Replicas(2, 2))
    models = [pair, replace(made.model("b", 60, 1.0), tensor_parallel=(2,)),
              made.model("c", 30, 3.0), made.model("d", 31, 4.0)]  # fmt: skip
    problem = made.problem(models, made.fleet(40, 40, gpus=4), Spread(("a",), 1))
    instance, gpus = load_instance(problem), [g.id for g in problem.fleet.gpus]
    where = {"a": ((0, 1), (2, 3)), "b": ((4, 5),), "c": ((6,),), "d": ((7,),)}
    placement = Placement(tuple(
        Replica(name, at, tuple(gpus[g] for g in copy))
        for name, copies in where.items() for at, copy in enumerate(copies)
    ))  # fmt: skip
    board = Assignment(instance, load_copies(problem, instance, placement))
    pressures, before = sorted(board.pressure), board.flaws
    assert before[-1] > 0
    assert keep_rules(board, Watch()) == 0
    assert change_places(board, Watch()) == 1
    assert not any(board.flaws)
    assert sorted(board.pressure) == pressures
    assert_kept_up(board)
