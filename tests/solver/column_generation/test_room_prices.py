"""Prices of room: no set of shards is dearer than its GPU, and what they prove is so."""

import random
from itertools import chain, combinations

import numpy as np

from kvplace.core.certificates.certificate import check_certificate
from kvplace.core.models.objective import Objective
from kvplace.solver.bounds.certify import checked
from kvplace.solver.bounds.option_prices import priced_options
from kvplace.solver.bounds.pressures import PressureBound
from kvplace.solver.clock import Watch
from kvplace.solver.column_generation.option_sets import OptionSets
from kvplace.solver.column_generation.room_prices import (
    mixed_room,
    prices_of_room,
    room_weights,
)
from kvplace.solver.instance.door import load_instance
from oracle_splits import solve_by_force
from splits import random_split_problem


def drawn(seed, count, objectives=(Objective.PRESSURE,)):
    """Yield random problems with an optimum, the program and that optimum."""
    draw = random.Random(seed)
    for _ in range(count):
        problem = random_split_problem(draw, models=4, objectives=objectives)
        truth = solve_by_force(problem)
        if truth.feasible and truth.value:
            yield problem, OptionSets(load_instance(problem)), truth.value


def weights_of(program, rooms, fits, seconds=60.0):
    starts = program.instance.columns.starts
    return room_weights(rooms, fits, starts, program.shards, program.count, seconds)


def by_room(program, target, seconds=None):
    """What prices of room say of a target; None where a model is within every pressure nowhere."""
    rooms, fits = program.rooms(target)
    program._usable = fits.any(axis=1)
    if not np.isfinite(program.least(np.ones(len(fits)))).all():
        return None
    return program._by_room(target, rooms, fits, Watch(seconds))[0]


def test_no_set_that_fits_is_priced_above_its_gpu():
    looked = 0
    for _, program, value in drawn(5, 12):
        rooms, fits = program.rooms(value)
        weights = weights_of(program, rooms, fits)
        prices, worths = prices_of_room(rooms, fits, weights)
        for kind, (room, worth) in enumerate(zip(rooms, worths, strict=True)):
            held = np.flatnonzero(fits[:, kind])[:10].tolist()
            mixed = mixed_room(room, weights[kind])
            for some in chain.from_iterable(combinations(held, k) for k in (1, 2, 3)):
                taken = np.atleast_2d(room.sizes)[:, list(some)].sum(axis=1)
                if (taken <= room.capacity).all():
                    looked += 1
                    assert prices[list(some)].sum() <= worth * (1 + 1e-9)
                    again = np.atleast_2d(mixed.sizes)[:, list(some)].sum(axis=1)
                    assert (again <= mixed.capacity).all()
    assert looked > 150


def test_what_they_prove_is_so_checks_and_is_no_less_than_the_fluid_bound():
    proved = 0
    for problem, program, value in drawn(6, 30):
        assert not by_room(program, value * (1 + 1e-9)).impossible
        low = PressureBound(program.instance).value
        for target in (low * (1 - 1e-5), low * 1.05, value * 0.95):
            verdict = by_room(program, target)
            if verdict is None:
                continue
            assert verdict.impossible or target > low
            if verdict.impossible:
                proved += 1
                prices = priced_options(problem, program, verdict)
                bound = checked(problem, "configuration", prices)
                assert bound is not None
                assert check_certificate(problem, bound.certificate) == ""
    assert proved >= 3


def test_without_time_there_are_none():
    _, program, value = next(drawn(7, 10))
    rooms, fits = program.rooms(value)
    assert weights_of(program, rooms, fits, 0.0) is None
    assert not by_room(program, value, 0.0).impossible
