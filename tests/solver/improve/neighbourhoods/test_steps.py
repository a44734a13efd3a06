"""Every kind of step: what it leaves is below the goal, nothing is worse, and a refusal undoes."""

import math

import pytest

from boards import assert_kept_up, drawn_boards
from kvplace.solver.assignment.subsets import Subsets
from kvplace.solver.improve.neighbourhoods.neighbourhood import try_changes, uneven
from kvplace.solver.improve.neighbourhoods.replacement import AnotherCopy, AnotherSplit, Reseat
from kvplace.solver.improve.neighbourhoods.shard_exchange import ShardExchange
from kvplace.solver.improve.neighbourhoods.subset_exchange import SubsetExchange

KINDS = {
    "move or swap": lambda board: ShardExchange(),  # noqa: ARG005 - others need it
    "subsets": lambda board: SubsetExchange(Subsets(board), 2),
    "reseat": lambda board: Reseat(),  # noqa: ARG005 - same
    "copy": lambda board: AnotherCopy(),  # noqa: ARG005 - same
    "split": lambda board: AnotherSplit(),  # noqa: ARG005 - same
}


@pytest.mark.parametrize("name", KINDS)
def test_a_step_leaves_all_it_touches_below_the_goal_and_nothing_worse(name):
    made = 0
    for draw, _, board in drawn_boards(1, 150, gpus=2, valid=True):
        kind = KINDS[name](board)
        if not kind.applies(board):
            continue
        for g in sorted(range(board.instance.g), key=lambda g: -board.pressure[g]):
            if not 0 < board.pressure[g] < math.inf:
                continue
            goal = board.pressure[g] * draw.choice([1 - 1e-9, 0.9, 0.5])
            flaws, where = board.flaws, [sorted(copies) for copies in board.where]
            before = list(board.pressure)
            touched = kind.relieve(board, g, goal)
            if touched is None:
                assert [sorted(copies) for copies in board.where] == where
                assert board.pressure == before
                continue
            made += 1
            assert board.flaws <= flaws
            assert g in touched
            assert all(board.pressure[h] < goal for h in touched)
            assert all(
                board.pressure[h] == before[h] for h in range(len(before)) if h not in touched
            )
        assert_kept_up(board)
    assert made > (2 if name == "split" else 10)


@pytest.mark.parametrize("seed", range(2))
def test_changes_are_kept_only_below_the_goal(seed):
    kept = refused = 0
    for draw, _, board in drawn_boards(seed, 80, gpus=2, valid=True):
        j = draw.randrange(board.instance.n)
        option = board.option[j]
        gpus = draw.sample(range(board.instance.g), min(option.shards, board.instance.g))
        if option.degree > 1 or len(gpus) < option.copies:
            continue
        copies = tuple((g,) for g in gpus)
        before, flaws = board.worth(), board.flaws
        pressure = list(board.pressure)
        goal = draw.choice([board.worst(), math.inf])
        touched = try_changes(board, [(j, option, copies)], goal)
        if touched is None:
            refused += 1
            assert board.worth() == before
            assert board.pressure == pressure
        else:
            kept += 1
            assert board.flaws <= flaws
            assert all(board.pressure[g] < goal for g in touched)
        assert_kept_up(board)
    assert min(kept, refused) > 5


def test_a_margin_is_kept_by_every_step_that_takes_memory():
    taken = 0
    for _, _, board in drawn_boards(9, 120, gpus=2, valid=True):
        board.spare(0.3)
        free = board.arrays.free.copy()
        kinds = [ShardExchange(), SubsetExchange(Subsets(board), 4)]
        for kind in kinds if board.instance.g > 1 else ():
            for g in range(board.instance.g):
                if not 0 < board.pressure[g] < math.inf:
                    continue
                before = board.arrays.free.copy()
                for h in kind.relieve(board, g, board.pressure[g]) or ():
                    less = board.arrays.free[h] < before[h]
                    taken += bool(less)
                    assert not less or board.arrays.free[h] >= min(board.arrays.spare[h], before[h])
        assert (board.arrays.free >= 0).all() or (free < 0).any()
    assert taken > 5


def test_copies_that_carry_uneven_parts_are_told_apart():
    seen = set()
    for _, _, board in drawn_boards(2, 80):
        for j, copies in enumerate(board.where):
            found = uneven(board, j)
            assert found == (board.instance.is_uneven(j) and len(copies) > 1)
            seen.add(found)
    assert seen == {True, False}
