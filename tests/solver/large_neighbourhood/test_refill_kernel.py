"""Link domains filled anew by kernels: nothing exceeds, nothing is lost, and nothing more fits."""

import random

import numpy as np
import pytest

import made
from boards import kernel_states
from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.clock import Watch
from kvplace.solver.instance.door import load_instance
from kvplace.solver.instance.options import Chooser
from kvplace.solver.kernels import interpreted
from kvplace.solver.large_neighbourhood import refill_kernel, seat_board
from kvplace.solver.large_neighbourhood.refill import Refiller
from kvplace.solver.large_neighbourhood.refill_kernel import COPIES, Worth
from tiny import GIB

# Searches call them compiled.
fill_domains, fill_up = map(interpreted, (refill_kernel.fill_domains, seat_board.fill_up))
TINY = 1e-12
"""Part of a GPU that is rounding."""


class Filling:
    """What a filling of domains is given, and what it says."""

    def __init__(self, draw, state, *, tries=3):
        n, self.state = len(state.row), state
        best = [draw.randrange(*map(int, state.first_row[j : j + 2])) for j in range(n)]
        self.count = state.copies[np.array(best, dtype=np.int64)]
        model = np.repeat(np.arange(n), np.diff(state.first_row))
        state.usable[:] = state.usable.astype(bool) & (state.copies == self.count[model])
        self.worth = np.array([draw.uniform(0.1, 2.0) for _ in range(n)])
        each = state.size * state.degree[:, None, None]
        self.room = np.maximum(each.sum(axis=2), 1e-12)
        self.scarce = np.ones(state.cap.shape[1])
        self.tries = tries
        self.chance = np.array([draw.randrange(1, 2**63)], dtype=np.uint64)
        self.beside, self.lacking = np.empty(n), np.empty(n, dtype=np.int64)

    def fill(self, order):
        none = np.empty(0)
        worth = Worth(
            np.empty(0, dtype=np.uint8), self.room, none, self.scarce, none, self.count, none, none,
            self.worth, self.beside, self.lacking,
        )  # fmt: skip
        order = np.array(order, dtype=np.int64)
        fill_domains(self.state, worth, order, self.tries, self.chance)


def fillings(seed, count, *, tries=3, part=0.9):
    """Yield random states that may be filled anew, with all that a filling needs."""
    for draw, _, _, state in kernel_states(seed, count, part=part):
        yield draw, Filling(draw, state, tries=tries), state


def width_of(state, domain):
    return int(state.domains[domain + 1] - state.domains[domain])


def members_of(state, domain):
    return state.in_domain[state.domains[domain] : state.domains[domain + 1]].tolist()


def copies_of(state, j):
    """Return the GPUs of the copies of a model that have a place."""
    seats = state.gpu[state.first_seat[j] : state.first_seat[j + 1]]
    degree = state.degree[state.row[j]] if state.row[j] >= 0 else 0
    return [tuple(seat[:degree].tolist()) for seat in seats if seat[0] >= 0]


def domain_of(state, g):
    """Return the link domain of a GPU."""
    at = int(np.flatnonzero(state.in_domain == g)[0])
    return int(np.searchsorted(state.domains, at, side="right")) - 1


def slots(state, domain, degree):
    """Yield the GPUs that a copy may take together in a domain."""
    gpus = members_of(state, domain)
    step = degree if len(gpus) % degree == 0 else 1
    for first in range(0, len(gpus) - degree + 1, step):
        yield gpus[first : first + degree]


@pytest.mark.parametrize("seed", range(2))
def test_what_is_filled_fits_and_nobody_is_lost(seed):
    seated = 0
    for draw, filling, state in fillings(seed, 25):
        stay = [copies_of(state, j) for j in range(len(state.row))]
        domains = len(state.domains) - 1
        order = draw.sample(range(domains), draw.randint(1, domains))
        filled = {g for domain in order for g in members_of(state, domain)}
        before = state.used.copy()
        filling.fill(order)
        for j, copies in enumerate(stay):
            now = copies_of(state, j)
            if not state.free[j]:
                assert now == copies
                assert filling.lacking[j] == 0
                continue
            kept = [copy for copy in copies if not set(copy) & filled]
            assert all(copy in now for copy in kept)
            seated += len(now) - len(kept)
            assert len(now) + filling.lacking[j] == filling.count[j]
            assert len({g for copy in now for g in copy}) == sum(map(len, now))
            mask = state.masks[state.mask_of[j]]
            for copy in now:
                assert len({domain_of(state, g) for g in copy}) == 1
                assert all(mask[g] for g in copy)
        for g in range(len(state.used)):
            if g not in filled:
                assert (state.used[g] == before[g]).all()
        held = {g for j in np.flatnonzero(~state.free) for c in stay[j] for g in c}
        for g in filled - held:  # what stays where it is may leave a GPU less than nothing
            assert (state.used[g] <= np.maximum(state.cap[g], 0.0) + TINY).all()
        used = state.used.copy()
        fill_up(state)
        assert np.allclose(state.used, used, atol=1e-9)
    assert seated > 12


@pytest.mark.parametrize("seed", range(2))
def test_nothing_that_has_no_place_would_fit_a_domain_filled(seed):
    lacked = 0
    for _, filling, state in fillings(seed + 10, 25, part=0.55):
        order = list(range(len(state.domains) - 1))
        filling.fill(order)
        for j in np.flatnonzero(filling.lacking > 0).tolist():
            lacked += 1
            on = {g for copy in copies_of(state, j) for g in copy}
            rows = range(int(state.first_row[j]), int(state.first_row[j + 1]))
            mask = state.masks[state.mask_of[j]]
            for row in rows:
                if not state.usable[row] or state.row[j] not in (-1, row):
                    continue
                for domain in order:
                    for gpus in slots(state, domain, int(state.degree[row])):
                        short = any(
                            (state.cap[g] - state.used[g] - state.size[row, state.type_of[g]] < 0)
                            .any()
                            for g in gpus
                        )  # fmt: skip
                        assert short or on & set(gpus) or not all(mask[g] for g in gpus)
    assert lacked > 3


def test_of_more_fillings_the_best_is_no_worse():
    for draw, filling, state in fillings(4, 30, part=0.5):
        gpu, row, chance = state.gpu.copy(), state.row.copy(), filling.chance.copy()
        domain, worths = draw.randrange(len(state.domains) - 1), []
        for tries in (1, 8):
            state.gpu[:], state.row[:], filling.chance[:] = gpu, row, chance
            fill_up(state)
            filling.tries = tries
            filling.fill([domain])
            worths.append(-float(filling.worth @ filling.lacking))
        assert worths[1] >= worths[0] - 1e-12


@pytest.mark.parametrize(("tries", "lacks"), [(1, [5, 5]), (30, [6])])
def test_chance_finds_what_the_dearest_for_its_room_leaves_out(tries, lacks):
    """Of 11 GiB the dearest model leaves 5, too little for either of two that would fit alone."""
    models = [made.model(name, gib, 0.0) for name, gib in (("a", 6), ("b", 5.1), ("c", 5.2))]
    instance = load_instance(made.problem(models, made.fleet(11)))
    state = state_of(models, made.fleet(11), 1.0, [((0,),)] * 3)
    filling = Filling(random.Random(0), state, tries=tries)
    sizes = np.array(instance.size) / GIB
    filling.worth[:] = np.where(sizes == 6, 1.1 * sizes, sizes)
    filling.fill([0])
    assert sorted(sizes[filling.lacking > 0].astype(int).tolist()) == lacks


def test_beside_says_how_full_the_fullest_domain_of_a_model_is():
    for draw, filling, state in fillings(5, 25):
        domains = len(state.domains) - 1
        order = draw.sample(range(domains), draw.randint(1, domains))
        filling.scarce[:] = [draw.uniform(0.1, 2.0) for _ in filling.scarce]
        filling.fill(order)
        fullness = {}
        for domain in order:
            gpus = members_of(state, domain)
            parts = (state.used[gpus].sum(axis=0), state.cap[gpus].sum(axis=0))
            full, whole = (float(part @ filling.scarce) for part in parts)
            fullness[domain] = full / max(whole, 1e-300)
        for j in range(len(state.row)):
            placed = {domain_of(state, copy[0]) for copy in copies_of(state, j)} & set(order)
            free = state.free[j]
            most = max((fullness[d] for d in placed), default=0.0) if free else 0.0
            assert filling.beside[j] == pytest.approx(most, rel=1e-9, abs=1e-12)


def test_the_same_chance_fills_the_same():
    for _, filling, state in fillings(6, 10):
        gpu, row, chance, found = state.gpu.copy(), state.row.copy(), filling.chance.copy(), []
        for _ in range(2):
            state.gpu[:], state.row[:], filling.chance[:] = gpu, row, chance
            fill_up(state)
            filling.fill(range(len(state.domains) - 1))
            found.append((state.gpu.tolist(), state.row.tolist(), filling.lacking.tolist()))
        assert found[0] == found[1]


def state_of(models, fleet, target, where):
    """The state of undivided models on the GPUs given."""
    instance = load_instance(made.problem(models, fleet))
    board = Assignment(instance, where)
    state = Refiller(Chooser(instance), 0, Watch()).state_of(board, target)
    fill_up(state)
    return state


def test_a_gpu_takes_so_many_copies_at_most():
    models = [made.model(f"m{k:03}", 0.01, 0.0) for k in range(COPIES + 6)]
    state = state_of(models, made.fleet(80), 1.0, [((0,),)] * len(models))
    filling = Filling(random.Random(0), state)
    filling.fill([0])
    assert filling.lacking.sum() == 6
    assert (state.gpu[:, 0] == 0).sum() == COPIES


def test_the_tightest_gpus_are_taken():
    """Of 60, 30 and 45 GiB free, 29 go where they leave a thirtieth, and 44 beside."""
    models = [made.model("a", 29, 0.0), made.model("b", 44, 0.0)]
    fleet = made.fleet(60, 30, 45)
    instance = load_instance(made.problem(models, fleet))
    state = state_of(models, fleet, 1.0, [((0,),), ((0,),)])
    state.domains[:] = [0, 0, 0, 3]  # one domain of all three
    filling = Filling(random.Random(0), state)
    filling.fill([2])
    at = {int(instance.size[j]): int(instance.memory[state.gpu[j, 0]]) for j in range(2)}
    assert at == {29 * GIB: 30 * GIB, 44 * GIB: 45 * GIB}


def test_splits_lie_side_by_side_where_they_divide_a_domain():
    """Copies of 4 shards take the first or the last four GPUs of eight."""
    models = [made.model(name, 4 * 10, 1.0, tensor_parallel=(4,)) for name in "ab"]
    state = state_of(models, made.fleet(80, gpus=8), 1.0, [((0, 1, 2, 3),), ((0, 1, 2, 3),)])
    filling = Filling(random.Random(0), state)
    filling.fill([0])
    found = sorted(copies_of(state, j)[0] for j in range(2))
    assert found == [(0, 1, 2, 3), (4, 5, 6, 7)] or found == [(0, 1, 2, 3), (0, 1, 2, 3)]
    assert not filling.lacking.any()


def test_a_domain_too_narrow_takes_no_copy():
    models = [made.model("a", 4 * 10, 1.0, tensor_parallel=(4,)), made.model("b", 10, 1.0)]
    instance = load_instance(made.problem(models, made.fleet(80, 80, gpus=4)))
    wide = [int(row) for row in np.flatnonzero(np.array(instance.degree) == 4)]
    state = state_of(
        models, made.fleet(80, 80, gpus=4), 1.0,
        [((0, 1, 2, 3),) if j in wide else ((4,),) for j in range(2)],
    )  # fmt: skip
    state.domains[:] = [0, 3, 8]  # the first has three GPUs now
    filling = Filling(random.Random(0), state)
    filling.fill([0])
    assert filling.lacking[wide[0]] == 1
    assert filling.lacking.sum() == 1
