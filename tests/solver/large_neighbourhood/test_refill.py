"""Filling link domains anew reaches a target or leaves the assignment as it was."""

import math
from contextlib import closing
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

import made
from boards import drawn_boards
from kvplace.core.models.demand import SLO, Demand
from kvplace.core.models.model import Replicas
from kvplace.core.models.objective import Objective
from kvplace.core.problem import Problem
from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.clock import Watch
from kvplace.solver.construct.target_search import construct
from kvplace.solver.instance.door import load_instance, unload_copies
from kvplace.solver.instance.options import Chooser
from kvplace.solver.kernels import Crew, interpreted
from kvplace.solver.large_neighbourhood.annealed_fillings import fill_until, nothing_known
from kvplace.solver.large_neighbourhood.refill import SEVERAL, Refiller, worth_of
from kvplace.solver.large_neighbourhood.seat_board import fill_up
from oracle_splits import solve_by_force, worth
from timings import PowerTiming
from tiny import GIB


@pytest.mark.parametrize("seed", range(2))
def test_a_target_is_reached_or_nothing_changes(seed):
    """Random fleets with rules and several pressures, near the optimum that enumeration finds."""
    reached = 0
    for _, problem, board in drawn_boards(seed, 20, valid=True):
        truth = solve_by_force(problem)
        before, flaws, target = list(board.where), board.flaws, truth.value * (1 + 1e-6)
        if not target:
            continue
        packed, _ = Refiller(Chooser(board.instance), seed, Watch()).pack(board, target, 8)
        assert board.flaws <= flaws
        if packed:
            reached += 1
            assert board.worst() <= target
            placement = unload_copies(problem, board.instance, board.where)
            assert worth(problem, placement) >= (truth.breaches, truth.value * (1 - 1e-9))
        else:
            assert board.where == before
    assert reached >= 3


def test_what_the_kernels_keep_is_what_a_new_sum_gives():
    for _, chooser, target, state in _states(5, 10):
        worth, known, made = worth_of(state, chooser, target), nothing_known(state), 0
        chance = np.array([3], dtype=np.uint64)
        course = SEVERAL._replace(recounted=0.5)
        for whole in (2, 2, 0):
            made = fill_until(state, worth, known, made, whole, 8, 0.2, course, chance)
            used = state.used.copy()
            interpreted(fill_up)(state)
            assert np.allclose(used, state.used, atol=1e-9)
            assert (state.used <= np.maximum(state.cap, 0.0) + 1e-9).all()
            seats = [int(np.sum(state.gpu[a:b, 0] >= 0)) for a, b in pairwise(state.first_seat)]
            assert (worth.lacking + seats)[state.free].tolist() == worth.copies[state.free].tolist()
            assert known.left[0] <= worth.least @ worth.lacking + 1e-9


def test_what_exceeds_no_target_stays_where_it_is():
    """A little above the value the first filling changes nothing: there is nothing to place."""
    for board, chooser, _, _ in _states(8, 10):
        state = Refiller(chooser, 2, Watch()).state_of(board, board.worst() * (1 + 1e-6))
        worth, known = worth_of(state, chooser, board.worst() * (1 + 1e-6)), nothing_known(state)
        if not all(state.usable[row] for row in state.row[state.row >= 0]):
            continue
        before = state.gpu.copy()
        fill_until(state, worth, known, 0, 0, 1, 0.1, SEVERAL, np.array([3], dtype=np.uint64))
        assert (state.gpu == before).all()


def test_the_lowest_target_is_reached_however_many_threads_there_are():
    reached = []
    for board, chooser, target, _ in _states(21, 12):
        found = []
        aims = [(target * part, part < 1) for part in (0.5, 0.8, 1.0, 1.05)]
        for threads in (1, 3):
            copy = board.copy()
            with closing(Crew(threads)) as crew:
                at, steps = Refiller(chooser, 3, Watch()).pack_lowest(copy, aims, 6, crew)
            found.append((at, steps, copy.where))
            assert at is None or copy.worst() <= aims[at][0]
        assert found[0] == found[1]
        reached.append(found[0][0])
    assert {None} < set(reached)


def test_degrees_are_chosen_for_the_room_that_is_left():
    """Two of four shards fill what three of eight leave: one node, to the last GiB."""
    eight = [made.model(f"w{k}", 8 * 20, 1.0, tensor_parallel=(8,)) for k in range(3)]
    either = [made.model(f"m{k}", 4 * 30, 1.0, tensor_parallel=(4, 8)) for k in range(2)]
    found = _packed([*eight, *either], made.fleet(96, gpus=8), 1.0)
    assert {len(copies[0]) for copies in found.where} == {4, 8}


def test_copies_are_chosen_at_the_target():
    """A load of 8 on nodes with 10 GiB left is below 0.15 a GPU with 6 shards, not with 4."""
    hot = made.model("hot", 2 * 10, 8.0, tensor_parallel=(2,), replicas=Replicas(1, 3))
    found = _packed([hot], made.fleet(20, 20, 20, gpus=2), 0.15)
    assert len(found.where[0]) == 3


def test_under_several_pressures_more_copies_are_tried_than_take_the_least_room():
    """One copy takes 22 GiB at 0.5, which no GPU has left beside 30; each of two takes 14."""
    cold = [made.model(f"c{k}", 30, 0.0) for k in range(2)]
    hot = made.model("hot", 6, 8.0, replicas=Replicas(1, 2))
    slo, names = SLO(1.0, 1.0, 1.0), ("noon", "night")
    models = tuple(
        replace(
            model,
            kv_bytes_per_token=GIB,
            slo=slo,
            demand=Demand(model.demand.requests_per_second, 1.0, 0.0),
            windows=dict.fromkeys(names, Demand(model.demand.requests_per_second, 1.0, 0.0)),
        )
        for model in [*cold, hot]
    )
    timing = PowerTiming({model.name: 0.0 for model in models}, {"48GiB": 1.0}, 1.0)
    problem = Problem(models, made.fleet(48, 48), Objective.PRESSURE, timing=timing)
    assert load_instance(problem).pressures > 1
    found = _filled(problem, 0.5)
    assert max(map(len, found.where)) == 2


def test_a_model_is_copied_as_often_as_most_of_it_should_be():
    """A third of the hot model takes one copy and the rest two, the other is told nothing."""
    models = [made.model(name, 6, 8.0, replicas=Replicas(1, 2)) for name in ("a", "b")]
    chooser = Chooser(load_instance(made.problem(models, made.fleet(80, 80))))
    board = min(construct(chooser, 1e-6, Watch()), key=Assignment.worth)
    state = Refiller(chooser, 0, Watch()).state_of(board, 1.0)
    assert worth_of(state, chooser, 1.0).copies.tolist() == [1, 1]
    state = Refiller(chooser, 0, Watch()).state_of(board, 1.0)
    chosen = np.where(state.copies == 1, 1 / 3, 2 / 3)
    chosen[state.first_row[1] :] = 0.0
    assert worth_of(state, chooser, 1.0, chosen).copies.tolist() == [2, 1]
    assert (state.usable[: state.first_row[1]] == (state.copies[: state.first_row[1]] == 2)).all()


def test_the_same_seed_fills_the_same():
    for _, _, board in drawn_boards(9, 5, valid=True):
        found = []
        for _ in range(2):
            copy = board.copy()
            Refiller(Chooser(copy.instance), 4, Watch()).pack(copy, board.worst() * 0.9, 4)
            found.append(copy.where)
        assert found[0] == found[1]


def _states(seed, count):
    """Yield random assignments, their options, targets a little lower, and the kernels' boards."""
    for _, _, board in drawn_boards(seed, count, valid=True):
        chooser, target = Chooser(board.instance), board.worst() * 0.9
        if 0 < target < math.inf:
            state = Refiller(chooser, 5, Watch()).state_of(board, target)
            if worth_of(state, chooser, target) is not None:
                yield board, chooser, target, Refiller(chooser, 5, Watch()).state_of(board, target)


def _packed(models, fleet, target):
    """Return the assignment that fills a fleet at a target."""
    return _filled(made.problem(models, fleet), target)


def _filled(problem, target):
    """Return the assignment that fills the fleet of a problem at a target."""
    chooser = Chooser(load_instance(problem))
    board = min(construct(chooser, 1e-6, Watch()), key=Assignment.worth)
    packed, _ = Refiller(chooser, 0, Watch()).pack(board, target, 20)
    assert packed
    assert board.worst() <= target
    return board
