"""Tables of subsets: followed through every change, and the best exchange is the first."""

import math
from itertools import combinations

import numpy as np
import pytest

from boards import drawn_boards, spread, undivided
from kvplace.solver.assignment.assignment import Assignment, moved
from kvplace.solver.assignment.subsets import Subsets, _ascending, _subset_pairs


def changes_of(board, g, out, h, back):
    """Return the changes of an exchange."""
    return [moved(board, j, g, h) for j in out] + [moved(board, j, h, g) for j in back]


def by_force(board, g, partners):
    """Return the least larger pressure after an exchange of up to two for up to two."""

    def some(h):
        return [c for k in range(3) for c in combinations(board.members[h], k)]

    best = math.inf
    for h in partners:
        for out in some(g):
            for back in some(h):
                board.exchange(g, out, h, back)
                best = min(best, max(board.pressure[g], board.pressure[h]))
                board.exchange(h, out, g, back)
    return best


@pytest.mark.parametrize("keep", [0, 5])
@pytest.mark.parametrize("seed", range(4))
def test_the_first_exchange_is_the_best_there_is(seed, keep):
    instance = undivided(seed, gpus=3, models=8, keep=keep)
    board = spread(instance, seed)
    g = board.pressure.index(board.worst())
    partners = np.array([h for h in range(3) if h != g])
    best = by_force(board, g, partners.tolist())
    subsets = Subsets(board)
    goal = board.pressure[g] * (1 - 1e-9)
    found = list(subsets.exchanges(g, partners, goal, 5))
    assert bool(found) == (best < goal)
    after = []
    for out, h, back in found:
        board.exchange(g, out, h, back)
        after.append(max(board.pressure[g], board.pressure[h]))
        board.exchange(h, out, g, back)
    assert after == sorted(after) or after == pytest.approx(sorted(after))
    assert not found or after[0] == pytest.approx(best, rel=1e-9)


def test_a_table_follows_moves_and_grows_with_the_gpu_that_holds_most():
    instance = undivided(7, gpus=3, models=9, memory=(200, 210))
    board = Assignment.single(instance, [j % 3 for j in range(9)])
    subsets = Subsets(board)
    assert subsets.count == 1 + 3 + 3
    for j in range(3):
        board.apply([(j, board.option[j], ((0,),))])
    subsets.follow()
    fresh = Subsets(board.copy())
    for g in range(3):
        numbers = subsets.numbers(g)
        assert len(numbers) == len(fresh.numbers(g))
        assert sorted(sorted(subsets.subset(g, at)) for at in numbers) == sorted(
            sorted(fresh.subset(g, at)) for at in fresh.numbers(g)
        )
    assert subsets.count >= fresh.count


def test_only_so_many_shards_are_looked_at():
    instance = undivided(8, gpus=2, models=10, memory=(200, 210))
    board = Assignment.single(instance, [0] * 10)
    subsets = Subsets(board, models=4)
    assert subsets.count == 1 + 4 + 6
    seen = {j for at in subsets.numbers(0) for j in subsets.subset(0, at)}
    assert seen == set(board.members[0][:4])
    assert subsets.numbers(1).tolist() == [subsets.count and 0]


@pytest.mark.parametrize("seed", range(2))
def test_only_shards_that_move_by_themselves_are_in_it(seed):
    for _, _, board in drawn_boards(seed, 40, gpus=2):
        subsets = Subsets(board)
        for g in range(board.instance.g):
            held = {j for at in subsets.numbers(g) for j in subsets.subset(g, at)}
            for j in board.members[g]:
                option = board.option[j]
                uneven = board.instance.is_uneven(j) and option.copies > 1
                assert (j in held) == (option.degree == 1 and not uneven)


@pytest.mark.parametrize("seed", range(2))
def test_exchanges_between_gpus_of_any_type_hold_what_they_promise(seed):
    tried = 0
    for _, _, board in drawn_boards(seed + 20, 60, gpus=2):
        subsets = Subsets(board)
        g = int(board.arrays.pressure.argmax())
        partners = np.array([h for h in range(board.instance.g) if h != g])
        numbers = subsets.numbers(g)
        own = subsets._totals[:, g, numbers]
        value = subsets.between(g, own, partners)
        assert value.shape == (len(numbers), len(partners), subsets.count)
        for row, at, column in zip(*np.nonzero(value < math.inf), strict=True):
            h = int(partners[at])
            out, back = subsets.subset(g, int(numbers[row])), subsets.subset(h, int(column))
            if not (subsets._may(out, h) and subsets._may(back, g)):
                continue
            tried += 1
            undo, _ = board.apply(changes_of(board, g, out, h, back))
            found = max(board.pressure[g], board.pressure[h])
            assert found == pytest.approx(value[row, at, column], rel=1e-9, abs=1e-9)
            board.apply(undo)
    assert tried > 50


def test_no_exchange_lets_a_model_meet_itself_or_go_where_it_may_not():
    checked = 0
    for _, _, board in drawn_boards(31, 60, gpus=2):
        subsets = Subsets(board)
        for g in range(board.instance.g):
            partners = np.array([h for h in range(board.instance.g) if h != g])
            for exchange in subsets.exchanges(g, partners, math.inf, 30):
                for j, _, copies in changes_of(board, g, *exchange):
                    gpus = [h for copy in copies for h in copy]
                    assert len(set(gpus)) == len(gpus)
                    come = [h for h in gpus if j not in board.members[h]]
                    assert board.instance.columns.allowed[j][come].all()
                    checked += 1
    assert checked > 50


@pytest.mark.parametrize("most", [1, 3, 10])
def test_the_least_come_first_and_equals_as_they_come(most):
    one, two = np.array([3.0, 1.0, 2.0]), np.array([1.0, 0.5, 3.0, 1.0])
    found = [(one, np.array([7, 8])), (two, np.array([9]))]
    places = [(len(batch), place) for batch, place in _ascending(found, 4.0, most)]
    assert places == [(1, 1), (2, 1), (1, 0), (1, 3), (2, 2), (2, 0), (1, 2)][:most]
    assert [place for _, place in _ascending(found, 2.0, most)] == [1, 1, 0, 3][:most]
    assert [batch.tolist() for batch, _ in _ascending(found, 4.0, 2)] == [[9], [7, 8]]
    assert list(_ascending([], 4.0, most)) == []


def test_subsets_are_pairs_of_positions():
    first, second = _subset_pairs(3)
    pairs = list(zip(first.tolist(), second.tolist(), strict=True))
    assert pairs == [(3, 3), (0, 3), (1, 3), (2, 3), (0, 1), (0, 2), (1, 2)]
