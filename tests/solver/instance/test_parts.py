"""Parts of GPUs at a target: shards whose parts fit a GPU press it no further than the target."""

import math
import random

import numpy as np
import pytest

from boards import drawn_boards
from kvplace.core.models.objective import Objective
from kvplace.solver.instance.door import load_instance
from kvplace.solver.instance.parts import STRICT, Parts
from tiny import byte_problem

NEAR = 1e-6
"""Further from the target than rounding."""


def taken_on(board, parts, g, target):
    """Return what all shards on a GPU take of it, each by the loads that it really has."""
    found = np.zeros(parts.has.shape[1])
    for j in board.members[g]:
        option, loads = board.option[j], np.array(board.shard_loads(j, g))
        found += parts.taken(option.size, option.keep, loads, target)
    return found


@pytest.mark.parametrize("seed", range(3))
def test_parts_fit_where_the_pressure_is_at_most_the_target(seed):
    fit, tight, kept = 0, 0, 0
    for draw, _, board in drawn_boards(seed, 60):
        parts = Parts(board.instance)
        for g, held in enumerate(board.members):
            if not held:
                continue
            value = board.pressure[g]
            if value == math.inf:  # too large, or too little KV left: so at every target
                taken = taken_on(board, parts, g, draw.uniform(0.1, 100))
                assert (taken > parts.has[g]).any()
                kept += board.free[g] >= 1
            elif value > 0 and board.free[g] >= max(1, board.kept[g]) + 1e-6 * board.free[g]:
                fits = (taken_on(board, parts, g, value * (1 + NEAR)) <= parts.has[g]).all()
                assert fits or board.free[g] < NEAR * board.instance.memory[g]
                fit += fits
                over = taken_on(board, parts, g, value * (1 - NEAR)) > parts.has[g]
                assert over.any()
                tight += 1
    assert fit > 50
    assert tight > 50


@pytest.mark.parametrize("objective", [Objective.REQUESTS, Objective.PRESSURE])
def test_an_option_takes_what_its_shard_takes(objective):
    for _, _, board in drawn_boards(7, 25, objectives=(objective,)):
        instance = board.instance
        parts = Parts(instance)
        entries = instance.pressures + any(instance.keep)
        assert parts.has.shape == (instance.g, entries)
        table = parts.of_options(0.7)
        assert table.shape == (len(instance.size), instance.types, entries)
        assert table.flags.c_contiguous
        for options in instance.options:
            for option in options:
                for type_, loads in enumerate(option.loads):
                    one = parts.taken(option.size, option.keep, np.array(loads), 0.7)
                    assert (table[option.row, type_] == one).all()


def test_what_a_gpu_has_is_its_memory_in_mean_gpus_and_all_its_time():
    for _, _, board in drawn_boards(2, 25):
        instance = board.instance
        has, memory = Parts(instance).has, np.array(instance.memory, dtype=float)
        assert has[:, : instance.kv] == pytest.approx(
            np.repeat(memory[:, None] / memory.mean(), instance.kv, axis=1), rel=2 * STRICT
        )
        times = has[:, instance.kv : instance.pressures]
        assert times.size == 0 or times == pytest.approx(1.0, rel=2 * STRICT)
        assert (has < np.concatenate([memory / memory.mean(), [1.0]]).max()).all()


def test_a_lower_target_takes_no_less_of_anything():
    draw = random.Random(4)
    for _, _, board in drawn_boards(4, 20):
        parts = Parts(board.instance)
        low, high = sorted(draw.uniform(0.01, 10) for _ in range(2))
        assert (parts.of_options(low) >= parts.of_options(high)).all()


def test_an_unloaded_model_takes_its_bytes_at_every_target():
    instance = load_instance(byte_problem([100, 50], [(30, 0.0), (20, 8.0)]))
    parts = Parts(instance)
    at = [instance.size[j] for j in range(2)].index(30)
    for target in (1e-9, 1.0, 1e9):
        assert parts.of_options(target)[at, 0].tolist() == [30 / 75]
    assert parts.of_options(instance.load[1 - at])[1 - at, 0, 0] == pytest.approx((20 + 1) / 75)


def test_kv_to_be_left_is_an_entry_of_its_own_where_any_is():
    plain = Parts(load_instance(byte_problem([60], [(10, 1.0)])))
    kept = Parts(load_instance(byte_problem([60], [(10, 1.0, 49), (5, 1.0, 0)])))
    assert plain.has.shape == (1, 1)
    assert kept.has.shape == (1, 2)
    assert sorted(kept.of_options(1e12)[:, 0, 1].tolist()) == [5 / 60, 59 / 60]
