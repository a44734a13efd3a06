"""What GPUs carry, as arrays: kept up, and what exchanges would leave."""

import math

import numpy as np
import pytest

from boards import assert_kept_up, drawn_boards, undivided
from kvplace.solver.assignment import assignment
from kvplace.solver.assignment.assignment import Assignment


@pytest.mark.parametrize("seed", range(2))
def test_the_arrays_follow_every_change(seed):
    for draw, _, board in drawn_boards(seed, 40):
        assert board.arrays.free.tolist() == board.free
        for _ in range(4):
            j = draw.randrange(board.instance.n)
            board.apply([(j, None, ())])
            assert board.arrays.pressure.tolist() == board.pressure
            assert board.arrays.load[0].tolist() == board.load
            option = draw.choice(board.instance.options[j])
            gpus = draw.sample(range(board.instance.g), min(option.shards, board.instance.g))
            if len(gpus) == option.shards:
                copies = tuple(
                    tuple(gpus[at : at + option.degree])
                    for at in range(0, option.shards, option.degree)
                )
                board.apply([(j, option, copies)])


@pytest.mark.parametrize("seed", range(2))
def test_very_many_models_are_placed_at_once_as_one_by_one(seed, monkeypatch):
    for draw, _, board in drawn_boards(seed, 40):
        where = [copies if draw.random() < 0.8 else () for copies in board.where]
        one_by_one = Assignment(board.instance, where)
        monkeypatch.setattr(assignment, "MANY", 0)
        at_once = Assignment(board.instance, where)
        monkeypatch.undo()
        assert at_once.arrays.load.tolist() == one_by_one.arrays.load.tolist()
        assert at_once.costs.vector == one_by_one.costs.vector
        for name in ("where", "option", "members", "free", "kept", "load", "pressure", "missing"):
            assert getattr(at_once, name) == getattr(one_by_one, name)


@pytest.mark.parametrize("seed", range(2))
def test_an_assignment_stays_what_a_fresh_one_is(seed):
    for draw, _, board in drawn_boards(seed, 40, gpus=2):
        for _ in range(4):
            j = draw.randrange(board.instance.n)
            copies, option = board.where[j], board.option[j]
            board.apply([(j, None, ())])
            board.apply([(j, option, copies)])
        assert_kept_up(board)


@pytest.mark.parametrize("seed", range(2))
def test_one_more_shard_adds_its_loads(seed):
    for _, _, board in drawn_boards(seed, 40):
        for j in range(board.instance.n):
            option = board.option[j]
            if option.shards > 1:
                continue
            here = board.where[j][0][0]
            before = board.arrays.load[:, here].copy()
            board.apply([(j, None, ())])
            again = board.arrays.loads_with(option)
            board.apply([(j, option, ((here,),))])
            assert [load[here] for load in again] == pytest.approx(before, rel=1e-9, abs=1e-12)


def exchanged(board, g, h, out, back):
    """What one exchange of undivided models would leave, as the arrays say."""
    instance = board.instance
    signed = [(board.option[j], 1) for j in out] + [(board.option[j], -1) for j in back]
    size = np.array([float(sum(sign * o.size for o, sign in signed))])
    keep = np.array([float(sum(sign * o.keep for o, sign in signed))])

    def loads(type_):
        none = np.zeros(instance.pressures)
        return sum((sign * np.array(o.loads[type_]) for o, sign in signed), start=none)[:, None]

    here, there = list(loads(instance.type_at(g))), list(loads(instance.type_at(h)))
    return float(board.arrays.exchanged(g, np.array([h]), size, keep, here, there)[0])


@pytest.mark.parametrize("seed", range(2))
def test_an_exchange_leaves_what_is_said(seed):
    finite = 0
    for draw, _, board in drawn_boards(seed, 80, gpus=2):
        g, h = draw.sample(range(board.instance.g), 2)
        mine, theirs = (
            [j for j in board.members[at] if board.option[j].shards == 1] for at in (g, h)
        )
        out = [j for j in mine if draw.random() < 0.6]
        back = [j for j in theirs if draw.random() < 0.6]
        said = exchanged(board, g, h, out, back)
        board.apply(
            (j, board.option[j], ((to,),)) for models, to in ((out, h), (back, g)) for j in models
        )
        held = [max(value, 0.0) for value in (board.pressure[g], board.pressure[h])]
        empty = [not board.members[at] for at in (g, h)]
        found = max(0.0 if none else value for value, none in zip(held, empty, strict=True))
        assert said == pytest.approx(found, rel=1e-9, abs=1e-9)
        finite += found < math.inf
    assert finite > 20


def test_only_what_takes_memory_must_leave_some_to_spare():
    instance = undivided(3, gpus=2, models=6, memory=(60, 61), size=(5, 9))
    board = Assignment.single(instance, [0, 0, 0, 1, 1, 1])
    j = board.members[0][0]
    before = exchanged(board, 0, 1, [j], [])
    assert before < math.inf
    board.spare(0.2)
    assert exchanged(board, 0, 1, [j], []) == before
    board.spare(0.9)
    assert exchanged(board, 0, 1, [j], []) == math.inf
    assert exchanged(board, 0, 1, [], []) < math.inf
    free = board.arrays.free.copy()
    assert board.spared(free, [0, 1])
    board.apply([(j, board.option[j], ((1,),))])
    assert board.spared(free, [0])
    assert not board.spared(free, [1])
