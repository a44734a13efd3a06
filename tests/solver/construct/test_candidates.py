"""Seats for copies: the best first, within link domains, where nothing breaks that must hold."""

import math
import random

import numpy as np
import pytest

from kvplace.core.models.objective import Objective
from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.clock import Watch
from kvplace.solver.construct.candidates import place_model, seats
from kvplace.solver.construct.target_search import construct
from kvplace.solver.instance.door import load_instance
from kvplace.solver.instance.options import Chooser
from splits import random_split_problem, random_where
from tiny import byte_problem

OBJECTIVES = Objective.REQUESTS, Objective.TOKENS, Objective.PRESSURE


def boards(seed, count):
    draw = random.Random(seed)
    while count:
        problem = random_split_problem(draw, objectives=OBJECTIVES)
        instance = load_instance(problem)
        where = random_where(draw, problem, instance)
        if where is not None:
            count -= 1
            yield draw, Assignment(instance, where)


@pytest.mark.parametrize("seed", range(2))
def test_seats_leave_what_they_promise(seed):
    seen = 0
    for draw, board in boards(seed, 40):
        j = draw.randrange(board.instance.n)
        option = board.option[j]
        board.apply([(j, None, ())])
        if board.instance.is_uneven(j):
            continue
        found = list(seats(board, j, option, math.inf, tight=False))
        hottest = []
        for seat in found:
            assert len(set(board.instance.columns.domain_of[list(seat)].tolist())) == 1
            assert all(board.instance.columns.allowed[j][g] for g in seat)
            undo, touched = board.apply([(j, option, (seat,))])
            hottest.append(max(board.pressure[g] for g in touched))
            board.apply(undo)
        assert all(value < math.inf for value in hottest)
        assert hottest == sorted(hottest) or option.degree > 1
        seen += len(found)
    assert seen > 40


@pytest.mark.parametrize("seed", range(2))
def test_a_model_is_placed_whole_below_the_target_or_not_at_all(seed):
    for draw, board in boards(seed + 3, 60):
        j = draw.randrange(board.instance.n)
        target = draw.choice([math.inf, board.worst(), board.worst() / 2])
        option = draw.choice(board.instance.options[j])
        board.apply([(j, None, ())])
        broken = board.costs.broken
        placed = place_model(board, j, option, target, tight=draw.random() < 0.5)
        assert placed == (len(board.where[j]) == option.copies)
        assert placed or not board.where[j]
        assert board.costs.broken <= broken
        if placed and not board.instance.is_uneven(j):
            touched = {g for copy in board.where[j] for g in copy}
            assert all(board.pressure[g] <= target * (1 + 1e-12) for g in touched)


def test_best_fit_takes_the_gpu_with_the_least_room():
    # At pressure 1, 4 + 4 bytes need 8: of 20, 12 and 9 bytes the last fits best.
    board = Assignment(load_instance(byte_problem([20, 12, 9], [(4, 4.0)])))
    unit = board.instance.load[0] / 4.0
    assert place_model(board, 0, board.instance.options[0][0], unit, tight=True)
    assert board.where[0] == ((2,),)


def test_constructions_place_every_model_where_all_fit():
    draw, placed = random.Random(5), 0
    for _ in range(40):
        problem = random_split_problem(draw, objectives=OBJECTIVES)
        instance = load_instance(problem)
        if not all(instance.options):
            continue
        found = list(construct(Chooser(instance), 0.0, Watch(None)))
        assert found
        for board in found:
            fresh = Assignment(instance, board.where)
            assert fresh.pressure == board.pressure
            placed += board.valid
    assert placed > 20


def test_options_of_several_pressures_count_what_is_scarce():
    draw, looked = random.Random(6), 0
    while looked < 30:
        problem = random_split_problem(draw, objectives=(Objective.PRESSURE,))
        instance = load_instance(problem)
        if not all(instance.options):
            continue
        chooser = Chooser(instance)
        target = draw.uniform(0.05, 2.0)
        each, whole, fit = chooser.room(target)
        needs = instance.columns.needs(np.arange(len(instance.size)), target)
        for j, options in enumerate(instance.options):
            for at, option in enumerate(options):
                need = needs[option.row]
                assert each[j, at] >= need * (1 - 1e-12)  # the types that it may be on are fewer
                assert fit[j, at] == (whole[j, at] < math.inf)
        chosen = chooser.pick(target, math.inf)
        assert [option in row for option, row in zip(chosen, instance.options, strict=True)]
        looked += 1
