"""What an assignment says of itself is what core says of its placement, whatever changed it."""

import math
import random

import pytest

from boards import assert_kept_up, drawn_boards, spread, undivided
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


def other_where(draw, problem, board):
    """Other GPUs for all copies of the same problem."""
    return random_where(draw, problem, board.instance)


@pytest.mark.parametrize("arrays", [False, True])
def test_moving_to_another_assignment_makes_an_equal_one(arrays):
    for draw, problem, board in drawn_boards(1, 30):
        other = Assignment(board.instance, other_where(draw, problem, board))
        where, kept = list(other.where), board.arrays if arrays else None
        board.changed.clear()
        before = list(board.pressure)
        board.move_to(other)
        assert board.where == where == other.where
        assert board.flaws == pytest.approx(other.flaws)
        assert board.pressure == pytest.approx(other.pressure, rel=1e-12)
        assert {g for g, p in enumerate(board.pressure) if p != before[g]} <= board.changed
        assert kept is None or board.arrays is kept
        assert_kept_up(board)


def test_a_copy_goes_its_own_way():
    for draw, problem, board in drawn_boards(2, 30):
        twin, where = board.copy(), list(board.where)
        assert twin.worth() == board.worth()
        assert_kept_up(twin)
        twin.reset(other_where(draw, problem, board))
        assert board.where == where
        assert_kept_up(board)
        assert_kept_up(twin)


def test_room_is_what_brings_a_gpu_to_the_target():
    """A load that takes all the room of a pressure presses as hard as the target."""
    for draw, _, board in drawn_boards(3, 30):
        instance, target = board.instance, draw.uniform(0.1, 3.0)
        for g, held in enumerate(board.members):
            room = board.room(g, target)
            assert len(room) == instance.pressures
            if not held or board.free[g] < max(1, board.kept[g]):
                continue
            assert (min(room) >= 0) == (board.pressure[g] <= target) or min(map(abs, room)) < 1e-6
            loads = [
                math.fsum(board.shard_loads(j, g)[at] for j in held) for at in range(len(room))
            ]
            for at, left in enumerate(room):
                if at < instance.kv:
                    assert left == pytest.approx(board.free[g] - loads[at] / target, abs=1e-6)
                else:
                    used = loads[at] / target * instance.memory[g]
                    assert left == pytest.approx(instance.memory[g] - used, rel=1e-9, abs=1e-6)


def test_the_binding_load_is_the_pressure_and_its_models_come_first():
    for _, _, board in drawn_boards(4, 40):
        instance = board.instance
        for g, held in enumerate(board.members):
            if not held or board.pressure[g] == math.inf:
                continue
            at = board.binding(g)
            load = math.fsum(board.shard_loads(j, g)[at] for j in held)
            found = load / board.free[g] if at < instance.kv else load
            assert found == pytest.approx(board.pressure[g], rel=1e-12)
            ranked = board.hottest_first(g)
            assert sorted(ranked) == sorted(held)
            loads = [board.shard_loads(j, g)[at] for j in ranked]
            assert loads == sorted(loads, reverse=True)


@pytest.mark.parametrize("arrays", [False, True])
def test_the_hottest_gpus_are_those_within_a_tolerance(arrays):
    for draw, _, board in drawn_boards(5, 30):
        if arrays:
            assert board.arrays is not None
        tolerance, most = draw.choice([0.0, 0.3]), draw.randint(1, 4)
        full, worst = board.pressure, max(board.pressure)
        every = [g for g, p in enumerate(full) if worst > 0 and p >= worst * (1 - tolerance)]
        assert board.hottest(tolerance, most) == every[:most]


@pytest.mark.parametrize("seed", range(2))
def test_an_exchange_is_the_same_as_placing_anew(seed):
    draw, refused = random.Random(seed), 0
    for number in range(30):
        instance = undivided(seed * 100 + number, gpus=3, models=9, memory=(60, 90))
        board = spread(instance, number)
        if board is None:
            continue
        assert board.arrays is not None
        g, h = draw.sample(range(3), 2)
        out = [j for j in board.members[g] if draw.random() < 0.5]
        back = [j for j in board.members[h] if draw.random() < 0.5]
        before, pressure = list(board.gpu_of), list(board.pressure)
        board.changed.clear()
        board.exchange(g, out, h, back)
        assert board.changed == {g, h}
        assert [board.gpu_of[j] for j in out] == [h] * len(out)
        assert [board.gpu_of[j] for j in back] == [g] * len(back)
        assert_kept_up(board)
        after = max(board.pressure[g], board.pressure[h])
        board.exchange(h, out, g, back)
        assert board.gpu_of == before
        assert board.pressure == pressure
        for goal, done in [(after, False), (after * (1 + 1e-9) + 1e-9, after < math.inf)]:
            assert board.exchange_below(g, out, h, back, goal) == done
            refused += not done
        assert (board.gpu_of == before) == (after == math.inf or not out + back)
        assert_kept_up(board)
    assert refused > 20


def test_what_is_missing_counts_by_its_least_bytes():
    for draw, _, board in drawn_boards(6, 30):
        whole = board.missing
        assert whole == 0
        j = draw.randrange(board.instance.n)
        least = min(o.size * o.shards for o in board.instance.options[j])
        copies, option = board.where[j], board.option[j]
        board.apply([(j, None, ())])
        assert board.missing == max(1, least)
        assert not board.valid
        assert board.flaws[0] == board.missing
        board.apply([(j, option, copies[:-1])])
        assert board.missing == max(1, least)  # some copies are not all
        board.apply([(j, option, copies)])
        assert board.missing == 0
