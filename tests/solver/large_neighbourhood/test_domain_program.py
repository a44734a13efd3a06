"""The program of whole link domains: by hand, against all fillings, and against brute force."""

import math
from itertools import chain, product

import numpy as np
import pytest

from boards import drawn_boards, kernel_states
from kvplace.solver.chance import seeded
from kvplace.solver.clock import Watch
from kvplace.solver.instance.door import unload_copies
from kvplace.solver.instance.options import Chooser
from kvplace.solver.kernels import interpreted
from kvplace.solver.large_neighbourhood import dear_fillings as fillings
from kvplace.solver.large_neighbourhood.domain_program import DomainProgram
from kvplace.solver.large_neighbourhood.filling_program import FillingProgram, Wanted
from oracle_splits import solve_by_force, worth

dear_fillings = interpreted(fillings.dear_fillings)
that_fit = interpreted(fillings.that_fit)


@pytest.mark.parametrize("known", [0, 2])
def test_a_target_is_reached_or_nothing_changes(known):
    """Random fleets with rules and several pressures, near the optimum that enumeration finds."""
    reached = 0
    for seed, (_, problem, board) in enumerate(drawn_boards(known, 10, valid=True)):
        truth = solve_by_force(problem)
        before, flaws, target = list(board.where), board.flaws, truth.value * (1 + 1e-6)
        if not target:
            continue
        program = DomainProgram(Chooser(board.instance), seed, Watch())
        packed = any(program.pack(board, part * target, known, 6)[0] for part in (0.9, 1.0))
        assert board.flaws <= flaws
        if packed:
            reached += 1
            assert board.worst() <= target
            placement = unload_copies(problem, board.instance, board.where)
            assert worth(problem, placement) >= (truth.breaches, truth.value * (1 - 1e-9))
        else:
            assert board.where == before
    assert reached >= 2


def test_the_same_seed_packs_the_same():
    for _, _, board in drawn_boards(7, 6, valid=True):
        both = [board.copy(), board.copy()]
        for copy in both:
            DomainProgram(Chooser(copy.instance), 3, Watch()).pack(copy, 0.9 * board.worst(), 1, 3)
        assert both[0].where == both[1].where


def offer_of(draw, state, chooser):
    """Random prices of all options that may be taken."""
    model = chooser.instance.columns.model
    price = np.array([draw.choice([0.0, draw.random()]) for _ in model])
    most = np.where(state.usable & state.free[model], state.copies, 0)
    room = np.maximum((state.size * state.degree[:, None, None]).max(axis=(1, 2)), 1e-9)
    return fillings.Offer(model, price, most, room)


def every_filling(state, d, offer, most):
    """All that can be in a domain, up to a number of copies, each as often as it may be there."""
    width = state.domains[d + 1] - state.domains[d]
    places = [
        (row, first)
        for row in np.flatnonzero(offer.most > 0).tolist()
        for first in range(width - state.degree[row] + 1)
        if width % state.degree[row] or first % state.degree[row] == 0
    ]
    for number in range(1, most + 1):
        for copies in product(places, repeat=number):
            rows = [row for row, _ in copies]
            held = [
                (int(offer.model[row]), first + at)
                for row, first in copies
                for at in range(state.degree[row])
            ]
            options = {(int(offer.model[row]), row) for row in rows}
            once = len(set(held)) == len(held) and len(dict(options)) == len(options)
            if once and all(rows.count(row) <= offer.most[row] for row in rows):
                yield np.array([*copies, (-1, -1)])


def test_dear_fillings_fit_and_are_as_dear_as_any_few_copies():
    for draw, board, _, state in kernel_states(11, 12, part=1.1):
        offer, d = offer_of(draw, state, Chooser(board.instance)), 0
        masks = state.masks[state.mask_of[offer.model], state.in_domain[state.domains[d]]]
        offer.most[masks == 0] = 0
        none, chance = np.zeros((0, 2), dtype=np.int64), seeded(draw.randrange(99))
        found = dear_fillings(state, d, offer, none, 60, 0.0, 3, chance)
        where = np.full(len(found), d)
        assert that_fit(state, offer.most, where, found).all()
        values = [offer.price[of[of[:, 0] >= 0, 0]].sum() for of in found]
        assert len(set(values)) == len(values)
        few = list(every_filling(state, d, offer, 2))
        fit = [of for of in few if that_fit(state, offer.most, np.array([d]), of[None])[0]]
        dearest = max(chain([0.0], (offer.price[of[:-1, 0]].sum() for of in fit)))
        assert max(values, default=0.0) >= dearest - 1e-9
        assert not len(dear_fillings(state, d, offer, none, 60, 1e9, 3, chance))


def test_what_may_not_be_taken_does_not_fit():
    for _, board, _, state in kernel_states(12, 4, part=1.1):
        none = np.zeros(len(state.degree), dtype=np.int64)
        filling = np.array([[[0, 0], [-1, -1]]])
        assert not that_fit(state, none, np.array([0]), filling)[0]
        assert that_fit(state, none, np.array([0]), np.full((1, 1, 2), -1))[0]
        assert board.valid


def program_of(most, model, count, rooms=None):
    """A program over options of models, each copy of which takes one GPU, and domains of one."""
    rooms = np.ones(len(model)) if rooms is None else np.array(rooms)
    free = np.ones(max(model) + 1, dtype=bool)
    wanted = Wanted(np.array(model), np.array(most), rooms, free)
    return FillingProgram(wanted, np.array(count), np.ones(len(count)))


def test_halves_of_fillings_cover_what_whole_ones_do_not():
    """Each two of three models go into a domain, of which there are two at first, then one."""
    program = program_of([1, 1, 1], [0, 1, 2], [2])
    assert program.add([(0, (0, 1)), (0, (1, 2)), (0, (0, 2))]) == 3
    assert program.add([(0, (0, 1))]) == 0
    assert program.solve() == pytest.approx(0)
    assert program.complete
    assert sum(times for _, times in program.taken()) == pytest.approx(1.5)
    program.fix((0, (0, 1)), 1)
    program.solve()
    assert program.complete
    program = program_of([1, 1, 1], [0, 1, 2], [1])
    program.add([(0, (0, 1)), (0, (1, 2)), (0, (0, 2))])
    assert program.solve() == pytest.approx(1)
    assert not program.complete


def test_the_largest_is_placed_first_and_worth_most():
    program = program_of([1, 1], [0, 1], [1], rooms=[3.0, 2.0])
    program.add([(0, (0,)), (0, (1,))])
    assert program.solve() == pytest.approx(2)
    assert program.taken() == [((0, (0,)), pytest.approx(1))]
    assert (program.prices >= 2 - 1e-9).all()
    assert (program.prices <= 3 + 1e-9).all()
    assert program.best(1) == [(0, (0,))]


def test_a_model_takes_one_option_with_all_its_copies():
    """Options 0 and 1 of a model have one and two copies; only fillings of the second are there."""
    program = program_of([1, 2], [0, 0], [2])
    program.add([(0, (1,))])
    assert program.solve() == pytest.approx(0)
    program = program_of([1, 2], [0, 0], [1])
    program.add([(0, (1,))])
    assert program.solve() == pytest.approx(0.5)
    program = program_of([2, 2], [0, 0], [1, 1])
    program.add([(0, (0,)), (1, (1,))])
    half = program.solve()
    program.fix((0, (0,)), 1)
    assert program.solve() == pytest.approx(1)
    program.release()
    assert program.solve() == pytest.approx(half)


def test_the_option_taken_most_is_chosen_alone():
    """Of three domains one holds a copy of option 0, or of 1, which needs two; two hold another."""
    program = program_of([1, 2, 1], [0, 0, 1], [1, 2], rooms=[1.0, 1.0, 1.0])
    program.add([(0, (0,)), (1, (1,)), (1, (2,))])
    assert program.solve() == pytest.approx(0)
    assert program.undecided() == [(pytest.approx(1), 0)]
    program.choose(1)
    assert program.undecided() == []
    assert program.solve() == pytest.approx(1)
    program.release()
    program.solve()
    program.choose(0)
    assert program.solve() == pytest.approx(0)


def test_a_program_without_time_takes_nothing():
    wanted = Wanted(np.array([0]), np.array([1]), np.array([0.5]), np.array([True]))
    program = FillingProgram(wanted, np.array([1]), np.array([1.0]))
    program.add([(0, (0,))])
    assert program.solve(0.0) == math.inf
    assert program.taken() == []
    assert program.solve(60.0) == pytest.approx(0)
    assert program.taken() == [((0, (0,)), pytest.approx(1))]
