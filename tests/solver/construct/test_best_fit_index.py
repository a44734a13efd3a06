"""Best fit by a sorted index: the tightest seat, and an index that never goes stale."""

import random

import pytest

from boards import assert_kept_up, undivided
from kvplace.core.models.objective import Objective
from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.construct.best_fit_index import Rooms
from kvplace.solver.instance.door import load_instance
from splits import random_split_problem

OBJECTIVES = Objective.REQUESTS, Objective.TOKENS


def room(board, g, target):
    """Return what a GPU has left at a target."""
    return board.free[g] - board.load[g] / target


@pytest.mark.parametrize("seed", range(6))
def test_each_model_goes_where_the_least_room_is_left(seed):
    instance = undivided(seed, gpus=5, models=16, memory=(60, 90, 140))
    board = Assignment(instance)
    target = sum(instance.load) / sum(instance.memory) * 4
    rooms = Rooms(board, target)
    for j in range(instance.n):
        option = instance.options[j][0]
        need = option.size + option.load / target
        before = {g: room(board, g, target) for g in range(instance.g)}
        may = [
            g for g, left in before.items()
            if left >= need and board.free[g] - option.size >= max(1, board.kept[g] + option.keep)
        ]  # fmt: skip
        assert rooms.place(j, option) == bool(may)
        if may:
            ((g,),) = board.where[j]
            assert before[g] == pytest.approx(min(before[h] for h in may))
            assert board.pressure[g] <= target * (1 + 1e-9)
        else:
            assert board.where[j] == ()
    assert_kept_up(board)


@pytest.mark.parametrize("seed", range(4))
def test_apart_a_model_goes_where_the_most_room_is_left(seed):
    instance = undivided(seed, gpus=5, models=8, memory=(60, 61, 62, 63, 64))
    board = Assignment(instance)
    target = sum(instance.load) / sum(instance.memory) * 40
    rooms = Rooms(board, target)
    for j in range(instance.n):
        before = [room(board, g, target) for g in range(instance.g)]
        assert rooms.place(j, instance.options[j][0], apart=True)
        ((g,),) = board.where[j]
        assert before[g] == pytest.approx(max(before))


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("seed", range(2))
def test_split_models_stay_in_a_link_domain_and_break_nothing(seed, apart):
    draw, placed, split = random.Random(seed), 0, 0
    for _ in range(60):
        instance = load_instance(random_split_problem(draw, objectives=OBJECTIVES))
        if not all(instance.options):
            continue
        board = Assignment(instance)
        target = max(*instance.loads, 1.0) / instance.memory[0] * 10
        rooms = Rooms(board, target)
        for j in range(instance.n):
            option = draw.choice(instance.options[j])
            broken = board.costs.broken
            found = rooms.place(j, option, apart=apart)
            assert found == (len(board.where[j]) == option.copies)
            assert found or board.where[j] == ()
            assert board.costs.broken <= broken
            placed += found
            for copy in board.where[j]:
                split += len(copy) > 1
                assert len({int(instance.columns.domain_of[g]) for g in copy}) == 1
                assert instance.columns.allowed[j][list(copy)].all()
            if found and not instance.is_uneven(j):
                gpus = [g for copy in board.where[j] for g in copy]
                assert all(board.pressure[g] <= target * (1 + 1e-9) for g in gpus)
        assert_kept_up(board)
    assert placed > 60
    assert split > 5
