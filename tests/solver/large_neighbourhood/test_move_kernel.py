"""Copies moved between link domains: nothing exceeds, nobody is lost, and what fits is placed."""

import numpy as np
import pytest

from boards import kernel_states
from kvplace.solver.instance.options import Chooser
from kvplace.solver.kernels import interpreted
from kvplace.solver.large_neighbourhood import move_kernel, refill_kernel, seat_board
from kvplace.solver.large_neighbourhood.refill import worth_of

# Searches call them compiled.
move_copy, put_in = interpreted(move_kernel.move_copy), interpreted(move_kernel._put_in)
pushed, missing = interpreted(move_kernel._pushed), interpreted(refill_kernel._missing)
fill_up, lift = interpreted(seat_board.fill_up), interpreted(seat_board.lift)


def states(seed, count):
    """Yield random states within all limits with copies that have no place, and their worth."""
    for draw, board, target, state in kernel_states(seed, count, part=1 + 1e-6):
        worth = worth_of(state, Chooser(board.instance), target)
        if worth is None:
            continue
        for j in range(len(state.row)):
            seats = range(int(state.first_seat[j]), int(state.first_seat[j + 1]))
            whole = state.row[j] >= 0 and state.usable[state.row[j]]
            for seat in seats if state.row[j] >= 0 else ():
                if state.gpu[seat, 0] >= 0 and (not whole or draw.random() < 0.3):
                    lift(state, seat, state.row[j])
        missing(state, worth.copies, worth.lacking)
        yield draw, state, worth, np.array([draw.randrange(1, 2**63)], dtype=np.uint64)


def slots(state, j, domain):
    """Yield the options of a model and the GPUs that a copy of it may take in a domain."""
    gpus = state.in_domain[state.domains[domain] : state.domains[domain + 1]].tolist()
    on = {g for seat in range(*state.first_seat[j : j + 2]) for g in state.gpu[seat] if g >= 0}
    for row in range(*state.first_row[j : j + 2]):
        degree = int(state.degree[row])
        if not state.usable[row] or state.row[j] not in (-1, row):
            continue
        for first in range(0, len(gpus) - degree + 1, degree if len(gpus) % degree == 0 else 1):
            chosen = gpus[first : first + degree]
            if not on & set(chosen) and state.masks[state.mask_of[j], chosen].all():
                yield row, chosen


def left(state, row, g):
    """Return what a GPU has left beside a shard of an option, by each pressure."""
    return state.cap[g] - state.used[g] - state.size[row, state.type_of[g]]


@pytest.mark.parametrize("seed", range(2))
def test_moves_exceed_nothing_and_lose_nobody(seed):
    moved = 0
    for _, state, worth, chance in states(seed, 25):
        before, stay = state.gpu.copy(), state.used.copy()
        for _ in range(12):
            move_copy(state, worth, chance)
        moved += (state.gpu != before).any()
        assert (state.used <= np.maximum(state.cap, stay) + 1e-9).all()
        for j in np.flatnonzero(state.free).tolist():
            seats = state.gpu[state.first_seat[j] : state.first_seat[j + 1]]
            placed = [seat[seat >= 0].tolist() for seat in seats if seat[0] >= 0]
            assert len(placed) + worth.lacking[j] == worth.copies[j]
            on = [g for copy in placed for g in copy]
            assert len(set(on)) == len(on)
            assert state.masks[state.mask_of[j], on].all()
            for copy in placed:
                assert len(copy) == state.degree[state.row[j]]
                ranks = [int(np.flatnonzero(state.in_domain == g)[0]) for g in copy]
                assert len(set(np.searchsorted(state.domains, ranks, side="right").tolist())) == 1
        used = state.used.copy()
        fill_up(state)
        assert np.allclose(state.used, used, atol=1e-9)
    assert moved > 5


def test_where_nothing_may_leave_a_copy_takes_the_tightest_place_that_it_fits():
    answers = set()
    for _, state, worth, chance in states(7, 40):
        for j in np.flatnonzero(worth.lacking > 0).tolist():
            empty = [
                float(((1 - state.used[gpus] / state.cap[gpus]) ** 2).sum())
                for row, gpus in slots(state, j, 0)
                if all((left(state, row, g) >= 0).all() for g in gpus)
            ]
            used, lacking = state.used.copy(), worth.lacking.copy()
            assert put_in(state, worth, j, 0, 0.0, chance) == bool(empty)
            answers.add(bool(empty))
            lacking[j] -= bool(empty)
            assert worth.lacking.tolist() == lacking.tolist()
            if empty:
                seats = state.gpu[state.first_seat[j] : state.first_seat[j + 1]]
                places = [seat[seat >= 0] for seat in seats]
                rest = [float(((1 - used[on] / state.cap[on]) ** 2).sum()) for on in places]
                assert any(abs(found - min(empty)) < 1e-9 for found in rest)
    assert answers == {False, True}


def test_what_leaves_a_gpu_is_the_smallest_copy_that_is_enough():
    asked, out = 0, np.empty(move_kernel.PUSHED, np.int64)
    for _, state, worth, _ in states(11, 30):
        seats = [seat for seat in range(len(state.gpu)) if state.gpu[seat, 0] >= 0]
        rows = state.row[state.model_of]
        for j in range(len(state.row)):
            for row, gpus in slots(state, j, 0):
                if len(gpus) > 1:
                    continue
                start = int(state.domains[0])
                first = int(np.flatnonzero(state.in_domain[start:] == gpus[0])[0])
                room, number = pushed(state, worth, j, row, start, first, np.inf, out)
                rest = left(state, row, gpus[0])
                size = {
                    seat: state.size[rows[seat], state.type_of[gpus[0]]]
                    for seat in seats
                    if gpus[0] in state.gpu[seat]
                }
                if (rest >= 0).all():
                    assert (room, number) == (0.0, 0)
                    continue
                enough = [
                    float(worth.least[state.model_of[seat]])
                    for seat, taken in size.items()
                    if (rest + taken >= 0).all()
                ]
                if enough:
                    assert (room, number) == (min(enough), 1)
                elif number:
                    assert set(out[:number].tolist()) <= set(size)
                    assert (rest + sum(size[seat] for seat in out[:number].tolist()) >= 0).all()
                asked += bool(enough)
    assert asked > 3
