"""The board of compiled fillings: what it keeps of each GPU is what its seats come to."""

import numpy as np
import pytest

from boards import kernel_states
from kvplace.solver.kernels import interpreted
from kvplace.solver.large_neighbourhood import seat_board

# Fillings call them compiled.
fill_up, lift, place, put, take = (
    interpreted(getattr(seat_board, name)) for name in ("fill_up", "lift", "place", "put", "take")
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


@pytest.mark.parametrize("seed", range(2))
def test_putting_and_taking_keep_sums_and_chains(seed):
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
        used, gpu = state.used.copy(), state.gpu.copy()
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
        assert_summed(state)


def test_whole_copies_are_lifted_and_placed():
    for _, _, _, state in kernel_states(4, 10):
        used, gpu = state.used.copy(), state.gpu.copy()
        for seat in sorted({seat for seat, *_ in seated(state)}):
            row, gpus = int(state.row[state.model_of[seat]]), state.gpu[seat].copy()
            lift(state, seat, row)
            assert (state.gpu[seat] == -1).all()
            assert_summed(state)
            place(state, seat, row, gpus)
        assert (state.gpu == gpu).all()
        assert np.allclose(state.used, used, atol=1e-9)


def test_filling_up_counts_from_the_seats_alone():
    for _, _, _, state in kernel_states(9, 10):
        used = state.used.copy()
        state.used[:], state.head[:] = 7.0, 0
        fill_up(state)
        assert np.allclose(state.used, used)
        assert_summed(state)
