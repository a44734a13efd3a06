"""Assignments that are dealt out at once."""

import math
import random

import pytest

import made
from kvplace.bench.clusters import cluster
from kvplace.core.evaluation.evaluate import evaluate
from kvplace.core.models.objective import Objective
from kvplace.core.rules.apart import Apart
from kvplace.solver.bounds.fluid import FluidBound
from kvplace.solver.bounds.pressures import PressureBound
from kvplace.solver.clock import Watch
from kvplace.solver.construct import deal
from kvplace.solver.construct.candidates import place_model
from kvplace.solver.construct.deal import dealt, dealt_near
from kvplace.solver.instance.door import load_instance, unload_copies
from kvplace.solver.instance.options import Chooser
from splits import random_split_problem


@pytest.mark.parametrize("tight", [False, True])
def test_what_is_dealt_holds_whatever_must(tight):
    draw, found = random.Random(5), 0
    for number in range(80):
        problem = random_split_problem(draw, models=5)
        if number % 2 and not problem.lacking(Objective.PRESSURE):
            problem = problem.with_objective(Objective.PRESSURE)
        timed = problem.goal is Objective.PRESSURE
        chooser = Chooser(load_instance(problem))
        low = (PressureBound(chooser.instance) if timed else FluidBound(chooser)).value
        if not 0 < low < math.inf:
            continue
        options = chooser.pick(4 * low, chooser.caps()[0])
        board = dealt(chooser.instance, options, 4 * low, Watch(), tight=tight)
        if board is None or not board.valid:
            continue
        found += 1
        seen = evaluate(problem, unload_copies(problem, chooser.instance, board.where))
        assert not seen.violations
        assert seen.value == pytest.approx(board.worst())
        if not chooser.instance.uneven:
            assert board.worst() <= 4 * low * (1 + 1e-9)
    assert found >= 15


def test_the_largest_go_where_most_room_is_left():
    models = [made.model(f"m{at}", 1, 6.0 - at) for at in range(6)]
    chooser = Chooser(load_instance(made.problem(models, made.fleet(80, gpus=3))))
    low = FluidBound(chooser).value
    options = chooser.pick(9 * low, math.inf)
    board = dealt(chooser.instance, options, 9 * low, Watch(), tight=False)
    assert board.worst() == pytest.approx(low)


def test_no_model_is_dealt_once_the_time_is_up():
    chooser = Chooser(load_instance(made.problem([made.model("a", 1, 1.0)], made.fleet(80))))
    options = chooser.pick(1.0, math.inf)
    assert dealt(chooser.instance, options, 1.0, Watch(0.0), tight=True) is None


def test_what_breaks_soft_rules_stays_where_it_was_once_the_time_is_up(monkeypatch):
    """400 soft rules of 300 models took every second, and what was dealt was thrown away."""
    models = [made.model(f"m{at}", 1, 6.0 - at) for at in range(6)]
    rule = Apart(tuple(model.name for model in models), 1.0, "gpu")
    problem = made.problem(models, made.fleet(80, gpus=3), rule)
    chooser, watch = Chooser(load_instance(problem)), Watch()
    low = FluidBound(chooser).value
    options, placed = chooser.pick(9 * low, math.inf), []

    def once(board, j, *others):
        placed.append(place_model(board, j, *others))
        watch.interrupt()
        return placed[-1]

    monkeypatch.setattr(deal, "place_model", once)
    board = dealt(chooser.instance, options, 9 * low, watch, tight=False)
    assert placed == [True]
    assert board.valid


@pytest.mark.parametrize("seed", range(3))
def test_many_models_dealt_near_the_bound_end_near_it_and_keep_all_rules(seed):
    problem = cluster(1_200, 600, pinned=20, seed=seed)
    chooser = Chooser(load_instance(problem))
    low = FluidBound(chooser).value
    board = dealt_near(chooser, low, Watch())
    seen = evaluate(problem, unload_copies(problem, chooser.instance, board.where))
    assert not seen.violations
    assert seen.value == pytest.approx(board.worst())
    assert low <= board.worst() <= 1.1 * low


def test_where_no_time_is_left_models_are_dealt_out_all_the_same_further_from_the_bound():
    chooser = Chooser(load_instance(cluster(1_200, 600, pinned=0, seed=1)))
    low = FluidBound(chooser).value
    near, soon = (dealt_near(chooser, low, Watch(limit)) for limit in (600.0, 0.0))
    assert near.valid
    assert soon.valid
    assert near.worst() < 1.06 * low < soon.worst() < 1.4 * low


def test_what_is_dealt_near_the_bound_holds_whatever_must():
    draw, found = random.Random(8), 0
    for _ in range(60):
        problem = random_split_problem(draw, models=8)
        chooser = Chooser(load_instance(problem))
        low = FluidBound(chooser).value
        if not 0 < low < math.inf:
            continue
        board = dealt_near(chooser, low, Watch())
        if board is None or not board.valid:
            continue
        found += 1
        seen = evaluate(problem, unload_copies(problem, chooser.instance, board.where))
        assert not seen.violations
        assert seen.value == pytest.approx(board.worst())
    assert found >= 10


def test_what_was_dealt_is_whole_though_time_ends_before_it_is_handed_out_anew(monkeypatch):
    chooser, watch = Chooser(load_instance(cluster(300, 160, pinned=0, seed=0))), Watch()
    pile = deal._Table.pile

    def once(table, models):
        watch.interrupt()
        return pile(table, models)

    monkeypatch.setattr(deal._Table, "pile", once)
    board = dealt_near(chooser, FluidBound(chooser).value, watch)
    assert not board.missing
