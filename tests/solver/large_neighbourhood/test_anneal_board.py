"""The board of compiled moves: what it keeps of each GPU is what its seats come to."""

import numpy as np
import pytest

from boards import kernel_states
from kvplace.solver.large_neighbourhood.anneal_board import (
    TINY,
    drawn,
    drawn_part,
    excess,
    excess_with,
    holds,
    mark,
    put,
    take,
)


def seated(state):
    """Yield seat, rank, GPU, model and option of every shard that has a GPU."""
    for seat, j in enumerate(state.model_of.tolist()):
        for rank, g in enumerate(state.gpu[seat].tolist()):
            if g >= 0:
                yield seat, rank, g, j, int(state.row[j])


def chained(state, g):
    """Return the shards in the chain of a GPU, whose links must agree in both directions."""
    found, before, shard = [], -1, int(state.head[g])
    while shard >= 0:
        assert state.before[shard] == before
        found.append(shard)
        before, shard = shard, int(state.after[shard])
    return found


def assert_summed(state):
    """What the board keeps is what its seats come to."""
    used, on = np.zeros_like(state.used), [[] for _ in state.head]
    for seat, rank, g, _, row in seated(state):
        used[g] += state.size[row, state.type_of[g]]
        on[g].append(seat * state.gpu.shape[1] + rank)
    assert np.allclose(state.used, used, rtol=1e-12, atol=1e-12)
    for g, shards in enumerate(on):
        assert sorted(chained(state, g)) == shards
    hot = state.hot[: state.number[0]].tolist()
    over = np.maximum(state.used - state.cap, 0.0).sum(axis=1)
    assert sorted(hot) == np.flatnonzero(over > TINY).tolist()
    assert [state.place[g] for g in hot] == list(range(len(hot)))
    assert all(state.place[g] == -1 for g in range(len(over)) if g not in hot)


@pytest.mark.parametrize("seed", range(2))
def test_putting_and_taking_keep_sums_chains_and_the_hot_gpus(seed):
    moved = 0
    for draw, _, _, state in kernel_states(seed, 25, part=0.6):
        assert_summed(state)
        for _ in range(12):
            shards = list(seated(state))
            if not shards:
                break
            seat, rank, g, _, row = draw.choice(shards)
            take(state, seat, rank, row)
            assert state.gpu[seat, rank] == -1
            assert_summed(state)
            other = draw.randrange(len(state.head))
            put(state, seat, rank, other, row)
            moved += other != g
            assert state.gpu[seat, rank] == other
            assert_summed(state)
    assert moved > 100


def test_what_is_taken_off_and_put_back_leaves_the_same_board():
    for draw, _, _, state in kernel_states(3, 15):
        used, gpu, number = state.used.copy(), state.gpu.copy(), int(state.number[0])
        lifted = []
        for seat, rank, g, _, row in seated(state):
            if draw.random() < 0.5:
                lifted.append((seat, rank, g, row))
        for seat, rank, _, row in lifted:
            take(state, seat, rank, row)
        for seat, rank, g, row in reversed(lifted):
            put(state, seat, rank, g, row)
        assert np.allclose(state.used, used, atol=1e-12)
        assert (state.gpu == gpu).all()
        assert state.number[0] == number
        assert_summed(state)


@pytest.mark.parametrize("seed", range(2))
def test_an_excess_foretold_is_the_excess_that_comes(seed):
    over = 0
    for draw, _, _, state in kernel_states(seed, 25, part=0.5):
        for g in range(len(state.head)):
            state.weight[g] = draw.choice([1.0, 1.0, 3.5, 1e5])
            found = np.maximum(state.used[g] - state.cap[g], 0.0).sum() * state.weight[g]
            assert excess(state, g) == pytest.approx(found, rel=1e-12)
        for seat, rank, _, _, row in list(seated(state))[:4]:
            take(state, seat, rank, row)
            for g in range(len(state.head)):
                foretold = excess_with(state, g, row)
                put(state, seat, rank, g, row)
                assert excess(state, g) == foretold
                take(state, seat, rank, row)
                over += foretold > 0
            put(state, seat, rank, draw.randrange(len(state.head)), row)
    assert over > 20


def test_a_weight_changes_how_much_an_excess_counts_and_not_whether_it_is_one():
    for _, _, _, state in kernel_states(5, 15, part=0.5):
        hot = state.hot[: state.number[0]].tolist()
        state.weight[:] = 1e5
        for g in range(len(state.head)):
            mark(state, g)
        assert sorted(state.hot[: state.number[0]].tolist()) == sorted(hot)


def test_rounding_is_no_excess():
    _, _, _, state = next(kernel_states(1, 1))
    for over, hot in [(0.0, False), (TINY / 2, False), (3 * TINY, True)]:
        state.used[0] = 0.0
        state.cap[0] = 0.0
        state.used[0, 0] = over
        mark(state, 0)
        assert (state.place[0] >= 0) == hot


def test_a_gpu_holds_the_models_that_have_a_seat_there():
    for _, _, _, state in kernel_states(6, 15):
        on = {(g, j) for _, _, g, j, _ in seated(state)}
        for g in range(len(state.head)):
            for j in range(len(state.row)):
                assert holds(state, j, g) == ((g, j) in on)


@pytest.mark.parametrize("below", [1, 2, 3, 7, 1000])
def test_random_numbers_are_below_their_limit_and_even(below):
    chance = np.array([12345], dtype=np.uint64)
    found = [drawn(chance, below) for _ in range(3000)]
    assert 0 <= min(found) <= max(found) < below
    if below <= 7:
        counts = np.bincount(found, minlength=below)
        assert abs(counts - 3000 / below).max() < 5 * (3000 / below) ** 0.5
    again = np.array([12345], dtype=np.uint64)
    assert [drawn(again, below) for _ in range(3000)] == found


def test_random_parts_are_parts_of_one():
    chance = np.array([99], dtype=np.uint64)
    parts = [drawn_part(chance) for _ in range(3000)]
    assert 0.0 <= min(parts) < 0.01
    assert 0.99 < max(parts) < 1.0
    assert abs(sum(parts) / 3000 - 0.5) < 0.03
