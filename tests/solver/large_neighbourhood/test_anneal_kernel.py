"""Compiled moves: where a copy goes, what that adds, and that nobody is lost on the way."""

import numpy as np
import pytest

from boards import kernel_states
from kvplace.solver.large_neighbourhood.anneal_board import TINY, excess, holds
from kvplace.solver.large_neighbourhood.anneal_kernel import (
    DOMAINS,
    FULLER,
    anneal,
    fill_up,
    lift,
    place,
    seat_least,
)

HOT, COLD, GROWTH, MEMORY, MOST = 0.03, 0.01, 1.05, 0.9, 1e5


def excess_of(state):
    """The excess of all GPUs together, as it weighs."""
    return sum(excess(state, g) for g in range(len(state.head)))


def copies_of(state, j):
    """The GPUs of the copies of a model."""
    if state.row[j] < 0:
        return []
    first, degree = int(state.first_seat[j]), int(state.degree[state.row[j]])
    seats = state.gpu[first : first + int(state.copies[state.row[j]]), :degree]
    return [tuple(seat) for seat in seats.tolist()]


def movable(state):
    """Yield seat, model and option of every copy that may move."""
    for seat, j in enumerate(state.model_of.tolist()):
        if state.freedom[j] and state.gpu[seat, 0] >= 0:
            yield seat, j, int(state.row[j])


def chance_of(draw):
    return np.array([draw.randrange(1, 2**63)], dtype=np.uint64)


def seats_in(state, j, domain, region):
    """GPUs of a domain on which one more shard of a model may be.

    A domain is looked at where its first GPU is of the region.
    """
    gpus = state.in_domain[state.domains[domain] : state.domains[domain + 1]].tolist()
    if region >= 0 and state.region[gpus[0]] != region:
        return []
    mask = state.masks[state.mask_of[j]]
    return [
        g
        for g in gpus
        if mask[g] and not holds(state, j, g) and (region < 0 or state.region[g] == region)
    ]


@pytest.mark.parametrize("seed", range(2))
def test_a_copy_goes_where_it_adds_least(seed):
    """Beside all domains: what is added is what is said, and no more than a fuller GPU counts."""
    found, none = 0, 0
    for draw, _, _, state in kernel_states(seed, 20, part=0.6):
        assert len(state.domains) - 1 <= DOMAINS
        for seat, j, row in list(movable(state))[:5]:
            degree = int(state.degree[row])
            region = int(state.region[state.gpu[seat, 0]]) if state.freedom[j] == 1 else -1
            was = state.gpu[seat].copy()
            lift(state, seat, row)
            gpus, before = np.full(state.gpu.shape[1], -1), excess_of(state)
            more = seat_least(state, j, row, region, chance_of(draw), gpus)
            wide = [
                held
                for domain in range(len(state.domains) - 1)
                if len(held := seats_in(state, j, domain, region)) >= degree
            ]
            assert (more < np.inf) == bool(wide)
            if more == np.inf:
                none += 1
                place(state, seat, row, was)
                continue
            found += 1
            chosen = gpus[:degree].tolist()
            assert any(set(chosen) <= set(held) for held in wide)
            assert len(set(chosen)) == degree
            place(state, seat, row, gpus)
            assert excess_of(state) - before == pytest.approx(more, rel=1e-9, abs=1e-9)
            lift(state, seat, row)
            slack = FULLER * degree * 2 + 1e-9
            for held in wide:
                added = sorted(added_by(state, row, g) for g in held)[:degree]
                assert more <= sum(added) + slack
            place(state, seat, row, was)
    assert found > 40


def added_by(state, row, g):
    """What one more shard adds to the excess of a GPU."""
    after = state.used[g] + state.size[row, state.type_of[g]] - state.cap[g]
    return np.maximum(after, 0.0).sum() * state.weight[g] - excess(state, g)


@pytest.mark.parametrize("seed", range(2))
def test_moves_keep_copies_whole_apart_and_where_they_may_be(seed):
    moved = 0
    for draw, _, _, state in kernel_states(seed + 30, 20, part=0.5):
        before = [copies_of(state, j) for j in range(len(state.row))]
        made = anneal(state, 200, HOT, COLD, GROWTH, MEMORY, MOST, chance_of(draw))
        assert 0 <= made <= 200
        for j, copies in enumerate(before):
            now = copies_of(state, j)
            moved += now != copies
            if state.freedom[j] == 0:
                assert now == copies
                continue
            flat = [g for copy in now for g in copy]
            assert len(set(flat)) == len(flat)
            assert min(flat) >= 0
            assert all(len({int(state.domain_of[g]) for g in copy}) == 1 for copy in now)
            assert all(state.masks[state.mask_of[j]][g] for g in flat)
            if state.freedom[j] == 1:
                regions = [{int(state.region[g]) for g in copy} for copy in now]
                assert regions == [{int(state.region[g]) for g in copy} for copy in copies]
                assert [len(copy) for copy in now] == [len(copy) for copy in copies]
        used, total = state.used.copy(), state.total[0].copy()
        state.total[0] = 0.0
        fill_up(state)
        assert np.allclose(state.used, used, atol=1e-9)
        assert np.allclose(state.total[0], total, atol=1e-9)
    assert moved > 8


def test_without_any_excess_nothing_is_moved():
    for draw, _, _, state in kernel_states(5, 10, part=3.0):
        if state.number[0]:
            continue
        gpu = state.gpu.copy()
        assert anneal(state, 100, HOT, COLD, GROWTH, MEMORY, MOST, chance_of(draw)) == 0
        assert (state.gpu == gpu).all()


def test_it_ends_with_the_moves_or_the_excess():
    ended = 0
    for draw, _, _, state in kernel_states(6, 20, part=0.9):
        made = anneal(state, 300, HOT, COLD, GROWTH, MEMORY, MOST, chance_of(draw))
        if made < 300:
            ended += 1
            assert state.number[0] == 0
            assert (state.used <= state.cap + 2 * TINY).all()
    assert ended > 3
    _, _, _, state = next(kernel_states(6, 1))
    assert anneal(state, 0, HOT, COLD, GROWTH, MEMORY, MOST, np.ones(1, dtype=np.uint64)) == 0


def test_a_cold_search_never_adds_weighted_excess():
    """At a temperature of next to nothing only moves that add nothing are kept."""
    for draw, _, _, state in kernel_states(7, 15, part=0.6):
        options = state.row.copy()
        before = np.maximum(state.used - state.cap, 0.0).sum()
        chance = chance_of(draw)
        for _ in range(20):
            anneal(state, 5, 1e-300, 1e-300, 1.0, 1.0, MOST, chance)
            now = np.maximum(state.used - state.cap, 0.0).sum()
            if (state.row != options).any():  # less room is worth some excess
                break
            assert now <= before + 1e-9
            before = now


def test_an_excess_that_stays_weighs_more_and_forgets():
    grown = 0
    for draw, _, _, state in kernel_states(8, 15, part=0.3):
        anneal(state, 200, HOT, COLD, GROWTH, MEMORY, 5.0, chance_of(draw))
        assert (state.weight >= 1.0 - 1e-12).all()
        assert state.weight.max() <= 5.0 * GROWTH
        grown += state.weight.max() > 1.0
    assert grown > 5


def test_filling_up_counts_from_the_seats_alone():
    for _, _, _, state in kernel_states(9, 10):
        used, number = state.used.copy(), int(state.number[0])
        state.used[:], state.number[0], state.head[:] = 7.0, 3, 0
        state.total[0] = 0.0
        fill_up(state)
        assert np.allclose(state.used, used)
        assert state.number[0] == number
        least = sum(
            state.size[row].min(axis=0) * state.degree[row] * state.copies[row]
            for row in state.row.tolist()
            if row >= 0
        )
        assert np.allclose(state.total[0], least)
