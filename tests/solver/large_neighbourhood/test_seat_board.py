"""The board of compiled fillings: what it keeps of each GPU is what its seats come to."""

import numpy as np

from boards import kernel_states
from kvplace.solver.kernels import interpreted
from kvplace.solver.large_neighbourhood import seat_board

# Fillings call them compiled.
fill_up, place = interpreted(seat_board.fill_up), interpreted(seat_board.place)


def test_filling_up_counts_from_the_seats_alone():
    seated = 0
    for _, _, _, state in kernel_states(9, 20):
        used = np.zeros_like(state.used)
        for j, row in enumerate(state.row.tolist()):
            for gpus in state.gpu[state.first_seat[j] : state.first_seat[j + 1]].tolist():
                for g in (g for g in gpus if g >= 0):
                    used[g] += state.size[row, state.type_of[g]]
                    seated += 1
        state.used[:] = 7.0
        fill_up(state)
        assert np.allclose(state.used, used)
    assert seated > 20


def test_a_copy_takes_room_on_each_of_its_gpus():
    for draw, _, _, state in kernel_states(4, 10):
        free = np.flatnonzero(state.gpu[:, 0] < 0)
        for seat in free[:3].tolist():
            used, row = state.used.copy(), draw.randrange(len(state.degree))
            gpus = np.array(draw.sample(range(len(used)), min(len(used), state.gpu.shape[1])))
            if state.degree[row] > len(gpus):
                continue
            place(state, seat, row, gpus)
            taken = gpus[: state.degree[row]]
            used[taken] += state.size[row, state.type_of[taken]]
            assert np.allclose(state.used, used)
            assert state.gpu[seat, : state.degree[row]].tolist() == taken.tolist()
